"""The terminal between the person and the agent: a pseudo-terminal for the agent, the real one for the guard.

Bytes are relayed both ways with bounded buffers; while a question is open the agent's output is kept, its keys are the person's to the
question, and what was typed before belongs to the agent. Nothing here blocks: the owner's loop asks for descriptors and deadlines and
calls back. What never enters: what a question says, who waits for it, processes and signals (the owner forwards SIGWINCH, stops and
continues; the keeper makes the slave the controlling terminal of the agent's session).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
import time
from collections.abc import Callable
from typing import Any, Self

from guard.core.screen import TAIL, Keys, Modes, unfinished
from guard.core.visible import sanitise

BUFFER = 64 * 1024  # bytes under way in one direction; a pipe's size in the kernel, enough for one screen of any agent
HELD = 1024 * 1024  # bytes of output kept during a question; beyond it the agent waits, as behind Ctrl-S
ESCAPE_S = 0.05  # seconds after which a lone ESC is the Escape key; what vim (ttimeoutlen) and readline users set
NUDGE_S = 0.05  # seconds between the two size changes: at once they would be one signal, and agents compare sizes
SHARED_CHUNK = 256  # bytes written at a time where the terminal's open file is shared and may block

_SIZE = struct.Struct("HHHH")
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)


class Terminal:
    """The real terminal, and the agent's. Made by `Terminal.open`; a context manager that restores the terminal at its end.

    `child_fds` are the descriptors for the agent's stdin, stdout and stderr: the slave where that descriptor is the terminal, None
    where it is something else and is inherited untouched. `slave` is the owner's, who closes it when the agent has it; the terminal
    keeps a copy, so that output is not lost while nobody has it open. `hung_up` tells that the real terminal is gone (EOF to every question).
    """

    def __init__(
        self, real: int, *, shared: bool, is_terminal: tuple[bool, bool, bool], clock: Callable[[], float]
    ) -> None:
        self._real = real
        self._shared = shared
        self._clock = clock
        self._saved = termios.tcgetattr(real)
        self._relays_keys = is_terminal[0] or is_terminal[1]
        self.master, self._slave = os.openpty()
        self.slave = os.dup(self._slave)
        os.set_blocking(self.master, False)
        self._copy_settings()
        stdin, stdout, stderr = (self.slave if yes else None for yes in is_terminal)
        self.child_fds: tuple[int | None, int | None, int | None] = (stdin, stdout, stderr)
        self._to_agent = bytearray()
        self._to_screen = bytearray()
        self._drawing = bytearray()
        self._lines: list[str] = []
        self._tail = b""
        self._modes = Modes()
        self._keys = Keys()
        self._keys_since = 0.0
        self._nudge_at: float | None = None
        self._raw = False
        self._suspended = False
        self._asking = False
        self._agent_gone = False
        self._closed = False
        self._owner = os.getpid()
        self.hung_up = False
        self.shown_at: float | None = None
        atexit.register(self.close)
        self._enter_raw()

    @classmethod
    def open(
        cls, fds: tuple[int, int, int] = (0, 1, 2), clock: Callable[[], float] = time.monotonic
    ) -> Terminal | None:
        """The terminal behind these descriptors, with a pseudo-terminal beside it; None where none of them is a terminal.

        Where they are different terminals, the first one counts and the others are inherited like files. Raises OSError where the
        terminal cannot be read or no pseudo-terminal can be made.
        """
        first = next((fd for fd in fds if os.isatty(fd)), None)
        if first is None:
            return None
        same = os.fstat(first).st_rdev
        is_terminal = tuple(os.isatty(fd) and os.fstat(fd).st_rdev == same for fd in fds)
        real, shared = _reopened(first)
        return cls(real, shared=shared, is_terminal=(is_terminal[0], is_terminal[1], is_terminal[2]), clock=clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # — the owner's loop —

    @property
    def asking(self) -> bool:
        """Whether a question has the screen."""
        return self._asking

    @property
    def can_ask(self) -> bool:
        """Whether a person would see a question now: not where the terminal is gone or belongs to another job."""
        return not (self.hung_up or self._closed or self.in_background)

    @property
    def in_background(self) -> bool:
        """Whether another job has the terminal: nothing is read then. Ask again within a second; no signal tells of its end."""
        try:
            return os.tcgetpgrp(self._real) != os.getpgrp()
        except OSError:
            return False

    def readable_fds(self) -> list[int]:
        """The descriptors to wait on for reading; changes with every call of any method here."""
        found = []
        if not self.hung_up and self._wants_keys() and not self._suspended and not self.in_background:
            self._enter_raw()
            found.append(self._real)
        if not self._agent_gone and len(self._to_screen) < (HELD if self._asking else BUFFER):
            found.append(self.master)
        return found

    def writable_fds(self) -> list[int]:
        """The descriptors to wait on for writing; changes with every call of any method here."""
        found = []
        if not self.hung_up and (self._drawing or (self._to_screen and not self._asking)):
            found.append(self._real)
        if self._to_agent and not self._agent_gone:
            found.append(self.master)
        return found

    def on_readable(self, fd: int) -> list[bytes]:
        """Reads once; gives the keys typed at an open question (one character or sequence each), else nothing."""
        if fd == self.master:
            self._read_agent()
            return []
        return self._read_person()

    def on_writable(self, fd: int) -> None:
        """Writes what the descriptor takes."""
        if fd == self.master:
            self._write_agent()
        else:
            self._write_screen()

    def timer(self) -> float | None:
        """When `on_timer` has to be called, in the clock's seconds; None where nothing is due."""
        due = [self._nudge_at] if self._nudge_at is not None else []
        if self._asking and self._keys.waiting:
            due.append(self._keys_since + ESCAPE_S)
        return min(due, default=None)

    def on_timer(self) -> list[bytes]:
        """Does what is due; gives keys like `on_readable`."""
        now = self._clock()
        if self._nudge_at is not None and now >= self._nudge_at:
            self._nudge_at = None
            self.resize()
        if self._asking and self._keys.waiting and now >= self._keys_since + ESCAPE_S:
            return self._keys.flush()
        return []

    # — size, stops, end —

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines of the real terminal; 80 × 24 where it does not say."""
        rows, columns, _, _ = self._real_size()
        return columns or 80, rows or 24

    def resize(self) -> None:
        """Gives the agent the real terminal's size: call it on SIGWINCH. The kernel tells the agent's foreground processes."""
        self._set_size(self._real_size())

    def suspend(self) -> None:
        """Before the guard itself stops: a question leaves the screen, the terminal gets its own settings back."""
        if self._asking:
            self._drawing += self._modes.leave()
        self.flush()
        self._suspended = True
        self._leave_raw()

    def resume(self) -> None:
        """After the guard was continued: raw again where it is in the foreground; an open question has to be drawn again."""
        self._suspended = False
        self.resize()
        self._enter_raw()
        if self._asking:
            self._drawing += self._modes.enter()
            self._write_screen()

    def flush(self, limit_s: float = 1.0) -> None:
        """Writes out what is meant for the screen, and what the agent left in its terminal; gives up where the terminal takes nothing.

        The one call here that may wait, for stops and the end.
        """
        import select

        end = time.monotonic() + limit_s  # a real wait, whatever clock the owner has
        while not self.hung_up and time.monotonic() < end:
            if not self._asking and not self._agent_gone and len(self._to_screen) < BUFFER:
                self._read_agent()
            if not (self._drawing or (self._to_screen and not self._asking)):
                return
            if select.select([], [self._real], [], 0.05)[1]:
                self._write_screen()

    def keep_settings(self) -> None:
        """COMMAND ended by itself: `close` will put the settings it left on its terminal on the real one, as if there were no guard.

        That is what makes `guard run -- stty -echo` work. To be called before the keeper ends: the kernel then resets the slave.
        """
        if self._relays_keys:
            with contextlib.suppress(OSError, termios.error):
                self._saved = termios.tcgetattr(self._slave)

    def close(self) -> None:
        """Ends everything and restores the terminal; may be called again, and is at the interpreter's exit. Forked copies leave it alone."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        atexit.unregister(self.close)
        try:
            self.end_question()
            self.flush()
            self._say_lines()
            self.flush()
        finally:
            self._leave_raw()
            for fd in (self.master, self._slave, self._real):
                os.close(fd)

    # — questions —

    def begin_question(self) -> None:
        """Takes the screen: what was typed until now goes to the agent, its further output is kept, keys come to the owner."""
        if self._asking:
            return
        self._take_type_ahead()
        self._asking = True
        self._keys = Keys()
        self.shown_at = None
        # CAN ends a sequence the agent has begun; `end_question` sends its beginning again before the rest.
        self._drawing += (b"\x18" if unfinished(self._tail) else b"") + self._modes.enter()
        self._enter_raw()

    def draw(self, data: bytes, *, fresh: bool) -> None:
        """Output of the question. `fresh` is its first drawing: `shown_at` is None until the terminal has taken all of that.

        A redraw of which the terminal takes nothing is dropped.
        """
        if fresh:
            self.shown_at = None
        if self._asking and (fresh or not self._drawing):
            self._drawing += data
            self._write_screen()

    def end_question(self) -> None:
        """Gives the screen back: the main screen as it was, then what the agent wrote meanwhile; full-screen programs repaint."""
        if not self._asking:
            return
        self._asking = False
        held = unfinished(self._tail)
        self._drawing += self._modes.leave()
        self._to_screen[:0] = held
        self._tail = self._tail[: len(self._tail) - len(held)]
        if not self._relays_keys:
            self._leave_raw()
        self._nudge()
        self._write_screen()

    def type(self, data: bytes) -> None:
        """Hands keys on to the agent: those of a question that turned out to be meant for it."""
        self._to_agent += data
        self._write_agent()

    def say(self, text: str) -> None:
        """A line of the guard's own, made visible; shown at once between the agent's lines, later where the agent owns the whole screen."""
        self._lines.append(sanitise(text))
        self._say_lines()

    # — inside —

    def _wants_keys(self) -> bool:
        return (self._relays_keys or self._asking) and len(self._to_agent) < BUFFER

    def _read_agent(self) -> None:
        try:
            data = os.read(self.master, BUFFER)
        except BlockingIOError:
            return
        except OSError as problem:
            if problem.errno != errno.EIO:
                raise
            data = b""  # EIO: the session of the slave is over
        if not data:
            self._agent_gone = True
            return
        self._to_screen += data
        if not self._asking:
            self._write_screen()

    def _read_person(self) -> list[bytes]:
        data = self._read_real()
        if not data:
            return []
        if not self._asking:
            self.type(data)
            return []
        self._keys_since = self._clock()
        keys, reports = self._keys.feed(data)
        if reports:
            self.type(reports)
        return keys

    def _read_real(self) -> bytes:
        try:
            data = os.read(self._real, BUFFER)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""  # hung up, or no longer our terminal
        if not data:
            self.hung_up = True
        return data

    def _take_type_ahead(self) -> None:
        if not self._relays_keys or self.hung_up or self.in_background:
            return
        import select

        while len(self._to_agent) < BUFFER and select.select([self._real], [], [], 0)[0]:
            data = self._read_real()
            if not data:
                return
            self._to_agent += data
        self._write_agent()

    def _write_agent(self) -> None:
        if self._agent_gone or not self._to_agent:
            return
        with contextlib.suppress(BlockingIOError):
            try:
                del self._to_agent[: os.write(self.master, self._to_agent)]
            except OSError as problem:
                if problem.errno != errno.EIO:
                    raise
                self._agent_gone = True

    def _write_screen(self) -> None:
        if self._drawing:
            self._write_real(self._drawing)
            if self._drawing:
                return
            if self._asking and self.shown_at is None:
                self.shown_at = self._clock()
        if self._to_screen and not self._asking:
            sent = self._write_real(self._to_screen)
            self._modes.feed(sent)
            self._tail = (self._tail + sent)[-TAIL:]
            self._say_lines()

    def _write_real(self, data: bytearray) -> bytes:
        try:
            count = os.write(self._real, data[:SHARED_CHUNK] if self._shared else data)
        except BlockingIOError:
            return b""
        except OSError:
            self.hung_up = True
            count = len(data)
        sent = bytes(data[:count])
        del data[:count]
        return sent

    def _say_lines(self) -> None:
        if (
            not self._lines
            or self._asking
            or self._to_screen
            or unfinished(self._tail)
            or (self._modes.alternate and not self._closed)
        ):
            return
        fresh = b"" if not self._tail or self._tail.endswith(b"\n") else b"\r\n"
        text = "".join(f"{line}\r\n" for line in self._lines)
        self._lines.clear()
        self._tail = b"\n"
        self._drawing += fresh + text.encode("utf-8", "backslashreplace")
        self._write_screen()

    def _nudge(self) -> None:
        """Makes programs that draw the screen themselves do it again: a width of one column less, and in a moment the right one.

        Programs that read lines have nothing to repaint: the main screen came back whole.
        """
        try:
            draws = self._modes.alternate or not termios.tcgetattr(self.master)[_LFLAG] & termios.ICANON
            rows, columns, width, height = self._real_size()
            if draws and columns > 1:
                self._set_size((rows, columns - 1, width, height))
                self._nudge_at = self._clock() + NUDGE_S
        except (OSError, termios.error):
            self._agent_gone = True

    def _real_size(self) -> tuple[int, int, int, int]:
        try:
            rows, columns, width, height = _SIZE.unpack(fcntl.ioctl(self._real, termios.TIOCGWINSZ, bytes(_SIZE.size)))
        except OSError:
            return 0, 0, 0, 0
        return rows, columns, width, height

    def _set_size(self, size: tuple[int, int, int, int]) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, _SIZE.pack(*size))

    def _copy_settings(self) -> None:
        settings = termios.tcgetattr(self._real)
        if not self._relays_keys:
            settings[_OFLAG] &= ~termios.OPOST  # the real terminal stays as it is and does this once
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)
        self._set_size(self._real_size())

    def _enter_raw(self) -> None:
        if self._raw or not (self._relays_keys or self._asking) or self.in_background:
            return
        raw: list[Any] = termios.tcgetattr(self._real)
        raw[_IFLAG] &= ~(
            termios.IGNBRK
            | termios.BRKINT
            | termios.PARMRK
            | termios.ISTRIP
            | termios.INLCR
            | termios.IGNCR
            | termios.ICRNL
            | termios.IXON
            | termios.IXOFF
        )
        raw[_OFLAG] &= ~termios.OPOST
        raw[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[_CFLAG] = raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[_CC][termios.VMIN], raw[_CC][termios.VTIME] = 1, 0
        self._raw = self._set(raw)

    def _leave_raw(self) -> None:
        if self._raw and self._set(self._saved):
            self._raw = False

    def _set(self, settings: list[Any]) -> bool:
        """Puts settings on the real terminal; from the background too (SIGTTOU held back), as a shell that lost its job would."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self._real, termios.TCSANOW, settings)
        except (OSError, termios.error):
            return False  # hung up
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return True


def _reopened(fd: int) -> tuple[int, bool]:
    """A descriptor of this terminal for the guard, and whether its open file is shared with others.

    Opened anew, so that O_NONBLOCK does not reach the shell and everyone else who has the same open file; where the terminal belongs
    to somebody else (after su) only a copy can be had, which stays blocking.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK), False
    except OSError:
        return os.dup(fd), True
