"""The shape of a policy file. Owns pydantic; `shape` turns its complaints into ours, with the place in the file.

What never enters: what a condition means (`guard.policy.language`), other files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from guard.policy.errors import PolicyError, did_you_mean, one_of
from guard.policy.read import Node

type Kind = Literal["exec", "file", "network", "python", "sql", "tool", "system"]
type Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=64)]
type Words = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
type Condition = Annotated[dict[str, Any], Field(min_length=1)]
type Sentence = Annotated[str, Field(min_length=1, max_length=500)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Examples(_Strict):
    """Actions that the rule must and must not hold for."""

    match: Annotated[list[Condition], Field(min_length=1)]
    miss: list[Condition] = []


class RuleEntry(_Strict):
    """One rule as written. At least one of `decision`, `label`, `inspect`, `tls` says what it does."""

    id: Name
    kind: Kind
    when: Condition
    because: Sentence
    decision: Literal["block", "ask", "allow"] | None = None
    label: Name | Annotated[list[Name], Field(min_length=1)] | None = None
    instead: Sentence | None = None
    inspect: Literal["never"] | None = None
    tls: Literal["passthrough"] | None = None
    severity: Literal["low", "medium", "high", "critical"] | None = None
    attack: Annotated[list[Annotated[str, Field(pattern=r"^T[0-9]{4}(\.[0-9]{3})?$")]], Field(min_length=1)] | None = (
        None
    )
    misses: Sentence | None = None
    falsepositives: Sentence | None = None
    examples: Examples | None = None


class Step(_Strict):
    """One side of a sequence."""

    kind: Kind
    when: Condition


class SequenceEntry(_Strict):
    """`then` is judged by `decision` once `after` has happened in the session."""

    id: Name
    after: Step
    then: Step
    decision: Literal["block", "ask"]
    because: Sentence | None = None
    instead: Sentence | None = None


class ExceptionEntry(_Strict):
    """The ask of `rule` becomes an allow for this actor and target, until `expires`."""

    rule: Annotated[str, Field(min_length=1)]
    actor: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    target: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    expires: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    reason: Sentence


class PolicyFile(_Strict):
    """One file."""

    version: Literal[1]
    name: Name
    description: Sentence | None = None
    extends: Words = []
    lists: dict[str, Words] = {}
    rules: Annotated[list[RuleEntry], Field(min_length=1)] | None = None
    sequences: Annotated[list[SequenceEntry], Field(min_length=1)] | None = None
    exceptions: Annotated[list[ExceptionEntry], Field(min_length=1)] | None = None


_KEYS: dict[str, tuple[str, ...]] = {
    "rules": tuple(RuleEntry.model_fields),
    "sequences": tuple(SequenceEntry.model_fields),
    "exceptions": tuple(ExceptionEntry.model_fields),
    "examples": tuple(Examples.model_fields),
    "after": tuple(Step.model_fields),
    "then": tuple(Step.model_fields),
}
_PATTERNS = {
    "id": "lower-case words joined by `-`",
    "name": "lower-case words joined by `-`",
    "label": "lower-case words joined by `-`",
    "expires": "a day as YYYY-MM-DD",
    "attack": "a technique as T1234 or T1234.001",
}


def shape(node: Node, file: str) -> PolicyFile:
    """The file's content in its shape; PolicyError lists every place where it differs."""
    if not isinstance(node.value, dict):
        raise PolicyError(
            [f"{file}:{node.line}:{node.column}: a policy is a mapping with `version`, `name` and `rules`"]
        )
    try:
        found = PolicyFile.model_validate(node.plain())
    except ValidationError as problem:
        told = {_told(error, node, file) for error in problem.errors(include_url=False)}
        raise PolicyError([text for _, _, text in sorted(told)]) from None
    if not (found.rules or found.sequences or found.exceptions or found.extends):
        raise PolicyError([f"{file}:1:1: nothing to do: expected `rules`, `sequences`, `exceptions` or `extends`"])
    return found


def _told(error: Any, root: Node, file: str) -> tuple[int, int, str]:
    path = tuple(step for step in error["loc"] if _is_step(step))
    node = root.find(path, key=error["type"] == "extra_forbidden")
    return node.line, node.column, f"{file}:{node.line}:{node.column}: {_message(error, path, node)}"


def _is_step(step: int | str) -> bool:
    """Pydantic puts the tried alternative of a union into the path (`str`, `list[…]`, `constrained-str`); those are no keys."""
    return isinstance(step, int) or not (
        step.startswith(("list[", "constrained-", "function-", "nullable")) or step in {"str", "none"}
    )


def _message(error: Any, path: tuple[int | str, ...], node: Node) -> str:
    last = path[-1] if path else ""
    where = _where(path)
    match error["type"]:
        case "extra_forbidden":
            known = _KEYS.get(_owner(path[:-1]), tuple(PolicyFile.model_fields))
            return f"unknown key `{last}`{where}; expected {one_of(known)}{did_you_mean(str(last), known)}"
        case "missing":
            return f"`{last}` is missing{where}"
        case "literal_error":
            words = _literals(error["ctx"]["expected"])
            if str(node.value) in words:
                return f"`{last}` is {_shown(node)} in quotes, a text; expected the number {one_of(words)}"
            return f"`{last}` is {_shown(node)}; expected {one_of(words)}{did_you_mean(str(node.value), words)}"
        case "too_short":
            return f"`{last}` is empty; leave it out, or say what belongs to it"
        case "string_pattern_mismatch":
            key = next((str(s) for s in reversed(path) if isinstance(s, str)), "")
            return f"`{key}` is {_shown(node)}; expected {_PATTERNS.get(key, 'another form')}"
        case "string_too_short":
            return f"`{last}` is empty; expected text"
        case "string_too_long":
            return f"`{last}` is longer than {error['ctx']['max_length']} characters"
        case "string_type":
            key = next((str(s) for s in reversed(path) if isinstance(s, str)), "")
            return f"`{key}` is {_shown(node)}; expected text{', in quotes' if isinstance(node.value, int | float) else ''}"
        case "list_type":
            return f"`{last}` is {_shown(node)}; expected a list"
        case "dict_type" | "model_type":
            return f"`{last}` is {_shown(node)}; expected a mapping"
        case kind:
            return f"`{last}`: {error['msg'].lower()} ({kind})"


def _owner(path: tuple[int | str, ...]) -> str:
    return next((step for step in reversed(path) if isinstance(step, str)), "")


def _where(path: tuple[int | str, ...]) -> str:
    owner = _owner(path[:-1])
    named = {"rules": "a rule", "sequences": "a sequence", "exceptions": "an exception", "": "a policy"}
    return f" in {named.get(owner, f'`{owner}`')}"


def _literals(expected: str) -> list[str]:
    return [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list"
    value = str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
    return f"`{value if len(value) <= 60 else value[:59] + '…'}`"
