"""The strict YAML reader: text in, plain values out, with the place of every value. Owns pyyaml.

YAML is read event by event, so that what a policy must not contain (anchors, aliases, tags, merges, several documents) ends the reading before anything
is built, and scalars are typed here: `true`, `false`, decimal numbers, text. Everything that YAML 1.1 would silently turn into
something else is an error. What never enters: what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from guard.policy.errors import PolicyError

LIMIT = 1_048_576  # bytes of a policy file; 500 rules with examples take about 300 kB
DEPTH = 40  # levels of nesting; a condition of ten levels is beyond reading already

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_NUMBER_LIKE = re.compile(
    r"[-+]?(?:0[0-9xXoObB_][0-9a-fA-F_]*|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_OLD_BOOLEANS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85]")


@dataclass(slots=True)
class Node:
    """A value with its place (1-based). `value` is a scalar, a list of nodes, or a dict from key text to (key node, value node)."""

    value: Any
    line: int
    column: int

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, list):
            return [n.plain() for n in self.value]
        if isinstance(self.value, dict):
            return {key: node.plain() for key, (_, node) in self.value.items()}
        return self.value

    def find(self, path: tuple[int | str, ...], *, key: bool = False) -> Node:
        """The node at this path of keys and indexes, as deep as the path exists; with `key`, the last key itself."""
        here = self
        for number, step in enumerate(path):
            if isinstance(here.value, dict) and step in here.value:
                name, value = here.value[step]
                here = name if key and number == len(path) - 1 else value
            elif isinstance(here.value, list) and isinstance(step, int) and step < len(here.value):
                here = here.value[step]
            else:
                break
        return here


def read(text: str, file: str) -> Node:
    """The document of this text; PolicyError with the place of the first thing that a policy must not contain."""
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT:
        raise PolicyError([f"{file}:1:1: the file has more than {LIMIT} bytes; split it into several packs"])
    try:
        return _Builder(file, yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as problem:
        raise PolicyError([_syntax(problem, file)]) from None
    except (yaml.YAMLError, RecursionError) as problem:
        raise PolicyError([f"{file}:1:1: not readable as YAML: {str(problem).splitlines()[0]}"]) from None


def _syntax(problem: yaml.MarkedYAMLError, file: str) -> str:
    mark = problem.problem_mark or problem.context_mark
    place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else f"{file}:1:1"
    what, around = problem.problem or "not YAML", problem.context or ""
    if "unknown escape" in what:
        return f"{place}: a backslash in double quotes starts a YAML escape, and this one does not exist; write the text in single quotes"
    if "tab" in what:
        return f"{place}: a tab; indentation is made of spaces"
    if "tag" in around or "alias" in around or "anchor" in around:
        return f"{place}: a value that starts with `!`, `*` or `&` must be in quotes"
    if "cannot start any token" in what:
        return f"{place}: this character cannot start a value; put the value in quotes"
    if "mapping values are not allowed" in what:
        return f"{place}: `:` starts a mapping here; put the value in quotes or check the indentation"
    return f"{place}: not YAML: {what}"


class _Builder:
    def __init__(self, file: str, events: Iterator[Any]) -> None:
        self._file = file
        self._events = events

    def document(self) -> Node:
        found: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    self._stop(event, "a second document; a policy file holds one")
                found = self._node(next(self._events), 0)
        if found is None:
            raise PolicyError([f"{self._file}:1:1: the file is empty; expected `version: 1`, `name:` and `rules:`"])
        return found

    def _node(self, event: Any, depth: int) -> Node:
        self._check(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            return self._at(event, self._scalar(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._at(event, self._sequence(depth))
        return self._at(event, self._mapping(depth))

    def _check(self, event: Any, depth: int) -> None:
        if depth > DEPTH:
            self._stop(event, f"nested more than {DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            self._stop(
                event,
                f"`*{event.anchor}`: aliases are not used in policies; write the value out, or use `lists:`, or quote a glob",
            )
        if event.anchor is not None:
            self._stop(
                event, f"`&{event.anchor}`: anchors are not used in policies; use `lists:` for what several rules share"
            )
        if event.tag is not None:
            self._stop(
                event, f"`{_short_tag(event.tag)}`: tags are not used in policies; quote the value if `!` belongs to it"
            )

    def _sequence(self, depth: int) -> list[Node]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, tuple[Node, Node]]:
        found: dict[str, tuple[Node, Node]] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, depth)
            value = self._node(next(self._events), depth + 1)
            if key.value in found:
                first = found[key.value][0]
                self._stop(event, f"`{key.value}` is given twice; the first is in line {first.line}")
            found[key.value] = (key, value)
        return found

    def _key(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
            self._stop(event, "`<<`: merges are not used in policies; use `extends` or `lists:`")
        key = self._node(event, depth + 1)
        if not isinstance(key.value, str):
            shown = event.value if isinstance(event, yaml.ScalarEvent) else "this"
            self._stop(event, f"`{shown}` is no name of a key; expected a word")
        return key

    def _scalar(self, event: Any) -> str | int | float | bool:
        text: str = event.value
        if event.style == '"' and (control := _CONTROL.search(text)):
            self._stop(
                event,
                f"the escape in double quotes became the control character {control[0]!r}; write the text in single quotes",
            )
        if event.style:
            return text
        if text in {"true", "false"}:
            return text == "true"
        if _NUMBER.fullmatch(text):
            return float(text) if "." in text else int(text)
        self._no_surprise(event, text)
        return text

    def _no_surprise(self, event: Any, text: str) -> None:
        """What YAML 1.1 would turn into a boolean, a null or another number than the one that is read."""
        lower = text.lower()
        if text in _NULLS:
            what = f"`{text}` is YAML's null" if text else "a key without a value"
            self._stop(event, f"{what}; expected a value{', `~/` is the home' if text == '~' else ''}")
        if lower in _OLD_BOOLEANS:
            self._stop(
                event, f'`{text}` is a boolean in YAML 1.1; write `{_OLD_BOOLEANS[lower]}`, or `"{text}"` for the word'
            )
        if lower in {"true", "false"}:
            self._stop(event, f'`{text}`: write `{lower}`, or `"{text}"` for the word')
        if _NUMBER_LIKE.fullmatch(text):
            self._stop(
                event,
                f'`{text}` is another number in YAML 1.1 than it looks; write it in decimal, or `"{text}"` for the text',
            )

    def _at(self, event: Any, value: Any) -> Node:
        return Node(value, event.start_mark.line + 1, event.start_mark.column + 1)

    def _stop(self, event: Any, what: str) -> None:
        mark = event.start_mark
        raise PolicyError([f"{self._file}:{mark.line + 1}:{mark.column + 1}: {what}"])


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
