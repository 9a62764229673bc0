"""A loaded policy as plain values: what `load` produces, the cache keeps and `match` runs.

A condition is a nested list, so that it is JSON as it stands: `["all", [c…]]`, `["any", [c…]]`, `["not", c]`, or a leaf
`["leaf", field, operator, [values], [built-in lists]]`. Named lists of the files are already written out. What never enters:
YAML, marks, pydantic.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

type Condition = list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. `id` is `pack/name`; `decision` is None for a rule that only puts labels on the session."""

    id: str
    kind: str
    when: Condition
    because: str
    where: str
    decision: str | None = None
    instead: str | None = None
    labels: tuple[str, ...] = ()
    inspect: str | None = None
    tls: str | None = None
    severity: str | None = None
    attack: tuple[str, ...] = ()
    match: tuple[dict[str, Any], ...] = ()
    miss: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """An exception: the ask of rule `rule` becomes an allow where `when` holds, up to and including the day `expires` (ISO)."""

    id: str
    rule: str
    when: Condition
    because: str
    where: str
    expires: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """All rules of all loaded files. `policy_id` is `sha256:…` over their content; `files` are their paths, the guard's own from now on."""

    policy_id: str
    rules: tuple[Rule, ...]
    exceptions: tuple[Waiver, ...] = ()
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, message: dict[str, Any]) -> Program:
        """The value that `to_json` wrote; KeyError or TypeError for anything else."""
        return cls(
            policy_id=message["policy_id"],
            rules=tuple(_rule(r) for r in message["rules"]),
            exceptions=tuple(Waiver(**w) for w in message["exceptions"]),
            files=tuple(message["files"]),
        )


def _rule(fields: dict[str, Any]) -> Rule:
    values: dict[str, Any] = {name: tuple(v) if name in _TUPLES else v for name, v in fields.items()}
    return Rule(**values)


_TUPLES = frozenset({"labels", "attack", "match", "miss"})
