"""The receiver's bench: facts on demand, verdicts, their records, and the questions that wait for a person.

A verdict is asked for with what costs nothing; only the fields that could still change it are then looked up. Every verdict is appended to the
evidence before it takes effect; what cannot be recorded is blocked. What never enters: how an action is performed or replied to.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from guard.core import evidence
from guard.core.actions import Action, Actor, Context, ExecAction, FileAction, FileOp, Harm, NetworkAction, SystemAction
from guard.core.decide import no_one_to_ask
from guard.core.messages import plain_question
from guard.core.places import Places, is_under_any
from guard.core.questions import DEADLINE, NOBODY, Answer, Memory, Question, answered, digest, memory
from guard.core.verdicts import Decision, Verdict
from guard.intercept.configs import changed_keys
from guard.intercept.lineage import Lineage
from guard.intercept.paths import PRIVATE, UNNAMED
from guard.intercept.programs import SCRIPT_LIMIT, Program, Programs, carries_code, inline_code
from guard.intercept.tasks import Task
from guard.policy.match import Matcher

_PRIVATE: Final = PRIVATE.decode() + "/"
_UNNAMED: Final = UNNAMED.decode() + "/"
_MEMO_LIMIT: Final = 50_000  # file verdicts kept; about 10 MB
_CONTENT_LIMIT: Final = 1 << 20  # bytes of a configuration file that are read to see what changes
_RETRY_S: Final = (
    1800.0  # how long an answer that came after the call's deadline waits for the retry (CONTRACT: 30 minutes)
)


_MOUNTERS: Final = frozenset(("bwrap",))  # make empty files as mount points, as Claude Code's and Codex's sandboxes do
_UNRESOLVED: Final = Verdict(
    decision=Decision.ASK,
    rules=("guard/unresolved-mount",),
    because="it lies in a file system that the guard cannot see into; it may be a view of anything",
    instead="work in the folders of this machine, or in a tmpfs",
    source="error",
)
_MOUNT_POINT: Final = Verdict(
    decision=Decision.ALLOW,
    rules=("guard/mount-point",),
    because="an empty file or folder that a sandbox mounts something over",
    source="default",
)
_PIECE: Final = 24_000  # characters that the classifier reads whole, in about 20 ms
_OVERLAP: Final = 2_000  # one window of it: nothing is cut in two by both
_UNSCORED: Final = Harm(score=0.0, label="none")  # what is not the classifier's business adds nothing


_OWN_MOUNT: Final = Verdict(
    decision=Decision.ALLOW,
    rules=("guard/own-mount",),
    because="it lies in a file system that only the caller's own namespace has, and that began empty",
    source="default",
)


class Refused(Exception):
    """The action must not happen."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.because)
        self.verdict = verdict


class Waiting(Exception):
    """The verdict waits for a person (`key` is the action's digest) or for the classifier (`key` starts with `score:`)."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a session was started with, as far as judging needs it."""

    approver: str  # tty | deny
    shadow: bool
    call_deadline_s: float
    task: str | None
    model: bool  # False: rules alone
    guard_pids: frozenset[int]


@dataclass(slots=True)
class _Open:
    question: Question
    memory: Memory


@dataclass(slots=True)
class Bench:
    """See the file's docstring. `tell(message)` sends to the runtime; `score(kind, text)` gives a Harm, None for "unscored", or raises Waiting."""

    matcher: Matcher
    places: Places
    terms: Terms
    programs: Programs
    lineage: Lineage
    evidence: int
    tell: Callable[[dict[str, Any]], None]
    score: Callable[[str, str], Harm | None]
    on_secret: Callable[[str], None]
    labels: frozenset[str] = frozenset()
    _sequence: int = 0
    _memo: dict[tuple[str, str], tuple[Verdict, Callable[[int, int, int, str], bytes]]] = field(default_factory=dict)
    _formats: dict[tuple[str, Verdict], Callable[[int, int, int, str], bytes]] = field(default_factory=dict)
    _once: frozenset[str] = frozenset()
    _denied: str | None = None
    _granted: dict[str, float] = field(default_factory=dict)
    _session: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)
    _open: dict[str, _Open] = field(default_factory=dict)

    # ---- verdicts

    def judge(self, task: Task, action: Action, *, ask: bool = True) -> bytes | None:
        """Returns where the action may happen, with the content that was judged where the verdict rests on it; raises Refused or Waiting."""
        if isinstance(action, FileAction) and action.to is None:
            known = self._memo.get((action.op, action.path))
            if known is not None:
                self._sequence += 1
                _append(self.evidence, known[1](self._sequence, time.time_ns(), task.tgid, action.path))
                return None
        content = None
        verdict = _of_mount(action) or self.matcher.judge(action, Context())
        if not verdict.unknown:
            if (
                verdict.decision is Decision.ALLOW
                and not verdict.labels
                and isinstance(action, FileAction)
                and action.to is None
            ):
                self._remember(action, verdict)
                return self.judge(task, action)
        else:
            action, verdict, content = self._informed(task, action)
        if verdict.decision is not Decision.ALLOW and self._is_mount_point(task, action):
            verdict, content = _MOUNT_POINT, b""
        self._settle(task.tgid, action, verdict, ask=ask)
        return content

    def _remember(self, action: FileAction, verdict: Verdict) -> None:
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        form = self._formats.get((action.op, verdict))
        if form is None:
            form = self._formats[(action.op, verdict)] = evidence.fast_line(verdict, _op(action))
        self._memo[(action.op, action.path)] = (verdict, form)

    def _informed(self, task: Task, action: Action) -> tuple[Action, Verdict, bytes | None]:
        """The verdict with every fact that it asks for, as far as they can be had, and the file content that was a fact."""
        context = Context()
        content = None
        tried: set[str] = set()
        verdict = self.matcher.judge(action, context)
        while missing := {name.partition(".")[0] for name in verdict.unknown} - tried:
            tried |= missing
            for name in sorted(missing):
                if name == "sets" and isinstance(action, FileAction):
                    keys, content = self._sets(action)
                    action = replace(action, sets=keys)
                else:
                    action, context = self._supplied(task, name, action, context)
            verdict = self.matcher.judge(action, context)
        return action, verdict, content

    def _supplied(self, task: Task, name: str, action: Action, context: Context) -> tuple[Action, Context]:
        match name:
            case "session":
                return action, replace(context, labels=self.labels)
            case "actor":
                return replace(action, actor=self._actor_of(task, action)), context
            case "harm" if isinstance(action, NetworkAction | FileAction | SystemAction):
                return action, context
            case "harm":
                return action, replace(context, harm=self._harm(action))
            case "cwd" if isinstance(action, ExecAction):
                return replace(action, cwd=os.fsdecode(task.link("cwd"))), context
            case "user" if isinstance(action, ExecAction):
                return replace(action, user=str(task.status().persona.uid)), context
            case _:
                return action, context

    def _is_mount_point(self, task: Task, action: Action) -> bool:
        """Whether a sandbox makes a file or folder to mount something over it, where another name in the same folder would be allowed.

        It is made empty and its maker cannot write into it, so that what lies there says nothing to whoever reads it later.
        """
        if not isinstance(action, FileAction) or action.op != "create":
            return False
        actor = self.actor(task)
        if actor is None or not actor.verified or actor.name not in _MOUNTERS:
            return False
        beside = replace(action, path=os.path.join(os.path.dirname(action.path), "mount-point"))
        return self.matcher.judge(beside).decision is Decision.ALLOW

    def _actor_of(self, task: Task, action: Action) -> Actor | None:
        """The actor, unverified where its own command line names the file: `ssh -F KEY` reads a key as text and prints it."""
        actor = self.actor(task)
        program = self.lineage.program(task.tgid)
        if actor is None or program is None or not isinstance(action, FileAction) or action.op != "read":
            return actor
        before = ""
        for word in program.argv[1:]:
            named = (
                word.partition("=")[2] if word.startswith("--") and "=" in word else re.sub(r"\A-[A-Za-z]", "", word)
            )
            if (
                named
                and os.path.basename(named) == os.path.basename(action.path)
                and before != "-i"
                and not word.startswith("-i")
            ):
                return replace(actor, verified=False)
            before = word
        return actor

    def actor(self, task: Task) -> Actor | None:
        """The program that acts, from the guard's own record."""
        program = self.lineage.program(task.tgid)
        if program is None:
            return None
        script = program.script_path
        writable = self._writable(program.runs) or (script is not None and self._writable(script))
        return self.programs.actor(program, writable)

    def _writable(self, path: str) -> bool:
        """Whether the policy would let the tree write this file or something beside it without a question."""
        return self.matcher.judge(FileAction(op="write", path=path)).decision is Decision.ALLOW

    def _sets(self, action: FileAction) -> tuple[tuple[str, ...] | None, bytes | None]:
        """Which configuration keys the action changes, with the content that says so; None where that is not known.

        Known is a finished file that is renamed or linked into place.
        """
        if action.op not in ("rename", "link") or action.to is None:
            return None, None
        try:
            new = _small_file(action.path)
            old = _small_file(action.to) if os.path.lexists(action.to) else b""
        except OSError:
            return None, None
        keys = changed_keys(action.to, old.decode("utf-8", "surrogateescape"), new.decode("utf-8", "surrogateescape"))
        return keys, (None if keys is None else new)

    # ---- programs

    def judge_exec(self, task: Task, program: Program, action: ExecAction, *, root: bool) -> bool:
        """Like `judge`, for a program about to run; returns whether the classifier saw its text. The user's own COMMAND (`root`) has been
        asked for by the person: rules can block it, nobody is asked about it, and it is not scored.
        """
        context = Context(labels=self.labels, harm=_UNSCORED if root else None)
        verdict = self.matcher.judge(action, context)
        tried: set[str] = set()
        scored = False
        while missing := {name.partition(".")[0] for name in verdict.unknown} - tried:
            tried |= missing
            for name in sorted(missing):
                if name == "script":
                    action = replace(action, script=self.programs.script(task, program))
                elif name == "harm":
                    harm, scored = self._exec_harm(task, program, action)
                    context = replace(context, harm=harm)
                else:
                    action, context = self._exec_fact(task, name, action, context)
            verdict = self.matcher.judge(action, context)
        if root and verdict.decision is Decision.ASK:
            verdict = replace(
                verdict,
                decision=Decision.ALLOW,
                source="person",
                because=f"the command that was asked for ({verdict.because})",
            )
        if not root or verdict.decision is Decision.BLOCK:
            action = (
                action
                if action.script is not None
                else replace(action, script=_shown(self.programs.script(task, program)))
            )
        self._settle(task.tgid, action, verdict)
        return scored

    def judge_interpreter(self, task: Task, program: Program, *, root: bool) -> None:
        """The program that a `#!` line names runs too; the text it is given has been judged with the script."""
        action = ExecAction(
            exe=program.runs,
            name=os.path.basename(program.runs),
            args=(program.exe, *program.argv[1:]),
            command=f"{program.runs} {program.exe}",
            script="",
            anonymous=False,
        )
        context = Context(labels=self.labels, harm=_UNSCORED)
        verdict = self.matcher.judge(action, context)
        for name in sorted({name.partition(".")[0] for name in verdict.unknown}):
            action, context = self._exec_fact(task, name, action, context)
        verdict = self.matcher.judge(action, context)
        if root and verdict.decision is Decision.ASK:
            verdict = replace(verdict, decision=Decision.ALLOW, source="person")
        self._settle(task.tgid, action, verdict)

    def _exec_fact(self, task: Task, name: str, action: ExecAction, context: Context) -> tuple[ExecAction, Context]:
        made, context = self._supplied(task, name, action, context)
        assert isinstance(made, ExecAction)
        return made, context

    def _exec_harm(self, task: Task, program: Program, action: ExecAction) -> tuple[Harm | None, bool]:
        """The score of what the exec brings (inline code, a script that the tree could have written, or the command line where an agent
        issued it itself), and whether there was one.

        What a scored command starts in turn is part of its text or has its own code scored, so that a build's thousand compiler calls
        are not scored one by one; installed scripts are programs like any other.
        """
        if not self.terms.model:
            return _UNSCORED, False
        code = inline_code(program)
        if (
            code is None
            and carries_code(program)
            and (program.script_path is None or self._writable(program.script_path))
        ):
            code = self.programs.script(task, program)
            if code is None:
                return None, False
        if code:
            return self._score("python" if "python" in program.runs.rpartition("/")[2] else "shell", code), True
        parent = self.lineage.program(task.tgid)
        if parent is not None and parent.scored:
            return _UNSCORED, False
        return self._score("shell", action.command or program.exe), True

    def _score(self, kind: str, text: str) -> Harm | None:
        """The worst score of the text's pieces: the classifier sees the whole of a piece, and says so where it cannot; None where one is unscored."""
        scores = [self.score(kind, text[at : at + _PIECE]) for at in range(0, len(text), _PIECE - _OVERLAP)]
        worst = max((harm for harm in scores if harm is not None), key=lambda harm: harm.score, default=None)
        return None if None in scores else worst

    def _harm(self, action: Action) -> Harm | None:
        text = getattr(action, "text", None)
        return self.score(action.kind, text) if isinstance(text, str) else None

    # ---- what follows from a verdict

    def _settle(self, pid: int, action: Action, verdict: Verdict, *, ask: bool = True) -> None:
        """Records the verdict and raises what it demands; asks are answered from memory, by nobody, or by opening a question."""
        if verdict.decision is Decision.ASK:
            verdict = self._answered(pid, action, verdict, ask=ask)
        if verdict.decision is Decision.BLOCK and self.terms.shadow and not self._concerns_guard(action):
            self.record(pid, action, verdict)
            return
        self.record(pid, action, verdict)
        if verdict.decision is Decision.BLOCK:
            raise Refused(verdict)
        if verdict.labels:
            self.labels |= frozenset(verdict.labels)
            if isinstance(action, FileAction) and action.op == "read":
                self.on_secret(action.path)

    def _answered(self, pid: int, action: Action, verdict: Verdict, *, ask: bool) -> Verdict:
        key = digest(action)
        wider = memory(action, verdict)
        if wider.key in self._session:
            return _by(verdict, Decision.ALLOW, "allowed for this session")
        if key in self._once:
            return _by(verdict, Decision.ALLOW, "allowed")
        if self._granted.get(key, 0.0) > time.monotonic():
            del self._granted[key]
            return _by(verdict, Decision.ALLOW, "allowed earlier, for this retry")
        if key == self._denied:
            return _by(verdict, Decision.BLOCK, "not allowed")
        if key in self._refused:
            return _by(verdict, Decision.BLOCK, "refused before")
        if self.terms.shadow or not ask or self.terms.approver == "deny":
            return no_one_to_ask(verdict)
        if key not in self._open:
            self._ask(pid, key, action, verdict, wider)
        raise Waiting(key)

    def _ask(self, pid: int, key: str, action: Action, verdict: Verdict, wider: Memory) -> None:
        question = Question(
            id=key,
            action=action,
            verdict=verdict,
            facts=self._facts(action),
            lineage=self.lineage.trail(pid),
            task=self.terms.task,
            deadline_s=self.terms.call_deadline_s,
        )
        self._open[key] = _Open(question, wider)
        self.record(pid, action, verdict)
        self.tell({"type": "ask", "question": plain_question(question, wider)})

    def _facts(self, action: Action) -> tuple[tuple[str, str], ...]:
        facts: list[tuple[str, str]] = []
        if isinstance(action, FileAction):
            inside = is_under_any(action.path, (self.places.workspace,))
            facts.append(("inside the workspace", "yes" if inside else "no"))
            if action.op in ("write", "delete", "rename", "chmod"):
                facts.append(("exists now", "yes" if os.path.lexists(action.path) else "no"))
        if isinstance(action, NetworkAction):
            facts.append(("leaves this machine", "no" if action.listener in ("loopback", "tree", "unix") else "yes"))
            if action.body_size is not None:
                facts.append(("bytes sent", str(action.body_size)))
        facts.append(("secrets read in this session", ", ".join(sorted(self.labels)) or "none"))
        return tuple(facts)

    def answer(self, given: Answer, *, waiting: bool) -> None:
        """A person's answer. Calls that still wait (`waiting`) are dispatched again with `approving`; else the answer serves one retry."""
        opened = self._open.pop(given.question, None)
        if opened is None:
            return
        self.record(0, opened.question.action, answered(opened.question.verdict, given))
        if given.decision is Decision.BLOCK:
            if given.by not in (DEADLINE, NOBODY):  # else nobody said no: a retry is asked about again
                self._refused.add(given.question)
        elif given.scope == "session":
            self._session.add(opened.memory.key)
        elif not waiting:
            self._granted[given.question] = time.monotonic() + _RETRY_S

    def withdraw(self, key: str) -> None:
        """Nobody waits for this question any more."""
        if self._open.pop(key, None) is not None:
            self.tell({"type": "withdraw", "id": key})

    def denying(self, key: str | None) -> None:
        """This digest is refused while what waited for it is dispatched again, also where nobody answered; None ends that."""
        self._denied = key

    def approving(self, keys: frozenset[str]) -> None:
        """These digests are approved while one call is dispatched again; an empty set ends that."""
        self._once = keys

    def expired(self, pid: int, key: str) -> None:
        """The call's own deadline: it is denied; the question stays open for a retry."""
        opened = self._open.get(key)
        if opened is not None:
            verdict = replace(
                no_one_to_ask(opened.question.verdict),
                because=f"nobody answered within {self.terms.call_deadline_s:.0f} s: {opened.question.verdict.because}",
            )
            self.record(pid, opened.question.action, verdict)

    def _concerns_guard(self, action: Action) -> bool:
        if isinstance(action, FileAction):
            return is_under_any(action.path, self.places.guard) or (
                action.to is not None and is_under_any(action.to, self.places.guard)
            )
        return isinstance(action, SystemAction) and action.target == "guard"

    # ---- requests that the proxy read

    def judge_request(self, pid: int, action: NetworkAction) -> Verdict:
        """The verdict on a request or first bytes; raises Waiting where a person must answer. Never raises Refused."""
        context = Context(labels=self.labels)
        verdict = self.matcher.judge(action, context)
        try:
            self._settle(pid, action, verdict)
        except Refused as refused:
            return refused.verdict
        return replace(verdict, decision=Decision.ALLOW) if verdict.decision is not Decision.ALLOW else verdict

    # ---- records

    def record(self, pid: int, action: Action, verdict: Verdict) -> None:
        """Appends the record; OSError where it cannot be kept (the caller fails closed)."""
        self._sequence += 1
        line = evidence.line(
            evidence.Record(seq=self._sequence, time_ns=time.time_ns(), pid=pid, action=action, verdict=verdict)
        )
        _append(self.evidence, line)

    def event(self, pid: int, name: Any, **fields: Any) -> None:
        """Appends a session event."""
        self._sequence += 1
        event = evidence.SessionEvent(seq=self._sequence, time_ns=time.time_ns(), pid=pid, event=name, **fields)
        _append(self.evidence, evidence.line(event))


def _of_mount(action: Action) -> Verdict | None:
    """The verdict on names that only the caller's own mounts give; None for the files of this machine."""
    if not isinstance(action, FileAction):
        return None
    if action.path.startswith(_UNNAMED) or (action.to is not None and action.to.startswith(_UNNAMED)):
        return _UNRESOLVED
    return _OWN_MOUNT if _is_private(action) else None


def _is_private(action: FileAction) -> bool:
    """Names in the caller's own tmpfs and the like; files cannot be renamed or linked out of them (EXDEV)."""
    return action.path.startswith(_PRIVATE) and (action.to is None or action.to.startswith(_PRIVATE))


def _append(descriptor: int, line: bytes) -> None:
    """As `guard.audit.append`, which this process must not import: behind it stands a database."""
    if os.write(descriptor, line) != len(line):
        raise OSError("the evidence could not be kept whole")


def _by(verdict: Verdict, decision: Decision, word: str) -> Verdict:
    return replace(verdict, decision=decision, source="person", because=f"{word}: {verdict.because}")


def _op(action: FileAction) -> FileOp:
    return action.op


def _small_file(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _CONTENT_LIMIT + 1)
        if len(data) > _CONTENT_LIMIT:
            raise OSError("too large to be read")
        return data
    finally:
        os.close(descriptor)


def _shown(script: str | None) -> str | None:
    return None if script is None else script[:SCRIPT_LIMIT]


def text_key(kind: str, text: str) -> str:
    """Under which a score is remembered."""
    return hashlib.sha256(f"{kind}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
