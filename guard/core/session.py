"""The life of one action: which event leads where, and what has to be done then.

    PROPOSED ──allow──────────────▶ ALLOWING ──recorded──▶ ALLOWED ─┐
        │ ask                          ▲  │ record failed           ├─replied─▶ DONE
        ├────▶ ASKING ──approved───────┘  ▼                         │
        │        └─────denied…──────▶ BLOCKING ──recorded──▶ BLOCKED ─┘
        └─block──────────────────────────▲        (GONE: the caller died first; PARKED: the call restarts, its question stays)

Rules of the table:
1. A reply is preceded by its record. A record that cannot be written turns an allow into a block; only a refusal goes out then.
2. An allow comes from a verdict (which has a rule and a reason) or from a person's answer to a question, from nothing else.
3. A judge that failed is an ask; an edge that failed is a block.
4. One action gets one reply, or none where its caller is gone.
5. What the table does not know is an error: an action without a reply is blocked, one with a reply is left as it is and reported.

The receiver keeps a state per pending action and performs what `step` returns. What never enters: what the action is, and why it was
judged as it was.
"""

from __future__ import annotations

from enum import IntEnum, auto

from guard.core.verdicts import Decision, Verdict


class State(IntEnum):
    """Where an action stands. `ALLOWING`, `BLOCKING`, `PARKING`, `LEAVING` wait for their record."""

    PROPOSED = 0
    ASKING = auto()
    ALLOWING = auto()
    BLOCKING = auto()
    PARKING = auto()
    LEAVING = auto()
    ALLOWED = auto()
    BLOCKED = auto()
    PARKED = auto()
    DONE = auto()
    GONE = auto()


class Event(IntEnum):
    """What can happen to an action. The first three are verdicts, in the order of `Decision`."""

    ALLOW = 0
    ASK = auto()
    BLOCK = auto()
    JUDGE_FAILED = auto()
    EDGE_FAILED = auto()
    APPROVED = auto()
    DENIED = auto()
    EXPIRED = auto()
    NOBODY_TO_ASK = auto()
    INTERRUPTED = auto()
    CALLER_GONE = auto()
    RECORDED = auto()
    RECORD_FAILED = auto()
    REPLIED = auto()


class Command(IntEnum):
    """What has to be done. `RECORD` writes down the outcome that the new state names; `REPORT` tells of an event that cannot be."""

    ASK = 0
    CLOSE_QUESTION = auto()
    RECORD = auto()
    REPLY_ALLOW = auto()
    REPLY_BLOCK = auto()
    REPLY_RESTART = auto()
    REPORT = auto()


type Step = tuple[State, tuple[Command, ...]]

S, E, C = State, Event, Command

TRANSITIONS: dict[tuple[State, Event], Step] = {
    (S.PROPOSED, E.ALLOW): (S.ALLOWING, (C.RECORD,)),
    (S.PROPOSED, E.ASK): (S.ASKING, (C.ASK,)),
    (S.PROPOSED, E.JUDGE_FAILED): (S.ASKING, (C.ASK,)),
    (S.PROPOSED, E.BLOCK): (S.BLOCKING, (C.RECORD,)),
    (S.PROPOSED, E.EDGE_FAILED): (S.BLOCKING, (C.RECORD,)),
    (S.PROPOSED, E.CALLER_GONE): (S.LEAVING, (C.RECORD,)),
    (S.ASKING, E.APPROVED): (S.ALLOWING, (C.RECORD,)),
    (S.ASKING, E.DENIED): (S.BLOCKING, (C.RECORD,)),
    (S.ASKING, E.EXPIRED): (S.BLOCKING, (C.CLOSE_QUESTION, C.RECORD)),
    (S.ASKING, E.NOBODY_TO_ASK): (S.BLOCKING, (C.RECORD,)),
    (S.ASKING, E.EDGE_FAILED): (S.BLOCKING, (C.CLOSE_QUESTION, C.RECORD)),
    (S.ASKING, E.INTERRUPTED): (S.PARKING, (C.RECORD,)),
    (S.ASKING, E.CALLER_GONE): (S.LEAVING, (C.CLOSE_QUESTION, C.RECORD)),
    (S.ALLOWING, E.RECORDED): (S.ALLOWED, (C.REPLY_ALLOW,)),
    (S.ALLOWING, E.RECORD_FAILED): (S.BLOCKED, (C.REPLY_BLOCK,)),
    (S.ALLOWING, E.CALLER_GONE): (S.LEAVING, ()),
    (S.BLOCKING, E.RECORDED): (S.BLOCKED, (C.REPLY_BLOCK,)),
    (S.BLOCKING, E.RECORD_FAILED): (S.BLOCKED, (C.REPLY_BLOCK,)),
    (S.BLOCKING, E.CALLER_GONE): (S.LEAVING, ()),
    (S.PARKING, E.RECORDED): (S.PARKED, (C.REPLY_RESTART,)),
    (S.PARKING, E.RECORD_FAILED): (S.BLOCKED, (C.CLOSE_QUESTION, C.REPLY_BLOCK)),
    (S.PARKING, E.CALLER_GONE): (S.LEAVING, (C.CLOSE_QUESTION,)),
    (S.LEAVING, E.RECORDED): (S.GONE, ()),
    (S.LEAVING, E.RECORD_FAILED): (S.GONE, ()),
    (S.ALLOWED, E.REPLIED): (S.DONE, ()),
    (S.BLOCKED, E.REPLIED): (S.DONE, ()),
    (S.PARKED, E.REPLIED): (S.DONE, ()),
    (S.ALLOWED, E.CALLER_GONE): (S.GONE, ()),
    (S.BLOCKED, E.CALLER_GONE): (S.GONE, ()),
    (S.PARKED, E.CALLER_GONE): (S.GONE, (C.CLOSE_QUESTION,)),
}

OPEN = frozenset({S.PROPOSED, S.ASKING, S.ALLOWING, S.BLOCKING, S.PARKING})
"""The states of an action that has a caller waiting and no reply yet."""


def _unforeseen(state: State) -> Step:
    if state in OPEN:
        close = (C.CLOSE_QUESTION,) if state in (S.ASKING, S.PARKING) else ()
        return S.BLOCKING, (C.REPORT, *close, C.RECORD)
    return state, (C.REPORT,)


# Indexed by state and event: the same table with rule 5 filled in, at a tenth of a microsecond a step.
_DENSE: tuple[tuple[Step, ...], ...] = tuple(
    tuple(TRANSITIONS.get((state, event), _unforeseen(state)) for event in Event) for state in State
)


def step(state: State, event: Event) -> Step:
    """The state after this event, and what to do, in this order. Never raises: an event that cannot be blocks or is reported."""
    return _DENSE[state][event]


def judged(verdict: Verdict) -> Event:
    """The event that this verdict is."""
    return Event(int(verdict.decision))


def outcome(state: State) -> Decision | None:
    """What the record of an action in this state has to say was decided; None where nothing was (the caller left, the call restarts)."""
    if state in (S.ALLOWING, S.ALLOWED):
        return Decision.ALLOW
    if state in (S.BLOCKING, S.BLOCKED):
        return Decision.BLOCK
    return None
