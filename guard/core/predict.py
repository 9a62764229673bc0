"""From shell text to the actions that running it would propose: its programs, and the files and hosts that these would touch.

Predictions serve `guard check`, the examples of rules, and the words of a question; at run time only real effects decide. They
are by text alone: symbolic links are not followed, and what a program does that the tables do not know is not predicted. What
the text leaves open is an `Unresolved`, never silence. What never enters: files and programs (`Surroundings` says where they are).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from guard.core import predict_python
from guard.core.actions import (
    Action,
    Actor,
    ExecAction,
    FileAction,
    FileOp,
    Listener,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
)
from guard.core.places import canonical_host, endpoint, is_loopback, is_under_any
from guard.core.predict_tools import HOME, Effect, Mount, Send, Touch, effects_of
from guard.core.shell import read
from guard.core.shell_values import Command, Reading, Redirect, Word, absolute

MAX_ACTIONS: Final = 4000
"""Actions of one prediction; beyond it the rest is one `Unresolved`."""
_MAX_MATCHES = 64  # files that one pattern is followed to; a pattern with more stands for its folder
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What is known of the machine on which the text would run.

    `tools` gives the canonical path of a program by the name under which PATH finds it; only programs that the agent cannot write
    belong in it, since their actions are predicted with a verified actor. `matching` lists the files that a pattern names, at
    most 65 of them (None: nobody looks, and a pattern stands for its folder). `content` gives a script's text, None for what is no
    text file; `resolved` a path without symbolic links, whose last part is followed only with True (None: by text alone).
    """

    cwd: str
    workspace: str
    home: str
    tools: Mapping[str, str] = field(default_factory=dict)
    matching: Callable[[str], Sequence[str]] | None = None
    content: Callable[[str], str | None] | None = None
    resolved: Callable[[str, bool], str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)
    model_endpoints: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One action, and the index of the command in the reading that it comes from (None: from no shell command)."""

    action: Action
    command: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unresolved:
    """An effect that the text leaves open: `what` a tool would do (`delete`, `send`), the word as written, the missing field."""

    what: str
    source: str
    missing: str
    command: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Everything that is foreseen. `scored` are the texts that the classifier sees, as (kind, text, index of the command)."""

    reading: Reading
    actions: tuple[Predicted, ...]
    unresolved: tuple[Unresolved, ...]
    scored: tuple[tuple[str, str, int | None], ...]


def predict_shell(text: str, around: Surroundings) -> Prediction:
    """What this shell text would do in these surroundings, the shell that is given it first. Never raises."""
    reading = read(text, cwd=around.cwd, home=around.home, environ=around.environ, content=around.content)
    oracle = _Oracle(around, reading)
    shell = oracle.actor("bash") or oracle.actor("sh")
    oracle.add(
        ExecAction(
            exe=None if shell is None else shell.exe,
            name="bash",
            args=("-c", text),
            command=shlex.join(("bash", "-c", text)),
            script=text,
            cwd=around.cwd,
            anonymous=False,
        ),
        None,
    )
    return oracle.all(text)


def predict_python_text(text: str, around: Surroundings) -> Prediction:
    """What this Python source would do: itself, and the effects of calls with constant arguments. Never raises."""
    oracle = _Oracle(around, Reading(commands=()))
    actor = oracle.actor("python3")
    oracle.add(PythonAction(text=text, actor=actor), None)
    oracle.python(text, None, cwd=around.cwd, actor=actor, depth=0)
    return oracle.done([("python", text, None)])


class _Oracle:
    """One prediction in the making."""

    def __init__(self, around: Surroundings, reading: Reading) -> None:
        self.around = around
        self.reading = reading
        self.actions: dict[Predicted, None] = {}
        self.unresolved: dict[Unresolved, None] = {}
        self.scored: dict[tuple[str, str, int | None], None] = {}

    def all(self, text: str) -> Prediction:
        for index, command in enumerate(self.reading.commands):
            if len(self.actions) > MAX_ACTIONS:
                self.leave_open("actions", "the rest of the text", "action", index)
                break
            self._command(index, command)
        return self.done([("shell", text, None)])

    def done(self, first: list[tuple[str, str, int | None]]) -> Prediction:
        return Prediction(
            reading=self.reading,
            actions=tuple(self.actions),
            unresolved=tuple(self.unresolved),
            scored=(*first, *self.scored),
        )

    def add(self, action: Action, command: int | None) -> None:
        self.actions[Predicted(action=action, command=command)] = None

    def leave_open(self, what: str, source: str, missing: str, command: int | None) -> None:
        self.unresolved[Unresolved(what=what, source=source, missing=missing, command=command)] = None

    def actor(self, name: str | None) -> Actor | None:
        """The program of this name as it would act; unverified where it is not one of the machine's own tools."""
        if name is None:
            return None
        exe = self.around.tools.get(name)
        return Actor(name=name, exe=exe, verified=True) if exe is not None else None

    # --- one command

    def _command(self, index: int, command: Command) -> None:
        actor = self._acting(command)
        if command.words:
            self.add(self._exec(command), index)
            self._score(index, command)
        if command.remote is not None:
            return  # what it does, it does elsewhere
        for item in command.redirects:
            self._redirect(item, command, index, actor)
        if command.name is None:
            return
        if not command.builtin or command.name in (".", "source"):
            for effect in effects_of(command.name, command.words[1:]):
                self.effect(effect, index, command.cwd, actor)
        self._code(index, command, actor)

    def _acting(self, command: Command) -> Actor | None:
        if command.builtin or not command.words:
            return self.actor("bash") or self.actor("sh")
        if any(name in _INJECTING for name, _ in command.assignments):
            return None
        path = command.words[0].text or ""
        if "/" not in path:
            return self.actor(command.name)
        known = self.actor(command.name)
        where = absolute(command.cwd, path)
        return known if known is not None and where in (known.exe, *_alike(known.exe)) else None

    def _exec(self, command: Command) -> ExecAction:
        texts = [word.text for word in command.words]
        known = [text for text in texts if text is not None]
        whole = len(known) == len(texts) and not command.more
        exe = self._exe(command)
        return ExecAction(
            exe=exe,
            name=command.name,
            args=tuple(known[1:]) if whole else None,
            command=shlex.join(known) if whole else None,
            script=command.script,
            cwd=command.cwd,
            anonymous=None if command.name is None or _NAMELESS.match(command.words[0].text or "") else False,
            actor=self.actor("bash") or self.actor("sh"),
        )

    def _exe(self, command: Command) -> str | None:
        if command.remote is not None or command.name is None:
            return None
        if command.builtin:
            return self.around.tools.get("bash") or self.around.tools.get("sh")
        path = command.words[0].text or ""
        if "/" in path:
            known = self.around.tools.get(command.name)
            where = absolute(command.cwd, path)
            return known if known is not None and where in _alike(known) else where
        return self.around.tools.get(command.name)

    def _score(self, index: int, command: Command) -> None:
        """The classifier sees each command that is nested (the whole text holds the plain ones), and every script."""
        texts = [word.text for word in command.words]
        if command.via and not command.builtin and None not in texts:
            self.scored["shell", shlex.join(text for text in texts if text is not None), index] = None
        if command.script:
            kind = {"python": "python", "sql": "sql"}.get(command.language or "", "shell")
            self.scored[kind, command.script, index] = None

    def _code(self, index: int, command: Command, actor: Actor | None) -> None:
        if not command.script:
            return
        if command.language == "python":
            self.add(PythonAction(text=command.script, actor=actor), index)
            self.python(command.script, index, cwd=command.cwd, actor=actor, depth=command.depth)
        elif command.language == "sql":
            self.add(SqlAction(text=command.script, dialect=_DIALECTS.get(command.name or ""), actor=actor), index)

    def python(self, text: str, index: int | None, *, cwd: str | None, actor: Actor | None, depth: int) -> None:
        """The effects of Python source; shell text inside it is read as a shell would."""
        found = predict_python.effects(text, home=self.around.home)
        if not found.readable:
            self.leave_open("run", text.strip()[:80], "python", index)
        for effect in found.effects:
            self.effect(effect, index, cwd, actor)
        for code in found.shell if depth < _MAX_PYTHON_DEPTH else ():
            inner = read(code, cwd=cwd, home=self.around.home, environ=self.around.environ, content=self.around.content)
            nested = _Oracle(replace(self.around, cwd=cwd or self.around.cwd), inner).all(code)
            for item in nested.actions:
                self.add(item.action, index)
            for open_ in nested.unresolved:
                self.unresolved[replace(open_, command=index)] = None
            for kind, scored, _ in nested.scored:
                self.scored[kind, scored, index] = None
            if inner.problems:
                self.leave_open("run", code[:80], "command", index)

    # --- effects

    def _redirect(self, item: Redirect, command: Command, index: int, actor: Actor | None) -> None:
        if item.operator[:2] == "<<" or item.target.text in ("", "-", "/dev/fd/63"):
            return
        if item.operator in (">&", "<&") and (item.target.text or "0").rstrip("-").isdigit():
            return
        text = item.target.text or ""
        for protocol in ("tcp", "udp"):
            if text.startswith(f"/dev/{protocol}/"):
                host, _, port = text.removeprefix(f"/dev/{protocol}/").partition("/")
                self.effect(
                    Send(host=host, port=int(port) if port.isdigit() else None, protocol=protocol), index, None, actor
                )
                return
        op: FileOp = "read" if item.operator == "<" else "write"
        self.effect(Touch(op=op, path=item.target), index, command.cwd, actor)

    def effect(self, effect: Effect, index: int | None, cwd: str | None, actor: Actor | None) -> None:
        """Adds what a tool does as actions, or as unresolved where the text does not say on what."""
        match effect:
            case Touch():
                self._touch(effect, index, cwd, actor)
            case Send():
                self._send(effect, index, actor)
            case Mount():
                self.add(
                    SystemAction(op=effect.op, target=absolute(cwd, effect.target) or effect.target, actor=actor), index
                )
            case _:
                assert_never(effect)

    def _touch(self, effect: Touch, index: int | None, cwd: str | None, actor: Actor | None) -> None:
        follows = effect.op in ("read", "write", "chmod")  # the others act on the name itself
        to: str | None = None
        if effect.to is not None:
            to = self._one_path(effect.to, cwd)
            if to is None:
                self.leave_open(effect.op, effect.to.source or effect.to.prefix, "to", index)
                return
        places = self._paths(effect.path, cwd)
        if places is None:
            self.leave_open(effect.op, effect.path.source or effect.path.prefix, "path", index)
            return
        for path, below in places:
            folder = True if below else effect.folder
            self.add(
                FileAction(
                    op=effect.op,
                    path=self._real(path, follows=follows),
                    to=None if to is None else self._real(to, follows=False),
                    folder=folder,
                    sets=effect.sets,
                    actor=actor,
                ),
                index,
            )

    def _real(self, path: str, *, follows: bool) -> str:
        return path if self.around.resolved is None else self.around.resolved(path, follows)

    def _one_path(self, word: Word, cwd: str | None) -> str | None:
        """The second path of an operation; of several files the first stands for all."""
        found = self._paths(word, cwd)
        return found[0][0] if found else None

    def _paths(self, word: Word, cwd: str | None) -> list[tuple[str, bool]] | None:
        """What a word names, each with whether it stands for everything below; None where the text does not say.

        Where only a beginning is known the path ends in `*`: some name there.
        """
        if word.source == HOME and word.text:
            return [(self.around.home + word.text[1:], False)]
        if word.text is None:
            return self._begun(word, cwd)
        if not word.pattern:
            path = _place(cwd, word.text)
            return None if path is None else [(path, False)]
        return self._matches(word.text, cwd)

    def _begun(self, word: Word, cwd: str | None) -> list[tuple[str, bool]] | None:
        """A word of which a beginning is known. It may climb (`/tmp/$x` with x=../etc), so that it counts only where little is at stake."""
        folder, slash, name = word.prefix.rpartition("/")
        path = _place(cwd, folder or "/") if slash else None
        if path is None or not (word.pattern or is_under_any(path, (self.around.workspace, *_TEMPORARY))):
            return None
        return [(f"{path.rstrip('/')}/{name}*", False)]

    def _matches(self, text: str, cwd: str | None) -> list[tuple[str, bool]] | None:
        path = _place(cwd, text)
        if path is None:
            return None
        found = [] if self.around.matching is None else self.around.matching(path)
        if 0 < len(found) <= _MAX_MATCHES:
            return [(name, False) for name in found]
        parts = path.split("/")
        first = next((at for at, part in enumerate(parts) if _GLOB & set(part)), len(parts))
        # `*` never stands for a hidden name, but `.s?h` does; and what follows a pattern is as unknown as the pattern
        if first < len(parts) - 1 or (first < len(parts) and parts[first].startswith((".", "["))):
            return None
        everything = parts[-1] in ("*", "**") and (found or self.around.matching is None)
        return [("/".join(parts[:-1]) or "/", True)] if everything else [(path, False)]

    def _send(self, effect: Send, index: int | None, actor: Actor | None) -> None:
        host = canonical_host(effect.host) if effect.host else None
        body = effect.body
        self.add(
            NetworkAction(
                host=None if host is None else (host,),
                address=host,  # what a name resolves to is found out when it is connected to
                port=effect.port,
                protocol=effect.protocol,
                listener=None if host is None else _listener(host, effect.port, self.around.model_endpoints),
                method=effect.method,
                url=effect.url,
                url_path=effect.url_path,
                query=effect.query,
                headers=effect.headers,
                body=body,
                body_size=None if body is None else len(body.encode("utf-8", "replace")),
                content_type=dict(effect.headers or ()).get("content-type", "" if effect.headers is not None else None),
                content=None if body is None else ("private-key",) if _PRIVATE_KEY.search(body) else (),
                actor=actor,
            ),
            index,
        )


def _listener(host: str, port: int | None, model_endpoints: frozenset[str]) -> Listener:
    if port is not None and endpoint(host, port) in model_endpoints:
        return "model"
    return "loopback" if is_loopback(host) else "elsewhere"


_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
_MAX_PYTHON_DEPTH = 8
_INJECTING = frozenset(
    {
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "NODE_OPTIONS",
        "GIT_SSH_COMMAND",
        "GIT_SSH",
        "BASH_ENV",
        "ENV",
        "PATH",
    }
)
_DIALECTS = {
    "sqlite3": "sqlite",
    "psql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "duckdb": "duckdb",
    "snowsql": "snowflake",
}


def _place(cwd: str | None, text: str) -> str | None:
    """The absolute path that a text names; None where it is not known: an open descriptor, a process's folder."""
    path = absolute(cwd, text) if text else None
    if path is None or not path.startswith("/proc/"):
        return path
    path = _OWN_ROOT.sub("", path) or "/"
    found = _OWN_CWD.match(path)
    if found is not None:
        return absolute(cwd, "./" + (found.group(1) or ""))
    return None if _DESCRIPTOR.match(path) else path


_NAMELESS = re.compile(r"/(?:proc/(?:self|thread-self|\d+)|dev)/fd/")
_OWN_ROOT = re.compile(r"(?:/proc/(?:self|thread-self|\d+)/root)+(?=/|\Z)")
_OWN_CWD = re.compile(r"/proc/(?:self|thread-self)/cwd(?:/(.*))?\Z", re.DOTALL)
_DESCRIPTOR = re.compile(r"/proc/(?:self|thread-self|\d+)/(?:fd|cwd|map_files)(?:/.*)?\Z", re.DOTALL)


def _alike(exe: str) -> tuple[str, ...]:
    """The names under which merged systems know the same file: `/bin/rm` is `/usr/bin/rm`."""
    return (exe, exe.removeprefix("/usr")) if exe.startswith(("/usr/bin/", "/usr/sbin/")) else (exe,)


def request_action(send: Send, around: Surroundings) -> NetworkAction:
    """One connection or request as an action, for an input that names it directly."""
    oracle = _Oracle(around, Reading(commands=()))
    oracle.effect(send, None, None, None)
    return next(item.action for item in oracle.actions if isinstance(item.action, NetworkAction))
