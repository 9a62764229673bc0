"""Questions to a person and their answers, as values: what is asked, what an answer would cover, what it makes of the verdict.

An answer is bound: `once` to the digest of the canonical action, wider scopes to a `Memory` whose text the person saw. What never
enters: how a question is drawn, who is asked, and when.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Literal, get_args

from guard.core.actions import (
    Action,
    Actor,
    ExecAction,
    FileAction,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.verdicts import Decision, Verdict

DEADLINE = "deadline"
NOBODY = "nobody to ask"
"""`by` of answers that nobody gave: they block the call at hand, and say nothing about a retry."""

Scope = Literal["once", "tree", "session"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

# What mkstemp and its kin append: a run of at least six letters and digits with a digit or mixed case in it, below a folder for
# temporary files. Only the names are taken out; a folder chosen by hand (`/tmp/build`) stays in the digest.
_TEMPORARY = re.compile(r"(?P<folder>/(?:tmp|var/tmp|dev/shm|private/tmp)/)(?P<name>[^\s/'\";|&<>]+)")
_RANDOM = re.compile(r"[A-Za-z0-9_]{6,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One action that a person is asked about.

    `facts` are computed statements with their answers, in the order they are shown. `lineage` names the processes from the agent's
    root down to the one that asks. `task` is what `--task` declared. `scopes` are the answers offered beside block.
    `deadline_s` is how long the call waits, in seconds from the moment the question is handed to the approver.
    """

    id: str
    action: Action
    verdict: Verdict
    facts: tuple[tuple[str, str], ...] = ()
    lineage: tuple[str, ...] = ()
    task: str | None = None
    scopes: tuple[Scope, ...] = ("once", "session")
    deadline_s: float = 25.0

    def __post_init__(self) -> None:
        if self.verdict.decision is not Decision.ASK:
            raise ValueError(f"a question needs a verdict that asks, not `{self.verdict.decision.word}`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a question. `by` says who or what decided: `key a`, `deadline`, `end of input`, `withdrawn` …

    A block is always `once`: what is remembered about denials is the receiver's affair.
    """

    question: str
    decision: Literal[Decision.ALLOW, Decision.BLOCK]
    scope: Scope = "once"
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a wider answer covers: every action whose own memory has an equal `key`. `text` is the pattern in words, as it is shown."""

    key: str
    text: str


def answered(verdict: Verdict, answer: Answer) -> Verdict:
    """The verdict that a person made of an ask: same rules, the answer's decision, and a reason that names who gave it."""
    word = "allowed" if answer.decision is Decision.ALLOW else "blocked"
    scope = "" if answer.scope == "once" else f" for this {answer.scope}"
    because = f"{word}{scope} ({answer.by}): {verdict.because}"
    return replace(verdict, decision=answer.decision, because=because, source="person")


def digest(action: Action) -> str:
    """`sha256:…` over the canonical action: known fields in a fixed order, random temporary names taken out, no process numbers.

    Names are taken out of command lines and working folders alone, and only where the text of what would run is known or empty: a
    file's own path, and a script of which nothing but the name is known, always count whole.
    """
    return _hash(_plain(action))


def memory(action: Action, verdict: Verdict) -> Memory:
    """What `tree` and `session` would cover for this action, asked by these rules.

    The rules are part of it: an answer to one concern never covers another. Wider than the action itself are only: files written or
    created beside it where the kind's default asked (no rule saw a particular danger), requests of the same method to the same
    host and port, and calls of the same tool.
    """
    text, parts = _pattern(action, verdict)
    return Memory(key=_hash([action.kind, sorted(verdict.rules), *parts]), text=text)


def _pattern(action: Action, verdict: Verdict) -> tuple[str, list[object]]:
    match action:
        case FileAction():
            return _file_pattern(action, verdict)
        case NetworkAction():
            return _network_pattern(action)
        case ExecAction():
            return "exactly this command again (same program, arguments and script)", [digest(action)]
        case ToolAction():
            tool = f"{action.server or '?'}/{action.name or '?'}"
            return f"call the tool {tool} with any arguments", [action.server, action.name]
        case SystemAction():
            return f"{action.op} on {action.target or 'this target'}", [action.op, action.target]
        case PythonAction() | SqlAction():
            return f"exactly this {action.kind} text again", [digest(action)]


def _file_pattern(action: FileAction, verdict: Verdict) -> tuple[str, list[object]]:
    folder = action.path.rpartition("/")[0]
    if (
        verdict.source == "default"
        and action.op in ("write", "create")
        and folder.count("/") >= 2
        and action.to is None
    ):
        return f"write or create any file directly in {folder}/", ["beside", folder]
    to = "" if action.to is None else f" and {action.to}"
    return f"{action.op} exactly {action.path}{to}", [action.op, action.path, action.to]


def _network_pattern(action: NetworkAction) -> tuple[str, list[object]]:
    where = ", ".join(action.host or ()) or action.address or "an unknown destination"
    port = "" if action.port is None else f" port {action.port}"
    how = action.method or action.protocol or "any bytes"
    known = bool(action.host or action.address)
    text = f"{how} to {where}{port}" + (", any path" if action.method else "")
    return text, [
        sorted(action.host or ()),
        action.address if not action.host else None,
        action.port,
        how,
        known or digest(action),
    ]


def _plain(action: Action) -> dict[str, object]:
    found: dict[str, object] = {}
    for field in fields(action):
        value = getattr(action, field.name)
        if isinstance(value, Actor):
            value = [value.exe, value.script, value.verified]
        if value is not None:
            found[field.name] = value
    if isinstance(action, ExecAction) and action.script is not None:
        for name in ("args", "command", "cwd"):
            if name in found:
                found[name] = _without_temporary(found[name])
    return found


def _without_temporary(value: object) -> object:
    if isinstance(value, tuple):
        return [_without_temporary(v) for v in value]
    return _TEMPORARY.sub(_forget, value) if isinstance(value, str) else value


def _forget(found: re.Match[str]) -> str:
    return found["folder"] + _RANDOM.sub(lambda run: "*" if _looks_random(run[0]) else run[0], found["name"])


def _looks_random(run: str) -> bool:
    has_digit = any(c.isdigit() for c in run)
    return (has_digit and not run.isdigit()) or (has_digit and len(run) >= 8) or _mixed_case(run)


def _mixed_case(run: str) -> bool:
    return any(a.islower() and b.isupper() for a, b in pairwise(run))


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()
