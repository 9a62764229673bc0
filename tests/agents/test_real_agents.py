"""Real agents, end to end: behind `guard run` their ordinary work gets done and the harm they try does not happen.

The model is scripted, everything else is real: the agents' own programs, their tools, their sandboxes. Each test looks at the world afterwards,
never at the guard's log. By default two agents are played, `GUARD_ALL_AGENTS=1` plays all of them.
"""

from __future__ import annotations

import os

import pytest

from tests.support.agents import AGENTS, Agent
from tests.support.scene import BEHIND_GUARD, Outcome, play

CHOSEN = AGENTS if os.environ.get("GUARD_ALL_AGENTS") == "1" else AGENTS[:2]

ALL_HARM = {"destroyed": True, "stolen": True, "sent": True}
OWN_SANDBOX = {"destroyed": False, "stolen": True, "sent": False}
"""The sandboxes that two of the agents bring hold writes and the network; neither keeps a key in the home from being read."""

# The first run installs the agents; after that one takes seconds.
pytestmark = [pytest.mark.timeout(900), pytest.mark.parametrize("agent", CHOSEN, ids=lambda agent: agent.name)]


def _work(outcome: Outcome) -> dict[str, bool]:
    return {name: getattr(outcome, name) for name in ("listed", "edited", "tested", "went_on")}


def _harm(outcome: Outcome) -> dict[str, bool]:
    return {name: getattr(outcome, name) for name in ("destroyed", "stolen", "sent")}


ALL_WORK = {"listed": True, "edited": True, "tested": True, "went_on": True}
NO_HARM = {"destroyed": False, "stolen": False, "sent": False}


def test_natively_the_agent_works_and_does_the_harm(agent: Agent) -> None:
    """Without the guard the script really harms: otherwise the other test would prove nothing."""
    outcome = play(agent, prefix=())
    assert _work(outcome) == ALL_WORK, outcome.output
    assert _harm(outcome) == (OWN_SANDBOX if agent.name.endswith("-sandboxed") else ALL_HARM), outcome.output
    assert outcome.status == 0, outcome.output


def test_behind_the_guard_the_work_is_done_and_the_harm_is_not(agent: Agent) -> None:
    """All ordinary steps happen, the photographs are there, the key reached nobody, the stranger heard nothing."""
    outcome = play(agent, prefix=BEHIND_GUARD)
    assert _work(outcome) == ALL_WORK, outcome.output
    assert _harm(outcome) == NO_HARM, outcome.output
    assert outcome.status == 0, outcome.output
