"""However a session ends, it ends as COMMAND did, and nothing of its tree is left."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest

from tests.run.support import carrying, children, guard_run, started, until, written

TREE = """
echo $$ > main
setsid sh -c 'echo $$ > daemon; : {mark}; while :; do sleep 1; done' < /dev/null > /dev/null 2>&1 &
(sh -c 'echo $$ > child; : {mark}; while :; do sleep 1; done' &)
nohup sh -c 'trap "" TERM INT HUP; echo $$ > stubborn; : {mark}; while :; do sleep 1; done' > /dev/null 2>&1 &
while [ ! -s daemon ] || [ ! -s child ] || [ ! -s stubborn ]; do sleep 0.05; done
echo ready > ready
{then}
"""


@pytest.fixture
def mark() -> str:
    """What the command lines of one tree carry."""
    return f"mark-{uuid.uuid4().hex}"


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
        ("nothing-here", 127),
        ("exit 125", 125),
    ],
)
def test_the_status_is_the_commands_own(script: str, status: int, tmp_path: Path) -> None:
    """128 + N where a signal ended it."""
    assert guard_run("--", "sh", "-c", script, cwd=tmp_path).returncode == status


@pytest.mark.parametrize("name", ["nothing-here", "./nothing-here", "/nothing/here"])
def test_a_command_that_is_not_there(name: str, tmp_path: Path) -> None:
    """127 and one line."""
    done = guard_run("--", name, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (127, "")
    assert done.stderr == f"guard: `{name}`: command not found\n"


def test_a_command_that_cannot_run(tmp_path: Path) -> None:
    """126 and one line: a plain file, a folder, a file of no format, a missing interpreter is 127 as with env."""
    (tmp_path / "plain").write_text("x")
    (tmp_path / "odd").write_bytes(b"\0\1\2")
    (tmp_path / "odd").chmod(0o755)
    (tmp_path / "orphan").write_text("#!/nothing/here\n")
    (tmp_path / "orphan").chmod(0o755)
    for name, status in (("./plain", 126), (".", 126), ("./odd", 126), ("./orphan", 127)):
        done = guard_run("--", name, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (status, ""), name
        assert len(done.stderr.splitlines()) == 1, done.stderr


def test_what_the_command_left_ends_with_it(tmp_path: Path, mark: str) -> None:
    """Children, daemons, and those that ignore signals."""
    assert guard_run("--", "sh", "-c", TREE.format(mark=mark, then="exit 3"), cwd=tmp_path).returncode == 3
    assert (tmp_path / "ready").exists()
    assert carrying(mark) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command(number: signal.Signals, tmp_path: Path, mark: str) -> None:
    """One that it does not handle ends it, and the tree with it."""
    script = TREE.format(mark=mark, then="while :; do sleep 1; done")
    with started("--", "sh", "-c", script, cwd=tmp_path) as guard:
        written(tmp_path / "ready")
        guard.send_signal(number)
        assert guard.wait(20) == 128 + number
    assert carrying(mark) == []


def test_a_handled_signal_is_the_commands(tmp_path: Path) -> None:
    """It decides how it ends."""
    script = "trap 'echo handled; exit 9' TERM; echo x > ready; while :; do sleep 0.05; done"
    with started("--", "sh", "-c", script, cwd=tmp_path) as guard:
        written(tmp_path / "ready")
        guard.send_signal(signal.SIGTERM)
        assert guard.communicate(timeout=20)[0] == b"handled\n"
    assert guard.returncode == 9


def test_an_ignored_hangup_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    script = "echo x > ready; while [ ! -e go ]; do sleep 0.05; done; echo lived"
    with started(
        "--", "sh", "-c", script, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ) as guard:
        written(tmp_path / "ready")
        guard.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        assert guard.communicate(timeout=20)[0] == b"lived\n"
    assert guard.returncode == 0


@pytest.mark.parametrize("victim", ["guard", "receiver", "keeper"])
def test_no_part_of_the_guard_can_be_killed_without_the_tree(victim: str, tmp_path: Path, mark: str) -> None:
    """kill -9 of any of its processes leaves nothing that runs free."""
    script = TREE.format(mark=mark, then="while :; do sleep 1; done")
    with started("--", "sh", "-c", script, cwd=tmp_path) as guard:
        written(tmp_path / "ready")
        command = int((tmp_path / "main").read_text())
        keeper = _parent(command)
        receiver = _parent(keeper)
        assert receiver in children(guard.pid)
        helpers = [pid for pid in children(receiver) if pid != keeper]
        os.kill({"guard": guard.pid, "receiver": receiver, "keeper": keeper}[victim], signal.SIGKILL)
        until(lambda: carrying(mark) == [])
        status = guard.wait(20)
    assert status == (-9 if victim == "guard" else 125)
    until(lambda: not any(_lives(pid) for pid in (command, keeper, receiver, *helpers)))


def test_a_command_that_forks_without_end_is_ended(tmp_path: Path, mark: str) -> None:
    """A tree that grows while it is being ended."""
    script = f": {mark}; f() {{ sleep 0.02; f & }}; f & f & f & sleep 1; exit 4"
    assert guard_run("--", "sh", "-c", script, cwd=tmp_path).returncode == 4
    assert carrying(mark) == []


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
