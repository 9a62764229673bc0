"""Path patterns, looked up all at once: one walk over a path says which of many patterns it meets.

A pattern is absolute or starts with `**/`; `*` and `?` stay inside one name, `**` crosses names, `[…]` is a class. Each belongs to an
*atom*, a bit of an integer: the condition of a rule that the pattern is part of. What never enters: the file system.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_SPECIAL = frozenset("*?[")


def is_glob(pattern: str) -> bool:
    """Whether the pattern has characters that stand for others."""
    return not _SPECIAL.isdisjoint(pattern)


def glob_source(pattern: str, *, separator: bool = True) -> str:
    """The regular expression of a glob; without `separator`, `*` and `?` match `/` as well (for texts that are no paths).

    A class without its closing bracket is an ordinary `[`.
    """
    out: list[str] = []
    one, i = ("[^/]" if separator else "."), 0
    while i < len(pattern):
        c = pattern[i]
        if separator and pattern.startswith("**/", i) and (i == 0 or pattern[i - 1] == "/"):
            out.append("(?:.*/)?")
            i += 3
            continue
        if pattern.startswith("**", i):
            out.append(".*")
            i += 2
            continue
        end = pattern.find("]", i + 2) if c == "[" else -1
        if end > 0:
            body = pattern[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{'^' + body[1:] if body[0] in '!^' else body}]")
            i = end + 1
            continue
        out.append({"*": f"{one}*", "?": one}.get(c) or re.escape(c))
        i += 1
    return "".join(out)


class Glob:
    """One pattern with special characters. Its expressions are compiled when first needed: most are never tried."""

    __slots__ = ("_partial", "_regex", "below", "bit", "pattern", "start")

    def __init__(self, pattern: str, bit: int, *, below: bool) -> None:
        self.pattern = pattern
        self.bit = bit
        self.below = below
        self.start = pattern[: min(pattern.find(c) for c in _SPECIAL if c in pattern)]
        self._regex: re.Pattern[str] | None = None
        self._partial: re.Pattern[str] | None = None

    def meets(self, path: str) -> bool:
        """Whether the path is one of these; with `below`, also anything below one."""
        if not path.startswith(self.start):
            return False
        regex = self._regex
        if regex is None:
            regex = self._regex = re.compile(glob_source(self.pattern) + ("(?:/.*)?" if self.below else ""), re.DOTALL)
        return regex.fullmatch(path) is not None

    def may_lie_below(self, folder: str) -> bool:
        """Whether something strictly below the folder could be one of these.

        A leading `**/` could lie below everything; it counts only once a literal name after it has been met, because otherwise
        moving any folder would touch every such rule.
        """
        if self._partial is None:
            self._partial = re.compile(_partial_source(self.pattern), re.DOTALL)
        return self._partial.fullmatch(folder) is not None


def _partial_source(pattern: str) -> str:
    """Matches the folders on the way to what the pattern matches."""
    floating = pattern.startswith("**/")
    names = pattern.removeprefix("**/").strip("/").split("/")
    source, literal_met = "", False
    prefixes: list[str] = [] if floating else [""]
    for name in names if "**" in names[-1] else names[:-1]:
        source += "(?:/.*)?" if "**" in name else "/" + glob_source(name)
        literal_met = literal_met or not is_glob(name)
        if literal_met or not floating:
            prefixes.append(source)
    if not prefixes:
        return r"(?!)"
    start = "(?:/.*)?" if floating else ""
    return f"{start}(?:{'|'.join(prefixes)})" if floating else f"(?:{'|'.join(p or '/' for p in prefixes)})"


class PathTable:
    """Patterns with their atoms. Built once; `meets` and `below` are the questions."""

    __slots__ = (
        "_anywhere",
        "_ends",
        "_exact",
        "_globs_at",
        "_globs_named",
        "_holes",
        "_starts",
        "_subtree",
        "_way",
        "_whole",
    )

    def __init__(self) -> None:
        self._subtree: dict[str, int] = {}
        self._exact: dict[str, int] = {}
        self._holes: dict[str, int] = {}
        self._globs_at: dict[str, list[Glob]] = {}
        self._globs_named: dict[str, list[Glob]] = {}
        self._anywhere: list[Glob] = []
        self._starts: tuple[
            str, ...
        ] = ()  # one of which a path's name has, or one of `_ends`, if `_anywhere` can meet it at all
        self._ends: tuple[str, ...] = ()
        self._way: _Way | None = None
        self._whole = 0

    def add(self, pattern: str, bit: int, *, below: bool) -> None:
        """The pattern belongs to the atom `bit`; with `below`, everything below what it matches does too."""
        if not is_glob(pattern):
            table = self._subtree if below else self._exact
            table[pattern] = table.get(pattern, 0) | bit
            return
        glob = Glob(pattern, bit, below=below)
        if pattern == "**" or pattern == "/**":
            self._whole |= bit
        elif not pattern.startswith("**/"):
            self._globs_at.setdefault(_literal_folder(pattern), []).append(glob)
        elif name := next((n for n in reversed(pattern.split("/")) if n and not is_glob(n)), None):
            self._globs_named.setdefault(name, []).append(glob)
        else:
            self._add_anywhere(glob)

    def _add_anywhere(self, glob: Glob) -> None:
        """Patterns without a literal name: most are `**/NAME*` or `**/*NAME`, which the name of a path can rule out at once."""
        self._anywhere.append(glob)
        name = glob.pattern.removeprefix("**/")
        if not glob.below and "/" not in name and name.count("*") == 1 and not is_glob(name.replace("*", "")):
            if name.endswith("*"):
                self._starts = (*self._starts, name[:-1])
                return
            if name.startswith("*"):
                self._ends = (*self._ends, name[1:])
                return
        self._ends = ("",)

    def exclude(self, folder: str, bit: int) -> None:
        """Nothing at or below the folder is in the atom by virtue of a folder further up."""
        self._holes[folder] = self._holes.get(folder, 0) | bit

    def meets(self, path: str) -> int:
        """The atoms that this path is in."""
        found = self._exact.get(path, 0) | self._whole
        subtree, at, named, holes = self._subtree, self._globs_at, self._globs_named, self._holes
        hidden, here = 0, path
        while True:
            if hidden:
                found |= subtree.get(here, 0) & ~hidden
            elif here in subtree:
                found |= subtree[here]
            if here in at:
                for glob in at[here]:
                    if found & glob.bit == 0 and glob.meets(path):
                        found |= glob.bit
            if here == "/":
                break
            cut = here.rfind("/")
            name = here[cut + 1 :]
            if name in named:
                for glob in named[name]:
                    if found & glob.bit == 0 and glob.meets(path):
                        found |= glob.bit
            if here in holes:
                hidden |= holes[here]
            here = here[:cut] or "/"
        if path.endswith(self._ends) or path[path.rfind("/") + 1 :].startswith(self._starts):
            for glob in self._anywhere:
                if found & glob.bit == 0 and glob.meets(path):
                    found |= glob.bit
        return found

    def below(self, folder: str) -> int:
        """The atoms of which something could lie strictly below this folder."""
        way = self._way
        if way is None:
            way = self._way = _Way(
                {**self._subtree, **{p: b | self._subtree.get(p, 0) for p, b in self._exact.items()}},
                self._globs_at,
                self._floating(),
            )
        return self._whole | way.below(folder)

    def _floating(self) -> list[Glob]:
        return [g for globs in (*self._globs_named.values(), self._anywhere) for g in globs]


class _Way:
    """What lies below a folder, in an order that answers quickly. Made at the first folder that is moved or removed."""

    __slots__ = ("_at", "_bits", "_folders", "_named", "_paths")

    def __init__(self, literals: dict[str, int], at: dict[str, list[Glob]], floating: Iterable[Glob]) -> None:
        self._bits = literals
        self._paths = sorted(literals)
        self._at = at
        self._folders = sorted(at)
        self._named: dict[str, list[Glob]] = {}
        for glob in floating:
            for name in _names_on_the_way(glob.pattern):
                self._named.setdefault(name, []).append(glob)

    def below(self, folder: str) -> int:
        start = "/" if folder == "/" else folder + "/"
        found = 0
        for path in _starting(self._paths, start):
            found |= self._bits[path] if path != folder else 0
        for inner in _starting(self._folders, start):
            for glob in self._at[inner]:
                found |= glob.bit
        here = folder
        while True:
            for glob in self._at.get(here, ()):
                found |= glob.bit if found & glob.bit == 0 and glob.may_lie_below(folder) else 0
            if here == "/":
                return found
            cut = here.rfind("/")
            for glob in self._named.get(here[cut + 1 :], ()):
                found |= glob.bit if found & glob.bit == 0 and glob.may_lie_below(folder) else 0
            here = here[:cut] or "/"


def _starting(ordered: list[str], start: str) -> Iterator[str]:
    """The entries of a sorted list that begin like this."""
    for i in range(bisect_left(ordered, start), len(ordered)):
        if not ordered[i].startswith(start):
            return
        yield ordered[i]


def _names_on_the_way(pattern: str) -> set[str]:
    """The names before the last that stand for themselves: one of them is in every folder on the way to a floating pattern."""
    return {n for n in pattern.split("/")[:-1] if n and not is_glob(n)}


def _literal_folder(pattern: str) -> str:
    """The longest folder that everything the pattern matches lies in."""
    cut = min(pattern.find(c) for c in _SPECIAL if c in pattern)
    return pattern[: pattern.rfind("/", 0, cut)] or "/"
