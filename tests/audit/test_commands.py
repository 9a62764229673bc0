"""`guard log` and `guard show`, compared whole; what an agent wrote cannot draw, and wrong calls say what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guard import audit
from guard.core.actions import ExecAction, FileAction, NetworkAction
from guard.core.evidence import Record, SessionEvent, line
from guard.core.verdicts import Decision, Verdict
from guard_cli.main import main
from tests.terminal.screen import Seen

START_NS = 1_795_262_400_123_456_789
ALLOW = Verdict(decision=Decision.ALLOW, rules=("default/files",), because="reads are allowed", source="default")
BLOCK = Verdict(decision=Decision.BLOCK, rules=("default/metadata",), because="no one means this\x1b[2J")
ASKED = Verdict(decision=Decision.ASK, rules=("default/elsewhere",), because="outside of the workspace")
TABLE = """\
 time           pid   decision   rule                what                     because
 ────────────────────────────────────────────────────────────────────────────────────────
 12:00:00.127   11    ask        default/elsewhere   rm -rf /x                outside of
                                                                              the
                                                                              workspace
 12:00:00.128   11    block      default/metadata    tcp 169.254.169.254:80   no one
                                                                              means
                                                                              this\\x1b[2J"""
RAW = os.fsdecode(b"/p/\xff\n\x1b[H")


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of day are the same everywhere."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def session(state_folder: Path) -> str:
    """A session with one of everything."""
    state = audit.state_folder(os.environ)
    name, alive = audit.new_session(state, time_ns=START_NS)
    os.close(alive)
    fd = audit.open_evidence(state, name)
    number = 0

    def add(pid: int, what: SessionEvent | Record) -> None:
        nonlocal number
        number += 1
        audit.append(fd, line(what))

    def at() -> int:
        return START_NS + number * 1_000_000

    add(
        1,
        SessionEvent(
            seq=1,
            time_ns=at(),
            pid=1,
            event="start",
            command=("agent", "-p", "do it"),
            cwd="/p",
            task="do it\n\x1b[2J",
            policy="sha256:aa",
        ),
    )
    add(
        10,
        SessionEvent(
            seq=2, time_ns=at(), pid=10, event="exec", ppid=1, exe="/bin/agent", command=("agent", "-p", "do it")
        ),
    )
    add(10, Record(seq=3, time_ns=at(), pid=10, action=FileAction(op="read", path=RAW), verdict=ALLOW))
    add(
        11,
        SessionEvent(
            seq=4, time_ns=at(), pid=11, event="exec", ppid=10, exe="/bin/sh", command=("sh", "-c", "x\n\x1b[H")
        ),
    )
    add(11, Record(seq=5, time_ns=at(), pid=11, action=ExecAction(command="rm -rf /x"), verdict=ASKED))
    connect = NetworkAction(address="169.254.169.254", port=80, protocol="tcp")
    add(11, Record(seq=6, time_ns=at(), pid=11, action=connect, verdict=BLOCK))
    add(11, SessionEvent(seq=7, time_ns=at(), pid=11, event="exit", status=1))
    add(1, SessionEvent(seq=8, time_ns=at(), pid=1, event="end", status=0))
    os.close(fd)
    return name


def test_log(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every decision of the last session, a line each."""
    assert main(["log"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "time          pid  decision  by       rule               what                    because\n"
        "12:00:00.125  10   allow     default  default/files      read /p/\\xff\\n\\x1b[H    reads are allowed\n"
        "12:00:00.127  11   ask       rule     default/elsewhere  rm -rf /x               outside of the workspace\n"
        "12:00:00.128  11   block     rule     default/metadata   tcp 169.254.169.254:80  no one means this\\x1b[2J\n"
    )


def test_log_of_some(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Filters, and what a limit leaves out is said."""
    assert main(["log", "--decision", "block", "--session", session[:8]]) == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert main(["log", "--limit", "1", "--session", "all"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith(f"{session}  12:00:00.128")
    assert err == "guard log: the last 1 of 3 are shown; `--limit 0` shows all\n"
    assert main(["log", "--kind", "sql"]) == 0
    assert capsys.readouterr() == ("", "guard log: no decision matches\n")


def test_log_as_json(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything that was recorded, a JSON object a line, names exact."""
    assert main(["log", "--json"]) == 0
    rows = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [row["row"] for row in rows] == list(range(1, 9))
    assert {row["session"] for row in rows} == {session}
    assert os.fsencode(rows[2]["action"]["path"]) == b"/p/\xff\n\x1b[H"
    assert main(["log", "--json", "--decision", "block"]) == 0
    assert json.loads(capsys.readouterr().out)["action"]["address"] == "169.254.169.254"


def test_verify(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Says for each session whether its rows fit."""
    assert main(["log", "--verify"]) == 0
    assert capsys.readouterr().out == f"{session}: every row follows from the one before\n"


def test_show(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One page: head, tree, counts, what was stopped."""
    assert main(["show", "last"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        f"session {session}\n"
        "  command  agent -p do it\n"
        "  folder   /p\n"
        "  task     do it\\n\\x1b[2J\n"
        "  policy   sha256:aa\n"
        "  began    2026-11-21 12:00:00\n"
        "  ended    2026-11-21 12:00:00 with status 0 after 0.0 s\n"
        "\n"
        "  10 agent -p do it [1 allow]\n"
        "    11 sh -c x\\n\\x1b[H [1 ask, 1 block, status 1]\n"
        "\n"
        "kind     allow  ask  block\n"
        "exec     0      1    0\n"
        "file     1      0    0\n"
        "network  0      0    1\n"
        "\n"
        "blocked or asked: 2\n"
        "time          pid  decision  rule               what                    because\n"
        "12:00:00.127  11   ask       default/elsewhere  rm -rf /x               outside of the workspace\n"
        "12:00:00.128  11   block     default/metadata   tcp 169.254.169.254:80  no one means this\\x1b[2J\n"
    )


def test_show_of_a_killed_session(state_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That there was no end is said; damaged lines are counted; process numbers that come back are other processes."""
    state = audit.state_folder(os.environ)
    name, alive = audit.new_session(state)
    fd = audit.open_evidence(state, name)
    for event in (
        SessionEvent(seq=1, time_ns=1, pid=5, event="exec", exe="/bin/a"),
        SessionEvent(seq=2, time_ns=1, pid=5, event="exit", status=0),
        SessionEvent(seq=3, time_ns=1, pid=5, event="exec", exe="/bin/b"),
        SessionEvent(seq=4, time_ns=1, pid=5, event="note", text="a note\n"),
    ):
        audit.append(fd, line(event))
    audit.append(fd, b"garbage\n")
    os.close(fd)
    assert main(["show", name]) == 0
    assert "  running  yes\n" in capsys.readouterr().out
    os.close(alive)
    assert main(["show", name]) == 0
    assert capsys.readouterr().out == (
        f"session {name}\n"
        "  ended    without a word: its guard was killed\n"
        "  note     a note\\n\n"
        "  damaged  1 lines of the evidence could not be read (`guard log --json` shows them)\n"
        "\n"
        "  5 /bin/a\n"
        "  5 /bin/b\n"
        "\n"
        "nothing was blocked or asked\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["log"], "guard log: there are no sessions in `{state}` yet; start one with `guard run -- COMMAND`"),
        (["show", "x"], "guard show: there are no sessions in `{state}` yet; start one with `guard run -- COMMAND`"),
        (["log", "--follow", "--session", "all"], "guard log: `--follow` follows one session: give `--session ID`"),
    ],
)
def test_wrong_use(state_folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """One line on stderr that says what to do, status 2."""
    assert main(words) == 2
    assert capsys.readouterr() == ("", message.format(state=state_folder) + "\n")


def test_wrong_values(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A limit below zero; words that are no decision or kind."""
    assert main(["log", "--limit", "-1"]) == 2
    assert capsys.readouterr().err == "guard log: `--limit -1`: give a number of rows, or 0 for all\n"
    for words in (["--decision", "maybe"], ["--kind", "shell"], ["--limit", "x"]):
        with pytest.raises(SystemExit) as raised:
            main(["log", *words])
        assert raised.value.code == 2


def test_follow(state_folder: Path, child_env: dict[str, str]) -> None:
    """Shows what comes, and ends with the session."""
    state = audit.state_folder(os.environ)
    name, alive = audit.new_session(state)
    fd = audit.open_evidence(state, name)
    audit.append(
        fd, line(Record(seq=1, time_ns=START_NS, pid=1, action=FileAction(op="read", path="/one"), verdict=ALLOW))
    )
    command = [sys.executable, "-m", "guard_cli", "log", "--follow", "--session", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_env) as follower:
        assert follower.stdout is not None
        assert "/one" in follower.stdout.readline() + follower.stdout.readline()
        audit.append(
            fd, line(Record(seq=2, time_ns=START_NS, pid=1, action=FileAction(op="read", path="/two\n"), verdict=BLOCK))
        )
        assert (
            follower.stdout.readline()
            == "12:00:00.123  1  block  rule  default/metadata  read /two\\n  no one means this\\x1b[2J\n"
        )
        os.close(fd)
        os.close(alive)
        assert follower.stdout.read() == ""
        assert follower.wait() == 0


def test_follow_ends_by_ctrl_c(state_folder: Path, child_env: dict[str, str]) -> None:
    """With the status of an interrupted program."""
    name, alive = audit.new_session(audit.state_folder(os.environ))
    command = [sys.executable, "-m", "guard_cli", "log", "--follow", "--session", name]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=child_env) as follower:
        assert follower.stderr is not None
        assert follower.stderr.readline() == "guard log: nothing was decided yet\n"
        follower.send_signal(signal.SIGINT)
        assert follower.wait() == 130
    os.close(alive)


def test_a_table_on_a_terminal(session: str, state_folder: Path, tmp_path: Path) -> None:
    """Lines and colours, nothing cut, nothing of the agent's drawn."""
    seen = Seen(
        ["env", f"GUARD_HOME={state_folder}", "TZ=UTC", sys.executable, "-m", "guard_cli", "show", session],
        tmp_path,
        columns=90,
        rows=40,
    )
    try:
        assert seen.end() == 0
        seen.read(0.1)
        assert seen.lines[0] == f"session {session}"
        assert seen.text.partition("asked: 2\n\n")[2] == TABLE
        assert b"\x1b[31mblock" in seen.raw
    finally:
        seen.stop()
