"""Reads shell text into the simple commands that it would run, nested ones included. Text is data unless something runs it.

`read` is pure and total: every text gives a `Reading`, in time bounded by `MAX_LENGTH`, `MAX_STEPS` and `MAX_COMMANDS`. It is
evidence, never the boundary: what a shell really does is judged where it happens. Every branch is read, once, in the order in
which it is written; a loop over known words is read once a word. What never enters: files, the environment, a shell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from guard.core.shell_nested import SHELLS, UNKNOWN, Inner, inner, joined, script_of
from guard.core.shell_static import printed
from guard.core.shell_syntax import (
    MAX_DEPTH,
    Expression,
    Function,
    Group,
    Loop,
    Node,
    Parse,
    Pipeline,
    Problem,
    RawRedirect,
    RawWord,
    Sequence,
    Simple,
    Substitution,
    Text,
    parse,
)
from guard.core.shell_values import Command, Language, Reading, Redirect, Word, absolute, words_of
from guard.core.shell_words import Matching, Value, expand, text_of, value_of

MAX_COMMANDS: Final = 1000
"""Commands of one reading; a text with more is named `too-much`. The longest script of the examples has under 200."""
MAX_STEPS: Final = 20000
"""Nodes that are walked: what bounds loops in loops, where `MAX_COMMANDS` would not (they may hold no command)."""
MAX_NESTED: Final = 4 * 65536
"""Characters of nested code (`eval`, `sh -c` …) that are parsed in one reading, all together."""
_LOOP_VALUES = 8
_DECLARING = frozenset({"export", "declare", "typeset", "local", "readonly"})
_BUILTINS = _DECLARING | words_of(
    ": . [ alias bg bind break builtin caller cd command compgen complete continue dirs disown echo enable eval exec exit false fc "
    "fg getopts hash help history jobs kill let logout mapfile popd printf pushd pwd read readarray return set shift shopt source "
    "suspend test times trap true type ulimit umask unalias unset wait"
)
_RUN_ALL = frozenset({"command", "builtin", "exec"})  # builtins that only stand before a command


class _Enough(Exception):
    """Ends a reading that has taken its share; never leaves this file."""


@dataclass(slots=True, kw_only=True)
class _Scope:
    """What one shell process knows: variables, functions, its folder. A subshell gets a copy."""

    reader: _Reader
    home: str
    cwd: str | None
    depth: int = 0
    variables: dict[str, Value] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)
    positional: tuple[str | None, ...] | None = None
    """`$1` …, each None where it is not known; None where not even their number is."""
    zero: str | None = None
    via: str = ""
    parent: int | None = None
    remote: str | None = None
    span: tuple[int, int] | None = None
    """Where the nested code stands in the text given to `read`; None while that text itself is read."""
    calling: frozenset[str] = frozenset()

    def child(self) -> _Scope:
        return replace(self, variables=dict(self.variables), functions=dict(self.functions))

    def value(self, name: str) -> Value:
        if name in self.variables:
            return self.variables[name]
        if name in ("@", "*"):
            known = tuple(text for text in self.positional or () if text is not None)
            return known if self.positional is not None and len(known) == len(self.positional) else None
        if name.isdigit() and self.positional is not None:
            return self.zero if name == "0" else _nth(self.positional, int(name))
        if name == "#":
            return None if self.positional is None else str(len(self.positional))
        return {"HOME": self.home, "PWD": self.cwd, "IFS": " \t\n"}.get(name)

    def known(self, name: str) -> bool:
        return name in self.variables or (self.positional is not None and (name.isdigit() or name in "@*"))

    def assign(self, name: str, value: Value) -> None:
        self.variables[name] = value

    def output(self, substitution: Substitution) -> str | None:
        return self.reader.substituted(substitution, self)


def _nth(values: tuple[str | None, ...], number: int) -> str | None:
    return values[number - 1] if number <= len(values) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """What a command's stdin is connected to, where the text says so."""

    text: str | None = None
    by: int | None = None
    fed: bool = False


_NOTHING = _Feed()


def read(
    text: str,
    *,
    cwd: str | None = None,
    home: str = "/root",
    environ: Mapping[str, str] | None = None,
    content: Callable[[str], str | None] | None = None,
) -> Reading:
    """The commands of a program that a shell would run in folder `cwd`.

    `home` is what `~` and `$HOME` stand for; `environ` holds variables that are known besides; `content` gives the text of a script
    by its absolute path, None for what is no text. Never raises.
    """
    reader = _Reader(content)
    scope = _Scope(reader=reader, home=home, cwd=cwd, positional=())
    scope.variables.update(environ or {})
    try:
        reader.code(text, scope, _NOTHING)
        reader.uncalled(scope)
    except _Enough:
        reader.problems.add("too-much")
    return Reading(commands=tuple(reader.commands), problems=frozenset(reader.problems))


class _Reader:
    """One reading: the commands found so far, and the files whose content the text itself wrote."""

    def __init__(self, content: Callable[[str], str | None] | None) -> None:
        self.content = content
        self.commands: list[Command] = []
        self.problems: set[Problem] = set()
        self.files: dict[str, str | None] = {}
        self.steps = 0
        self._called: set[str] = set()
        self.nested = 0

    # --- programs

    def code(self, text: str, scope: _Scope, feed: _Feed) -> str | None:
        """Reads a program in this scope, and gives what it prints where that is known."""
        if scope.depth >= MAX_DEPTH:
            self.problems.add("too-deep")
            return None
        self.nested += len(text)
        if self.nested > MAX_NESTED:
            raise _Enough
        found: Parse = parse(text, depth=scope.depth)
        self.problems |= found.problems
        scope.depth += 1
        output = self.walk(found.program, scope, feed)
        scope.depth -= 1
        return output

    def uncalled(self, scope: _Scope) -> None:
        """A function that nothing called may be called by what only running can tell: its body is read once, last."""
        for name, body in list(scope.functions.items()):
            if name not in self._called:
                self._called.add(name)
                inside = scope.child()
                inside.positional, inside.via = None, f"{name}()"
                inside.calling = scope.calling | {name}
                self.walk(body, inside, _NOTHING)

    def walk(self, node: Node, scope: _Scope, feed: _Feed) -> str | None:
        """Reads one node; gives its standard output where the text tells it, else None."""
        self.steps += 1
        if self.steps > MAX_STEPS or len(self.commands) >= MAX_COMMANDS:
            raise _Enough
        match node:
            case Simple():
                return self._simple(node, scope, feed)
            case Pipeline():
                return self._pipeline(node, scope, feed)
            case Sequence():
                return self._all(node, scope, feed)
            case Group():
                return self._group(node, scope, feed)
            case Loop():
                return self._loop(node, scope, feed)
            case Function():
                scope.functions[node.name] = node.body
                return ""
            case Expression():
                text_of(node.parts, scope)
                return ""
            case _:
                assert_never(node)

    def _all(self, node: Sequence, scope: _Scope, feed: _Feed) -> str | None:
        outputs = [self.walk(item, scope, feed) for item in node.items]
        known = [output for output in outputs if output is not None]
        return "".join(known) if len(known) == len(outputs) else None

    def _pipeline(self, node: Pipeline, scope: _Scope, feed: _Feed) -> str | None:
        output: str | None = None
        for stage in node.stages:
            output = self.walk(stage, scope.child(), feed)
            feed = _Feed(text=output, by=len(self.commands) - 1 if self.commands else None, fed=True)
        return output

    def _group(self, node: Group, scope: _Scope, feed: _Feed) -> str | None:
        inside = scope.child() if node.subshell else scope
        redirects = self._redirects(node.redirects, inside)
        if redirects:
            self._emit(Command(words=(), redirects=redirects, builtin=True), scope, (0, 0))
        output = self._deeper(node.body, inside, _fed(redirects, feed, self.files, inside.cwd))
        return self._captured(redirects, output, inside)

    def _deeper(self, node: Node, scope: _Scope, feed: _Feed) -> str | None:
        if scope.depth >= MAX_DEPTH:
            self.problems.add("too-deep")
            return None
        scope.depth += 1
        output = self.walk(node, scope, feed)
        scope.depth -= 1
        return output

    def _loop(self, node: Loop, scope: _Scope, feed: _Feed) -> str | None:
        redirects = self._redirects(node.redirects, scope)
        if redirects:
            self._emit(Command(words=(), redirects=redirects, builtin=True), scope, (0, 0))
        values: list[Word] = []
        for word in node.words or ():
            values += self._expanded(word, scope)
        if node.words is None:
            values = [UNKNOWN] if scope.positional is None else [Word(text=text) for text in scope.positional]
        if len(values) > _LOOP_VALUES:
            values = [*values[: _LOOP_VALUES - 1], UNKNOWN]
        inside_feed = _fed(redirects, feed, self.files, scope.cwd)
        for value in values:
            scope.variables[node.variable] = Matching(value.text) if value.text and value.pattern else value.text
            self._deeper(node.body, scope, inside_feed)
        return self._captured(redirects, None, scope)

    # --- simple commands

    def _simple(self, node: Simple, scope: _Scope, feed: _Feed) -> str | None:
        assigned: list[tuple[str, str | None]] = []
        for item in node.assignments:
            value = value_of(item.values, scope, array=item.array)
            if item.appends:
                old = scope.value(item.name)
                value = old + value if isinstance(old, str) and isinstance(value, str) else None
            assigned.append((item.name, value if isinstance(value, str) else None))
            if not node.words or item.array:
                scope.variables[item.name] = value
        words: list[Word] = []
        for word in node.words:
            words += self._expanded(word, scope)
        redirects = self._redirects(node.redirects, scope)
        span = scope.span or node.span
        if not words:
            if redirects:
                self._emit(Command(words=(), redirects=redirects, builtin=True), scope, span)
            return self._captured(redirects, "", scope)
        output = self._execute(
            tuple(words), scope, _fed(redirects, feed, self.files, scope.cwd), redirects, tuple(assigned), span
        )
        return self._captured(redirects, output, scope)

    def _execute(
        self,
        words: tuple[Word, ...],
        scope: _Scope,
        feed: _Feed,
        redirects: tuple[Redirect, ...] = (),
        assigned: tuple[tuple[str, str | None], ...] = (),
        span: tuple[int, int] = (0, 0),
        *,
        more: bool = False,
    ) -> str | None:
        """Reads one command with its words known: emits it, and follows what it runs."""
        name = _name(words)
        if name is not None and name in scope.functions and name == words[0].text and name not in scope.calling:
            return self._called_function(name, words, scope, feed, redirects, span)
        stdin = feed.text if feed.fed else None
        path = words[0].text or ""
        script, language = self._script(name, words, scope, feed)
        command = Command(
            words=words,
            assignments=assigned,
            redirects=redirects,
            dynamic=name is None,
            more=more,
            fed_by=feed.by,
            stdin=stdin,
            script=script,
            language=language,
            builtin=name in _BUILTINS and "/" not in path,
        )
        index = self._emit(command, scope, span)
        if name is None:
            return None
        args = words[1:]
        if command.builtin and name not in _RUN_ALL:
            return self._builtin(name, args, scope, feed, index)
        for item in self._inner(name, path, args, scope, feed):
            self._follow(item, scope, feed, index, assigned)
        self._wrote(name, args, scope, stdin)
        return printed(words, stdin, cwd=scope.cwd, files=self.files)

    def _script(
        self, name: str | None, words: tuple[Word, ...], scope: _Scope, feed: _Feed
    ) -> tuple[str | None, Language | None]:
        if name is None:
            return None, None
        reads = self._reads(scope)
        found = script_of(name, words[1:], feed.text, fed=feed.fed, read=reads)
        if found is not None:
            return found.text, found.language
        if name in SHELLS:
            own = inner(name, words[1:], feed.text, fed=feed.fed, read=reads)
            return (own[0].code if own else None if len(words) > 1 else ""), "shell"
        body = reads(words[0].text or "") if "/" in (words[0].text or "") else None
        if body is not None:
            return body, "shell"
        return "", None

    def _reads(self, scope: _Scope) -> _Files:
        return _Files(files=self.files, cwd=scope.cwd, content=self.content)

    def _inner(self, name: str, path: str, args: tuple[Word, ...], scope: _Scope, feed: _Feed) -> list[Inner]:
        reads = self._reads(scope)
        found = inner(name, args, feed.text, fed=feed.fed, read=reads)
        content = reads(path) if "/" in path else None
        if content is None or found:
            return found
        return self._own_script(content, args)

    def _own_script(self, content: str, args: tuple[Word, ...]) -> list[Inner]:
        """A file that this text wrote and now runs: its first line says who reads it."""
        first = content.partition("\n")[0]
        if first.startswith("#!") and not any(shell in first for shell in ("sh", "busybox")):
            return []
        return [Inner(via="script", code=content, positional=("", *(word.text for word in args)))]

    def _called_function(
        self,
        name: str,
        words: tuple[Word, ...],
        scope: _Scope,
        feed: _Feed,
        redirects: tuple[Redirect, ...],
        span: tuple[int, int],
    ) -> str | None:
        if redirects:
            self._emit(Command(words=(), redirects=redirects, builtin=True), scope, span)
        self._called.add(name)
        before = scope.positional, scope.calling
        scope.positional = tuple(word.text for word in words[1:])
        scope.calling = scope.calling | {name}
        output = self._deeper(scope.functions[name], scope, feed)
        scope.positional, scope.calling = before
        return output

    def _follow(
        self, item: Inner, scope: _Scope, feed: _Feed, parent: int, assigned: tuple[tuple[str, str | None], ...]
    ) -> None:
        """Reads what a command runs, one level deeper, as a process of its own."""
        if scope.depth >= MAX_DEPTH:
            self.problems.add("too-deep")
            return
        inside = scope.child()
        inside.depth += 1
        inside.functions = {}  # another process knows nothing of this shell's functions
        inside.via, inside.parent = item.via, parent
        inside.span = scope.span or self.commands[parent].span
        inside.variables.update((*assigned, *item.assignments))
        if item.remote is not None:
            inside.remote, inside.cwd, inside.home = item.remote, None, "~"
        if item.words:
            keeps = feed if item.via != "xargs" else _NOTHING
            self._execute(item.words, inside, keeps, (), item.assignments, inside.span, more=item.more)
        elif item.code is not None:
            inside.zero, inside.positional = _positional(item.positional)
            self.code(item.code, inside, _NOTHING)
            self.uncalled(inside)

    # --- builtins

    def _builtin(self, name: str, args: tuple[Word, ...], scope: _Scope, feed: _Feed, index: int) -> str | None:
        texts = [word.text for word in args]
        if name in ("cd", "pushd"):
            self._cd(texts, scope)
        elif name == "eval":
            return self._same_shell(Inner(via="eval", code=joined(args)), scope, feed, index)
        elif name in (".", "source") and texts:
            content = feed.text if texts[0] in ("/dev/stdin", "/dev/fd/63", "-") else self._reads(scope)(texts[0] or "")
            if content is None and texts[0] == "/dev/fd/63":
                content = self.files.get("/dev/fd/63")
            return self._same_shell(Inner(via="source", code=content), scope, feed, index)
        elif name == "trap" and len(texts) > 1 and texts[0] not in ("-", "", "-p", "-l"):
            self._same_shell(Inner(via="trap", code=texts[0]), scope, feed, index)
        elif name in _DECLARING:
            self._declare(texts, args, scope)
        elif name == "unset":
            for text in texts:
                scope.variables[text or ""] = ""
        elif name in ("read", "mapfile", "readarray"):
            self._read_into(texts, scope, feed)
        elif name == "set":
            if "--" in texts:
                scope.positional = tuple(texts[texts.index("--") + 1 :])
        elif name == "shift" and scope.positional is not None:
            count = texts[0] if texts and texts[0] else "1"
            scope.positional = scope.positional[int(count) if count.isdecimal() else 1 :]
        elif name == "printf" and texts[:1] == ["-v"] and len(texts) > 2 and texts[1]:
            scope.variables[texts[1]] = printed((Word(text="printf"), *args[2:]), None, cwd=scope.cwd, files=self.files)
            return ""
        return printed((Word(text=name), *args), feed.text, cwd=scope.cwd, files=self.files)

    def _same_shell(self, item: Inner, scope: _Scope, feed: _Feed, index: int) -> str | None:
        """Code that the shell itself runs (`eval`, `source`): what it sets stays set."""
        if item.code is None:
            return None
        before = scope.via, scope.parent, scope.span
        scope.via, scope.parent, scope.span = item.via, index, scope.span or self.commands[index].span
        output = self.code(item.code, scope, feed)
        scope.via, scope.parent, scope.span = before
        return output

    def _cd(self, texts: list[str | None], scope: _Scope) -> None:
        plain = [text for text in texts if text is None or not text.startswith("-") or text == "-"]
        if not plain:
            target: str | None = scope.home
        elif plain[0] == "-":
            target = None
        else:
            target = plain[0]
        scope.cwd = None if target is None else absolute(scope.cwd, target)

    def _declare(self, texts: list[str | None], args: tuple[Word, ...], scope: _Scope) -> None:
        for text, word in zip(texts, args, strict=True):
            known = text if text is not None else word.prefix
            key, equals, value = known.partition("=")
            if equals and key.isidentifier():
                scope.variables[key] = value if text is not None else None

    def _read_into(self, texts: list[str | None], scope: _Scope, feed: _Feed) -> None:
        names = [text for text in texts if text and text.isidentifier()]
        line = feed.text.partition("\n")[0].split(None, max(0, len(names) - 1)) if feed.text is not None else None
        for at, name in enumerate(names):
            scope.variables[name] = (line[at] if at < len(line) else "") if line is not None and len(names) else None

    # --- words, redirections, substitutions

    def _expanded(self, word: RawWord, scope: _Scope) -> list[Word]:
        source = _source(word)
        found = expand(word, scope, source)
        for part in word.parts:
            if isinstance(part, Substitution) and part.process:
                found = [replace(item, source=source) for item in found]
        return found

    def substituted(self, substitution: Substitution, scope: _Scope) -> str | None:
        inside = scope.child()
        inside.via = substitution.process + "()" if substitution.process else "$()"
        output = self._deeper(substitution.program, inside, _NOTHING)
        if substitution.process == "<":
            self.files["/dev/fd/63"] = output
        return output

    def _redirects(self, raw: tuple[RawRedirect, ...], scope: _Scope) -> tuple[Redirect, ...]:
        found: list[Redirect] = []
        for item in raw:
            content: str | None = None
            if item.body is not None:
                content = text_of(item.body, scope)
            elif item.operator == "<<<":
                text = text_of(item.target.parts, scope)
                content = None if text is None else text + "\n"
            words = self._expanded(item.target, scope) if item.operator[:2] != "<<" else []
            target = words[0] if len(words) == 1 else UNKNOWN if words else Word(text="")
            found.append(Redirect(operator=item.operator, descriptor=item.descriptor, target=target, content=content))
        return tuple(found)

    def _captured(self, redirects: tuple[Redirect, ...], output: str | None, scope: _Scope) -> str | None:
        """What is left for a pipe; what went to a file is remembered as its content."""
        for item in redirects:
            if item.operator not in (">", ">>", ">|", "&>", "&>>") or item.descriptor not in (None, 1):
                continue
            self._store(item.target.text, output, scope, append=item.operator.endswith(">>"))
            output = ""
        return output

    def _wrote(self, name: str, args: tuple[Word, ...], scope: _Scope, stdin: str | None) -> None:
        """Files that common tools make: `tee`, and copies and moves of what is known."""
        plain = [word.text for word in args if not (word.text or "").startswith("-")]
        if name == "tee":
            for text in plain:
                self._store(text, stdin, scope, append=any(word.text == "-a" for word in args))
        elif name in ("cp", "mv") and len(plain) == 2 and plain[0] is not None:
            self._store(plain[1], self._reads(scope)(plain[0]), scope, append=False)

    def _store(self, text: str | None, content: str | None, scope: _Scope, *, append: bool) -> None:
        path = absolute(scope.cwd, text) if text else None
        if path is None:
            return
        if append:
            old = self.files.get(path, "")
            content = old + content if old is not None and content is not None else None
        self.files[path] = content if content is None or len(content) <= 65536 else None

    def _emit(self, command: Command, scope: _Scope, span: tuple[int, int]) -> int:
        if len(self.commands) >= MAX_COMMANDS:
            raise _Enough
        self.commands.append(
            replace(
                command,
                depth=scope.depth,
                span=span,
                via=scope.via,
                parent=scope.parent,
                remote=scope.remote,
                cwd=scope.cwd,
            )
        )
        return len(self.commands) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """Looks up a file that the text itself wrote, then one that lies there."""

    files: dict[str, str | None]
    cwd: str | None
    content: Callable[[str], str | None] | None

    def __call__(self, text: str) -> str | None:
        path = absolute(self.cwd, text) if text else None
        if path is None or path in self.files:
            return None if path is None else self.files[path]
        return None if self.content is None else self.content(path)


def _positional(values: tuple[str | None, ...]) -> tuple[str | None, tuple[str | None, ...]]:
    return (values[0], values[1:]) if values else (None, ())


def _name(words: tuple[Word, ...]) -> str | None:
    text = words[0].text
    return text.rpartition("/")[2] if text else None


def _fed(redirects: tuple[Redirect, ...], feed: _Feed, files: dict[str, str | None], cwd: str | None) -> _Feed:
    """The feed of a command after its own input redirections: the last one counts."""
    for item in redirects:
        if item.descriptor not in (None, 0):
            continue
        if item.operator in ("<<", "<<-", "<<<"):
            feed = _Feed(text=item.content, fed=True)
        elif item.operator == "<":
            path = absolute(cwd, item.target.text) if item.target.text else None
            feed = _Feed(text=files.get(path) if path else None, fed=True)
    return feed


def _source(word: RawWord) -> str:
    """A short form of the word for people: its literal parts, `…` for the rest."""
    return "".join(part.text if isinstance(part, Text) else "…" for part in word.parts)[:200]
