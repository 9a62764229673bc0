"""Path patterns, looked up all at once: one walk over a path says which of many patterns it meets.

A pattern is absolute or starts with `**/`; `*` and `?` stay inside one name, `**` crosses names, `[…]` is a class. Each belongs to an
*atom*, a bit of an integer: the condition of a rule that the pattern is part of. What never enters: the file system.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable

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

    __slots__ = ("_partial", "_regex", "bit", "below", "pattern")

    def __init__(self, pattern: str, bit: int, *, below: bool) -> None:
        self.pattern = pattern
        self.bit = bit
        self.below = below
        self._regex: re.Pattern[str] | None = None
        self._partial: re.Pattern[str] | None = None

    def meets(self, path: str) -> bool:
        """Whether the path is one of these; with `below`, also anything below one."""
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
    for name in names[:-1]:
        if name == "**":
            prefixes.append(source + "(?:/.*)?")
            source += "(?:/.*)?"
            continue
        source += "/" + glob_source(name)
        literal_met = literal_met or not is_glob(name)
        if literal_met or not floating:
            prefixes.append(source)
    if not prefixes:
        return r"(?!)"
    start = "(?:/.*)?" if floating else ""
    return f"{start}(?:{'|'.join(prefixes)})" if floating else f"(?:{'|'.join(p or '/' for p in prefixes)})"


class PathTable:
    """Patterns with their atoms. Built once; `meets` and `below` are the questions."""

    __slots__ = ("_anywhere", "_exact", "_globs_at", "_globs_named", "_holes", "_sorted", "_subtree", "_whole")

    def __init__(self) -> None:
        self._subtree: dict[str, int] = {}
        self._exact: dict[str, int] = {}
        self._holes: dict[str, int] = {}
        self._globs_at: dict[str, list[Glob]] = {}
        self._globs_named: dict[str, list[Glob]] = {}
        self._anywhere: list[Glob] = []
        self._sorted: list[str] | None = None
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
        elif name := next((n for n in pattern.split("/") if n and not is_glob(n)), None):
            self._globs_named.setdefault(name, []).append(glob)
        else:
            self._anywhere.append(glob)

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
        for glob in self._anywhere:
            if found & glob.bit == 0 and glob.meets(path):
                found |= glob.bit
        return found

    def below(self, folder: str) -> int:
        """The atoms of which something could lie strictly below this folder."""
        if self._sorted is None:
            self._sorted = sorted({*self._subtree, *self._exact})
        start = "/" if folder == "/" else folder + "/"
        found, i = self._whole, bisect_left(self._sorted, start)
        while i < len(self._sorted) and self._sorted[i].startswith(start):
            if self._sorted[i] != folder:
                found |= self._subtree.get(self._sorted[i], 0) | self._exact.get(self._sorted[i], 0)
            i += 1
        for glob in self._all_globs():
            if found & glob.bit == 0 and glob.may_lie_below(folder):
                found |= glob.bit
        return found

    def _all_globs(self) -> Iterable[Glob]:
        for globs in (*self._globs_at.values(), *self._globs_named.values(), self._anywhere):
            yield from globs


def _literal_folder(pattern: str) -> str:
    """The longest folder that everything the pattern matches lies in."""
    cut = min(pattern.find(c) for c in _SPECIAL if c in pattern)
    return pattern[: pattern.rfind("/", 0, cut)] or "/"
