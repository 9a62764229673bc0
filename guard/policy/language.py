"""Conditions as written → conditions as run: every field, operator and value checked, named lists written out.

What never enters: files, actions.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from guard.policy.errors import did_you_mean, one_of
from guard.policy.fields import HOST_LISTS, OPERATORS, PLACE_LISTS, SYMBOLS, Field, field, kinds_with, names
from guard.policy.paths import is_glob
from guard.policy.program import Condition
from guard.policy.read import Node

REGEX_LENGTH = 500  # characters of one expression; longer ones cannot be reviewed
REGEX_SECONDS = (
    0.08  # processor time that an expression may cost on hostile text of up to `SAMPLE` characters, tried at load
)
SAMPLE = 2048

_COMBINERS = ("all", "any", "not")


class Language:
    """Reads the conditions of one file. `problems` collects what is wrong, each with its line and column."""

    def __init__(self, lists: Mapping[str, list[str]]) -> None:
        self.problems: list[tuple[int, int, str]] = []
        self._lists = lists

    def condition(self, node: Node, kind: str) -> Condition:
        """The condition of a `when`; what is wrong with it is added to `problems` and left out."""
        if not isinstance(node.value, dict) or not node.value:
            self._note(node, "a condition is a mapping of fields and what they must be, with at least one entry")
            return ["all", []]
        return ["all", [self._part(name, value, kind) for name, (_, value) in self._known(node, kind)]]

    def _known(self, node: Node, kind: str) -> list[tuple[str, tuple[Node, Node]]]:
        known = []
        for name, (key, value) in node.value.items():
            if name in _COMBINERS or field(kind, name) is not None:
                known.append((name, (key, value)))
            else:
                self._note(key, self._unknown_field(name, kind))
        return known

    def _unknown_field(self, name: str, kind: str) -> str:
        others = kinds_with(name)
        if others:
            return f"actions of kind `{kind}` have no `{name}`; {one_of(others)} {'has' if len(others) == 1 else 'have'} it"
        if any(name in operators for operators in OPERATORS.values()):
            return f"`{name}` is an operator and needs a field before it, as in `path: {{{name}: …}}`"
        words = (*names(kind), *_COMBINERS)
        return f"unknown field `{name}` for kind `{kind}`; expected {one_of(words)}{did_you_mean(name, words)}"

    def _part(self, name: str, value: Node, kind: str) -> Condition:
        if name == "not":
            return ["not", self.condition(value, kind)]
        if name in _COMBINERS:
            if not isinstance(value.value, list) or not value.value:
                self._note(value, f"`{name}` takes a list of conditions, each with its own `- `; at least one")
                return ["all", []]
            return [name, [self.condition(item, kind) for item in value.value]]
        return self._field(name, value, kind)

    def _field(self, name: str, value: Node, kind: str) -> Condition:
        spec = field(kind, name)
        assert spec is not None, name
        if not isinstance(value.value, dict):
            return self._leaf(name, spec, "in" if spec.type != "bool" else "is", value)
        if not value.value:
            self._note(value, f"`{name}` says nothing; expected {one_of(OPERATORS[spec.type])}")
        leaves = []
        for operator, (key, operand) in value.value.items():
            if operator in OPERATORS[spec.type]:
                leaves.append(self._leaf(name, spec, operator, operand))
            else:
                words = OPERATORS[spec.type]
                self._note(
                    key,
                    f"`{name}` has no operator `{operator}`; expected {one_of(words)}{did_you_mean(operator, words)}",
                )
        return leaves[0] if len(leaves) == 1 else ["all", leaves]

    def _leaf(self, name: str, spec: Field, operator: str, operand: Node) -> Condition:
        if operator == "not_in":
            return ["not", self._leaf(name, spec, "in", operand)]
        items = operand.value if isinstance(operand.value, list) else [operand]
        if not items:
            self._note(
                operand,
                f"`{operator}` has an empty list: it could never hold; leave the condition out or name what belongs to it",
            )
        if isinstance(operand.value, list) and operator in {"gt", "lt", "exists"}:
            self._note(operand, f"`{operator}` takes one value")
        values: list[Any] = []
        lists: list[str] = []
        for item in items:
            self._item(name, spec, operator, item, values, lists)
        return ["leaf", name, operator, values, lists]

    def _item(self, name: str, spec: Field, operator: str, item: Node, values: list[Any], lists: list[str]) -> None:
        text = item.value
        if isinstance(text, str) and operator in {"in", "under", "glob", "is", "cidr"} and self._names_list(text, spec):
            self._written_out(text, name, spec, operator, item, values, lists, ())
        elif problem := self._wrong(name, spec, operator, text):
            self._note(item, problem)
        else:
            values.append(text)

    def _names_list(self, text: str, spec: Field) -> bool:
        if text in self._lists or text.startswith(("places.", "machine.")):
            return True
        return spec.type == "path" and "/" not in text and not is_glob(text) and not text.startswith("~")

    def _written_out(
        self,
        text: str,
        name: str,
        spec: Field,
        operator: str,
        item: Node,
        values: list[Any],
        lists: list[str],
        seen: tuple[str, ...],
    ) -> None:
        if text in seen:
            self._note(item, f"list `{text}` contains itself")
        elif text in self._lists:
            for inner in self._lists[text]:
                if inner != text and self._names_list(inner, spec):
                    self._written_out(inner, name, spec, operator, item, values, lists, (*seen, text))
                elif problem := self._wrong(name, spec, operator, inner):
                    self._note(item, f"in list `{text}`: {problem}")
                else:
                    values.append(inner)
        elif text in (PLACE_LISTS if spec.type == "path" else HOST_LISTS if spec.type in {"host", "address"} else ()):
            lists.append(text)
        else:
            self._note(item, self._unknown_list(text, name, spec))

    def _unknown_list(self, text: str, name: str, spec: Field) -> str:
        built_in = PLACE_LISTS if spec.type == "path" else HOST_LISTS if spec.type in {"host", "address"} else ()
        known = (*self._lists, *built_in)
        if text in PLACE_LISTS or text in HOST_LISTS:
            return f"`{text}` cannot be compared with `{name}`, which is a {spec.type}"
        hint = f", or `./{text}` for a path of the workspace" if spec.type == "path" and "." not in text else ""
        return f"no list `{text}`; expected {one_of(known) if known else 'a value'}{hint}{did_you_mean(text, known)}"

    def _wrong(self, name: str, spec: Field, operator: str, value: Any) -> str | None:
        """What is wrong with this value for this operator, or None."""
        if operator == "exists" or spec.type == "bool":
            return None if isinstance(value, bool) else f"`{name}` is {_shown(value)}; expected `true` or `false`"
        if spec.type == "number":
            return _wrong_number(name, operator, value)
        if not isinstance(value, str):
            hint = ", in quotes" if isinstance(value, bool | int | float) else ""
            return f"`{name}` is {_shown(value)}; expected text{hint}"
        if not value and operator != "is":
            return f"`{name}` is empty; expected text, or `exists: false` for what is not there"
        if spec.words and operator in {"is", "in"} and value not in spec.words:
            return f"`{name}` is `{value}`; expected {one_of(spec.words)}{did_you_mean(value, spec.words)}"
        if operator == "matches":
            return wrong_regex(value)
        if operator == "cidr":
            return _wrong_cidr(value)
        return _wrong_path(name, value) if spec.type == "path" else None

    def _note(self, node: Node, what: str) -> None:
        self.problems.append((node.line, node.column, what))


def _wrong_number(name: str, operator: str, value: Any) -> str | None:
    if isinstance(value, str) and value in SYMBOLS and operator in {"gt", "lt"}:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return None
    symbols = f", or {one_of(SYMBOLS)} after `gt` or `lt`" if name == "harm.score" else ""
    return f"`{name}` is {_shown(value)}; expected a number{symbols}"


def _wrong_path(name: str, value: str) -> str | None:
    if value.startswith("~") and value != "~" and not value.startswith("~/"):
        return f"`{value}`: homes are written `~/…`"
    if "\0" in value or "\n" in value:
        return f"`{name}` has a character that no path has"
    if "$" in value:
        return f"`{value}`: variables are not read in policies; use `~/` for homes and `./` for the workspace"
    return None


def _wrong_cidr(value: str) -> str | None:
    import ipaddress

    try:
        ipaddress.ip_network(value, strict=True)
    except ValueError as problem:
        return f"`{value}` is no network: {problem}"
    return None


def wrong_regex(source: str) -> str | None:
    """What is wrong with this regular expression, or None. Costs up to `REGEX_SECONDS`: it is tried on hostile text."""
    if len(source) > REGEX_LENGTH:
        return f"the expression has {len(source)} characters, more than {REGEX_LENGTH}; use several rules or a list"
    try:
        compiled = re.compile(source)
    except (re.error, RecursionError, OverflowError) as problem:
        return f"`{source}` is no regular expression: {problem}"
    if re.search(r"\\[1-9]|\(\?P=", source):
        return f"`{source}` refers back to a group, which can take exponential time; write it without"
    if _takes_too_long(compiled, source):
        return f"`{source}` takes too long on hostile text (nested or neighbouring `*` and `+`); make each part match other characters than the next"
    return None


def _takes_too_long(compiled: re.Pattern[str], source: str) -> bool:
    """Tries growing repetitions of what the expression itself speaks about; stops at the first that is slow, before it can be endless."""
    letters = sorted({c for c in source if c.isalnum() or c in " ./-_:;|&$"} | set("a0 /-"))
    spelled = "".join(c for c in source if c.isalnum() or c == " ")
    pieces = [*letters, *re.findall(r"[A-Za-z0-9/ -]{2,12}", source)[:8], spelled or "a", spelled[:-1] or "a"]
    for piece in pieces:
        for size in (*range(12, 32), 64, 128, 256, 512, 1024, SAMPLE):
            text = (piece * (size // len(piece) + 1))[:size] + "\x00"
            start = time.process_time()
            compiled.fullmatch(text)
            if time.process_time() - start > REGEX_SECONDS:
                return True
    return False


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"
