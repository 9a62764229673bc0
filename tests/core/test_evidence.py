"""Lines of evidence: exact for every name, without any secret of a known form, and the fast form equal to the slow one."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core import evidence
from guard.core.actions import (
    FILE_OPS,
    Action,
    Actor,
    ExecAction,
    FileAction,
    FileOp,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.evidence import TEXT_LIMIT, Record, SessionEvent, fast_line, is_record, line, redact, target
from guard.core.verdicts import Decision, Verdict

names = st.binary(min_size=1, max_size=60).map(os.fsdecode)
numbers = st.integers(0, 2**63 - 1)
verdicts = st.builds(
    Verdict,
    decision=st.sampled_from(list(Decision)),
    rules=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3).map(tuple),
    because=st.text(min_size=1, max_size=30),
    labels=st.lists(st.text(max_size=10), max_size=2).map(tuple),
    score=st.none() | st.floats(0, 1),
)
ALLOW = Verdict(decision=Decision.ALLOW, rules=("default/files",), because="reads are allowed", source="default")


def parsed(action: Action, verdict: Verdict = ALLOW) -> dict[str, Any]:
    """The line of this action, read back."""
    found: dict[str, Any] = json.loads(line(Record(seq=1, time_ns=2, pid=3, action=action, verdict=verdict)))
    return found


@given(names, names, numbers, numbers, verdicts)
def test_every_name_survives(path: str, to: str, time_ns: int, pid: int, verdict: Verdict) -> None:
    """Bytes that are no UTF-8 come back as they were, line breaks do not break lines, and nothing is unknown to the reader."""
    data = line(
        Record(seq=7, time_ns=time_ns, pid=pid, action=FileAction(op="rename", path=path, to=to), verdict=verdict)
    )
    assert data.isascii()
    assert data.count(b"\n") == 1
    plain = json.loads(data)
    assert plain["action"] == {"op": "rename", "path": path, "to": to}
    assert os.fsencode(plain["action"]["path"]) == os.fsencode(path)
    assert (plain["seq"], plain["time_ns"], plain["pid"], plain["decision"]) == (7, time_ns, pid, verdict.decision.word)
    assert is_record(plain)
    assert target(plain) == f"rename {path} → {to}"


@given(
    names,
    numbers,
    numbers,
    numbers,
    verdicts,
    st.sampled_from(FILE_OPS),
    st.none() | st.builds(Actor, name=names, exe=names),
)
def test_the_fast_form_is_the_slow_one(
    path: str, seq: int, time_ns: int, pid: int, verdict: Verdict, op: FileOp, actor: Actor | None
) -> None:
    """Byte for byte."""
    action = FileAction(op=op, path=path, actor=actor)
    assert fast_line(verdict, op, actor)(seq, time_ns, pid, path) == line(
        Record(seq=seq, time_ns=time_ns, pid=pid, action=action, verdict=verdict)
    )


def test_the_form_of_a_line() -> None:
    """The whole line, with its keys in their order; what is not known is not there."""
    verdict = Verdict(
        decision=Decision.BLOCK,
        rules=("p/a", "p/b"),
        because="no",
        unknown=("harm",),
        labels=("x",),
        score=0.5,
        label="destructive",
    )
    action = ExecAction(exe="/bin/rm", args=("x",), anonymous=False, actor=Actor(name="sh", exe="/bin/sh"))
    assert line(Record(seq=1, time_ns=2, pid=3, action=action, verdict=verdict)) == (
        b'{"seq":1,"time_ns":2,"pid":3,"kind":"exec","action":{"exe":"/bin/rm","args":["x"],"anonymous":false,'
        b'"actor":{"name":"sh","exe":"/bin/sh","script":null,"verified":false}},"decision":"block","rules":["p/a","p/b"],"because":"no",'
        b'"unknown":["harm"],"score":0.5,"label":"destructive","by":"rule","labels":["x"]}\n'
    )
    event = SessionEvent(seq=4, time_ns=5, pid=6, event="exec", ppid=1, command=("a", "b c"))
    assert line(event) == b'{"seq":4,"time_ns":5,"pid":6,"event":"exec","ppid":1,"command":["a","b c"]}\n'


CANARY = "CaNaRy0123456789CaNaRy0123456789"
SPELLINGS = [
    f"curl -H 'Authorization: Bearer {CANARY}' https://api.example/",
    f'curl -H "X-Api-Key: {CANARY}" https://api.example/',
    f"git clone https://user:{CANARY}@git.example/x.git",
    f"curl 'https://api.example/?access_token={CANARY}&x=1'",
    f"export AWS_SECRET_ACCESS_KEY={CANARY}",
    f"PGPASSWORD='{CANARY} with blanks' psql",
    f'{{"password": "{CANARY}", "x": 1}}',
    f"client_secret: {CANARY}",
    f"tool --auth-token {CANARY} go",
    f"tool --password={CANARY}",
    f"tool --api-key '{CANARY} two'",
    f"echo ghp_{CANARY}",
    f"echo sk-proj-{CANARY}",
    f"echo xoxb-{CANARY}",
    f"echo glpat-{CANARY}",
    f"echo eyJhbGciOi.{CANARY}.{CANARY}",
    f"echo -----BEGIN OPENSSH PRIVATE KEY-----\n{CANARY}\n-----END OPENSSH PRIVATE KEY-----",
    f"cat <<E\n-----BEGIN RSA PRIVATE KEY-----\n{CANARY}",
    f"token {CANARY}",
    f"x Bearer {CANARY}",
    f'os.environ["API_TOKEN"] = "{CANARY}"',
    f"requests.get(u, auth=x, password='{CANARY}')",
]


def everywhere(text: str) -> list[Action]:
    """Actions with this text in every field that can hold what an agent writes, but the names of files and places."""
    return [
        ExecAction(exe="/bin/x", name="x", args=("-c", text), command=text, script=text),
        NetworkAction(
            url=text, url_path=text, query=text, headers=(("x-other", text),), body=text, content=("session-secret",)
        ),
        PythonAction(text=text),
        SqlAction(text=text),
        ToolAction(arguments=text),
    ]


@pytest.mark.parametrize("text", SPELLINGS)
def test_no_secret_reaches_a_line(text: str) -> None:
    """In no field of no kind of action, not in the reason, and not in what a session's events tell."""
    for action in everywhere(text):
        data = line(
            Record(
                seq=1,
                time_ns=2,
                pid=3,
                action=action,
                verdict=Verdict(decision=Decision.ASK, rules=("r",), because=text),
            )
        )
        assert CANARY.encode() not in data
        assert b"[redacted:" in data
    event = SessionEvent(seq=1, time_ns=2, pid=3, event="start", command=("sh", "-c", text), task=text, text=text)
    assert CANARY.encode() not in line(event)


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "X-API-Key", "Set-Cookie", "Proxy-Authorization", "private-token"]
)
def test_secret_headers_are_secrets_whatever_they_hold(name: str) -> None:
    """The scheme of an authorization stays, its value does not."""
    plain = parsed(
        NetworkAction(
            headers=((name, f"Scheme {CANARY}"), (name, f"session={CANARY}; theme=dark"), ("accept", "text/html"))
        )
    )
    assert plain["action"]["headers"][0] == [name, f"Scheme [redacted:header:{len(CANARY)}]"]
    assert CANARY not in json.dumps(plain)
    assert plain["action"]["headers"][2] == ["accept", "text/html"]


@pytest.mark.parametrize(
    ("program", "args"),
    [
        ("curl", ("-u", "name:hunter2", "https://x.example")),
        ("curl", ("--user", "name:hunter2")),
        ("mysql", ("-phunter2", "-h", "x")),
        ("sshpass", ("-p", "hunter2", "ssh", "x")),
        ("anything", ("--password", "hunter2")),
        ("anything", ("--db-secret", "hunter2")),
    ],
)
def test_secrets_given_away_by_their_place(program: str, args: tuple[str, ...]) -> None:
    """They are gone from the arguments, the command line and the script."""
    command = " ".join((program, *args))
    plain = parsed(ExecAction(exe=f"/usr/bin/{program}", name=program, args=args, command=command, script=command))
    assert "hunter2" not in json.dumps(plain)
    event = SessionEvent(
        seq=1, time_ns=2, pid=3, event="exec", exe=f"/usr/bin/{program}", command=(f"/usr/bin/{program}", *args)
    )
    assert b"hunter2" not in line(event)


@pytest.mark.parametrize(
    "text",
    [
        "python -m pytest tests/test_token.py", "token=$TOKEN", 'curl -H "Authorization: $AUTH"', "if password == other: pass", "git log --author=me",
        "mkdir -p src/api", "cat secrets.yaml", "grep -rn password src", "ssh -p 22 host", "--token-file /run/secret", "make tokens", "https://x.example/a:b",
    ],
)  # fmt: skip
def test_ordinary_text_stays(text: str) -> None:
    """Words about secrets, references to variables and names of files are no secrets."""
    assert redact(text) == text


def test_names_of_files_stay() -> None:
    """They are the evidence, whatever they look like."""
    path = f"/home/u/token={CANARY}/ghp_{CANARY}"
    assert parsed(FileAction(op="read", path=path))["action"]["path"] == path
    assert parsed(ExecAction(exe=path, cwd=path))["action"] == {"exe": path, "cwd": path}


@given(
    st.lists(
        st.sampled_from(
            [*SPELLINGS, "--password ", "token=", "://a:b@", '"', "'", " ", "[redacted:named:3]", "Bearer "]
        ),
        max_size=6,
    ).map("".join)
)
def test_redacting_twice_changes_nothing(text: str) -> None:
    """What was redacted is not taken for a secret."""
    assert redact(redact(text)) == redact(text)


@given(st.lists(st.sampled_from([*SPELLINGS, "a", " ", "="]), max_size=4).map("".join))
def test_the_hints_hide_nothing(text: str) -> None:
    """The quick look that spares most texts the whole search never spares one with a secret."""
    assert redact(text) == evidence._secrets().sub(evidence._replaced, text)


@pytest.mark.parametrize(
    "fragment",
    [
        "eyJ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "password",
        "password=",
        'password="',
        "://",
        "--token ",
        "-a",
        "Bearer ",
        " ",
    ],
)
def test_text_made_to_be_slow_is_not(fragment: str) -> None:
    """64 KiB of any beginning of a form is searched in one pass: a quadratic one would run into the test's time limit."""
    text = fragment * (64 * 1024 // len(fragment) + 1)
    assert len(redact(text * 4)) > 0


def test_long_texts_are_shortened_and_say_so() -> None:
    """With their length; a secret across the limit is not cut in two."""
    text = "x" * (TEXT_LIMIT - 16) + f" ghp_{CANARY} " + "y" * 10_000
    kept = parsed(PythonAction(text=text))["action"]["text"]
    assert kept.endswith(f"… [shortened: {len(text)} characters in all]")
    assert CANARY[:8] not in kept
    assert parsed(PythonAction(text="x" * TEXT_LIMIT))["action"]["text"] == "x" * TEXT_LIMIT


def test_every_field_of_every_action_is_kept() -> None:
    """A field that is added to an action is in the log without anyone thinking of it."""
    for kind in (ExecAction, FileAction, NetworkAction, PythonAction, SqlAction, ToolAction, SystemAction):
        values: dict[str, Any] = {f.name: "v" for f in fields(kind) if f.name not in ("kind", "actor", "headers")}
        plain = parsed(kind(**values))
        assert set(plain["action"]) == set(values)


@pytest.mark.parametrize("plain", [None, [], {}, {"seq": 1}, {"seq": 1, "time_ns": 2, "pid": 3}, {"seq": "1", "time_ns": 2, "pid": 3, "event": "x"},
                                   {"seq": 1, "time_ns": 2, "pid": 3, "kind": "file", "action": {}, "decision": "maybe"}])  # fmt: skip
def test_other_json_is_no_record(plain: object) -> None:
    """Readers rely on the fields."""
    assert not is_record(plain)
