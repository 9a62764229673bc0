"""Expansion: what a word as written becomes, one or many words, as far as the text alone tells (POSIX XCU 2.6, bash's braces).

What never enters: how variables got their values and how substitutions are run; a `Scope` answers for both.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from guard.core.shell_syntax import Arithmetic, Parameter, Part, RawWord, Substitution, Text
from guard.core.shell_values import Word, absolute

type Value = str | tuple[str, ...] | None
"""A variable's value: a text, the elements of an array, or None where it is not known."""


class Matching(str):
    """A value that came from a pattern, as in `for f in *.c`: wherever it goes, it names what the pattern matches."""

    __slots__ = ()


MAX_FIELDS: Final = 256
"""Words that one word may become; a brace expansion beyond it is left as something that only running can tell."""
MAX_TEXT: Final = 65536
"""Characters of one value; longer ones are unknown, so that doubling variables cost nothing."""
_MAX_BRACES: Final = 32
_MAX_BRACED: Final = 4096  # characters of a word with braces: each alternative copies them
_MAX_EDITED: Final = 128  # characters of a value, and of a pattern, that `${x%pattern}` and its kin are worked out for
_WHITE = " \t\n"
_SPACES = re.compile(r"[ \t\n]+")
_GLOB = frozenset("*?[")
_RANGE = re.compile(r"(-?\d{1,6}|[A-Za-z])\.\.(-?\d{1,6}|[A-Za-z])(?:\.\.(-?\d{1,4}))?\Z")
_SUM = re.compile(r"\s*(-?\d{1,9})\s*(?:([-+*])\s*(\d{1,9})\s*)?\Z")

type Piece = tuple[str | None, bool]
"""(text or None where unknown, quoted)"""
type Field = list[Piece]


class Scope(Protocol):
    """What expansion asks of its surroundings."""

    cwd: str | None
    home: str

    def value(self, name: str) -> Value:
        """The value of a variable or of a special or positional parameter; None where it is not known."""

    def known(self, name: str) -> bool:
        """Whether the program itself set or unset this variable."""

    def assign(self, name: str, value: Value) -> None:
        """Sets a variable, as `${name:=word}` does."""

    def output(self, substitution: Substitution) -> str | None:
        """Reads a substitution's program, and says what it prints where the text tells it."""


def expand(word: RawWord, scope: Scope, source: str) -> list[Word]:
    """The words that `word` becomes: none for an empty expansion, several for braces, arrays and splitting."""
    done: list[Word] = []
    for parts in _braces(word.parts):
        for field in _fields(parts, scope):
            done.append(_finish(field, scope, source))
            if len(done) >= MAX_FIELDS:
                return done
    return done


def text_of(parts: Sequence[Part], scope: Scope) -> str | None:
    """The one text that parts become where nothing splits: an assignment, a here-document; None where it is not known."""
    joined: list[str] = []
    known, matching = True, False
    for part in parts:  # all of them, since what is substituted in any of them runs
        for text, _ in _joined(_pieces(part, scope)):
            known = known and text is not None
            matching = matching or isinstance(text, Matching)
            joined.append(text or "")
    whole = "".join(joined)
    if not known or len(whole) > MAX_TEXT:
        return None
    return Matching(whole) if matching else whole


def value_of(words: Sequence[RawWord], scope: Scope, *, array: bool) -> Value:
    """What an assignment sets."""
    if array:
        elements = [found.text for word in words for found in expand(word, scope, "")]
        known = tuple(text for text in elements if text is not None)
        return known if len(known) == len(elements) else None
    if not words:
        return ""
    parts = words[0].parts
    text = text_of(parts, scope)
    if text is not None and text.startswith("~") and isinstance(parts[0], Text) and not parts[0].quoted:
        return _tilde(text, scope)
    return text


# --- braces


def _braces(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    """Bash's brace expansion, which comes before all others and knows only unquoted characters."""
    opens = sum(part.text.count("{") for part in parts if isinstance(part, Text) and not part.quoted)
    if not 0 < opens <= _MAX_BRACES or sum(len(part.text) for part in parts if isinstance(part, Text)) > _MAX_BRACED:
        yield parts
        return
    tokens: list[Part | str] = []
    for part in parts:
        if isinstance(part, Text) and not part.quoted:
            tokens.extend(part.text)
        else:
            tokens.append(part)
    for alternative in islice(_alternatives(tokens, 0), MAX_FIELDS):
        yield tuple(_joined_text(alternative))


def _alternatives(tokens: list[Part | str], start: int) -> Iterator[list[Part | str]]:
    for at in range(start, len(tokens)):
        if tokens[at] != "{":
            continue
        choices = _choices(tokens, at)
        if choices is None:
            continue
        options, end = choices
        for option in options:
            for inner in _alternatives(option, 0):
                for rest in _alternatives(tokens[end:], 0):
                    yield tokens[:at] + inner + rest
        return
    yield tokens


def _choices(tokens: list[Part | str], opening: int) -> tuple[list[list[Part | str]], int] | None:
    """The alternatives of the brace at `opening` and the place behind it; None where it is an ordinary character."""
    level, options, current = 0, [], list[Part | str]()
    for at in range(opening + 1, len(tokens)):
        token = tokens[at]
        if token == "}" and level == 0:
            options.append(current)
            if len(options) > 1:
                return options, at + 1
            span = _range(current)
            return None if span is None else (span, at + 1)
        if token == "," and level == 0:
            options.append(current)
            current = []
            continue
        level += {"{": 1, "}": -1}.get(token, 0) if isinstance(token, str) else 0
        current.append(token)
    return None


def _range(tokens: list[Part | str]) -> list[list[Part | str]] | None:
    if not all(isinstance(token, str) for token in tokens):
        return None
    found = _RANGE.match("".join(str(token) for token in tokens))
    if found is None:
        return None
    first, last, step = found.groups()
    if first.isalpha() != last.isalpha():
        return None
    low, high = (ord(first), ord(last)) if first.isalpha() else (int(first), int(last))
    by = max(1, abs(int(step or 1)))
    numbers = range(low, high + 1, by) if low <= high else range(low, high - 1, -by)
    return [list(chr(number) if first.isalpha() else str(number)) for number in numbers[:MAX_FIELDS]]


def _joined_text(tokens: list[Part | str]) -> Iterator[Part]:
    run: list[str] = []
    for token in tokens:
        if isinstance(token, str):
            run.append(token)
            continue
        if run:
            yield Text(text="".join(run))
            run = []
        yield token
    if run:
        yield Text(text="".join(run))


# --- parameters, substitutions, splitting


def _fields(parts: Sequence[Part], scope: Scope) -> list[Field]:
    """Fields after expansion and splitting; a field without pieces is none."""
    fields: list[Field] = [[]]
    for part in parts:
        values = _pieces(part, scope)
        for index, (text, quoted) in enumerate(values):
            if index:  # the elements of an array stand apart
                fields.append([])
            if text is None or quoted or isinstance(part, Text) or isinstance(text, Matching):
                fields[-1].append((text, quoted))
            else:
                _split(fields, text)
        if len(fields) > MAX_FIELDS:
            break
    return [field for field in fields if field]


def _split(fields: list[Field], text: str) -> None:
    """Appends an unquoted expansion: white space in it ends one field and begins the next."""
    words = [word for word in _SPACES.split(text) if word]
    if text[:1] in _WHITE and fields[-1] and text:
        fields.append([])
    for index, word in enumerate(words):
        if index:
            fields.append([])
        fields[-1].append((word, False))
    if words and text[-1:] in _WHITE:
        fields.append([])


def _pieces(part: Part, scope: Scope) -> list[Piece]:
    match part:
        case Text():
            return [(part.text, part.quoted)]
        case Parameter():
            return _parameter(part, scope)
        case Substitution(process=""):
            printed = scope.output(part)
            return [(None if printed is None else printed.rstrip("\n"), part.quoted)]
        case Substitution():
            scope.output(part)
            return [("/dev/fd/63", True)]
        case Arithmetic():
            return [(_arithmetic(part, scope), part.quoted)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Array elements as one text, joined by blanks."""
    if len(pieces) < 2:
        return pieces
    texts = [text for text, _ in pieces]
    known = [text for text in texts if text is not None]
    return [(" ".join(known) if len(known) == len(texts) else None, True)]


def _arithmetic(part: Arithmetic, scope: Scope) -> str | None:
    text = text_of(part.parts, scope)
    found = _SUM.match(text) if text is not None else None
    if found is None:
        return None
    first, operator, second = found.groups()
    if operator is None:
        return str(int(first))
    left, right = int(first), int(second)
    return str({"+": left + right, "-": left - right, "*": left * right}[operator])


def _parameter(part: Parameter, scope: Scope) -> list[Piece]:
    value = _indexed(part, scope)
    known = scope.known(part.name)
    operator = part.operator.lstrip(":")
    if operator in ("-", "=", "?", "+") and part.operator != ":":
        return _default(part, operator, value, scope, known=known)
    if value is None:
        text_of(part.argument, scope)  # what is substituted in it runs all the same
        return [(None, part.quoted)]
    if part.operator == "!":
        pointed = scope.value(value) if isinstance(value, str) else None
        return [(pointed if isinstance(pointed, str) else None, part.quoted)]
    if part.operator == "#":
        return [(str(len(value)), part.quoted)]
    elements = (value,) if isinstance(value, str) else value
    argument = text_of(part.argument, scope)
    if isinstance(value, tuple) and part.operator == ":":
        return [(None, part.quoted)]
    changed = [(_changed(element, part.operator, argument), isinstance(element, Matching)) for element in elements]
    return [(Matching(text) if text is not None and pattern else text, part.quoted) for text, pattern in changed]


def _indexed(part: Parameter, scope: Scope) -> Value:
    value = scope.value(part.name)
    if isinstance(value, tuple) and part.name not in "@*":
        if part.index in ("@", "*"):
            return value
        index = part.index or "0"
        return value[int(index)] if index.isdigit() and int(index) < len(value) else None if index != "0" else ""
    if part.index not in (None, "@", "*", "0"):
        return None
    return value


def _default(part: Parameter, operator: str, value: Value, scope: Scope, *, known: bool) -> list[Piece]:
    """`${x:-word}` and its kin. A variable that the program never set may be in the environment: then nothing is known."""
    set_ = bool(value) if part.operator.startswith(":") else value is not None
    if operator == "+":
        other = text_of(part.argument, scope)
        return [(other if set_ else "" if known else None, part.quoted)]
    if set_ and isinstance(value, str):
        return [(value, part.quoted)]
    if set_ and isinstance(value, tuple):
        return [(element, part.quoted) for element in value]
    word = text_of(part.argument, scope)
    if not known:
        return [(None, part.quoted)]
    if operator == "=":
        scope.assign(part.name, word)
    return [(None if operator == "?" else word, part.quoted)]


def _changed(text: str, operator: str, argument: str | None) -> str | None:
    """`${x…}` for a known value; None for what is not worked out here."""
    if not operator:
        return text
    if operator in ("^^", ",,", "^", ","):
        head = text.upper() if "^" in operator else text.lower()
        return head if len(operator) == 2 else head[:1] + text[1:]
    if argument is None or len(text) > _MAX_EDITED or len(argument) > _MAX_EDITED:
        return None
    if operator == ":":
        return _slice(text, argument)
    if operator in ("/", "//"):
        old, _, new = argument.partition("/")
        if not old or _GLOB & set(old):
            return None
        return text.replace(old, new, 1 if operator == "/" else -1)
    if operator in ("#", "##", "%", "%%"):
        return _trimmed(text, operator, argument)
    return None


def _slice(text: str, argument: str) -> str | None:
    numbers = argument.replace(" ", "").split(":")
    if len(numbers) > 2 or not all(re.fullmatch(r"-?\d{1,6}", number) for number in numbers):
        return None
    start = int(numbers[0])
    start = max(0, len(text) + start) if start < 0 else start
    if len(numbers) == 1:
        return text[start:]
    length = int(numbers[1])
    return text[start : len(text) + length if length < 0 else start + length]


def _trimmed(text: str, operator: str, pattern: str) -> str:
    """Cuts the shortest (`#`, `%`) or longest beginning or end that matches."""
    cuts = range(len(text) + 1)
    at_start = operator[0] == "#"
    longest = len(operator) == 2
    matches = fnmatch.translate(pattern)
    test = re.compile(matches)
    for cut in sorted(cuts, reverse=longest is at_start):
        piece = text[:cut] if at_start else text[cut:]
        if test.match(piece):
            return text[cut:] if at_start else text[:cut]
    return text


# --- what a field is in the end


def _finish(field: Field, scope: Scope, source: str) -> Word:
    pattern = any(text and (not quoted or isinstance(text, Matching)) and _GLOB & set(text) for text, quoted in field)
    prefix: list[str] = []
    for text, _ in field:
        if text is None:
            break
        prefix.append(text)
    known = "".join(prefix)
    complete = len(prefix) == len(field) and len(known) <= MAX_TEXT
    first, quoted = field[0]
    if first and not quoted and first[0] == "~":
        known = _tilde(known, scope)
    return Word(
        text=known if complete else None, source=source, prefix="" if complete else known, pattern=bool(pattern)
    )


def _tilde(text: str, scope: Scope) -> str:
    user, slash, rest = text[1:].partition("/")
    if user == "":
        folder = scope.home
    elif user == "+":
        folder = scope.cwd or "."
    elif user == "root":
        folder = "/root"
    elif re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        folder = absolute("/home", user) or user
    else:
        return text
    return folder.rstrip("/") + slash + rest
