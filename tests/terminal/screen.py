"""What a person sees: a program on a pseudo-terminal, its output on an emulated screen of fixed size.

The emulator is pyte; the alternate screen (mode 1049), which it lacks, is added here. What never enters: what is expected.
"""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pyte

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")
COLUMNS, ROWS = 72, 20
PATIENCE_S = 20.0  # bounds a wait that fails; nothing waits this long in a good run


class Emulator(pyte.Screen):
    """pyte's screen with xterm's mode 1049: cursor and screen are kept, and come back."""

    kept: tuple[Any, Any] | None = None

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        """As pyte's, and 1049."""
        if 1049 in modes and kwargs.get("private") and self.kept is None:
            self.kept = (copy.deepcopy(self.buffer), copy.copy(self.cursor))
            self.erase_in_display(2)
        super().set_mode(*modes, **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        """As pyte's, and 1049."""
        if 1049 in modes and kwargs.get("private") and self.kept is not None:
            self.buffer, self.cursor = self.kept
            self.kept = None
            self.dirty.update(range(self.lines))
        super().reset_mode(*modes, **kwargs)

    def select_graphic_rendition(self, *attrs: int, **kwargs: Any) -> None:
        """As pyte's; xterm's `CSI ? … m` (a question about key modifiers) changes nothing."""
        if not kwargs.get("private"):
            super().select_graphic_rendition(*attrs)


class Seen:
    """A running program and its screen."""

    def __init__(self, command: list[str], folder: Path, *, columns: int = COLUMNS, rows: int = ROWS) -> None:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm", "PS1": "$ ", "LC_ALL": "C.UTF-8", "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
        }  # fmt: skip
        self.screen = Emulator(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.program: Any = pexpect.spawn(
            command[0], command[1:], cwd=str(folder), dimensions=(rows, columns), env=environment, echo=True
        )

    @property
    def lines(self) -> list[str]:
        """The screen, without spaces at the right."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        """The screen without the empty lines at its end."""
        return "\n".join(self.lines).rstrip("\n")

    def type(self, keys: str | bytes) -> None:
        """Types these keys."""
        self.program.send(keys)

    def until(self, seen: Callable[[], bool]) -> None:
        """Reads until this holds; fails with the screen after `PATIENCE_S`."""
        end = time.monotonic() + PATIENCE_S
        while not seen():
            assert time.monotonic() < end, f"this never came, the screen is\n{self.text}"
            self.read()

    def until_text(self, text: str) -> None:
        """Reads until this text is on the screen."""
        self.until(lambda: text in self.text)

    def read(self, timeout: float = 0.05) -> None:
        """Reads what there is."""
        try:
            data = self.program.read_nonblocking(65536, timeout=timeout)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            if self.program.isalive():
                time.sleep(0.01)
            return
        self.raw += data
        self._stream.feed(data)

    def resize(self, columns: int, rows: int) -> None:
        """Changes the size as a window does."""
        self.screen.resize(rows, columns)
        self.program.setwinsize(rows, columns)

    def end(self) -> int:
        """Reads until the program has ended; its exit status, negative for a signal."""
        self.until(lambda: not self.program.isalive())
        self.read(0)
        return -self.program.signalstatus if self.program.signalstatus else int(self.program.exitstatus)

    def stop(self) -> None:
        """Ends the program if it still runs."""
        if self.program.isalive():
            self.program.kill(signal.SIGKILL)
        self.program.close(force=True)


def driven(folder: Path, *command: str) -> list[str]:
    """The command line that runs this behind the driver, with its questions in `folder`."""
    return [sys.executable, str(DRIVER), str(folder), *command]


def ask(folder: Path, number: int, path: str, deadline_s: float = 60) -> None:
    """Has the driver ask about writing this path."""
    (folder / f".ask-{number}").write_text(f"{path}\n{deadline_s}\n", "utf-8", "surrogateescape")
    (folder / f".ask-{number}").rename(folder / f"ask-{number}")


def answer(folder: Path, number: int) -> str | None:
    """What was answered; None where nothing is yet."""
    file = folder / f"answer-{number}"
    return file.read_text() if file.exists() else None
