"""The fold of opinions: its laws, held against every combination that hypothesis can think of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.actions import Harm
from guard.core.decide import blocked, decide, failed, no_one_to_ask
from guard.core.verdicts import Decision, Opinion, Verdict

DECISIONS = st.sampled_from(list(Decision))
NAMES = st.text("abc/-", min_size=1, max_size=6)
OPINIONS = st.builds(
    Opinion,
    decision=DECISIONS,
    source=st.sampled_from(["rule", "model", "flow", "error"]),
    rule=NAMES,
    because=st.text(min_size=1, max_size=8),
    where=st.text(max_size=4),
    instead=st.none() | st.text(min_size=1, max_size=4),
    labels=st.lists(NAMES, max_size=2).map(tuple),
    unknown=st.lists(NAMES, max_size=2).map(tuple),
)
DEFAULTS = st.builds(
    Opinion, decision=DECISIONS, source=st.just("default"), rule=NAMES, because=st.text(min_size=1, max_size=8)
)


@given(st.lists(OPINIONS, min_size=1, max_size=6), OPINIONS, DEFAULTS)
def test_one_more_opinion_never_loosens(opinions: list[Opinion], more: Opinion, default: Opinion) -> None:
    """Whatever somebody said stands: another voice can only make it stricter."""
    assert decide([*opinions, more], default).decision >= decide(opinions, default).decision


@given(st.lists(OPINIONS, max_size=6), DEFAULTS, st.randoms())
def test_the_order_of_opinions_never_matters(opinions: list[Opinion], default: Opinion, random: object) -> None:
    """Files and rules may be read in any order: decision, rules, labels and unknown fields are the same."""
    shuffled = list(opinions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = decide(opinions, default), decide(shuffled, default)
    assert one.decision == other.decision
    assert sorted(one.rules) == sorted(other.rules)
    assert (one.labels, one.unknown) == (other.labels, other.unknown)


@given(st.lists(OPINIONS, max_size=6), DEFAULTS)
def test_nothing_is_decided_without_a_rule_and_a_reason(opinions: list[Opinion], default: Opinion) -> None:
    """The rules named are exactly those that are as strict as the verdict, and the reason is one of theirs."""
    verdict = decide(opinions, default)
    voices = opinions or [default]
    strict = [o for o in voices if o.decision == verdict.decision]
    assert verdict.decision == max(o.decision for o in voices)
    assert set(verdict.rules) == {o.rule for o in strict}
    assert verdict.because in {o.because for o in strict}


@given(st.lists(OPINIONS, min_size=1, max_size=4), DEFAULTS)
def test_a_default_speaks_only_where_nobody_else_does(opinions: list[Opinion], default: Opinion) -> None:
    """A strict default does not overrule a rule that allows."""
    assert decide(opinions, default).decision == decide(opinions, opinions[0]).decision


def test_an_allow_without_a_rule_cannot_be_made() -> None:
    """The value itself refuses to exist."""
    with pytest.raises(ValueError, match="a rule and a reason"):
        Verdict(decision=Decision.ALLOW, rules=(), because="because")
    with pytest.raises(ValueError, match="a rule and a reason"):
        Verdict(decision=Decision.ALLOW, rules=("r",), because="")


@given(st.lists(OPINIONS, max_size=4), DEFAULTS, st.text(max_size=6))
def test_an_error_of_a_judge_is_at_least_ask(opinions: list[Opinion], default: Opinion, problem: str) -> None:
    """A parser or model that fails never lets through what it could not read."""
    assert decide([*opinions, failed("parser", problem)], default).decision >= Decision.ASK


def test_an_error_of_an_edge_blocks() -> None:
    """What could not be read, resolved or finished does not happen."""
    verdict = blocked("files", "the descriptor is gone")
    assert verdict.decision is Decision.BLOCK
    assert verdict.rules == ("error/files",)


@given(st.lists(OPINIONS, max_size=4), DEFAULTS)
def test_where_nobody_can_be_asked_an_ask_is_a_block_for_the_same_reasons(
    opinions: list[Opinion], default: Opinion
) -> None:
    """Allows and blocks stay what they are; labels are put on nothing that did not happen."""
    verdict = decide(opinions, default, harm=Harm(score=0.5, label="none"))
    settled = no_one_to_ask(verdict)
    if verdict.decision is Decision.ASK:
        assert settled.decision is Decision.BLOCK
        assert (settled.rules, settled.because, settled.score) == (verdict.rules, verdict.because, verdict.score)
        assert settled.labels == ()
    else:
        assert settled == verdict
