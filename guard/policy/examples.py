"""Runs the examples that every rule carries: what it must hold for, and what it must not.

An example given as fields is turned into an action here; one given as `command:` is read by the function that the caller passes
(the shell reader belongs to another room). Each rule is asked alone, so that no other rule answers in its place. What never enters:
the machine that this runs on; `SAMPLE` is a machine made up for the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guard.core.actions import (
    Action,
    Actor,
    Context,
    ExecAction,
    FileAction,
    Harm,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.places import Places, lexical
from guard.core.verdicts import Decision
from guard.policy.match import Matcher
from guard.policy.program import Program, Rule

type ReadCommand = Callable[[str], Sequence[Action]]

SAMPLE = Places(
    workspace="/home/dev/project",
    home="/home/dev",
    homes=("/home/dev",),
    other_homes=("/home/ann", "/root"),
    temporary=("/tmp", "/var/tmp"),
    git_dirs=("/home/dev/project/.git",),
    guard=("/home/dev/.local/state/guard", "/home/dev/.config/guard"),
    guard_private=("/home/dev/.local/state/guard",),
    guard_public=("/home/dev/.local/state/guard/public",),
    guard_code=("/home/dev/project/guard-checkout/guard",),
    path_folders=("/usr/local/bin", "/usr/bin", "/home/dev/.local/bin", "/home/ann/tools/bin"),
    programs=("/usr", "/home/ann/tools"),
    caches=("/home/dev/.cache", "/home/dev/.npm"),
    model_endpoints=("127.0.0.1:9000", "models.example:443"),
    registries=("registry.example",),
    resolvers=("10.0.0.53",),
)
THRESHOLDS = {"model.ask_threshold": 0.9, "model.block_threshold": 0.99}
DAY = "2026-01-01"

_CLASSES: dict[str, Any] = {
    "file": FileAction,
    "exec": ExecAction,
    "network": NetworkAction,
    "python": PythonAction,
    "sql": SqlAction,
    "tool": ToolAction,
    "system": SystemAction,
}
_PATHS = frozenset({"path", "to", "exe", "cwd"})
_SEQUENCES = frozenset({"args", "host", "sets", "content"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An example that its rule does not keep: which rule, `match` or `miss`, the example, and what happened instead."""

    rule: str
    where: str
    side: str
    example: dict[str, Any]
    found: str


def run_examples(
    program: Program, read_command: ReadCommand | None = None, *, places: Places = SAMPLE
) -> list[Failure]:
    """Every example of every rule that fails. Examples with `command:` are left out without `read_command`."""
    failures: list[Failure] = []
    for rule in program.rules:
        alone = Matcher(Program(policy_id=program.policy_id, rules=(rule,)), places, thresholds=THRESHOLDS, today=DAY)
        for side, examples in (("match", rule.match), ("miss", rule.miss)):
            for example in examples:
                if "command" in example and read_command is None:
                    continue
                found = _outcomes(rule, alone, example, places, read_command)
                if any(found) is not (side == "match"):
                    failures.append(_failure(rule, side, example, found))
    return failures


def count_examples(program: Program, *, commands: bool) -> int:
    """How many examples `run_examples` looks at."""
    return sum(commands or "command" not in e for rule in program.rules for e in (*rule.match, *rule.miss))


def action_of(kind: str, example: Mapping[str, Any], places: Places = SAMPLE) -> tuple[Action, Context]:
    """The action and context that an example describes; ValueError for a field that the kind does not have."""
    given: dict[str, Any] = {}
    actor: dict[str, Any] = {}
    harm: dict[str, Any] = {}
    headers: list[tuple[str, str]] = []
    labels: frozenset[str] = frozenset()
    for name, value in example.items():
        start, _, rest = name.partition(".")
        if start == "actor":
            actor[rest] = value
        elif start == "harm":
            harm[rest] = value
        elif start == "headers":
            headers.append((rest.lower(), value))
        elif name == "session.labels":
            labels = frozenset(value)
        else:
            given[name] = _value(name, value, places)
    if headers:
        given["headers"] = tuple(headers)
    given["actor"] = (
        Actor(**{"name": "program", "exe": "/usr/bin/program", "verified": True, **actor}) if actor else None
    )
    try:
        action = _CLASSES[kind](**given)
    except TypeError as problem:
        raise ValueError(f"no action of kind `{kind}` can be made of this example: {problem}") from None
    return action, Context(harm=Harm(**{"score": 0.0, "label": "none", **harm}) if harm else None, labels=labels)


def _value(name: str, value: Any, places: Places) -> Any:
    if name in _PATHS:
        return (
            lexical(places.home + value[1:])
            if value == "~" or value.startswith("~/")
            else lexical(value, places.workspace)
        )
    if name in _SEQUENCES:
        return (value,) if isinstance(value, str) else tuple(value)
    return value


def _outcomes(
    rule: Rule, alone: Matcher, example: dict[str, Any], places: Places, read_command: ReadCommand | None
) -> list[bool]:
    """For each action of the example, whether the rule certainly speaks."""
    if "command" in example and read_command is not None:
        proposed = [(action, Context(labels=frozenset())) for action in read_command(example["command"])]
    else:
        proposed = [action_of(rule.kind, example, places)]
    return [_speaks(rule, alone, action, context) for action, context in proposed if action.kind == rule.kind]


def _speaks(rule: Rule, alone: Matcher, action: Action, context: Context) -> bool:
    verdict = alone.judge(action, context)
    if rule.decision is None:
        if isinstance(action, NetworkAction) and (rule.inspect or rule.tls):
            return alone.inspect(action) != "always"
        return not set(rule.labels).isdisjoint(verdict.labels)
    return rule.id in verdict.rules and not verdict.unknown and verdict.decision is Decision.of(rule.decision)


def _failure(rule: Rule, side: str, example: dict[str, Any], found: list[bool]) -> Failure:
    if not found:
        what = f"the command makes no action of kind `{rule.kind}`"
    else:
        what = "the rule does not hold" if side == "match" else "the rule holds"
    return Failure(rule=rule.id, where=rule.where, side=side, example=example, found=what)
