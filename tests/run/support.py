"""Running `guard run` from tests: the command, its environment, and what is left of its tree."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GUARD = (sys.executable, "-m", "guard_cli")
PATIENCE_S = 20.0  # bounds a wait that fails


def guard_run(*words: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """`guard run --no-model WORDS` to its end, without a terminal; everything it said as text."""
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False}
    return subprocess.run([*GUARD, "run", "--no-model", *words], timeout=60, **(settings | kwargs))


@contextmanager
def started(*words: str, **kwargs: Any) -> Iterator[subprocess.Popen[bytes]]:
    """`guard run --no-model WORDS`, running; ended when the block is left."""
    settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*GUARD, "run", "--no-model", *words], **(settings | kwargs)) as guard:
        try:
            yield guard
        finally:
            if guard.poll() is None:
                guard.terminate()
                time.sleep(0.2)
                guard.kill()


def until(holds: Callable[[], bool]) -> None:
    """Waits until this holds."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def written(file: Path) -> str:
    """Waits until something is in the file; what it is."""
    until(lambda: file.exists() and file.stat().st_size > 0)
    return file.read_text()


def carrying(mark: str) -> list[int]:
    """The processes whose command line contains this."""
    found = []
    for pid in _numbers():
        try:
            if mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and not _is_dead(pid):
                found.append(pid)
        except OSError:
            continue
    return found


def children(pid: int) -> list[int]:
    """The processes whose parent is this one."""
    found = []
    for number in _numbers():
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(number)
    return found


def _numbers() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _is_dead(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
