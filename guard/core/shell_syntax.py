"""The grammar of shell text: characters in, a tree of values out. Meaning (variables, nested code, effects) never enters.

A recursive descent parser of the POSIX shell grammar (XCU 2.10) with bash's additions that agents use: here-strings, `[[ ]]`,
`(( ))`, arrays, process substitution, `$'…'`, extended globs. It is written by hand because its input is hostile: every
character is looked at a bounded number of times (a generated GLR parser of the same grammar needed 56 s for 64 KiB of `a|`), and
nothing is ever raised: what cannot be read is named in `Parse.problems` and skipped, what nests too deep ends the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Problem = Literal["unparsable", "too-deep", "too-long", "too-much"]

MAX_LENGTH: Final = 65536
"""Characters of one program that are read: what an exec record keeps of a script (`ExecAction.script`)."""
MAX_DEPTH: Final = 32
"""Levels of nesting (groups, substitutions, code in code) that are followed. People write below 8; each level costs stack."""
_MAX_ARITHMETIC: Final = 1000
"""Characters within which `((` must find its `))`, so that unclosed ones cost no second reading of the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Plain characters; `quoted` ones neither split, nor match as a pattern, nor begin a brace or tilde expansion."""

    text: str
    quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """`$name` or `${name op argument}`; `name` may be a digit or a special character, `index` is what stood in `[…]`."""

    name: str
    operator: str = ""
    argument: tuple[Part, ...] = ()
    index: str | None = None
    quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitution:
    """`$(…)`, backquotes, or with `process` `<(…)` and `>(…)`."""

    program: Sequence
    quoted: bool = False
    process: Literal["", "<", ">"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arithmetic:
    """`$((…))`: `text` is the expression, `parts` what the shell expands in it."""

    text: str
    parts: tuple[Part, ...] = ()
    quoted: bool = False


type Part = Text | Parameter | Substitution | Arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class RawWord:
    """One word as written; `span` are character offsets in the program."""

    parts: tuple[Part, ...]
    span: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRedirect:
    """`operator` as written without its number. `body` is a here-document's text (None for anything else)."""

    operator: str
    descriptor: int | None
    target: RawWord
    body: tuple[Part, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """`name=value`; `values` holds one word, or the elements of an array."""

    name: str
    values: tuple[RawWord, ...]
    appends: bool = False
    array: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Simple:
    """A simple command."""

    assignments: tuple[Assignment, ...]
    words: tuple[RawWord, ...]
    redirects: tuple[RawRedirect, ...]
    span: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Two or more commands, each reading what the one before prints."""

    stages: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """Commands in the order in which they are written, whatever joins them (`;`, `&`, `&&`, `||`, newline)."""

    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A compound command whose parts are read once each: `( )`, `{ }`, `if`, `while`, `case`."""

    body: Sequence
    redirects: tuple[RawRedirect, ...] = ()
    subshell: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """`for variable in words`; `words` is None where it goes over the positional parameters."""

    variable: str
    words: tuple[RawWord, ...] | None
    body: Sequence
    redirects: tuple[RawRedirect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A definition: nothing runs until `name` is called."""

    name: str
    body: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """`((…))` and the like: only what is substituted in it runs."""

    parts: tuple[Part, ...]


type Node = Simple | Pipeline | Sequence | Group | Loop | Function | Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Parse:
    """A program and what stood in the way of reading it; with no problems the whole text was understood."""

    program: Sequence
    problems: frozenset[Problem] = frozenset()


_BLANK = " \t\r"
_META = frozenset(" \t\r\n;&|<>()")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASSIGN = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]\n]{0,200}\])?(\+?)=", re.ASCII)
_PARAMETER = re.compile(r"(?:[A-Za-z_]\w*|\d|[@*#?$!_-])", re.ASCII)
_BRACED = re.compile(r"([!#]?)([A-Za-z_]\w*|\d+|[@*#?$!-])(?:\[([^\]\n]{0,200})\])?", re.ASCII)
_OPERATOR = re.compile(r":[-=?+]|//|##|%%|\^\^|,,|[-=?+:/#%^,@]")
_REDIRECT = re.compile(r"(\d{0,9}|\{[A-Za-z_]\w*\})(<<<|<<-|<<|<&|<>|<(?!\()|>>|>&|>\||>(?!\()|&>>|&>)", re.ASCII)
_RESERVED = re.compile(
    r"(?:then|elif|else|fi|do|done|esac|if|while|until|for|select|case|function|time|coproc|\[\[|[{}!])(?=[\s;&|<>()]|\Z)"
)
_OPENERS = frozenset({"if", "while", "until", "for", "select", "case", "function", "time", "coproc", "[[", "{", "!"})
_ENDS_WORD_RUN = re.compile(r"[^ \t\r\n;&|<>()'\"\\$`{}@!?*+]+")
_IN = re.compile(r"in(?=\s|;|\Z)")
_EMPTY_BRACKETS = re.compile(r"\([ \t]*\)")
_SPECIAL = re.compile(r"()([#@*?!$-])()")
_IN_ANSI = re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL)
_IN_BACKQUOTES = re.compile(r"(?:[^`\\]|\\.)*+", re.DOTALL)
_IN_QUOTES = re.compile(r'[^"\\$`]+')
_ANSI = re.compile(
    r"\\(?:([abeEfnrtv\\'\"?])|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|([0-7]{1,3})|c(.))",
    re.DOTALL,
)
_ANSI_NAMES = {"a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def parse(text: str, *, depth: int = 0) -> Parse:
    """The tree of a program. `depth` is the nesting at which it stands; never raises, whatever the text."""
    problems: set[Problem] = set()
    text = text.replace("\0", "")  # as bash does: a NUL cannot reach a program
    if len(text) > MAX_LENGTH:
        problems.add("too-long")
        text = text[:MAX_LENGTH]
    parser = _Parser(text, problems, depth)
    return Parse(program=parser.program(), problems=frozenset(problems))


def unescape_ansi(text: str) -> str:
    r"""What bash makes of the inside of `$'…'` (and `echo -e`, `printf` formats): `\x72`, `\162`, `\n` … replaced."""
    return _ANSI.sub(_ansi, text)


def _ansi(found: re.Match[str]) -> str:
    name, two, four, eight, octal, control = found.groups()
    if name is not None:
        return _ANSI_NAMES.get(name, name)
    if control is not None:
        return chr(ord(control) & 0x1F)
    code = int(octal, 8) & 0xFF if octal is not None else int(two or four or eight, 16)
    return chr(code) if code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"


class _TooDeep(Exception):
    """Ends a reading; never leaves this file."""


class _Parser:
    """The reading head: `at` only grows, but for the bounded look-aheads."""

    def __init__(self, text: str, problems: set[Problem], depth: int) -> None:
        self.text = text
        self.problems = problems
        self.depth = depth
        self.at = 0
        self.jumps: dict[int, int] = {}
        """Newlines behind which here-documents lie, and where the text goes on behind those."""
        self.awaited: list[tuple[list[RawRedirect], int, str, bool, bool]] = []
        """Here-documents whose text begins after the next newline: (where to put it, index, delimiter, quoted, strip tabs)."""

    def program(self) -> Sequence:
        items: list[Node] = []
        try:
            self._nest()
            while self.at < len(self.text):
                self._list(items, closers=frozenset())
                if self.at < len(self.text):  # a closer that closes nothing
                    self._wrong()
                    self.at += 1
        except _TooDeep:
            self.problems.add("too-deep")
        return Sequence(items=tuple(items))

    # --- lists and pipelines

    def _list(self, items: list[Node], closers: frozenset[str]) -> str:
        """Reads commands up to a closer, which is consumed and given back; "" at the end of the text or at a stray closer."""
        while True:
            self._gap(newlines=True)
            if self.at >= len(self.text):
                return ""
            closer = self._closer()
            if closer:
                if closer in closers:
                    self.at += len(closer)
                    return closer
                if closer == ")" or closers:
                    return ""
                self._wrong()  # `fi`, `done` … where nothing is open
                self.at += len(closer)
                continue
            before = self.at
            node = self._pipeline()
            if node is not None:
                items.append(node)
            self._gap()
            self._separator(made_progress=self.at > before)

    def _separator(self, *, made_progress: bool) -> None:
        here = self.text[self.at : self.at + 2]
        if here in ("&&", "||"):
            self.at += 2
            self._gap(newlines=True)
            if not made_progress or self.at >= len(self.text) or self._stands_closer():
                self._wrong()
        elif here[:1] in (";", "&") and here not in (";;", ";&"):
            self.at += 1
        elif here[:1] not in (")", ";", "\n", "") and not self._stands_closer():
            self._wrong()  # two commands with nothing between them
            self.at += 0 if made_progress else 1

    def _stands_closer(self) -> bool:
        word = _RESERVED.match(self.text, self.at)
        return self.text.startswith(")", self.at) or (word is not None and word.group() not in _OPENERS)

    def _closer(self) -> str:
        char = self.text[self.at]
        if char == ")":
            return ")"
        if char == ";":
            for mark in (";;&", ";;", ";&"):
                if self.text.startswith(mark, self.at):
                    return mark
            self.at += 1
            self._gap(newlines=True)
            return self._closer_after_semicolons()
        word = _RESERVED.match(self.text, self.at)
        return word.group() if word and word.group() not in _OPENERS else ""

    def _closer_after_semicolons(self) -> str:
        self._wrong()  # `;` with nothing before it
        while self.at < len(self.text) and self.text[self.at] == ";":
            self.at += 1
            self._gap(newlines=True)
        return self._closer() if self.at < len(self.text) else ""

    def _pipeline(self) -> Node | None:
        stages: list[Node] = []
        while True:
            node = self._command()
            if node is not None:
                stages.append(node)
            self._gap()
            if self.text.startswith("|", self.at) and not self.text.startswith("||", self.at):
                self.at += 2 if self.text.startswith("|&", self.at) else 1
                if node is None or not self._more_follows():
                    self._wrong()
                continue
            break
        if len(stages) > 1:
            return Pipeline(stages=tuple(stages))
        return stages[0] if stages else None

    def _more_follows(self) -> bool:
        self._gap(newlines=True)
        return self.at < len(self.text)

    # --- commands

    def _command(self) -> Node | None:
        while True:
            self._gap()
            word = _RESERVED.match(self.text, self.at)
            if word is None or word.group() not in ("!", "time", "coproc"):
                break
            self.at = word.end()
            if word.group() == "time":
                self._gap()
                self.at += 2 if self.text.startswith("-p", self.at) else 0
        if word is not None and word.group() in _OPENERS:
            return self._reserved(word.group())
        if self.text.startswith("((", self.at):
            expression = self._arithmetic_end(self.at + 2)
            if expression is not None:
                inside = self.text[self.at + 2 : expression - 2]
                self.at = expression
                return self._redirected(Sequence(items=(Expression(parts=self._parts_of(inside)),)))
        if self.text.startswith("(", self.at):
            self.at += 1
            return self._redirected(self._block(")"), subshell=True)
        return self._simple()

    def _reserved(self, word: str) -> Node:
        self.at += len(word)
        match word:
            case "{":
                return self._redirected(self._block("}"))
            case "if":
                return self._redirected(self._block("fi", "then", "elif", "else"))
            case "while" | "until":
                return self._redirected(self._block("done", "do"))
            case "for" | "select":
                return self._for()
            case "case":
                return self._case()
            case "[[":
                return self._test()
            case _:
                return self._function_keyword()

    def _block(self, closer: str, *between: str) -> Sequence:
        """A list up to `closer`; the words `between` only separate its parts."""
        items: list[Node] = []
        self._nest()
        while True:
            found = self._list(items, frozenset((closer, *between)))
            if found == closer:
                break
            if not found:
                self._wrong()
                break
        self.depth -= 1
        return Sequence(items=tuple(items))

    def _redirected(self, body: Sequence, *, subshell: bool = False) -> Group:
        redirects: list[RawRedirect] = []
        while self._redirect(redirects):
            pass
        return Group(body=body, redirects=self._settled(redirects), subshell=subshell)

    def _for(self) -> Node:
        self._gap()
        if self.text.startswith("((", self.at):
            end = self._arithmetic_end(self.at + 2) or self.at + 2
            head = Expression(parts=self._parts_of(self.text[self.at + 2 : max(self.at + 2, end - 2)]))
            self.at = end
            body = self._loop_body()
            return self._redirected(Sequence(items=(head, *body.items)))
        name = _NAME.match(self.text, self.at)
        if name is None:
            self._wrong()
            return Sequence()
        self.at = name.end()
        self._gap(newlines=True)
        words: tuple[RawWord, ...] | None = None
        if _IN.match(self.text, self.at):
            self.at += 2
            words = self._words()
        body = self._loop_body()
        redirects: list[RawRedirect] = []
        while self._redirect(redirects):
            pass
        return Loop(variable=name.group(), words=words, body=body, redirects=self._settled(redirects))

    def _loop_body(self) -> Sequence:
        self._gap(newlines=True)
        if self.text.startswith(";", self.at):
            self.at += 1
            self._gap(newlines=True)
        for opener, closer in (("do", "done"), ("{", "}")):
            if self.text.startswith(opener, self.at):
                self.at += len(opener)
                return self._block(closer)
        self._wrong()
        return Sequence()

    def _words(self) -> tuple[RawWord, ...]:
        words: list[RawWord] = []
        while True:
            self._gap()
            word = self._word()
            if word is None:
                return tuple(words)
            words.append(word)

    def _case(self) -> Node:
        items: list[Node] = []
        self._gap()
        subject = self._word()
        if subject is not None:
            items.append(Expression(parts=subject.parts))
        self._gap(newlines=True)
        if not self.text.startswith("in", self.at):
            self._wrong()
            return Sequence(items=tuple(items))
        self.at += 2
        self._nest()
        while True:
            self._gap(newlines=True)
            if self.at >= len(self.text):
                self._wrong()
                break
            word = _RESERVED.match(self.text, self.at)
            if word is not None and word.group() == "esac":
                self.at = word.end()
                break
            if not self._pattern():
                self._wrong()
                break
            found = self._list(items, frozenset({";;", ";&", ";;&", "esac"}))
            if found in ("", "esac"):
                if not found:
                    self._wrong()
                break
        self.depth -= 1
        return self._redirected(Sequence(items=tuple(items)))

    def _pattern(self) -> bool:
        """Steps over `(a|b)` of a case item; False where there is none."""
        if self.text.startswith("(", self.at):
            self.at += 1
        while True:
            self._gap()
            if self._word() is None:
                return False
            self._gap()
            if self.text.startswith("|", self.at):
                self.at += 1
                continue
            if self.text.startswith(")", self.at):
                self.at += 1
                return True
            return False

    def _test(self) -> Node:
        """`[[ … ]]`: nothing in it runs but its substitutions."""
        parts: list[Part] = []
        while self.at < len(self.text):
            self._gap(newlines=True)
            if self.text.startswith("]]", self.at):
                self.at += 2
                return self._redirected(Sequence(items=(Expression(parts=tuple(parts)),)))
            word = self._word()
            if word is not None:
                parts.extend(word.parts)
            elif self.at < len(self.text):
                self.at += 1  # `&&`, `<`, `(` are operators here
        self._wrong()
        return Expression(parts=tuple(parts))

    def _function_keyword(self) -> Node:
        self._gap()
        word = self._word()
        name = _plain(word) if word is not None else ""
        self._gap()
        if self.text.startswith("(", self.at):
            self.at += 1
            self._gap()
            self.at += 1 if self.text.startswith(")", self.at) else 0
        return self._function_body(name)

    def _function_body(self, name: str) -> Node:
        self._gap(newlines=True)
        self._nest()
        body = self._command() if self.at < len(self.text) else None
        self.depth -= 1
        if body is None:
            self._wrong()
            return Sequence()
        return Function(name=name, body=body)

    def _simple(self) -> Node | None:
        start = self.at
        assignments: list[Assignment] = []
        words: list[RawWord] = []
        redirects: list[RawRedirect] = []
        end = start
        while True:
            self._gap()
            if self._redirect(redirects):
                end = self.at
                continue
            if not words or _declares(words):
                assignment = self._assignment(keep_name=bool(words))
                if assignment is not None:
                    assignments.append(assignment)
                    end = self.at
                    continue
            word = self._word(first=not words)
            if word is None:
                if len(words) == 1 and not assignments and not redirects and self._is_function():
                    return self._function_body(_plain(words[0]))
                break
            words.append(word)
            end = self.at
        if not (assignments or words or redirects):
            return None
        return Simple(
            assignments=tuple(assignments),
            words=tuple(words),
            redirects=self._settled(redirects),
            span=(start, end),
        )

    def _is_function(self) -> bool:
        found = _EMPTY_BRACKETS.match(self.text, self.at)
        if found is None:
            return False
        self.at = found.end()
        return True

    def _assignment(self, *, keep_name: bool) -> Assignment | None:
        """`name=value` here; after `export` and its kin only arrays are taken, scalars stay words."""
        found = _ASSIGN.match(self.text, self.at)
        if found is None:
            return None
        array = self.text.startswith("(", found.end())
        if keep_name and not array:
            return None
        self.at = found.end()
        if not array:
            value = self._word()
            values = () if value is None else (value,)
            return Assignment(name=found.group(1), values=values, appends=bool(found.group(2)))
        self.at += 1
        elements: list[RawWord] = []
        while True:
            self._gap(newlines=True)
            word = self._word()
            if word is None:
                break
            elements.append(word)
        if self.text.startswith(")", self.at):
            self.at += 1
        else:
            self._wrong()
        return Assignment(name=found.group(1), values=tuple(elements), appends=bool(found.group(2)), array=True)

    # --- redirections and here-documents

    def _redirect(self, into: list[RawRedirect]) -> bool:
        self._gap()
        found = _REDIRECT.match(self.text, self.at)
        if found is None:
            return False
        number, operator = found.groups()
        self.at = found.end()
        self._gap()
        start = self.at
        target = self._word()
        if target is None:
            self._wrong()
            target = RawWord(parts=(), span=(start, start))
        descriptor = int(number) if number.isdigit() else None
        into.append(RawRedirect(operator=operator, descriptor=descriptor, target=target))
        if operator in ("<<", "<<-"):
            quoted = any(not isinstance(part, Text) or part.quoted for part in target.parts)
            delimiter = "".join(part.text for part in target.parts if isinstance(part, Text))
            self.awaited.append((into, len(into) - 1, delimiter, quoted, operator == "<<-"))
        return True

    def _settled(self, redirects: list[RawRedirect]) -> tuple[RawRedirect, ...]:
        """The redirections with their here-documents, which are read ahead: they begin after this line."""
        if any(into is redirects for into, *_ in self.awaited):
            self._read_documents()
        return tuple(redirects)

    def _read_documents(self) -> None:
        """Reads the awaited documents ahead: they begin behind the current line, which itself is read on."""
        line_end = self._line_end()
        at = self.jumps.get(line_end, line_end + 1)
        for into, index, delimiter, quoted, strip in self.awaited:
            lines: list[str] = []
            closed = False
            while at < len(self.text) and not closed:
                newline = self.text.find("\n", at)
                stop = len(self.text) if newline < 0 else newline
                line = self.text[at:stop]
                at = stop + 1
                line = line.lstrip("\t") if strip else line
                if line == delimiter:
                    closed = True
                else:
                    lines.append(line + "\n")
            if not closed:
                self._wrong()
            body = "".join(lines)
            parts = (Text(text=body, quoted=True),) if quoted else self._parts_of(body)
            old = into[index]
            into[index] = RawRedirect(operator=old.operator, descriptor=old.descriptor, target=old.target, body=parts)
        self.awaited.clear()
        self.jumps[line_end] = at

    def _line_end(self) -> int:
        """The newline that ends the line on which the head stands: a quote or bracket that is open there carries it on."""
        found = self.text.find("\n", self.at)
        return len(self.text) if found < 0 else found

    # --- words

    def _word(self, *, first: bool = False, until: str = "") -> RawWord | None:
        """The word at the head, None where none begins. With `until` (the `}` of `${…}`) everything up to it belongs to the word."""
        start = self.at
        parts: list[Part] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if until and char == until:
                break
            if char in _META and not until:
                if char in "<>" and self.text.startswith("(", self.at + 1):
                    parts.append(self._process(char))
                    continue
                break
            self._piece(parts, char, pattern=bool(parts) or not first)
        return RawWord(parts=tuple(parts), span=(start, self.at)) if self.at > start else None

    def _piece(self, parts: list[Part], char: str, *, pattern: bool) -> None:
        if char == "'":
            parts.append(Text(text=self._single(), quoted=True))
        elif char == '"':
            self.at += 1
            self._double(parts)
        elif char == "\\":
            following = self.text[self.at + 1 : self.at + 2]
            self.at += 2
            if following != "\n":
                parts.append(Text(text=following, quoted=True))
        elif char == "$":
            self._dollar(parts, quoted=False)
        elif char == "`":
            parts.append(self._backquoted(quoted=False))
        elif pattern and char in "@!?*+" and self.text.startswith("(", self.at + 1):
            parts.append(Text(text=self._extended_glob()))
        else:
            run = _ENDS_WORD_RUN.match(self.text, self.at)
            text = run.group() if run else char
            parts.append(Text(text=text))
            self.at += len(text)

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            self._wrong()
            end = len(self.text)
        inside = self.text[self.at + 1 : end]
        self.at = end + 1
        return inside

    def _double(self, parts: list[Part], closer: str = '"') -> None:
        """The inside of double quotes, or (`closer` empty) the whole rest of the text under the same rules."""
        parts.append(Text(text="", quoted=True))  # "" alone is an empty word
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                if closer:
                    return
                parts.append(Text(text='"', quoted=True))
            elif char == "\\":
                following = self.text[self.at + 1 : self.at + 2]
                self.at += 2
                if following != "\n":
                    parts.append(Text(text=following if following in '$`"\\' else "\\" + following, quoted=True))
            elif char == "$":
                self._dollar(parts, quoted=True)
            elif char == "`":
                parts.append(self._backquoted(quoted=True))
            else:
                run = _IN_QUOTES.match(self.text, self.at)
                text = run.group() if run else char
                parts.append(Text(text=text, quoted=True))
                self.at += len(text)
        if closer:
            self._wrong()

    def _dollar(self, parts: list[Part], *, quoted: bool) -> None:
        after = self.text[self.at + 1 : self.at + 2]
        if after == "'" and not quoted:
            parts.append(Text(text=self._ansi_quoted(), quoted=True))
        elif after == '"' and not quoted:
            self.at += 2
            self._double(parts)
        elif after == "(":
            parts.append(self._command_or_arithmetic(quoted=quoted))
        elif after == "{":
            self._braced(parts, quoted=quoted)
        else:
            name = _PARAMETER.match(self.text, self.at + 1)
            if name is None:
                parts.append(Text(text="$", quoted=quoted))
                self.at += 1
            else:
                parts.append(Parameter(name=name.group(), quoted=quoted))
                self.at = name.end()

    def _ansi_quoted(self) -> str:
        found = _IN_ANSI.match(self.text, self.at + 2)
        end = self.at + 2 if found is None else found.end()
        inside = self.text[self.at + 2 : end]
        if not self.text.startswith("'", end):
            self._wrong()
            end = len(self.text)
        self.at = end + 1
        return unescape_ansi(inside)

    def _command_or_arithmetic(self, *, quoted: bool) -> Part:
        if self.text.startswith("((", self.at + 1):
            end = self._arithmetic_end(self.at + 3)
            if end is not None:
                inside = self.text[self.at + 3 : end - 2]
                self.at = end
                return Arithmetic(text=inside, parts=self._parts_of(inside), quoted=quoted)
        self.at += 2
        return Substitution(program=self._block(")"), quoted=quoted)

    def _process(self, char: str) -> Part:
        self.at += 2
        return Substitution(program=self._block(")"), process="<" if char == "<" else ">")

    def _backquoted(self, *, quoted: bool) -> Part:
        found = _IN_BACKQUOTES.match(self.text, self.at + 1)
        end = self.at + 1 if found is None else found.end()
        inside = re.sub(r"\\([`\\$])", r"\1", self.text[self.at + 1 : end])
        if not self.text.startswith("`", end):
            self._wrong()
            end = len(self.text)
        self.at = end + 1
        self._nest()
        program = _Parser(inside, self.problems, self.depth).program()
        self.depth -= 1
        return Substitution(program=program, quoted=quoted)

    def _braced(self, parts: list[Part], *, quoted: bool) -> None:
        """`${…}`; what is not of a known form is kept as an unknown parameter up to its brace."""
        found = _BRACED.match(self.text, self.at + 2)
        if found is None or (found.group(1) == "#" and not self.text.startswith("}", found.end())):
            found = _SPECIAL.match(self.text, self.at + 2) or found
        if found is None:
            self._wrong()
            parts.append(Text(text="${", quoted=quoted))
            self.at += 2
            return
        prefix, name, index = found.groups()
        self.at = found.end()
        operator = _OPERATOR.match(self.text, self.at)
        self.at = operator.end() if operator else self.at
        self._nest()
        argument = self._word(until="}")
        self.depth -= 1
        if self.text.startswith("}", self.at):
            self.at += 1
        else:
            self._wrong()
        parts.append(
            Parameter(
                name=name,
                operator=prefix or (operator.group() if operator else ""),
                argument=argument.parts if argument else (),
                index=index or None,
                quoted=quoted,
            )
        )

    def _extended_glob(self) -> str:
        """`@(a|b)` up to its bracket, kept as one pattern."""
        start, level = self.at, 0
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 2 if char == "\\" else 1
            level += {"(": 1, ")": -1}.get(char, 0)
            if char == ")" and level == 0:
                return self.text[start : self.at]
        self._wrong()
        return self.text[start:]

    def _arithmetic_end(self, start: int) -> int | None:
        """The place behind the `))` that closes what was opened before `start`; None where it is no arithmetic."""
        level = 0
        for at in range(start, min(len(self.text), start + _MAX_ARITHMETIC)):
            char = self.text[at]
            if char == "(":
                level += 1
            elif char == ")":
                if level == 0:
                    return at + 2 if self.text.startswith("))", at) else None
                level -= 1
        return None

    def _parts_of(self, text: str) -> tuple[Part, ...]:
        """What the shell expands in a text that stands as if in double quotes: a here-document, arithmetic."""
        self._nest()
        inner = _Parser(text, self.problems, self.depth)
        parts: list[Part] = []
        inner._double(parts, closer="")
        self.depth -= 1
        return tuple(parts)

    # --- the head

    def _gap(self, *, newlines: bool = False) -> None:
        """Steps over blanks, continued lines, comments, and where asked newlines."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in _BLANK:
                self.at += 1
            elif newlines and char == "\n":
                self.at = self.jumps.get(self.at, self.at + 1)
            elif char == "\\" and self.text.startswith("\n", self.at + 1):
                self.at += 2
            elif char == "#" and (self.at == 0 or self.text[self.at - 1] in _META):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def _nest(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooDeep

    def _wrong(self) -> None:
        self.problems.add("unparsable")


def _declares(words: list[RawWord]) -> bool:
    return _plain(words[0]) in ("export", "declare", "typeset", "local", "readonly")


def _plain(word: RawWord) -> str:
    """The text of a word without expansions, "" for any other."""
    if all(isinstance(part, Text) for part in word.parts):
        return "".join(part.text for part in word.parts if isinstance(part, Text))
    return ""
