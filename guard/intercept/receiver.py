"""The receiver: one process that receives what the kernel holds up, decides from what it has at hand, performs, and replies.

It does nothing else: models, mitmproxy, SQLite and the terminal live in other processes. A call is handled from beginning to end or is parked
with nothing done; a parked call is handled from the beginning again when its answer is there, so what was judged once is never performed on
something else. Every exception answers EACCES.

Continued calls, the closed list, each with its reason:

    execve, execveat           nobody can exec for another process; the image is verified before its first consequential call
    open with O_PATH           ADDFD refuses such descriptors; a handle gives nothing until another trapped call uses it
    open of a terminal by a    nobody can acquire a terminal for another session; callers with one thread only
      session leader
    sendmsg, sendto on stream  the address is ignored there; on netlink route it names the kernel
    kill, ptrace, sched_* …    everything that was judged is in registers
    umask, set*id, capset,     they change the caller alone; what the guard knows of it is forgotten
      clone, unshare, setns, mounts and the rest of kind `system`
"""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

from guard import wire
from guard.core.actions import ExecAction, Harm, NetworkAction, SystemAction
from guard.core.messages import action_from, answer_from
from guard.core.places import Places
from guard.core.verdicts import Decision, Verdict
from guard.intercept import kernel, syscalls
from guard.intercept.files import CONTINUED, Continued, Done, Files, Give, Later
from guard.intercept.helpers import Proxy, Scores
from guard.intercept.identity import Identity, become
from guard.intercept.judging import Bench, Refused, Terms, Waiting
from guard.intercept.lineage import Lineage, origin_of
from guard.intercept.paths import Paths
from guard.intercept.programs import Program, Programs, image_of
from guard.intercept.sockets import InThread, Sockets
from guard.intercept.tasks import Gone, Task
from guard.policy.match import Matcher

_TICK_S: Final = 0.05  # how often waiting calls are looked after: signals, deadlines, callers that left
_LOOK_S: Final = 0.003  # how soon after its exec a new image is looked at even if it makes no call
_TASKS_KEPT: Final = 512  # tasks whose descriptors are kept open

Arguments = tuple[int, int, int, int, int, int]
Handler = Callable[[Task, Arguments], Done | InThread]


@dataclass(slots=True)
class Parked:
    """A call that waits: for a person, the classifier, the proxy (`key`), since and until when (monotonic seconds)."""

    id: int
    tid: int
    number: int
    arguments: Arguments
    key: str
    deadline: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the receiver is started with."""

    matcher: Matcher
    places: Places
    terms: Terms
    evidence: int  # descriptor, opened for appending
    runtime: int  # descriptor of the socket to the runtime
    keeper: int  # pid
    scores: Scores
    proxy: Proxy
    no_network: bool


@dataclass(slots=True)
class _Expected:
    program: Program
    tid: int
    started: int  # start time of the process: a later one of the same number expects nothing
    hold: str | None = None  # the digest of a question: the new image's calls wait for its answer


@dataclass(slots=True)
class _Opening:
    """An open that waits in a thread: whose, where (0: not interruptible), why it is given up (`gone`, `signal`), and whether it is over."""

    tid: int
    thread: int = 0
    left: str = ""
    done: bool = False

    def wait(self, path: bytes, flags: int) -> int:
        """Opens, however often unrelated signals come; raises OSError EINTR once it is given up."""
        while True:
            try:
                return kernel.open_interruptibly(path, flags)
            except InterruptedError:
                if self.left:
                    raise


class Receiver:
    """Owns the listener."""

    def __init__(self, listener: int, setup: Setup) -> None:
        self.listener, self.setup = listener, setup
        self.names = syscalls.numbers(kernel.MACHINE)
        self.tasks: dict[int, Task] = {}
        self.parked: dict[int, Parked] = {}
        self.expected: dict[int, _Expected] = {}  # by process: the image that an exec must have produced
        self.lineage = Lineage(setup.keeper)
        self.identity = Identity()
        self.paths = Paths(self._through_other, self.identity)
        self.programs = Programs(self.paths)
        self.bench = Bench(
            matcher=setup.matcher,
            places=setup.places,
            terms=setup.terms,
            programs=self.programs,
            lineage=self.lineage,
            evidence=setup.evidence,
            tell=lambda message: wire.send(setup.runtime, message),
            score=self._score,
            on_secret=setup.proxy.secret,
        )
        self.files = Files(self.paths, self.identity, self.bench.judge, self._whose)
        self.sockets = Sockets(
            self.paths, self.identity, self.bench.judge, self, setup.places, no_network=setup.no_network
        )
        self.handlers = _handlers(self)
        self.from_runtime = wire.Reader()
        self.started = False
        self.settling: dict[
            int, int
        ] = {}  # threads whose umask call was let through and may not have run yet, with their process
        self._openings: dict[int, _Opening] = {}
        self._looks: list[tuple[float, int, int]] = []  # when, which process, how often again
        self._response = bytearray(kernel.RESPONSE.size)
        self._added = bytearray(kernel.ADDED.size)
        self._said: set[tuple[str, str]] = set()
        self._flows: dict[str, tuple[int, NetworkAction]] = {}
        self._requests: dict[str, list[tuple[int, NetworkAction, int]]] = {}

    # ---- loop

    def run(self) -> None:
        """Until the tree is gone and the listener with it."""
        buffer = bytearray(kernel.NOTIFICATION.size)
        empty = bytes(kernel.NOTIFICATION.size)
        unpack = kernel.NOTIFICATION.unpack
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        registered: set[int] = set()
        while True:
            if self.parked or self._looks or self._openings or self._others() or self._requests:
                registered = self._register(poll, registered)
                if not self._wait(poll):
                    continue
            buffer[:] = empty
            try:
                fcntl.ioctl(self.listener, kernel.RECV, buffer, True)
            except OSError as problem:
                if problem.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    events = dict(poll.poll(0))
                    if events.get(self.listener, 0) & (select.POLLHUP | select.POLLERR):
                        return
                    continue
                return
            id_, tid, _, number, _, _, *arguments = unpack(buffer)
            self.handle(id_, tid, number, tuple(arguments))

    def _others(self) -> list[int]:
        """Descriptors of helpers that may have something to say."""
        return [d for d in (self.setup.scores.descriptor(), self.setup.proxy.descriptor()) if d >= 0]

    def _register(self, poll: select.poll, registered: set[int]) -> set[int]:
        wanted = {*self._others(), self.setup.runtime}
        for descriptor in registered - wanted:
            poll.unregister(descriptor)
        for descriptor in wanted - registered:
            poll.register(descriptor, select.POLLIN)
        return wanted

    def _wait(self, poll: select.poll) -> bool:
        """Looks at everything once; True where the listener has a call."""
        ready = dict(poll.poll(self._patience()))
        if self.setup.runtime in ready:
            for message in self.from_runtime.read(self.setup.runtime):
                self._from_runtime(message)
        if self.setup.scores.descriptor() in ready:
            for key in self.setup.scores.collect():
                self._again(key)
        if self.setup.proxy.descriptor() in ready:
            for message in self.setup.proxy.collect():
                self._from_proxy(message)
        if self.parked:
            self._look_after()
        if self._looks:
            self._look_at_images()
        if self._openings:
            self._look_at_openings()
        return self.listener in ready

    def _patience(self) -> float | None:
        """Milliseconds to wait for anything at all."""
        if self._looks:
            return max(0.0, (self._looks[0][0] - time.monotonic()) * 1000)
        return _TICK_S * 1000 if self.parked or self._requests or self._openings else None

    # ---- one call

    def handle(self, id_: int, tid: int, number: int, arguments: Arguments) -> None:
        """One call from beginning to end; every way out of here is a reply, or the call is parked."""
        try:
            task = self._task(tid)
            if self.settling and tid in self.settling:
                self.forget_group(self.settling.pop(tid))
            if self.expected and not self._verified(task, id_, number, arguments):
                return
            handler = self.handlers.get(number)
            if handler is None:
                raise OSError(errno.ENOSYS, "no handler")
            done = handler(task, arguments)
            if type(done) is Give:
                self._give(id_, done)
            else:
                self._finish(id_, task, done)
        except OSError as problem:
            self._reply(id_, -(problem.errno or errno.EACCES))
        except Refused as refused:
            self._refuse(id_, tid, number, refused.verdict)
        except Waiting as waiting:
            self._park(id_, tid, number, arguments, waiting.key)
        except Gone as problem:
            if self._valid(
                id_
            ):  # the caller is there after all: what was gone is something that the guard remembered of it
                self._report(problem)
            self._reply(id_, -errno.ESRCH)
        except Exception as problem:  # noqa: BLE001 - the border of this room: whatever is not foreseen blocks
            self._report(problem)
            self._reply(id_, -errno.EACCES)

    def _finish(self, id_: int, task: Task, done: Done | InThread) -> None:
        if isinstance(done, Continued):
            self._reply(id_, 0, kernel.CONTINUE)
        elif isinstance(done, Later):
            self._open_later(id_, task, done)
        elif isinstance(done, InThread):
            self._in_thread(id_, done)
        elif isinstance(done, int):
            if done < 0:
                self._reply(id_, done)
            else:
                self._reply(id_, 0, value=done)

    def forget_group(self, group: int) -> None:
        """Identity and umask of a process's threads are asked for again."""
        for task in self.tasks.values():
            if task.may_be_of(group):
                task.forget_identity()

    def _task(self, tid: int) -> Task:
        task = self.tasks.get(tid)
        if task is not None:
            if task.alive():
                return task
            task.close()
            del self.tasks[tid]
        if len(self.tasks) >= _TASKS_KEPT:
            for old in list(self.tasks)[: _TASKS_KEPT // 2]:
                self.tasks.pop(old).close()
        task = self.tasks[tid] = Task(tid)
        if image_of(task) not in self.lineage.images and task.tgid not in self.expected:
            self._kill_unknown(task)
        return task

    def _kill_unknown(self, task: Task) -> None:
        """A process whose image was never judged: a program that was swapped in at an exec, and forked before it was looked at."""
        verdict = Verdict(
            decision=Decision.BLOCK,
            rules=("guard/exec-swap",),
            because="the image that runs was never judged",
            source="error",
        )
        self.bench.record(task.tgid, ExecAction(exe=os.fsdecode(task.link("exe"))), verdict)
        os.kill(task.tgid, signal.SIGKILL)
        raise Gone

    def _reply(self, id_: int, error: int, flags: int = 0, value: int = 0) -> None:
        kernel.RESPONSE.pack_into(self._response, 0, id_, value, error, flags)
        try:
            fcntl.ioctl(self.listener, kernel.SEND, self._response, True)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # the caller died meanwhile
                self._report(problem)

    def _give(self, id_: int, give: Give) -> None:
        """Puts the descriptor into the caller's table and returns from its call in one step."""
        flags = os.O_CLOEXEC if give.close_on_exec else 0
        kernel.ADDED.pack_into(self._added, 0, id_, kernel.ADDFD_SEND, give.descriptor, 0, flags)
        try:
            fcntl.ioctl(self.listener, kernel.ADDFD, self._added, True)
        except OSError as problem:
            if problem.errno != errno.ENOENT:
                self._reply(id_, -(problem.errno or errno.EACCES))
        finally:
            os.close(give.descriptor)

    def _open_later(self, id_: int, task: Task, later: Later) -> None:
        """An open that may wait: in a thread, which is woken where the caller leaves or has a signal to handle."""
        opening = self._openings[id_] = _Opening(task.tid)
        persona, moved = task.status().persona, self.paths.namespaces_moved

        def work() -> None:
            opening.thread = _thread.get_ident()
            descriptor, error = -1, errno.EACCES
            try:
                if later.become:
                    become(persona)
                with nullcontext() if later.become else self.identity.of(task, namespaces_moved=moved):
                    descriptor = opening.wait(self.paths.by_descriptor(later.handle).encode(), later.flags)
            except OSError as problem:
                error = problem.errno or errno.EACCES
            finally:
                os.close(later.handle)
                opening.thread = 0  # from here on no signal may come: one inside ADDFD would lose the descriptor
            if descriptor >= 0 and opening.left:
                os.close(descriptor)
                descriptor = -1
            if descriptor >= 0:
                _give_alone(self.listener, id_, Give(descriptor, bool(later.flags & os.O_CLOEXEC)))
            elif opening.left != "gone":
                _reply_alone(self.listener, id_, -kernel.ERESTARTSYS if opening.left else -error)
            opening.done = True

        _thread.start_new_thread(work, ())

    def _look_at_openings(self) -> None:
        for id_, opening in list(self._openings.items()):
            if opening.done:
                del self._openings[id_]
            elif opening.thread:
                if not self._valid(id_):
                    opening.left = "gone"
                elif self._interrupted(opening.tid):
                    opening.left = "signal"
                if opening.left and opening.thread:
                    signal.pthread_kill(opening.thread, signal.SIGUSR1)

    def _in_thread(self, id_: int, job: InThread) -> None:
        def work() -> None:
            try:
                result = job.run()
            except OSError as problem:
                _reply_alone(self.listener, id_, -(problem.errno or errno.EACCES))
            except BaseException:
                _reply_alone(self.listener, id_, -errno.EACCES)
                raise
            else:
                _reply_alone(self.listener, id_, 0, result)

        _thread.start_new_thread(work, ())

    # ---- refusals

    def _refuse(self, id_: int, tid: int, number: int, verdict: Verdict) -> None:
        name = self.names.get(number, "")
        self._tell_caller(tid, verdict)
        self.bench.tell({"type": "blocked", "rules": list(verdict.rules), "because": verdict.because})
        self._reply(id_, -(errno.ECONNREFUSED if name == "connect" else errno.EACCES))

    def _tell_caller(self, tid: int, verdict: Verdict) -> None:
        """One line on the caller's stderr for each distinct reason, where that takes it at once and is not its stdout too."""
        key = (verdict.rules[0], verdict.because)
        if key in self._said:
            return
        self._said.add(key)
        model = verdict.source == "model" or any(rule.endswith("harm-score") for rule in verdict.rules)
        words = "guard: blocked" if model else f"guard: blocked by {verdict.rules[0]}: {verdict.because}"
        if verdict.instead and not model:
            words += f"; instead: {verdict.instead}"
        line = (words.encode("utf-8", "replace").replace(b"\n", b" ") + b"\n")[:1024]
        try:
            descriptor = kernel.descriptor_of(tid, 2)
        except OSError:
            return
        try:
            both = os.fstat(descriptor), os.stat(f"/proc/{tid}/fd/1")
            if (both[0].st_dev, both[0].st_ino) != (both[1].st_dev, both[1].st_ino) or os.isatty(descriptor):
                look = select.poll()
                look.register(descriptor, select.POLLOUT)
                if any(event & select.POLLOUT for _, event in look.poll(0)):
                    os.write(descriptor, line)
        except OSError:
            return
        finally:
            os.close(descriptor)

    def _report(self, problem: BaseException) -> None:
        import traceback  # 5 ms of imports that a healthy session never pays

        traceback.print_exception(problem, file=sys.stderr)
        try:
            self.bench.tell({"type": "failed", "problem": f"{type(problem).__name__}: {problem}"})
        except wire.WireError:
            os._exit(1)

    # ---- waiting

    def _park(self, id_: int, tid: int, number: int, arguments: Arguments, key: str) -> None:
        name = self.names.get(number, "")
        deadline = time.monotonic() + (
            30.0 if ":" in key and not key.startswith("sha256:") else self.setup.terms.call_deadline_s
        )
        if name in ("execve", "execveat") and key.startswith("sha256:") and self._continue_and_hold(id_, key):
            return
        self.parked[id_] = Parked(id_, tid, number, arguments, key, deadline)

    def _again(self, key: str, approved: frozenset[str] = frozenset()) -> None:
        """What waited for this key is handled from the beginning."""
        for parked in [p for p in self.parked.values() if p.key == key]:
            del self.parked[parked.id]
            self.bench.approving(approved)
            try:
                self.handle(parked.id, parked.tid, parked.number, parked.arguments)
            finally:
                self.bench.approving(frozenset())

    def _look_after(self) -> None:
        now = time.monotonic()
        for parked in list(self.parked.values()):
            if not self._valid(parked.id):
                del self.parked[parked.id]
                self._left(parked.key)
            elif now > parked.deadline:
                del self.parked[parked.id]
                if parked.key.startswith("sha256:"):
                    self.bench.expired(parked.tid, parked.key)
                self._reply(parked.id, -errno.EACCES)
            elif self._interrupted(parked.tid):
                del self.parked[parked.id]
                self._reply(parked.id, -kernel.ERESTARTSYS)

    def _left(self, key: str) -> None:
        held = any(expected.hold == key for expected in self.expected.values())
        if (
            key.startswith("sha256:")
            and not held
            and not any(p.key == key for p in self.parked.values())
            and key not in self._requests
        ):
            self.bench.withdraw(key)

    def _valid(self, id_: int) -> bool:
        try:
            fcntl.ioctl(self.listener, kernel.ID_VALID, struct.pack("=Q", id_))
        except OSError:
            return False
        return True

    def _interrupted(self, tid: int) -> bool:
        """Whether a signal waits that a handler would have been run for: the kernel then restarts or ends the call as natively."""
        try:
            return bool(self._task(tid).pending_signals())
        except (Gone, OSError):
            return False

    # ---- exec

    def _exec(self, task: Task, dirfd: int, path: int, argv: int, flags: int) -> Done:
        proposal = self.programs.propose(task, dirfd, task.string(path) if path else b"", argv, flags)
        parent = self.lineage.program(task.tgid)
        program = proposal.program
        self._pending_exec = (task, replace(program, scored=True))
        scored = self.bench.judge_exec(task, program, proposal.action, root=not self.started)
        if program.script_path is not None:
            self.bench.judge_interpreter(task, program, root=not self.started)
        self._pending_exec = None
        if not proposal.readable:
            raise PermissionError(errno.EACCES, "an executable that the guard may not read")
        self._expect(task, replace(program, scored=scored or (parent is not None and parent.scored)))
        self.started = True
        return CONTINUED

    def _expect(self, task: Task, program: Program, hold: str | None = None) -> None:
        """From here on the process's next call comes from the new image, or the exec failed."""
        origin = origin_of(task.tgid)
        if origin is None:
            raise Gone
        self.expected[task.tgid] = _Expected(program, task.tid, origin.started, hold)
        self.lineage.images.add(program.identity)
        self._looks.append((time.monotonic() + _LOOK_S, task.tgid, 3))
        group = task.tgid
        for other in list(self.tasks.values()):
            if other.may_be_of(group):
                other.forget_memory()
                other.forget_identity()

    def _look_at_images(self) -> None:
        """Looks at new images that have not made a trapped call yet, and may never make one (static programs)."""
        now = time.monotonic()
        while self._looks and self._looks[0][0] <= now:
            _, pid, again = self._looks.pop(0)
            expected = self.expected.get(pid)
            if expected is None:
                continue
            try:
                task = self._task(pid)
                now_runs = image_of(task)
                # only the file is looked at: in the middle of an exec it is there before the arguments are
                if now_runs not in (expected.program.identity, expected.program.identity_before):
                    self._kill_swapped(task, expected.program)
                elif now_runs == expected.program.identity_before and again:
                    self._looks.append((now + _LOOK_S * 4, pid, again - 1))
            except (Gone, OSError):
                continue

    def _continue_and_hold(self, id_: int, key: str) -> bool:
        """An exec that waits for a person goes on, and its new image is held at its first call: spawners are frozen until exec returns.

        Not for images that may act without a trapped call.
        """
        pending = self._pending_exec
        self._pending_exec = None
        if pending is None or not pending[1].dynamic or pending[1].cmdline is None:
            return False
        self._expect(*pending, hold=key)
        self._reply(id_, 0, kernel.CONTINUE)
        return True

    _pending_exec: tuple[Task, Program] | None = None

    def _verified(self, task: Task, id_: int, number: int, arguments: Arguments) -> bool:
        """The first call after an exec: what runs must be what was judged. False where the call was dealt with here."""
        expected = self.expected.get(task.tgid)
        if expected is None:
            return True
        task.forget_identity()
        origin = origin_of(task.tgid)
        if origin is None or origin.started != expected.started:
            del self.expected[task.tgid]
            return True
        state = self.programs.verify(task, expected.program)
        if state == "failed" and task.tid != expected.tid:
            return True  # another thread of the old image, while the exec is under way
        if state == "other":
            self._kill_swapped(task, expected.program)
            self._reply(id_, -errno.EACCES)
            return False
        if state == "failed":
            del self.expected[task.tgid]
            return True
        if expected.hold is not None:
            self.parked[id_] = Parked(
                id_, task.tid, number, arguments, expected.hold, time.monotonic() + self.setup.terms.call_deadline_s
            )
            return False
        self._became(task, expected.program)
        return True

    def _became(self, task: Task, program: Program) -> None:
        self.lineage.record(
            task.tgid, replace(program, injected=self.programs.injected(task, program) or task.is_traced())
        )
        self.bench.event(task.tgid, "exec", ppid=task.status().parent, exe=program.exe, command=program.argv)
        del self.expected[task.tgid]

    def _kill_swapped(self, task: Task, program: Program) -> None:
        verdict = Verdict(
            decision=Decision.BLOCK,
            rules=("guard/exec-swap",),
            because=f"the image that runs is not the one that was judged ({program.exe})",
            source="error",
        )
        self.bench.record(task.tgid, ExecAction(exe=program.exe, command=" ".join(program.argv)), verdict)
        self.expected.pop(task.tgid, None)
        os.kill(task.tgid, signal.SIGKILL)

    # ---- answers

    def _from_runtime(self, message: dict[str, Any]) -> None:
        if message.get("type") != "answer":
            raise wire.WireError("unknown message")
        given = answer_from(message["answer"])
        key = given.question
        held = [pid for pid, expected in self.expected.items() if expected.hold == key]
        waiting = bool(held) or any(p.key == key for p in self.parked.values()) or key in self._requests
        self.bench.answer(given, waiting=waiting)
        allowed = given.decision is Decision.ALLOW
        for pid in held:
            self._release(pid, allowed)
        self.bench.denying(None if allowed else key)
        try:
            self._again(key, frozenset((key,)) if allowed else frozenset())
            for flow_request in self._requests.pop(key, []):
                self._judge_request(*flow_request, approved=frozenset((key,)) if allowed else frozenset())
        finally:
            self.bench.denying(None)

    def _release(self, pid: int, allowed: bool) -> None:
        expected = self.expected[pid]
        if allowed:
            expected.hold = None
            return
        del self.expected[pid]
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    # ---- classifier

    def _score(self, kind: str, text: str) -> Harm | None:
        if not self.setup.terms.model:
            return Harm(score=0.0, label="none")
        return self.setup.scores.get(kind, text)

    # ---- network: what Sockets asks for

    def proxy_ports(self) -> tuple[int, int | None]:
        """The proxy's ports; starts it and waits where there is none yet."""
        ports = self.setup.proxy.ports()
        if ports is None:
            raise Waiting("proxy:ready")
        return ports

    def inspect(self, action: NetworkAction) -> str:
        """How the policy wants this destination looked at."""
        return str(self.setup.matcher.inspect(action))

    def announce(self, task: Task, family: int, port: int, action: NetworkAction, inspect: str) -> None:
        """Tells the proxy about a redirected connection, before the caller's connect returns."""
        flow = f"{task.tgid}-{len(self._flows)}-{port}"
        self._flows[flow] = (task.tgid, _with_actor(action, self.bench, task))
        self.setup.proxy.send(
            {
                "type": "announce",
                "family": family,
                "port": port,
                "flow": flow,
                "dest": [action.address, action.port],
                "names": [],
                "listener": action.listener,
                "inspect": inspect,
            }
        )

    def _from_proxy(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "ready":
                self._again("proxy:ready")
            case "judge":
                pid, seen = self._flows.get(str(message.get("flow")), (0, None))
                request = action_from({**message["action"], "kind": "network"})
                assert isinstance(request, NetworkAction)
                if seen is None:
                    self.setup.proxy.verdict(message["id"], None)
                    return
                self._judge_request(int(message["id"]), _merged(request, seen), pid)
            case "done":
                self._flows.pop(str(message.get("flow")), None)
            case _:
                return

    def _judge_request(self, id_: int, action: NetworkAction, pid: int, approved: frozenset[str] = frozenset()) -> None:
        self.bench.approving(approved)
        try:
            self.setup.proxy.verdict(id_, self.bench.judge_request(pid, action))
        except Waiting as waiting:
            self._requests.setdefault(waiting.key, []).append((id_, action, pid))
        except Exception as problem:  # noqa: BLE001 - fail closed
            self._report(problem)
            self.setup.proxy.verdict(id_, None)
        finally:
            self.bench.approving(frozenset())

    # ---- other processes and the machine

    def _through_other(self, task: Task, pid: int, entry: str) -> None:
        self.bench.judge(task, SystemAction(op=f"proc_{entry}", target=self._whose(pid)))

    def _whose(self, pid: int) -> str:
        if pid > 0 and (pid in self.setup.terms.guard_pids or pid in self._helpers()):
            return "guard"
        return "tree" if self.lineage.contains(pid) else "outside"

    def _helpers(self) -> frozenset[int]:
        return frozenset((os.getpid(), self.setup.keeper, self.setup.scores.pid, self.setup.proxy.pid))

    def _towards(self, task: Task, op: str, pid: int) -> Done:
        """A call that names a process in a register."""
        pid = pid & 0xFFFFFFFF
        signed = pid - (1 << 32) if pid & 0x80000000 else pid
        if len(task.status().threads) > 1:
            return CONTINUED  # numbers of an inner pid namespace mean processes of the tree alone
        if signed in (0, task.tgid, task.tid):
            return CONTINUED
        if signed == -1:
            raise PermissionError(
                errno.EPERM, "a signal to every process would reach the guard and the rest of the machine"
            )
        try:
            target = self._whose(kernel.thread_group(signed)) if signed > 0 else self._whose_group(-signed)
        except FileNotFoundError as problem:
            raise ProcessLookupError(errno.ESRCH, "no such process") from problem
        if target == "tree" and op == "signal":
            return CONTINUED
        self.bench.judge(task, SystemAction(op=op, target=target))
        if op in ("ptrace", "process_vm") and signed > 0:
            self.lineage.taint(kernel.thread_group(signed))
        return CONTINUED

    def _whose_group(self, group: int) -> str:
        """A process group lies in one session; sessions of the tree are the keeper's and those that the tree made."""
        if group == self.setup.keeper:
            return "guard"
        for pid in self.lineage.members():
            try:
                if os.getpgid(pid) == group:
                    return "tree"
            except ProcessLookupError:
                continue
        return "outside"

    def _system(self, op: str, *, moves: bool = False) -> Handler:
        def handler(task: Task, _: Arguments) -> Done:
            inside = self.paths.namespaces_moved and self.paths.in_own_user_namespace(task)
            self.bench.judge(task, SystemAction(op=op, target="namespace" if inside else "machine"))
            if moves:
                self.paths.namespaces_moved = True
                task.forget_identity()
            return CONTINUED

        return handler


def _with_actor(action: NetworkAction, bench: Bench, task: Task) -> NetworkAction:
    return replace(action, actor=bench.actor(task))


def _merged(request: NetworkAction, seen: NetworkAction) -> NetworkAction:
    """What the proxy read, with what the kernel edge knows of the connection: the edge's own facts win."""
    return replace(request, address=seen.address, port=seen.port, listener=seen.listener, actor=seen.actor)


# ---- which handler serves which call


def _handlers(receiver: Receiver) -> dict[int, Handler]:
    """Call number to handler for this machine; a trapped call without a handler is refused (tested against the filter)."""
    by_name = {
        **_file_handlers(receiver),
        **_socket_handlers(receiver),
        **_process_handlers(receiver),
        **_system_handlers(receiver),
    }
    return {number: by_name[name] for number, name in receiver.names.items() if name in by_name}


def _file_handlers(r: Receiver) -> dict[str, Handler]:
    f, here, text = r.files, kernel.AT_FDCWD, _text
    create = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    nofollow = kernel.AT_SYMLINK_NOFOLLOW
    return {
        "openat": lambda t, a: f.open(t, _fd(a[0]), text(t, a[1]), _int(a[2]), _int(a[3])),
        "open": lambda t, a: f.open(t, here, text(t, a[0]), _int(a[1]), _int(a[2])),
        "creat": lambda t, a: f.open(t, here, text(t, a[0]), create, _int(a[1])),
        "openat2": lambda t, a: f.open2(t, _fd(a[0]), text(t, a[1]), a[2], a[3]),
        "unlink": lambda t, a: f.unlink(t, here, text(t, a[0]), 0),
        "rmdir": lambda t, a: f.unlink(t, here, text(t, a[0]), kernel.AT_REMOVEDIR),
        "unlinkat": lambda t, a: f.unlink(t, _fd(a[0]), text(t, a[1]), _int(a[2])),
        "rename": lambda t, a: f.rename(t, here, text(t, a[0]), here, text(t, a[1]), 0),
        "renameat": lambda t, a: f.rename(t, _fd(a[0]), text(t, a[1]), _fd(a[2]), text(t, a[3]), 0),
        "renameat2": lambda t, a: f.rename(t, _fd(a[0]), text(t, a[1]), _fd(a[2]), text(t, a[3]), _int(a[4])),
        "link": lambda t, a: f.link(t, here, text(t, a[0]), here, text(t, a[1]), 0),
        "linkat": lambda t, a: f.link(t, _fd(a[0]), text(t, a[1]), _fd(a[2]), text(t, a[3]), _int(a[4])),
        "symlink": lambda t, a: f.symlink(t, text(t, a[0]), here, text(t, a[1])),
        "symlinkat": lambda t, a: f.symlink(t, text(t, a[0]), _fd(a[1]), text(t, a[2])),
        "mkdir": lambda t, a: f.mkdir(t, here, text(t, a[0]), _int(a[1])),
        "mkdirat": lambda t, a: f.mkdir(t, _fd(a[0]), text(t, a[1]), _int(a[2])),
        "mknod": lambda t, a: f.mknod(t, here, text(t, a[0]), _int(a[1]), _int(a[2])),
        "mknodat": lambda t, a: f.mknod(t, _fd(a[0]), text(t, a[1]), _int(a[2]), _int(a[3])),
        "chmod": lambda t, a: f.chmod(t, here, text(t, a[0]), _int(a[1])),
        "fchmod": lambda t, a: f.chmod(t, _fd(a[0]), None, _int(a[1])),
        "fchmodat": lambda t, a: f.chmod(t, _fd(a[0]), text(t, a[1]), _int(a[2])),
        "fchmodat2": lambda t, a: f.chmod(t, _fd(a[0]), text(t, a[1]), _int(a[2]), _int(a[3])),
        "chown": lambda t, a: f.chown(t, here, text(t, a[0]), a[1], a[2]),
        "lchown": lambda t, a: f.chown(t, here, text(t, a[0]), a[1], a[2], nofollow),
        "fchown": lambda t, a: f.chown(t, _fd(a[0]), None, a[1], a[2]),
        "fchownat": lambda t, a: f.chown(t, _fd(a[0]), text(t, a[1]), a[2], a[3], _int(a[4])),
        "truncate": lambda t, a: f.truncate(t, text(t, a[0]), _long(a[1])),
        "utime": lambda t, a: f.times(t, here, text(t, a[0]), _seconds(t, a[1])),
        "utimes": lambda t, a: f.times(t, here, text(t, a[0]), _microseconds(t, a[1])),
        "futimesat": lambda t, a: f.times(t, _fd(a[0]), text(t, a[1]) if a[1] else None, _microseconds(t, a[2])),
        "utimensat": lambda t, a: f.times(
            t, _fd(a[0]), text(t, a[1]) if a[1] else None, t.exactly(a[2], 32) if a[2] else None, _int(a[3])
        ),
        "setxattr": lambda t, a: f.set_xattr(
            t, here, text(t, a[0]), t.string(a[1], 256), _value(t, a[2], a[3]), _int(a[4]), 0
        ),
        "lsetxattr": lambda t, a: f.set_xattr(
            t, here, text(t, a[0]), t.string(a[1], 256), _value(t, a[2], a[3]), _int(a[4]), nofollow
        ),
        "fsetxattr": lambda t, a: f.set_xattr(
            t, _fd(a[0]), None, t.string(a[1], 256), _value(t, a[2], a[3]), _int(a[4]), 0
        ),
        "removexattr": lambda t, a: f.remove_xattr(t, here, text(t, a[0]), t.string(a[1], 256), 0),
        "lremovexattr": lambda t, a: f.remove_xattr(t, here, text(t, a[0]), t.string(a[1], 256), nofollow),
        "fremovexattr": lambda t, a: f.remove_xattr(t, _fd(a[0]), None, t.string(a[1], 256), 0),
        "ioctl": lambda t, a: f.inode_flags(t, _fd(a[0]), _int(a[1]), a[2]),
        # newer forms whose arguments lie in memory structures; C libraries fall back to the ones above
        "setxattrat": _not_offered,
        "removexattrat": _not_offered,
        "file_setattr": _not_offered,
        "execve": lambda t, a: r._exec(t, here, a[0], a[1], 0),
        "execveat": lambda t, a: r._exec(t, _fd(a[0]), a[1], a[2], _int(a[4])),
    }


def _socket_handlers(r: Receiver) -> dict[str, Handler]:
    s = r.sockets
    return {
        "connect": lambda t, a: s.connect(t, _int(a[0]), a[1], _int(a[2])),
        "bind": lambda t, a: s.bind(t, _int(a[0]), a[1], _int(a[2])),
        "listen": lambda t, a: s.listen(t, _int(a[0]), _int(a[1])),
        "sendto": lambda t, a: s.send_to(t, _int(a[0]), a[1], a[2], _int(a[3]), a[4], _int(a[5])),
        "sendmsg": lambda t, a: s.send_message(t, _int(a[0]), a[1], _int(a[2])),
        "sendmmsg": lambda t, a: s.send_messages(t, _int(a[0]), a[1], _int(a[2]), _int(a[3])),
    }


def _process_handlers(r: Receiver) -> dict[str, Handler]:
    def umask(task: Task, _: Arguments) -> Done:
        # shared by the threads of a process unless one took its own (unshare CLONE_FS): forgotten now, and again when the call has run
        r.forget_group(task.tgid)
        r.settling[task.tid] = task.tgid
        return CONTINUED

    def credentials(task: Task, _: Arguments) -> Done:
        task.forget_identity()
        return CONTINUED

    def towards(op: str, index: int) -> Handler:
        return lambda t, a: r._towards(t, op, a[index])

    def by_pidfd(op: str) -> Handler:
        return lambda t, a: r._towards(t, op, _pid_of(t, _int(a[0])))

    def ptrace(task: Task, a: Arguments) -> Done:
        return CONTINUED if a[0] == 0 else r._towards(task, "ptrace", a[1])  # PTRACE_TRACEME names nobody

    def priority(task: Task, a: Arguments) -> Done:
        # PRIO_PROCESS is 0 for setpriority, IOPRIO_WHO_PROCESS is 1 for ioprio_set; groups and users reach beyond the tree
        return r._towards(task, "priority", a[1] if a[0] in (0, 1) else 1)

    def group(_: Task, a: Arguments) -> Done:
        """setpgid(2): the keeper's group is in the same session, and a signal to it would end the keeper."""
        if a[1] & 0xFFFFFFFF == r.setup.keeper:
            raise PermissionError(errno.EPERM, "the keeper's process group")
        return CONTINUED

    return {
        "umask": umask,
        "setpgid": group,
        **dict.fromkeys(
            (
                "setuid",
                "setgid",
                "setreuid",
                "setregid",
                "setresuid",
                "setresgid",
                "setfsuid",
                "setfsgid",
                "setgroups",
                "capset",
            ),
            credentials,
        ),
        "kill": towards("signal", 0),
        "tkill": towards("signal", 0),
        "tgkill": towards("signal", 0),
        "rt_sigqueueinfo": towards("signal", 0),
        "rt_tgsigqueueinfo": towards("signal", 0),
        "fcntl": towards("signal", 2),  # F_SETOWN
        "pidfd_open": towards("pidfd", 0),
        "pidfd_getfd": by_pidfd("pidfd"),
        "pidfd_send_signal": by_pidfd("signal"),
        "ptrace": ptrace,
        "process_vm_readv": towards("process_vm", 0),
        "process_vm_writev": towards("process_vm", 0),
        "prlimit64": towards("limits", 0),
        "sched_setscheduler": towards("priority", 0),
        "sched_setparam": towards("priority", 0),
        "sched_setattr": towards("priority", 0),
        "sched_setaffinity": towards("priority", 0),
        "setpriority": priority,
        "ioprio_set": priority,
    }


def _system_handlers(r: Receiver) -> dict[str, Handler]:
    def clone(task: Task, a: Arguments) -> Done:
        new = a[0] & syscalls.CLONE_NEW & ~0x80
        if not new:  # CLONE_FS without CLONE_THREAD: a sibling shares root, folder and umask
            return CONTINUED
        return unshared(task, new)

    def unshare(task: Task, a: Arguments) -> Done:
        return unshared(task, a[0] & syscalls.CLONE_NEW)

    def unshared(task: Task, flags: int) -> Done:
        if flags:
            op = "unshare_user" if flags & 0x10000000 else "unshare"
            inside = r.paths.namespaces_moved and r.paths.in_own_user_namespace(task)
            r.bench.judge(
                task, SystemAction(op=op, target="namespace" if inside or op == "unshare_user" else "machine")
            )
            r.paths.namespaces_moved = True
        task.forget_identity()
        return CONTINUED

    named = {
        "swapon": "swap", "swapoff": "swap", "acct": "acct", "quotactl": "quota", "quotactl_fd": "quota", "kexec_load": "kexec",
        "kexec_file_load": "kexec", "reboot": "reboot", "init_module": "module", "finit_module": "module", "delete_module": "module",
        "iopl": "ports", "ioperm": "ports", "bpf": "bpf", "perf_event_open": "perf", "keyctl": "keyctl", "add_key": "keyctl",
        "request_key": "keyctl", "settimeofday": "clock", "clock_settime": "clock", "adjtimex": "clock", "clock_adjtime": "clock",
        "sethostname": "hostname", "setdomainname": "hostname", "vhangup": "vhangup", "fanotify_init": "fanotify", "mq_open": "mqueue",
        "mq_unlink": "mqueue", "open_by_handle_at": "open_by_handle",
    }  # fmt: skip
    mounts = (
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "open_tree_attr",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
    )
    return {
        "clone": clone,
        "unshare": unshare,
        "setns": r._system("setns", moves=True),
        "chroot": r._system("chroot", moves=True),
        "pivot_root": r._system("pivot_root", moves=True),
        **{name: r._system("mount", moves=True) for name in mounts},
        **{name: r._system(op) for name, op in named.items()},
    }


def _not_offered(_task: Task, _arguments: Arguments) -> Done:
    raise OSError(errno.ENOSYS, "not offered")


def _text(task: Task, address: int) -> bytes:
    return task.string(address)


def _int(value: int) -> int:
    return value & 0xFFFFFFFF


def _fd(value: int) -> int:
    return value & 0xFFFFFFFF


def _long(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _value(task: Task, address: int, size: int) -> bytes:
    if size > 65536:  # XATTR_SIZE_MAX
        raise OSError(errno.E2BIG, "value too long")
    return task.exactly(address, size)


def _seconds(task: Task, address: int) -> bytes | None:
    """struct utimbuf as two struct timespec."""
    if not address:
        return None
    access, change = struct.unpack("=qq", task.exactly(address, 16))
    return struct.pack("=qqqq", access, 0, change, 0)


def _microseconds(task: Task, address: int) -> bytes | None:
    """Two struct timeval as two struct timespec; EINVAL for microseconds out of range, as natively."""
    if not address:
        return None
    s1, u1, s2, u2 = struct.unpack("=qqqq", task.exactly(address, 32))
    if not (0 <= u1 < 1_000_000 and 0 <= u2 < 1_000_000):
        raise OSError(errno.EINVAL, "microseconds")
    return struct.pack("=qqqq", s1, u1 * 1000, s2, u2 * 1000)


def _pid_of(task: Task, number: int) -> int:
    """The process behind one of the caller's pidfds (or /proc/PID folders, which pidfd_send_signal takes too)."""
    for line in task.file(f"fdinfo/{number}").splitlines():
        if line.startswith(b"Pid:"):
            return int(line[4:])
    name = task.link(f"fd/{number}").split(b"/")
    if len(name) >= 3 and name[1] == b"proc" and name[2].isdigit():
        return int(name[2])
    raise OSError(errno.EBADF, "not a pidfd")


def _reply_alone(listener: int, id_: int, error: int, value: int = 0) -> None:
    """From a thread: its own buffer."""
    try:
        fcntl.ioctl(
            listener, kernel.SEND, bytearray(kernel.RESPONSE.pack(id_, value if error == 0 else 0, error, 0)), True
        )
    except OSError:
        return


def _give_alone(listener: int, id_: int, give: Give) -> None:
    flags = os.O_CLOEXEC if give.close_on_exec else 0
    try:
        fcntl.ioctl(
            listener,
            kernel.ADDFD,
            bytearray(kernel.ADDED.pack(id_, kernel.ADDFD_SEND, give.descriptor, 0, flags)),
            True,
        )
    except OSError as problem:
        if problem.errno != errno.ENOENT:
            _reply_alone(listener, id_, -(problem.errno or errno.EACCES))
    finally:
        os.close(give.descriptor)
