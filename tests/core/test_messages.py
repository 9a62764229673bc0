"""Values survive the way between the guard's processes, whatever bytes the agent put into them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.actions import Action, Actor, ExecAction, FileAction, NetworkAction, SystemAction
from guard.core.messages import action_from, answer_from, plain_action, plain_answer, plain_verdict, verdict_from
from guard.core.questions import Answer
from guard.core.verdicts import Decision, Verdict

TEXT = st.binary(max_size=12).map(lambda b: b.decode("utf-8", "surrogateescape"))
ACTORS = st.none() | st.builds(Actor, name=TEXT, exe=TEXT, script=st.none() | TEXT, verified=st.booleans())
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(
        FileAction,
        op=st.sampled_from(["read", "rename"]),
        path=TEXT,
        to=st.none() | TEXT,
        sets=st.none() | st.lists(TEXT).map(tuple),
        actor=ACTORS,
    ),
    st.builds(
        ExecAction,
        exe=TEXT,
        name=TEXT,
        args=st.lists(TEXT).map(tuple),
        command=TEXT,
        script=st.none() | TEXT,
        actor=ACTORS,
    ),
    st.builds(
        NetworkAction,
        host=st.lists(TEXT).map(tuple),
        port=st.integers(0, 65535),
        headers=st.lists(st.tuples(TEXT, TEXT)).map(tuple),
    ),
    st.builds(SystemAction, op=TEXT, target=st.none() | TEXT),
)


@given(ACTIONS)
def test_an_action_comes_back_as_it_was(action: Action) -> None:
    """Through JSON, surrogates of non-UTF-8 names included."""
    assert action_from(json.loads(json.dumps(plain_action(action)))) == action


@given(st.sampled_from(list(Decision)), TEXT, st.lists(TEXT, min_size=1).map(tuple))
def test_a_verdict_comes_back_as_it_was(decision: Decision, text: str, rules: tuple[str, ...]) -> None:
    """Decision, rules, reason and score."""
    verdict = Verdict(decision=decision, rules=rules, because=text or "x", unknown=rules, score=0.25, label="none")
    assert verdict_from(json.loads(json.dumps(plain_verdict(verdict)))) == verdict


@pytest.mark.parametrize(
    "plain",
    [{"kind": "telepathy"}, {"kind": "file"}, {"kind": "file", "op": "read", "path": "/x", "colour": "red"}, {}],
)
def test_what_is_not_understood_is_an_error(plain: dict[str, object]) -> None:
    """Never a default: a half-understood action must not be judged."""
    with pytest.raises((KeyError, TypeError)):
        action_from(plain)


def test_an_answer_decides() -> None:
    """`ask` is no answer."""
    answer = Answer(question="q", decision=Decision.ALLOW, scope="session", by="key s")
    assert answer_from(plain_answer(answer)) == answer
    with pytest.raises(ValueError, match="decides"):
        answer_from({**plain_answer(answer), "decision": "ask"})
