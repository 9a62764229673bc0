"""Opinions and verdicts: what a judge says, and what is done.

Decisions are ordered: allow < ask < block. What never enters: where an opinion came from (a rule's condition, a model's
features); only its name, its place and its reason do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class Decision(IntEnum):
    """Ordered by strength, so that `max` never loosens."""

    ALLOW = 0
    ASK = 1
    BLOCK = 2

    @property
    def word(self) -> str:
        """The word used in policies, JSON and exit statuses: `allow`, `ask` or `block`."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Decision:
        """The decision of this word; KeyError for any other."""
        return cls[word.upper()]


Source = Literal["rule", "exception", "default", "model", "flow", "budget", "error", "person"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One judge's word on one action.

    `rule` names it (`default/secrets-read`), `where` is its `file:line`, empty where there is no file. `because` is for the person and
    the agent, `instead` an alternative to tell the agent. `labels` are put on the session when the action is done. `unknown` names
    the fields that were missing when the rule was read: such an opinion is at least ask.
    """

    decision: Decision
    source: Source
    rule: str
    because: str
    where: str = ""
    instead: str | None = None
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is decided, and why: every verdict has at least one rule and a reason, an allow above all.

    `unknown` names the fields that could still change this verdict if they were known; a verdict with an empty `unknown`
    depends on nothing but the fields the action had.
    """

    decision: Decision
    rules: tuple[str, ...]
    because: str
    instead: str | None = None
    labels: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    source: Source = "rule"
    score: float | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not self.rules or not self.because:
            raise ValueError("a verdict needs a rule and a reason")
