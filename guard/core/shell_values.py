"""What a reader of shell text says: simple commands with their words resolved as far as the text alone resolves them.

What never enters: the tree that they were read from, and anything that only running could tell. Such a thing is None, with
what is known of it beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from guard.core.places import lexical
from guard.core.shell_syntax import Problem

Language = Literal["shell", "python", "sql", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word of a command after expansion.

    `text` is None where only running can tell it; `prefix` is then the beginning that is known. `pattern` tells that unquoted
    `*`, `?` or `[` stand in it, so that it names what matches (or, where nothing does, itself). `source` is the word as written.
    """

    text: str | None
    source: str = ""
    prefix: str = ""
    pattern: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """A redirection: `operator` without its number, `descriptor` None for the operator's own (0 or 1).

    `content` is what a here-document or here-string feeds, None where unknown or where there is none.
    """

    operator: str
    descriptor: int | None
    target: Word
    content: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One simple command that the text would run.

    `words` is empty for redirections without a command. `assignments` are those that stand before it. `dynamic` tells that the
    name is not known. `via` says how it comes to run: "" for what is written plainly, else `sudo`, `sh -c`, `$()`, `xargs` …;
    `parent` is the index, in the reading, of the command that runs it. `remote` names the machine or container where it runs,
    None here. `cwd` is its folder, None where not known. `more` tells that arguments follow which only running can tell.
    `fed_by` is the index of the command whose output it reads; `stdin` that text, where known. `script` is the code that an
    interpreter is given: None where it is not known, "" where there is none; `language` says in what. `builtin` tells that the
    shell itself does it, so that no program starts. `span` are character offsets in the text given to the reader.
    """

    words: tuple[Word, ...]
    assignments: tuple[tuple[str, str | None], ...] = ()
    redirects: tuple[Redirect, ...] = ()
    dynamic: bool = False
    depth: int = 0
    span: tuple[int, int] = (0, 0)
    via: str = ""
    parent: int | None = None
    remote: str | None = None
    cwd: str | None = None
    more: bool = False
    fed_by: int | None = None
    stdin: str | None = None
    script: str | None = ""
    language: Language | None = None
    builtin: bool = False

    @property
    def name(self) -> str | None:
        """The file name of the program, None where it is not known or where there is none."""
        text = self.words[0].text if self.words else None
        return text.rstrip("/").rpartition("/")[2] if text else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All commands of a text in the order in which they would start, outer before inner, and what could not be read.

    With `problems` the list may be short: whoever decides on it asks.
    """

    commands: tuple[Command, ...]
    problems: frozenset[Problem] = frozenset()


def words_of(text: str) -> frozenset[str]:
    """The words of a text as a set: how the tables of tools are written."""
    return frozenset(text.split())


def absolute(folder: str | None, path: str) -> str | None:
    """`path` seen from `folder`, without `.` and `..`, by text alone (symbolic links are not followed); None without a folder.

    >>> absolute("/w", "a/../b//c")
    '/w/b/c'
    """
    if folder is None and not path.startswith("/"):
        return None
    return lexical(path, folder or "/")
