"""Attacks on the guard itself, each in a session of its own: what is left running, and whether the rest of the tree is still answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.guarded import Installation, User, World, guard_command, readable_installation, scratch_world, users

HERE = Path(__file__).parent
WAIT_S = 8.0  # the end of a tree takes milliseconds; a loaded machine may need seconds

BUSY = """
print(json.dumps([os.getpid(), *guards()]), flush=True)
while True:
    time.sleep(0.05)
"""
GROUP = """
if os.fork() == 0:
    os.setsid()
    print(json.dumps([os.getpid(), *guards_of(os.getppid())]), flush=True)
    while True:
        time.sleep(0.05)
time.sleep(0.5)
os.setpgid(0, keeper())
os.kill(0, signal.SIGKILL)
"""
FIFO = """
os.mkfifo(".env")
if os.fork() == 0:
    open(".env").read()
    os._exit(0)
time.sleep(1)
print(json.dumps([os.getpid(), os.path.exists("/"), len(os.listdir("/"))]), flush=True)
"""


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with readable_installation() as made:
        yield made


@contextmanager
def _started(installation: Installation, world: World, program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A guarded program, ended with everything it left."""
    text = (
        (HERE / "kit.py").read_text()
        + "\ndef guards_of(_):\n    first = os.getsid(os.getppid())\n    return [first]\n"
        + program
    )
    path = world.folder / "program.py"
    path.write_text(text)
    process = subprocess.Popen(
        [*world.user.prefix, *guard_command(installation, world.workspace, None), "/usr/bin/python3", "-I", str(path)],
        cwd=world.workspace,
        env=world.environ({"ROW": "alone", "OUTSIDE": "{}"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(WAIT_S)
        assert process.stdout is not None
        process.stdout.close()


def _line(process: subprocess.Popen[bytes]) -> list[int]:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())  # type: ignore[no-any-return]


def _ends(pid: int) -> bool:
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in ("Z", "X"):
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("user", users(), ids=lambda user: user.name)
@pytest.mark.parametrize(
    "which",
    [
        "keeper",
        "receiver",
        "runtime",
    ],
)
def test_no_free_orphan_when_a_process_of_the_guard_is_killed(
    installation: Installation, user: User, which: str
) -> None:
    """kill -9 of any one of them ends the agent's tree."""
    with scratch_world(user) as world, _started(installation, world, BUSY) as process:
        agent, *guards = _line(process)
        try:
            os.kill(guards[["keeper", "receiver", "runtime"].index(which)], signal.SIGKILL)
            assert _ends(agent)
        finally:
            _kill(agent)


@pytest.mark.parametrize("user", users(), ids=lambda user: user.name)
def test_the_keeper_cannot_be_killed_by_its_own_group(installation: Installation, user: User) -> None:
    """setpgid into the keeper's group, then kill(0): the sibling that stayed behind must not be set free."""
    with scratch_world(user) as world, _started(installation, world, GROUP) as process:
        sibling, _ = _line(process)
        try:
            assert _ends(sibling)
        finally:
            _kill(sibling)


@pytest.mark.parametrize(
    "name",
    [
        "plain",
        ".env",
    ],
)
@pytest.mark.parametrize("user", users(), ids=lambda user: user.name)
def test_a_fifo_with_a_labelled_name_stops_nobody_else(installation: Installation, user: User, name: str) -> None:
    """`.env` is labelled and so looked into; as a FIFO it must not hold the receiver."""
    with scratch_world(user) as world, _started(installation, world, FIFO.replace(".env", name)) as process:
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        until = time.monotonic() + WAIT_S
        said = b""
        while not said and time.monotonic() < until:
            said = process.stdout.read() or b""
            time.sleep(0.05)
        assert said


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
