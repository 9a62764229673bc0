"""A guard of nothing but a terminal, for the tests: runs COMMAND behind `Terminal` and `Prompt` in a selectors loop.

    driver.py FOLDER COMMAND [ARG…]

A question is asked for every file `FOLDER/ask-N` that appears; its first line is the path in the question, its second the deadline in
seconds. The answer is written to `FOLDER/answer-N`. The keeper of the real guard is played by a child that makes the slave its
controlling terminal and reports stops.
"""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import sys
import termios
import time
from pathlib import Path

from guard.core.actions import FileAction
from guard.core.questions import Answer, Question
from guard.core.verdicts import Decision, Verdict
from guard.terminal import Terminal
from guard_cli.prompt import Prompt

ASK = Verdict(
    decision=Decision.ASK,
    rules=("default/write-elsewhere",),
    because="this is outside of the workspace",
    source="default",
)


def start(terminal: Terminal, command: list[str]) -> int:
    """Runs the command on the slave, in a session of its own whose leader waits for it; the leader's process number."""
    leader = os.fork()
    if leader == 0:
        os.setsid()
        fcntl.ioctl(terminal.slave, termios.TIOCSCTTY, 0)
        for number, fd in enumerate(terminal.child_fds):
            if fd is not None:
                os.dup2(fd, number)
        agent = os.fork()
        if agent == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(terminal.slave, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
            os.execvp(command[0], command)
        lead(agent)
    os.close(terminal.slave)
    return leader


def lead(agent: int) -> None:
    """The keeper: stops itself where the agent stops, so that the driver sees it; continues the agent when it is continued."""
    while True:
        _, status = os.waitpid(agent, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        os.kill(os.getpid(), signal.SIGSTOP)
        os.killpg(agent, signal.SIGCONT)


class Driver:
    """The loop."""

    def __init__(self, terminal: Terminal, folder: Path, leader: int) -> None:
        self.terminal = terminal
        self.prompt = Prompt(terminal, time.monotonic)
        self.folder = folder
        self.leader = leader
        self.asked: set[str] = set()
        self.status: int | None = None
        self.wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGWINCH, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def run(self) -> int:
        """Until the command has ended; its status."""
        while self.status is None:
            self.turn()
        self.terminal.close()
        return self.status

    def turn(self) -> None:
        with selectors.DefaultSelector() as selector:
            fds = dict.fromkeys([*self.terminal.readable_fds(), self.wake], selectors.EVENT_READ)
            for fd in self.terminal.writable_fds():
                fds[fd] = fds.get(fd, 0) | selectors.EVENT_WRITE
            for fd, events in fds.items():
                selector.register(fd, events)
            due = [t for t in (self.terminal.timer(), self.prompt.timer()) if t is not None]
            ready = selector.select(max(0.0, min([t - time.monotonic() for t in due] + [0.1])))
        for key, events in ready:
            self.serve(key.fd, events)
        for typed in self.terminal.on_timer():
            self.key(typed)
        timer = self.prompt.timer()
        if timer is not None and any(t <= time.monotonic() for t in due):
            for answer in self.prompt.on_timer():
                self.answer(answer)
        if self.terminal.hung_up:
            for answer in self.prompt.close():
                self.answer(answer)
            self.status = 129
        self.look()

    def serve(self, fd: int, events: int) -> None:
        if fd == self.wake:
            for number in os.read(self.wake, 100):
                self.signal(number)
            return
        if events & selectors.EVENT_READ:
            for typed in self.terminal.on_readable(fd):
                self.key(typed)
        if events & selectors.EVENT_WRITE:
            self.terminal.on_writable(fd)

    def key(self, typed: bytes) -> None:
        answer = self.prompt.on_key(typed)
        if answer is not None:
            self.answer(answer)

    def signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.terminal.resize()
            self.prompt.redraw()
            return
        pid, status = os.waitpid(self.leader, os.WUNTRACED | os.WNOHANG)
        if pid == 0:
            return
        if os.WIFSTOPPED(status):
            self.terminal.suspend()
            os.kill(os.getpid(), signal.SIGSTOP)
            self.terminal.resume()
            self.prompt.redraw()
            os.kill(self.leader, signal.SIGCONT)
        else:
            self.status = os.waitstatus_to_exitcode(status) & 0xFF

    def look(self) -> None:
        for file in sorted(self.folder.glob("ask-*")):
            if file.name not in self.asked:
                self.asked.add(file.name)
                path, deadline, *_ = file.read_text("utf-8", "surrogateescape").split("\n")
                action = FileAction(op="write", path=path.replace("\\n", "\n"))
                facts = (("leaves the workspace", "yes"), ("can be undone", "no"))
                self.prompt.open(
                    Question(
                        id=file.name,
                        action=action,
                        verdict=ASK,
                        facts=facts,
                        lineage=("agent", "sh"),
                        deadline_s=float(deadline),
                    )
                )

    def answer(self, answer: Answer) -> None:
        out = self.folder / answer.question.replace("ask", "answer")
        out.with_suffix(".tmp").write_text(f"{answer.decision.word} {answer.scope} {answer.by}")
        out.with_suffix(".tmp").rename(out)


def main() -> int:
    folder, *command = sys.argv[1:]
    terminal = Terminal.open()
    if terminal is None:
        return os.waitstatus_to_exitcode(os.spawnvp(os.P_WAIT, command[0], command))
    with terminal:
        return Driver(terminal, Path(folder), start(terminal, command)).run()


if __name__ == "__main__":
    sys.exit(main())
