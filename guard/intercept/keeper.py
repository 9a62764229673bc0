"""The keeper: starts the agent in a session of its own, keeps its whole tree together, and ends it.

It is the parent of everything the agent starts (subreaper), holds no listener, and outlives nobody: when COMMAND ends, or the guard does, every
descendant is stopped, killed and reaped. It reports by lines on a pipe: `P pid` started, `S signal` stopped, `D` done (the terminal still has COMMAND's settings), `X status` ended (waitpid status),
`E errno text` where nothing was started.
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import select
import signal
import socket
import termios
import time
from dataclasses import dataclass
from typing import Final, NoReturn

from guard.intercept import kernel

_PASSES: Final = (
    200  # rounds of killing; a fork bomb is caught by stopping everything first, each round finds what was missed
)
NESTED: Final = "nested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What is started and with what.

    `path` is the resolved executable, `standard` the descriptors for stdin, stdout and stderr (None: inherited as they are), `terminal` the slave
    that becomes the controlling terminal (None: there is none), `filter` the BPF code, `privileged` whether the filter may be installed without
    no_new_privs.
    """

    path: str
    argv: tuple[str, ...]
    environ: dict[str, str]
    standard: tuple[int | None, int | None, int | None]
    terminal: int | None
    filter: bytes
    privileged: bool


def keep(launch: Launch, handover: socket.socket, report: int, lifelines: tuple[int, ...]) -> NoReturn:
    """What the keeper's process does. `handover` is where the agent's first process sends the listener, `lifelines` are read ends whose end
    of file means that the guard, or its receiver, is gone.
    """
    try:
        _keep(launch, handover, report, lifelines)
    except BaseException as problem:  # noqa: BLE001 - the end of this process: it says why
        _say(report, f"E 0 keeper: {problem}")
    os._exit(125)


def _keep(launch: Launch, handover: socket.socket, report: int, lifelines: tuple[int, ...]) -> NoReturn:
    os.setsid()
    for number in (
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGTSTP,
        signal.SIGTTOU,
        signal.SIGTTIN,
        signal.SIGUSR1,
    ):
        signal.signal(number, signal.SIG_IGN)
    kernel.be_subreaper()
    if launch.terminal is not None:
        fcntl.ioctl(launch.terminal, termios.TIOCSCTTY, 0)
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    agent = os.fork()
    if not agent:
        _start(launch, handover, report)
    if launch.terminal is not None:
        _to_foreground(launch.terminal, agent)
    _close_all_but(
        {report, wake_read, wake_write, *lifelines, *(() if launch.terminal is None else (launch.terminal,))}
    )
    kernel.be_unreadable()
    _say(report, f"P {agent}")
    status = _watch(agent, report, wake_read, lifelines)
    _say(report, "D")
    end_tree()
    if status is None:
        os._exit(125)
    _say(report, f"X {status}")
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _watch(agent: int, report: int, wake: int, lifelines: tuple[int, ...]) -> int | None:
    """Until the agent's first process has ended (its wait status) or a lifeline is cut (None)."""
    poll = select.poll()
    for descriptor in (wake, *lifelines):
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != wake:
                return None
        try:
            while os.read(wake, 512):
                pass
        except BlockingIOError:
            pass
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return None
            if pid == 0:
                break
            if pid != agent:
                continue
            if os.WIFSTOPPED(status):
                _say(report, f"S {os.WSTOPSIG(status)}")
            else:
                return status


def end_tree(spare: int = 0) -> None:
    """Stops, kills and reaps every descendant of this subreaper, until there is none but `spare`, which is left to end by itself."""
    for _ in range(_PASSES):
        if _reaped():
            return
        members = [pid for pid in _descendants(os.getpid()) if pid != spare]
        if spare and not members:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in members:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
        if _reaped():
            return
        time.sleep(0.002)


def _reaped() -> bool:
    """Takes what has ended; True where nothing is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def _descendants(top: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    parents[int(name)] = int(stat.read().rsplit(b")", 1)[1].split()[1])
            except OSError:
                continue
    found: list[int] = []
    layer = {top}
    while layer:
        layer = {pid for pid, parent in parents.items() if parent in layer}
        found.extend(layer)
    return found


def _to_foreground(terminal: int, group: int) -> None:
    """The agent's group gets the keyboard; both sides do it, whoever is first (as shells do)."""
    try:
        os.setpgid(group, group)
    except OSError:
        pass
    try:
        os.tcsetpgrp(terminal, group)
    except OSError:
        pass


def _close_all_but(kept: set[int]) -> None:
    at = 0
    for descriptor in sorted(kept):
        os.closerange(at, descriptor)
        at = descriptor + 1
    os.closerange(at, 65536)


def _say(report: int, line: str) -> None:
    try:
        os.write(report, line.replace("\n", " ").encode("utf-8", "replace")[:1000] + b"\n")
    except OSError:
        return


def _start(launch: Launch, handover: socket.socket, report: int) -> NoReturn:
    """In the agent's first process: takes its place, lets itself be watched, becomes COMMAND."""
    status = 125
    try:
        os.setpgid(0, 0)
        if launch.terminal is not None:
            os.tcsetpgrp(launch.terminal, os.getpid())
        for number, descriptor in enumerate(launch.standard):
            if descriptor is not None:
                os.dup2(descriptor, number)
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                try:
                    if signal.getsignal(number) is not signal.SIG_DFL and number not in _IGNORED_BY_PARENT:
                        signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    continue
        _be_watched(launch, handover)
        os.execve(launch.path, launch.argv, launch.environ)
    except OSError as problem:
        if problem.errno == errno.EBUSY:
            _say(report, f"E {problem.errno} {NESTED}")
        else:
            _say(report, f"E {problem.errno} {launch.argv[0]}: {problem.strerror}")
            status = 127 if problem.errno == errno.ENOENT else 126
    except BaseException as problem:  # noqa: BLE001 - the end of this process: it says why
        _say(report, f"E 0 {problem}")
    os._exit(status)


_IGNORED_BY_PARENT: frozenset[int] = frozenset()


def inherit_ignored() -> None:
    """Notes which signals were ignored when the guard was started (nohup), so that COMMAND finds them as it would without the guard."""
    global _IGNORED_BY_PARENT
    python_own = {signal.SIGPIPE, signal.SIGXFSZ}  # the interpreter ignores these at its start (Python, signal module)
    ignored = {n for n in range(1, signal.NSIG) if n not in python_own and _is_ignored(n)}
    with open("/proc/self/status", "rb") as status:
        mask = next((int(line[7:], 16) for line in status if line.startswith(b"SigIgn:")), 0)
    _IGNORED_BY_PARENT = frozenset(n for n in ignored if mask >> (n - 1) & 1)


def _is_ignored(number: int) -> bool:
    try:
        return signal.getsignal(number) is signal.SIG_IGN
    except ValueError:
        return False


def _be_watched(launch: Launch, handover: socket.socket) -> None:
    """Puts the filter on this thread. A thread that was started before, and so is not filtered, hands the listener over: sendmsg is trapped, and
    nobody answers yet. That thread ends with the exec.
    """
    installed, handed = _thread.allocate_lock(), _thread.allocate_lock()
    installed.acquire()
    handed.acquire()
    listener = -1

    def hand_over() -> None:
        installed.acquire()
        if listener >= 0:
            socket.send_fds(handover, [b"L"], [listener])
        handed.release()

    _thread.start_new_thread(hand_over, ())
    try:
        listener = kernel.install_filter(launch.filter, new_privileges=launch.privileged)
    finally:
        installed.release()
    handed.acquire()
    os.close(listener)
