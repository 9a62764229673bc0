"""The life of an action: properties that hold for every order of events, and the transcript of each common life."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.decide import blocked, decide, failed
from guard.core.session import OPEN, TRANSITIONS, Command, Event, State, judged, outcome, step
from guard.core.verdicts import Decision, Opinion, Verdict

REPLIES = {Command.REPLY_ALLOW, Command.REPLY_BLOCK, Command.REPLY_RESTART}
orders = st.lists(st.sampled_from(list(Event)), max_size=30)


def live(events: list[Event]) -> list[tuple[State, Event, State, tuple[Command, ...]]]:
    """The steps of a life from its proposal."""
    state, found = State.PROPOSED, []
    for event in events:
        after, commands = step(state, event)
        found.append((state, event, after, commands))
        state = after
    return found


def commands_of(events: list[Event]) -> list[Command]:
    """All commands of a life, in order."""
    return [command for *_, commands in live(events) for command in commands]


@given(orders)
def test_a_reply_is_preceded_by_its_record(events: list[Event]) -> None:
    """No reply without a record before it; a reply that lets anything pass has a record that was written."""
    asked_for = written = False
    for _, event, _, commands in live(events):
        written = written or (asked_for and event is Event.RECORDED)
        for command in commands:
            asked_for = asked_for or command is Command.RECORD
            assert command not in REPLIES or asked_for
            assert command not in (Command.REPLY_ALLOW, Command.REPLY_RESTART) or written


@given(orders)
def test_nothing_is_allowed_without_a_reason(events: list[Event]) -> None:
    """An allowing reply has a verdict that allows, or a person's approval of a question that was asked."""
    reason = asked = False
    for _, event, _, commands in live(events):
        reason = reason or event is Event.ALLOW or (asked and event is Event.APPROVED)
        asked = asked or Command.ASK in commands
        assert Command.REPLY_ALLOW not in commands or reason


@given(orders)
def test_one_reply_at_most(events: list[Event]) -> None:
    """A caller is answered once."""
    assert sum(command in REPLIES for command in commands_of(events)) <= 1


@given(orders)
def test_an_error_is_at_least_ask(events: list[Event]) -> None:
    """After a judge's failure only a person allows; after an edge's failure, before any reply, nobody does."""
    judge = edge = approved = False
    for state, event, _, commands in live(events):
        judge = judge or (state is State.PROPOSED and event is Event.JUDGE_FAILED)
        edge = edge or (state in (State.PROPOSED, State.ASKING) and event is Event.EDGE_FAILED)
        approved = approved or event is Event.APPROVED
        if Command.REPLY_ALLOW in commands:
            assert not edge
            assert not judge or approved


@given(orders)
def test_a_question_is_open_exactly_while_somebody_could_answer_it(events: list[Event]) -> None:
    """Every question is closed by its answer or by CLOSE_QUESTION, never twice; a parked one stays."""
    questions = 0
    for _, event, after, commands in live(events):
        if (
            questions
            and event in (Event.APPROVED, Event.DENIED, Event.NOBODY_TO_ASK)
            and after in (State.ALLOWING, State.BLOCKING)
        ):
            questions -= 0 if Command.CLOSE_QUESTION in commands else 1
        questions += commands.count(Command.ASK) - commands.count(Command.CLOSE_QUESTION)
        assert questions in (0, 1)
        if after in (State.ASKING, State.PARKING, State.PARKED):
            assert questions == 1


@given(orders, st.sampled_from(list(Event)))
def test_what_the_table_does_not_know_blocks(events: list[Event], event: Event) -> None:
    """An event that cannot be is reported, blocks what has no reply yet, and changes nothing that has one."""
    state = live(events)[-1][2] if events else State.PROPOSED
    after, commands = step(state, event)
    if (state, event) in TRANSITIONS:
        assert (after, commands) == TRANSITIONS[state, event]
    else:
        assert commands[0] is Command.REPORT
        assert after is (State.BLOCKING if state in OPEN else state)


@pytest.mark.parametrize("state", list(State))
def test_every_life_can_end(state: State) -> None:
    """From everywhere there is a way to DONE or GONE."""
    reached, frontier = {state}, {state}
    while frontier:
        frontier = {step(s, e)[0] for s, e in itertools.product(frontier, Event)} - reached
        reached |= frontier
    assert reached & {State.DONE, State.GONE}


E, C = Event, Command


@pytest.mark.parametrize(
    ("events", "commands"),
    [
        ([E.ALLOW, E.RECORDED, E.REPLIED], [C.RECORD, C.REPLY_ALLOW]),
        ([E.BLOCK, E.RECORDED, E.REPLIED], [C.RECORD, C.REPLY_BLOCK]),
        ([E.ASK, E.APPROVED, E.RECORDED, E.REPLIED], [C.ASK, C.RECORD, C.REPLY_ALLOW]),
        ([E.ASK, E.DENIED, E.RECORDED, E.REPLIED], [C.ASK, C.RECORD, C.REPLY_BLOCK]),
        ([E.ASK, E.EXPIRED, E.RECORDED, E.REPLIED], [C.ASK, C.CLOSE_QUESTION, C.RECORD, C.REPLY_BLOCK]),
        ([E.ASK, E.CALLER_GONE, E.RECORDED], [C.ASK, C.CLOSE_QUESTION, C.RECORD]),
        ([E.ASK, E.INTERRUPTED, E.RECORDED, E.REPLIED], [C.ASK, C.RECORD, C.REPLY_RESTART]),
        ([E.ALLOW, E.RECORD_FAILED, E.REPLIED], [C.RECORD, C.REPLY_BLOCK]),
        ([E.APPROVED, E.RECORDED, E.REPLIED], [C.REPORT, C.RECORD, C.REPLY_BLOCK]),
        ([E.ALLOW, E.RECORDED, E.REPLIED, E.APPROVED], [C.RECORD, C.REPLY_ALLOW, C.REPORT]),
    ],
)
def test_transcripts(events: list[Event], commands: list[Command]) -> None:
    """The common lives, as they are read in the table."""
    assert commands_of(events) == commands
    assert live(events)[-1][2] in (State.DONE, State.GONE)


@given(st.sampled_from(list(Decision)))
def test_verdicts_are_events(decision: Decision) -> None:
    """A verdict's event has its name; failures give ask and block."""
    verdict = Verdict(decision=decision, rules=("r",), because="b")
    assert judged(verdict).name == decision.name
    default = Opinion(decision=Decision.ALLOW, source="default", rule="d", because="b")
    assert judged(decide([failed("model", "no")], default)) is Event.ASK
    assert judged(blocked("files", "no")) is Event.BLOCK


def test_the_record_says_what_is_done() -> None:
    """A record is written in a state that knows the outcome, or that there is none; it is that of the reply."""
    for (state, _), (after, commands) in TRANSITIONS.items():
        if C.RECORD in commands:
            assert outcome(after) is {State.ALLOWING: Decision.ALLOW, State.BLOCKING: Decision.BLOCK}.get(after)
        if C.REPLY_ALLOW in commands:
            assert outcome(state) is Decision.ALLOW
        if C.REPLY_BLOCK in commands:
            assert outcome(after) is Decision.BLOCK
