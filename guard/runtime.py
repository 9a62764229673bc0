"""One session from start to end: the only event loop and clock.

    guard (this process: terminal, questions) ─ fork ─▶ receiver (decides, performs) ─ fork ─▶ keeper ─ fork ─▶ COMMAND

The receiver is an ancestor of the tree, so that it may read its memory (Yama), and is forked before there is a listener, so that nobody but it ever
holds one. This process reads what the keeper and the receiver report, relays the terminal, has questions asked, and gives COMMAND's exit status.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from guard import __version__, wire
from guard.audit import AuditError, new_session, open_evidence, state_folder
from guard.core.messages import plain_answer, question_from
from guard.core.places import Places
from guard.core.questions import NOBODY, Answer, Question
from guard.core.verdicts import Decision
from guard.intercept import keeper, kernel, syscalls, trust
from guard.policy.errors import PolicyError
from guard.policy.load import load
from guard.policy.machine import find_places
from guard.policy.match import Matcher
from guard.policy.program import Program

if TYPE_CHECKING:
    from guard.terminal import Terminal

OWN_FAILURE: Final = 125
_END_S: Final = 5.0  # seconds the receiver has to finish after the tree is gone
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class CannotRun(Exception):
    """The session cannot be started; the text says why and what to do."""


class Asker(Protocol):
    """Puts questions to a person; `guard_cli.prompt.Prompt` is one."""

    def open(self, question: Question) -> None: ...
    def on_key(self, key: bytes) -> Answer | None: ...
    def timer(self) -> float | None: ...
    def on_timer(self) -> list[Answer]: ...
    def withdraw(self, question: str) -> bool: ...
    def close(self, by: str = "end of input") -> list[Answer]: ...
    def redraw(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `guard run` was asked for. `approver` None is `tty` where there is a terminal, else `deny`."""

    command: tuple[str, ...]
    policies: tuple[str, ...] = ()
    workspace: str | None = None
    task: str | None = None
    approver: str | None = None
    ask_timeout_s: float = 25.0
    shadow: bool = False
    network: bool = True
    model: bool = True
    upstream_ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    folder: str
    model_id: str
    ask_threshold: float


def run(options: Options, environ: Mapping[str, str], make_asker: Callable[[Terminal], Asker]) -> int:
    """Runs COMMAND under the guard and gives the exit status of the contract. Raises CannotRun where COMMAND was not started."""
    path = _executable(options.command[0], environ)
    if path is None:
        _say(f"`{options.command[0]}`: command not found")
        return 127
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        _say(f"`{options.command[0]}`: cannot be executed")
        return 126
    if _is_nested():
        _say("already under a guard, which decides; this one adds nothing")
        os.execve(path, options.command, dict(environ))
    try:
        session = _Session(options, environ, path)
    except (AuditError, PolicyError) as problem:
        raise CannotRun(str(problem)) from problem
    return session.run(make_asker)


def _say(text: str) -> None:
    from guard.core.visible import sanitise

    sys.stderr.write(f"guard: {sanitise(text)}\n")


def _executable(name: str, environ: Mapping[str, str]) -> str | None:
    """As execvp(3) looks for it."""
    if "/" in name:
        return os.path.abspath(name) if os.path.exists(name) else None
    if name in (".", ".."):
        return os.path.abspath(name)
    found = None
    for folder in environ.get("PATH", os.defpath).split(":"):
        candidate = os.path.join(folder or ".", name)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return os.path.abspath(candidate)
            found = found or os.path.abspath(candidate)
    return found


def _is_nested() -> bool:
    """Whether a listener watches this process already: only one can (seccomp(2), EBUSY). Tried in a child, and only where there is a filter."""
    with open("/proc/self/status", "rb") as status:
        if b"Seccomp:\t2" not in status.read():
            return False
    child = os.fork()
    if child == 0:
        try:
            os.close(kernel.install_filter(b"\x06\x00\x00\x00\x00\x00\xff\x7f", new_privileges=False))
        except OSError as problem:
            os._exit(1 if problem.errno == errno.EBUSY else 0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def _model(options: Options, cache: Path) -> _Model | None:
    """The classifier's identity and threshold; raises CannotRun where it is missing or not its card's. Looked up from a cache keyed by both files."""
    if not options.model:
        return None
    import json

    from guard.scoring.values import ModelError, default_model_folder

    try:
        folder = default_model_folder()
        stamps = [
            (s.st_mtime_ns, s.st_size, s.st_ino)
            for s in (os.stat(folder / "model.onnx"), os.stat(folder / "card.yaml"))
        ]
    except (ModelError, OSError) as problem:
        raise CannotRun(
            f"the classifier cannot be used ({problem}): reinstall guardproxy, or run with --no-model"
        ) from problem
    kept = cache / "model.json"
    wanted = [str(folder), stamps]
    try:
        known = json.loads(kept.read_text())
        if known["of"] == json.loads(json.dumps(wanted)):
            return _Model(folder=str(folder), model_id=known["model"], ask_threshold=known["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    from guard.scoring.card import read_card
    from guard.scoring.onnx import Scorer

    try:
        card = read_card(folder)
        scorer = Scorer.load(folder)
    except (ModelError, ImportError) as problem:
        raise CannotRun(f"{problem}; or run with --no-model") from problem
    kept.write_text(json.dumps({"of": wanted, "model": scorer.model_id, "threshold": card.ask_threshold}))
    return _Model(folder=str(folder), model_id=scorer.model_id, ask_threshold=card.ask_threshold)


class _Session:
    """One run. Making it checks everything that can be wrong before anything is started."""

    def __init__(self, options: Options, environ: Mapping[str, str], path: str) -> None:
        self.options, self.environ, self.path = options, dict(environ), path
        self.cwd = os.getcwd()
        if kernel.MACHINE not in syscalls.ARCHES:
            raise CannotRun(f"no system call table for `{kernel.MACHINE}`: x86_64 and aarch64 are supported")
        self.workspace = os.path.realpath(options.workspace or os.getcwd())
        if not os.path.isdir(self.workspace):
            raise CannotRun(f"--workspace: `{options.workspace}` is no folder")
        self.state = state_folder(environ)
        cache = self.state / "cache"
        cache.mkdir(mode=0o700, exist_ok=True)
        places = find_places(workspace=self.workspace, environ=environ, state_folder=str(self.state))
        self.program: Program = load(options.policies, places=places, state_folder=self.state)
        loaded = tuple(os.path.realpath(file) for file in self.program.files)
        self.places: Places = replace(places, guard=tuple(dict.fromkeys((*places.guard, *loaded))))
        self.model = _model(options, cache)
        thresholds = {"model.ask_threshold": self.model.ask_threshold} if self.model else None
        self.matcher = Matcher(self.program, self.places, thresholds=thresholds, today=time.strftime("%Y-%m-%d"))
        try:
            ca = trust.ensure_ca(self.state / "ca")
            public = self.state / "public"
            public.mkdir(mode=0o755, exist_ok=True)
            bundle = trust.ensure_bundle(ca, self.environ, public)
        except OSError as problem:
            raise CannotRun(f"cannot prepare the certificate authority in `{self.state}`: {problem}") from problem
        self.agent_environ = {**self.environ, **trust.ca_environment(bundle, self.environ)}
        self.name, self.lock = new_session(self.state)
        self.folder = self.state / "sessions" / self.name
        self.evidence = open_evidence(self.state, self.name)
        self.agent = 0
        self.status: int | None = None
        self.failure: str | None = None
        self.terminal: Terminal | None = None
        self.asker: Asker | None = None

    # ---- start

    def run(self, make_asker: Callable[[Terminal], Asker]) -> int:
        from guard.terminal import Terminal

        keeper.inherit_ignored()
        self.terminal = Terminal.open()
        approver = self.options.approver or ("tty" if self.terminal is not None else "deny")
        if approver == "tty" and self.terminal is None:
            raise CannotRun("--approver tty: there is no terminal to ask in; use --approver deny")
        self.approver = approver
        try:
            return self._run(make_asker)
        finally:
            if self.terminal is not None:
                self.terminal.close()

    def _run(self, make_asker: Callable[[Terminal], Asker]) -> int:
        kernel.be_subreaper()  # should the keeper be killed, its orphans come here
        lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
        report_read, report_write = os.pipe2(os.O_CLOEXEC)
        ours, theirs = socket.socketpair()
        runtime_pid = os.getpid()
        receiver = os.fork()
        if receiver == 0:
            try:
                ours.close()
                os.close(lifeline_write)
                os.close(report_read)
                self._receive(theirs, report_write, lifeline_read, runtime_pid)
            except BaseException as problem:  # noqa: BLE001 - the end of this process: it says why
                _fail_alone(theirs, problem)
            os._exit(OWN_FAILURE)
        theirs.close()
        os.close(report_write)
        os.close(lifeline_read)
        kernel.be_unreadable()
        if self.terminal is not None:
            self.asker = make_asker(self.terminal)
            os.close(self.terminal.slave)
        self._let_go_of_streams()
        gc.freeze()
        gc.enable()
        loop = _Loop(self, ours, report_read)
        loop.run()
        if self.status is None:
            keeper.end_tree(spare=receiver)
        # the receiver ends by itself when the last task of the tree is gone, and writes the end of the evidence
        _end(receiver, _END_S)
        os.close(lifeline_write)
        ours.close()
        return self._exit_status()

    def _let_go_of_streams(self) -> None:
        """Pipes that COMMAND was given must end when COMMAND closes them, not when the guard does."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for number in (0, 1):
            if not os.isatty(number):
                os.dup2(null, number, inheritable=False)
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            try:
                if number > 2 and os.get_inheritable(number):
                    os.close(number)
            except OSError:
                continue
        os.close(null)

    def _exit_status(self) -> int:
        if self.failure and self.status is not None:
            _say(self.failure)
        if self.status is None:
            _say(self.failure or "the session ended without a status")
            return OWN_FAILURE
        if os.WIFSIGNALED(self.status):
            return 128 + os.WTERMSIG(self.status)
        return os.WEXITSTATUS(self.status)

    # ---- the receiver's process

    def _receive(self, runtime: socket.socket, report: int, lifeline: int, runtime_pid: int) -> NoReturn:
        import _thread
        import resource

        from guard.intercept.helpers import Proxy, Scores
        from guard.intercept.judging import Terms
        from guard.intercept.receiver import Receiver, Setup

        os.setsid()
        for number in (*_FORWARDED, signal.SIGTSTP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(
            signal.SIGUSR1, lambda *_: None
        )  # wakes the receiver's own waiting threads, and means nothing else
        life_read, life_write = os.pipe2(os.O_CLOEXEC)
        agent_end, our_end = socket.socketpair()
        launch = keeper.Launch(
            path=self.path,
            argv=self.options.command,
            environ=self.agent_environ,
            standard=(None, None, None) if self.terminal is None else self.terminal.child_fds,
            terminal=None if self.terminal is None else self.terminal.slave,
            filter=syscalls.build_filter(kernel.MACHINE),
            privileged=os.geteuid() == 0,
        )
        keeper_pid = _forked_keeper(launch, agent_end, report, lifeline, life_read, life_write, our_end)
        agent_end.close()
        os.close(report)
        os.close(life_read)
        errors = os.open(self.folder / "guard.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for standard, descriptor in ((0, null), (1, null), (2, errors)):
            os.dup2(descriptor, standard, inheritable=False)
        os.chdir("/")
        kept = {runtime.fileno(), self.evidence, lifeline, life_write, our_end.fileno(), errors}
        _close_others(kept)  # the terminal above all: nothing but the guard's first process has it
        _thread.start_new_thread(_die_with, (lifeline,))
        _, descriptors, _, _ = socket.recv_fds(our_end, 1, 1)
        our_end.close()
        if not descriptors:
            os._exit(OWN_FAILURE)  # the keeper has said why
        kernel.set_sync_wake_up(descriptors[0])
        kernel.be_unreadable()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (min(hard, 65536) if hard != resource.RLIM_INFINITY else 65536, hard)
        )
        model = self.model
        scores = Scores(
            model_id=model.model_id if model else "",
            folder=model.folder if model else "",
            memory=str(self.state / "cache" / f"scores-{model.model_id[7:23] if model else 'none'}"),
            errors=errors,
        )
        proxy = Proxy(ca_folder=str(self.state / "ca"), errors=errors, upstream_ca=self.options.upstream_ca)
        receiver = Receiver(
            descriptors[0],
            Setup(
                matcher=self.matcher,
                places=self.places,
                terms=Terms(
                    approver=self.approver,
                    shadow=self.options.shadow,
                    call_deadline_s=self.options.ask_timeout_s,
                    task=self.options.task,
                    model=model is not None,
                    guard_pids=frozenset((runtime_pid, os.getpid(), keeper_pid)),
                ),
                evidence=self.evidence,
                runtime=runtime.fileno(),
                keeper=keeper_pid,
                scores=scores,
                proxy=proxy,
                no_network=not self.options.network,
            ),
        )
        receiver.bench.event(
            0,
            "start",
            command=self.options.command,
            cwd=self.cwd,
            workspace=self.workspace,
            task=self.options.task,
            policy=self.program.policy_id,
            model=model.model_id if model else None,
            guard=__version__,
        )
        gc.freeze()
        gc.enable()
        receiver.run()
        receiver.bench.event(0, "end", status=_keeper_status(keeper_pid))
        for pid in (scores.pid, proxy.pid):
            if pid > 0:
                os.kill(pid, signal.SIGKILL)
        os._exit(0)


def _forked_keeper(
    launch: keeper.Launch,
    agent_end: socket.socket,
    report: int,
    lifeline: int,
    life_read: int,
    life_write: int,
    our_end: socket.socket,
) -> int:
    """The keeper must not hold the write end of its own lifeline, nor our end of the handover."""
    pid = os.fork()
    if pid == 0:
        os.close(life_write)
        our_end.close()
        keeper.keep(launch, agent_end, report, (lifeline, life_read))
    return pid


def _close_others(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own descriptor


def _keeper_status(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 0


def _die_with(lifeline: int) -> None:
    """In a thread of the receiver: without the guard nobody answers, and every trapped call of the tree fails."""
    os.read(lifeline, 1)
    os._exit(0)


def _fail_alone(runtime: socket.socket, problem: BaseException) -> None:
    """In the receiver: whatever went wrong before or in its loop is told, and the tree ends with it."""
    import traceback

    traceback.print_exception(problem, file=sys.stderr)
    try:
        wire.send(runtime.fileno(), {"type": "failed", "problem": f"{type(problem).__name__}: {problem}"})
    except wire.WireError:
        return


def _end(pid: int, seconds: float) -> None:
    """Waits for a child of ours, then ends it."""
    until = time.monotonic() + seconds
    pause = 0.0005
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


class _Loop:
    """What this process waits for: the keeper's report, the receiver's messages, the terminal, signals, deadlines."""

    def __init__(self, session: _Session, receiver: socket.socket, report: int) -> None:
        self.session, self.receiver, self.report = session, receiver, report
        self.reader = wire.Reader()
        self.lines = b""
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.receiver_gone = False
        self.asker_due: float | None = None

    def run(self) -> None:
        """Until the keeper has reported the end."""
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        for number in (*_FORWARDED, signal.SIGWINCH, signal.SIGCONT):
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGWINCH:
                signal.signal(number, lambda *_: None)
        try:
            while self._step():
                pass
        finally:
            signal.set_wakeup_fd(-1)
        terminal = self.session.terminal
        if terminal is not None:
            for answer in self.session.asker.close("the session ended") if self.session.asker else ():
                self._answer(answer)
            terminal.flush()

    def _step(self) -> bool:
        poll = select.poll()
        for descriptor in (self.report, self.wake_read, *(() if self.receiver_gone else (self.receiver.fileno(),))):
            poll.register(descriptor, select.POLLIN)
        terminal = self.session.terminal
        if terminal is not None:
            events: dict[int, int] = {}
            for descriptor in terminal.readable_fds():
                events[descriptor] = events.get(descriptor, 0) | select.POLLIN
            for descriptor in terminal.writable_fds():
                events[descriptor] = events.get(descriptor, 0) | select.POLLOUT
            for descriptor, wanted in events.items():
                poll.register(descriptor, wanted)
        ready = dict(poll.poll(self._timeout()))
        if self.receiver.fileno() in ready:
            self._from_receiver()
        if self.wake_read in ready:
            self._signals()
        if terminal is not None:
            self._terminal(terminal, ready)
        if self.report in ready:
            return self._from_keeper()
        return True

    def _timeout(self) -> float | None:
        self.asker_due = self._asker_timer()  # asked before the wait: a countdown's next second lies always ahead
        due = [t for t in (self._terminal_timer(), self.asker_due) if t is not None]
        if self.session.terminal is not None and self.session.terminal.in_background:
            due.append(time.monotonic() + 1.0)
        return max(0.0, (min(due) - time.monotonic()) * 1000 + 1) if due else None

    def _terminal_timer(self) -> float | None:
        return self.session.terminal.timer() if self.session.terminal is not None else None

    def _asker_timer(self) -> float | None:
        return self.session.asker.timer() if self.session.asker is not None else None

    def _terminal(self, terminal: Terminal, ready: Mapping[int, int]) -> None:
        keys: list[bytes] = []
        for descriptor, events in ready.items():
            if descriptor in (self.report, self.wake_read, self.receiver.fileno()):
                continue
            if events & ~select.POLLOUT:
                keys += terminal.on_readable(descriptor)
            if events & select.POLLOUT:
                terminal.on_writable(descriptor)
        timer = terminal.timer()
        if timer is not None and timer <= time.monotonic():
            keys += terminal.on_timer()
        asker = self.session.asker
        if asker is None:
            return
        for key in keys:
            answer = asker.on_key(key)
            if answer is not None:
                self._answer(answer)
        if self.asker_due is not None and self.asker_due <= time.monotonic():
            for answer in asker.on_timer():
                self._answer(answer)
        if terminal.hung_up:
            for answer in asker.close():
                self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        try:
            wire.send(self.receiver.fileno(), {"type": "answer", "answer": plain_answer(answer)})
        except wire.WireError:
            self.receiver_gone = True

    def _from_receiver(self) -> None:
        try:
            messages = self.reader.read(self.receiver.fileno())
        except (wire.WireError, OSError):
            self.receiver_gone = True
            return
        for message in messages:
            self._message(message)

    def _message(self, message: dict[str, Any]) -> None:
        asker = self.session.asker
        match message.get("type"):
            case "ask":
                self._ask(question_from(message["question"]))
            case "withdraw" if asker is not None:
                asker.withdraw(str(message["id"]))
            case "failed":
                self.session.failure = str(message["problem"])
            case _:
                return

    def _ask(self, question: Question) -> None:
        terminal, asker = self.session.terminal, self.session.asker
        if terminal is None or asker is None or not terminal.can_ask:
            self._answer(Answer(question=question.id, decision=Decision.BLOCK, by=NOBODY))
        else:
            asker.open(question)

    def _signals(self) -> None:
        try:
            numbers = os.read(self.wake_read, 512)
        except BlockingIOError:
            return
        terminal = self.session.terminal
        for number in numbers:
            if number == signal.SIGWINCH and terminal is not None:
                terminal.resize()
                if self.session.asker is not None:
                    self.session.asker.redraw()
            elif number in _FORWARDED and self.session.agent:
                _to_group(self.session.agent, number)

    def _from_keeper(self) -> bool:
        data = os.read(self.report, 4096)
        if not data:
            return False
        self.lines += data
        *lines, self.lines = self.lines.split(b"\n")
        return all(self._reported(line.decode("utf-8", "replace")) for line in lines)

    def _reported(self, line: str) -> bool:
        what, _, rest = line.partition(" ")
        session = self.session
        if what == "P":
            session.agent = int(rest)
        elif what == "D":
            if session.terminal is not None:
                session.terminal.keep_settings()  # what COMMAND left, before its session's end resets it
        elif what == "X":
            session.status = int(rest)
            return False
        elif what == "E":
            session.failure = rest.partition(" ")[2]
        elif what == "S":
            self._stopped(int(rest))
        return True

    def _stopped(self, number: int) -> None:
        """COMMAND stopped (Ctrl-Z): so does the guard, with the terminal as it was; `fg` brings both back."""
        terminal = self.session.terminal
        if terminal is None or number == signal.SIGSTOP:
            return
        terminal.suspend()
        os.kill(os.getpid(), signal.SIGSTOP)
        terminal.resume()
        _to_group(self.session.agent, signal.SIGCONT)
        if self.session.asker is not None:
            self.session.asker.redraw()


def _to_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return
