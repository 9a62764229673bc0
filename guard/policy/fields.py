"""What a rule may speak about: the fields of every kind of action, what they hold, and which operators read them.

One table for the loader, the matcher and the documentation. What never enters: values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from guard.core.actions import FILE_OPS, HARM_LABELS, KINDS, Listener

Type = Literal["path", "text", "host", "address", "number", "bool"]

OPERATORS: dict[Type, tuple[str, ...]] = {
    "path": ("is", "in", "not_in", "under", "glob", "matches", "exists"),
    "text": ("is", "in", "not_in", "glob", "matches", "exists"),
    "host": ("is", "in", "not_in", "glob", "matches", "exists"),
    "address": ("is", "in", "not_in", "cidr", "glob", "exists"),
    "number": ("is", "in", "not_in", "gt", "lt", "exists"),
    "bool": ("is", "exists"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its type, whether an action has several values of it, the words it can be (empty = any), and what it costs to know.

    `cost` orders conditions, so that what is dear is asked only where everything cheaper holds: 0 is always there, 9 runs a model.
    """

    type: Type
    many: bool = False
    words: tuple[str, ...] = ()
    cost: int = 1


FIELDS: dict[str, dict[str, Field]] = {
    "file": {
        "op": Field("text", words=FILE_OPS, cost=0),
        "path": Field("path", many=True, cost=0),
        "at": Field("path", cost=0),
        "to": Field("path", cost=0),
        "folder": Field("bool", cost=2),
        "sets": Field("text", many=True, cost=3),
    },
    "exec": {
        "exe": Field("path"),
        "name": Field("text"),
        "args": Field("text", many=True),
        "command": Field("text", cost=2),
        "script": Field("text", cost=5),
        "cwd": Field("path", cost=2),
        "user": Field("text", cost=2),
        "anonymous": Field("bool", cost=2),
    },
    "network": {
        "host": Field("host", many=True),
        "address": Field("address"),
        "port": Field("number"),
        "protocol": Field("text", words=("http", "https", "tcp", "udp", "unix", "dns")),
        "listener": Field("text", words=get_args(Listener)),
        "method": Field("text", cost=4),
        "url": Field("text", cost=4),
        "url_path": Field("text", cost=4),
        "query": Field("text", cost=4),
        "body": Field("text", cost=6),
        "body_size": Field("number", cost=6),
        "content_type": Field("text", cost=4),
        "content": Field("text", many=True, cost=6),
    },
    "python": {"text": Field("text")},
    "sql": {"text": Field("text"), "dialect": Field("text")},
    "tool": {"server": Field("text"), "name": Field("text"), "arguments": Field("text", cost=2)},
    "system": {"op": Field("text", cost=0), "target": Field("text", cost=0)},
}

COMMON: dict[str, Field] = {
    "actor.name": Field("text", cost=3),
    "actor.exe": Field("path", cost=3),
    "actor.script": Field("path", cost=3),
    "actor.verified": Field("bool", cost=3),
    "session.labels": Field("text", many=True, cost=3),
    "harm.score": Field("number", cost=9),
    "harm.label": Field("text", words=HARM_LABELS, cost=9),
}

PLACE_LISTS = (
    "places.workspace",
    "places.git",
    "places.temporary",
    "places.guard",
    "places.guard_private",
    "places.guard_code",
    "places.home",
    "places.other_homes",
    "places.path_folders",
    "places.programs",
    "places.devices",
    "machine.caches",
)
HOST_LISTS = ("machine.registries", "machine.model_providers", "machine.resolvers")
SYMBOLS = ("model.ask_threshold", "model.block_threshold")


def field(kind: str, name: str) -> Field | None:
    """The field of this kind, None where the kind has no such field."""
    if kind == "network" and name.startswith("headers.") and len(name) > len("headers."):
        return Field("text", many=True, cost=4)
    return FIELDS[kind].get(name) or COMMON.get(name)


def names(kind: str) -> tuple[str, ...]:
    """Every field that rules of this kind may name."""
    more = ("headers.NAME",) if kind == "network" else ()
    return (*FIELDS[kind], *more, *COMMON)


def kinds_with(name: str) -> tuple[str, ...]:
    """The kinds that have a field of this name."""
    return tuple(kind for kind in KINDS if field(kind, name) is not None)
