"""Conditions compiled to closures with three results: True, False, or the set of fields whose absence leaves it open.

An empty set is an absence that nothing can fill (an actor that is not verified). A condition is read with a quantifier: for block
and ask a path or list condition holds if *any* value matches, for allow only if *all* do, and `not` turns one into the other. What
never enters: decisions, and anything that is not in the action or its context.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guard.core.actions import Action, Context, FileAction
from guard.core.places import DEVICES, Places, canonical_host, host_of_endpoint, is_loopback, lexical
from guard.policy.fields import Field, field
from guard.policy.paths import PathTable, glob_source, is_glob
from guard.policy.program import Condition

type Truth = bool | frozenset[str]
type Test = Callable[[Facts], Truth]

WINDOW = 4096  # characters that `matches` reads at once: bounds what a quadratic expression can cost (16 million steps)

_BEYOND_REACH: frozenset[str] = frozenset()
_NO_FACT = object()  # an actor's field that only a verified actor has


class Facts:
    """One action with what every condition on its paths needs, looked up once.

    Masks are bits of the file table: `sure` and `maybe` for conditions that hold if any path matches (they differ while it is not
    known whether the path is a folder), `every` for those that need all paths.
    """

    __slots__ = (
        "action",
        "at_every",
        "at_maybe",
        "at_sure",
        "context",
        "every",
        "maybe",
        "sure",
        "to_every",
        "to_maybe",
        "to_sure",
    )

    action: Action
    context: Context
    at_every: int
    at_maybe: int
    at_sure: int
    every: int
    maybe: int
    sure: int
    to_every: int
    to_maybe: int
    to_sure: int

    def __init__(self, action: Action, context: Context) -> None:
        self.action = action
        self.context = context

    @classmethod
    def of_file(cls, action: FileAction, context: Context, table: PathTable) -> Facts:
        """The facts of a file action; moving or removing a folder touches what is below it."""
        facts = cls(action, context)
        here = table.meets(action.path)
        facts.at_every = facts.at_sure = facts.at_maybe = facts.sure = facts.maybe = facts.every = here
        there = 0
        if action.to is not None:
            there = table.meets(action.to)
            facts.sure = facts.maybe = here | there
            facts.every = here & there
        facts.to_every = facts.to_sure = facts.to_maybe = there
        if (action.op == "delete" or action.op == "rename") and action.folder is not False:
            facts._touch_below(action, table)
        return facts

    def _touch_below(self, action: FileAction, table: PathTable) -> None:
        self.at_maybe |= table.below(action.path)
        self.to_maybe |= 0 if action.to is None else table.below(action.to)
        self.maybe = self.at_maybe | self.to_maybe
        if action.folder:
            self.at_sure, self.to_sure, self.sure = self.at_maybe, self.to_maybe, self.maybe


class Compiler:
    """Turns the conditions of a program into tests; owns the table of file paths that they share."""

    def __init__(self, places: Places, thresholds: Mapping[str, float] | None) -> None:
        self.table = PathTable()
        self._places = places
        self._thresholds = thresholds
        self._bits: dict[tuple[Any, ...], int] = {}

    def test(self, condition: Condition, kind: str, *, every: bool) -> Test:
        """The test of this condition for actions of this kind; `every` as for allow, else as for block and ask."""
        word = condition[0]
        if word == "not":
            return _negated(self.test(condition[1], kind, every=not every))
        if word == "leaf":
            return self._leaf(condition, kind, every=every)
        parts = sorted(condition[1], key=lambda c: cost(c, kind))
        tests = tuple(self.test(part, kind, every=every) for part in parts)
        if len(tests) == 1:
            return tests[0]
        return _all(tests) if word == "all" else _any(tests)

    def need(self, condition: Condition, kind: str, *, every: bool) -> int | None:
        """Bits of the file table of which one must be set (in `maybe`) for the condition to hold at all; None where there is no such set."""
        word = condition[0]
        if kind != "file" or word == "not":
            return None
        if word == "leaf":
            _, name, operator, values, lists = condition
            return (
                self._bit(operator, values, lists, own=every)
                if name in {"path", "at", "to"} and operator in _BY_TABLE
                else None
            )
        needs = [self.need(part, kind, every=every) for part in condition[1]]
        if word == "all":
            return next((n for n in needs if n is not None), None)
        known = [n for n in needs if n is not None]
        if len(known) < len(needs):
            return None
        bits = 0
        for n in known:
            bits |= n
        return bits

    def _leaf(self, condition: Condition, kind: str, *, every: bool) -> Test:
        _, name, operator, values, lists = condition
        spec = field(kind, name)
        assert spec is not None, f"{kind} has no field {name}; the loader lets no such rule through"
        if name.startswith("harm.") and self._thresholds is None:
            return _false
        if kind == "file" and name in {"path", "at", "to"} and operator in _BY_TABLE:
            return _masked(name, self._bit(operator, values, lists, own=every), every=every)
        if operator == "exists":
            return _exists(_reader(kind, name), _reported(name), wanted=bool(values[0]))
        holds = self._value_test(spec, operator, values, lists, own=every)
        read, unknown = _reader(kind, name), frozenset({_reported(name)})
        if operator == "matches":
            holds = _matching(values, every=every)
        return _many(read, holds, unknown, every=every) if spec.many else _one(read, holds, unknown)

    def _value_test(
        self, spec: Field, operator: str, values: Sequence[Any], lists: Sequence[str], *, own: bool
    ) -> Callable[[Any], bool]:
        if operator == "matches":
            return _never
        if spec.type == "path":
            table = PathTable()
            self._fill(table, 1, operator, values, lists, own=own)
            return lambda value: bool(table.meets(value))
        if spec.type in {"host", "address"}:
            return _host_test(operator, [*values, *(h for name in lists for h in _hosts(name, self._places))])
        if operator in {"gt", "lt"}:
            limit = self._number(values[0])
            return (lambda value: value > limit) if operator == "gt" else (lambda value: value < limit)
        if operator == "glob":
            any_glob = _Expressions([_whole_text(values)])
            return lambda value: any_glob.match(value)
        wanted = frozenset(values)
        return lambda value: value in wanted

    def _number(self, value: Any) -> float:
        if isinstance(value, str):
            assert self._thresholds is not None
            return self._thresholds[value]
        return float(value)

    def _bit(self, operator: str, values: Sequence[str], lists: Sequence[str], *, own: bool) -> int:
        key = (operator, tuple(values), tuple(lists), own)
        if key not in self._bits:
            self._bits[key] = 1 << len(self._bits)
            self._fill(self.table, self._bits[key], operator, values, lists, own=own)
        return self._bits[key]

    def _fill(
        self, table: PathTable, bit: int, operator: str, values: Sequence[str], lists: Sequence[str], *, own: bool
    ) -> None:
        for value in values:
            below = operator == "under" or (operator == "in" and not is_glob(value))
            for pattern in absolute(value, self._places, own=own):
                table.add(pattern, bit, below=below)
        for name in lists:
            folders, holes = _folders(name, self._places)
            for folder in folders:
                table.add(folder, bit, below=not is_glob(folder))
            for hole in holes:
                table.exclude(hole, bit)


def absolute(pattern: str, places: Places, *, own: bool) -> tuple[str, ...]:
    """The pattern with `~` and relative starts written out.

    `~` is every home that may hold what the pattern names; for allow rules (`own`) only the homes of whoever runs the guard.
    """
    if pattern == "~" or pattern.startswith("~/"):
        homes = places.homes if own else (*places.homes, *places.other_homes)
        return tuple(_joined(home, pattern[2:]) for home in homes)
    if pattern.startswith("**/") or pattern == "**":
        return (pattern,)
    return (_joined(places.workspace, pattern) if not pattern.startswith("/") else lexical(pattern),)


def _joined(folder: str, rest: str) -> str:
    return lexical(rest or ".", folder)


def cost(condition: Condition, kind: str) -> int:
    """What the dearest field of the condition costs to know."""
    if condition[0] == "leaf":
        spec = field(kind, condition[1])
        return 1 if spec is None else spec.cost
    parts = [condition[1]] if condition[0] == "not" else condition[1]
    return max(cost(part, kind) for part in parts)


def _folders(name: str, places: Places) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The folders of a built-in list, and those that do not belong to it although they lie inside one."""
    homes = (*places.homes, *places.other_homes)
    match name:
        case "places.workspace":
            return (places.workspace,), ()
        case "places.git":
            return places.git_dirs, ()
        case "places.temporary":
            return places.temporary, homes
        case "places.guard":
            return places.guard, ()
        case "places.guard_private":
            return places.guard_private, places.guard_public
        case "places.guard_code":
            return places.guard_code, ()
        case "places.home":
            return places.homes, ()
        case "places.other_homes":
            return places.other_homes, (
                places.workspace,
                *places.git_dirs,
                *places.homes,
                *places.programs,
                *places.path_folders,
            )
        case "places.path_folders":
            return places.path_folders, ()
        case "places.programs":
            return places.programs, ()
        case "places.devices":
            return DEVICES, ()
        case "machine.caches":
            return places.caches, ()
        case _:
            raise KeyError(name)


def _hosts(name: str, places: Places) -> tuple[str, ...]:
    match name:
        case "machine.registries":
            return places.registries
        case "machine.model_providers":
            # A model on loopback is known by its port as well: the edges class such a connection as `listener: model`.
            return tuple(h for e in places.model_endpoints if not is_loopback(h := host_of_endpoint(e)))
        case "machine.resolvers":
            return places.resolvers
        case _:
            raise KeyError(name)


# --- leaves -----------------------------------------------------------------------------------------------------------------

_BY_TABLE = frozenset({"is", "in", "under", "glob"})


def _false(_: Facts) -> Truth:
    return False


def _never(_: Any) -> bool:
    return False


def _masked(name: str, bit: int, *, every: bool) -> Test:
    match name, every:
        case "path", True:
            return lambda f: f.every & bit != 0
        case "at", True:
            return lambda f: f.at_every & bit != 0
        case "to", True:
            return lambda f: f.to_every & bit != 0
        case "path", False:
            return lambda f: True if f.sure & bit else (_FOLDER if f.maybe & bit else False)
        case "at", False:
            return lambda f: True if f.at_sure & bit else (_FOLDER if f.at_maybe & bit else False)
        case _:
            return lambda f: True if f.to_sure & bit else (_FOLDER if f.to_maybe & bit else False)


_FOLDER: frozenset[str] = frozenset({"folder"})


def _one(read: Callable[[Facts], Any], holds: Callable[[Any], bool], unknown: frozenset[str]) -> Test:
    def test(facts: Facts) -> Truth:
        value = read(facts)
        if value is None:
            return unknown
        return _BEYOND_REACH if value is _NO_FACT else holds(value)

    return test


def _many(read: Callable[[Facts], Any], holds: Callable[[Any], bool], unknown: frozenset[str], *, every: bool) -> Test:
    def test(facts: Facts) -> Truth:
        values = read(facts)
        if values is None:
            return unknown
        return (len(values) > 0 and all(map(holds, values))) if every else any(map(holds, values))

    return test


def _exists(read: Callable[[Facts], Any], name: str, *, wanted: bool) -> Test:
    unknown = frozenset({name})

    def test(facts: Facts) -> Truth:
        value = read(facts)
        if name == "to":
            return (value is not None) is wanted
        if value is None:
            return unknown
        return _BEYOND_REACH if value is _NO_FACT else (value not in ("", ())) is wanted

    return test


def _matching(patterns: Sequence[str], *, every: bool) -> Callable[[str], bool]:
    """Full match of one of the patterns. Text beyond `WINDOW` is read in windows that overlap by half; an allow never holds on it."""
    expressions = _Expressions(patterns)

    def holds(text: str) -> bool:
        if len(text) <= WINDOW:
            return expressions.match(text)
        if every:
            return False
        starts = range(0, len(text) - WINDOW // 2, WINDOW // 2)
        return any(expressions.match(text[start : start + WINDOW]) for start in starts)

    return holds


class _Expressions:
    """Regular expressions, of which one must match fully. Compiled when first asked: most rules never are, and compiling is slow."""

    __slots__ = ("_compiled", "_sources")

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources
        self._compiled: tuple[re.Pattern[str], ...] | None = None

    def match(self, text: str) -> bool:
        if self._compiled is None:
            self._compiled = tuple(re.compile(source) for source in self._sources)
        return any(regex.fullmatch(text) for regex in self._compiled)


def _whole_text(globs: Sequence[str]) -> str:
    """One expression for several globs in which `*` crosses everything."""
    return "(?s)" + "|".join(f"(?:{glob_source(g, separator=False)})" for g in globs)


def _host_test(operator: str, values: Sequence[str]) -> Callable[[str], bool]:
    if operator == "cidr":
        return _network_test(values)
    globs = [v for v in values if is_glob(v)]
    plain = frozenset(canonical_host(v) for v in values if not is_glob(v))
    if not globs:
        return lambda value: _plain_host(value) in plain
    any_glob = _Expressions([_whole_text([v.lower() for v in globs])])
    return lambda value: (host := _plain_host(value)) in plain or any_glob.match(host)


def _plain_host(value: str) -> str:
    """IPv4 written as an IPv6 address is the IPv4 address; a socket's path is no host and stays as it is."""
    return value if value.startswith(("/", "@")) else canonical_host(value).removeprefix("::ffff:")


def _network_test(values: Sequence[str]) -> Callable[[str], bool]:
    import ipaddress  # 3 ms that only a policy with `cidr` pays

    networks = [ipaddress.ip_network(v, strict=False) for v in values]

    def holds(value: str) -> bool:
        try:
            address = ipaddress.ip_address(_plain_host(value))
        except ValueError:
            return False
        return any(address in network for network in networks)

    return holds


def _negated(test: Test) -> Test:
    def inverse(facts: Facts) -> Truth:
        result = test(facts)
        return (not result) if isinstance(result, bool) else result

    return inverse


def _all(tests: Sequence[Test]) -> Test:
    def test(facts: Facts) -> Truth:
        open_fields: frozenset[str] | None = None
        for part in tests:
            result = part(facts)
            if result is False:
                return False
            if result is not True:
                open_fields = result if open_fields is None else open_fields | result
        return True if open_fields is None else open_fields

    return test


def _any(tests: Sequence[Test]) -> Test:
    def test(facts: Facts) -> Truth:
        open_fields: frozenset[str] | None = None
        for part in tests:
            result = part(facts)
            if result is True:
                return True
            if result is not False:
                open_fields = result if open_fields is None else open_fields | result
        return False if open_fields is None else open_fields

    return test


# --- reading fields ---------------------------------------------------------------------------------------------------------


def _reported(name: str) -> str:
    """The fact that an edge is asked for so that this field becomes known."""
    if name.startswith("actor."):
        return "actor"
    if name.startswith("harm."):
        return "harm.score"
    return "headers" if name.startswith("headers.") else name


def _reader(kind: str, name: str) -> Callable[[Facts], Any]:
    """Reads the field; None is unknown. `_NO_FACT` is what nobody can supply."""
    if name == "actor.verified":
        return lambda f: None if (a := f.action.actor) is None else a.verified
    if name.startswith("actor."):
        return _actor_reader(name.removeprefix("actor."))
    if name == "session.labels":
        return lambda f: f.context.labels
    if name == "harm.score":
        return lambda f: None if (h := f.context.harm) is None else h.score
    if name == "harm.label":
        return lambda f: None if (h := f.context.harm) is None else h.label
    if name.startswith("headers."):
        return _header_reader(name.removeprefix("headers.").lower())
    if kind == "file" and name == "path":
        return lambda f: _paths(f.action)
    attribute = "path" if name == "at" else name
    return lambda f: getattr(f.action, attribute)


def _paths(action: Any) -> tuple[str, ...]:
    return (action.path,) if action.to is None else (action.path, action.to)


def _actor_reader(attribute: str) -> Callable[[Facts], Any]:
    def read(facts: Facts) -> Any:
        actor = facts.action.actor
        if actor is None:
            return None
        if not actor.verified:
            return _NO_FACT
        value = getattr(actor, attribute)
        return "" if value is None else value

    return read


def _header_reader(header: str) -> Callable[[Facts], Any]:
    def read(facts: Facts) -> Any:
        headers = getattr(facts.action, "headers", None)
        return None if headers is None else tuple(value for name, value in headers if name == header)

    return read
