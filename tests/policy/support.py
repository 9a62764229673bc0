"""Small makers for the tests of policies."""

from __future__ import annotations

from pathlib import Path

from guard.core.places import Places
from guard.policy.load import load
from guard.policy.program import Condition, Program, Rule, Waiver

PLACES = Places(
    workspace="/w",
    home="/home/me",
    homes=("/home/me",),
    other_homes=("/home/ann",),
    temporary=("/tmp",),
    git_dirs=("/w/.git",),
    guard=("/home/me/.local/state/guard",),
    guard_private=("/home/me/.local/state/guard",),
    guard_public=("/home/me/.local/state/guard/public",),
    path_folders=("/usr/bin",),
    caches=("/home/me/.cache",),
    registries=("registry.example",),
    model_endpoints=("127.0.0.1:9000", "models.example:443"),
)


def leaf(name: str, operator: str, *values: object, lists: tuple[str, ...] = ()) -> Condition:
    """One condition on one field."""
    return ["leaf", name, operator, list(values), list(lists)]


def rule(
    number: int | str,
    when: Condition,
    decision: str | None = "block",
    *,
    kind: str = "file",
    labels: tuple[str, ...] = (),
) -> Rule:
    """A rule of a made-up pack."""
    return Rule(
        id=f"t/r{number}",
        kind=kind,
        when=when,
        because="why",
        where=f"t.yaml:{number}",
        decision=decision,
        labels=labels,
    )


def program(*rules: Rule, exceptions: tuple[Waiver, ...] = ()) -> Program:
    """A program of these rules."""
    return Program(policy_id="sha256:0", rules=rules, exceptions=exceptions)


def load_text(folder: Path, text: str, name: str = "p.yaml") -> Program:
    """The program of a file with this text."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return load([str(file)], places=PLACES, state_folder=None)
