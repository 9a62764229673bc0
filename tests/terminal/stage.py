"""A terminal with a person at one end and an agent at the other, in this process, on real pseudo-terminals; time moves by hand."""

from __future__ import annotations

import os
import select
import termios

from guard.terminal import Terminal


class Stage:
    """A terminal with a person at one end and an agent at the other; time stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.person, self.line = os.openpty()
        os.set_blocking(self.person, False)
        termios.tcsetwinsize(self.line, (24, 80))
        self.before = termios.tcgetattr(self.line)
        terminal = Terminal.open((self.line, self.line, self.line), clock=lambda: self.now)
        assert terminal is not None
        self.terminal = terminal
        self.agent = terminal.slave
        os.set_blocking(self.agent, False)

    def turn(self) -> list[bytes]:
        """Serves all that is ready, until nothing is; the keys typed at a question."""
        keys: list[bytes] = []
        while True:
            readable, writable, _ = select.select(self.terminal.readable_fds(), self.terminal.writable_fds(), [], 0.005)
            if not readable and not writable:
                return keys
            for fd in readable:
                keys += self.terminal.on_readable(fd)
            for fd in writable:
                self.terminal.on_writable(fd)

    def type(self, data: bytes) -> list[bytes]:
        """The person types; gives the keys for a question."""
        os.write(self.person, data)
        return self.turn()

    def shown(self) -> bytes:
        """What the person's terminal has been sent since the last call."""
        self.turn()
        data = b""
        while select.select([self.person], [], [], 0.005)[0]:
            data += os.read(self.person, 65536)
            self.turn()
        return data

    def got(self) -> bytes:
        """What the agent has been sent since the last call."""
        self.turn()
        try:
            return os.read(self.agent, 65536)
        except BlockingIOError:
            return b""

    def raw_agent(self) -> None:
        """The agent reads keys, not lines."""
        settings = termios.tcgetattr(self.agent)
        settings[1] &= ~termios.OPOST
        settings[3] &= ~(termios.ICANON | termios.ECHO | termios.ISIG)
        termios.tcsetattr(self.agent, termios.TCSANOW, settings)

    def shown_at(self) -> float | None:
        """When the question stood on the screen."""
        return self.terminal.shown_at
