"""What Python source would touch: calls that delete, write, read, connect or run, with their constant arguments worked out.

Read with the standard `ast` module, never run. Followed are imports and their aliases, module-level names with one constant value, joins of constants, f-strings
of known parts, `os.path.join`, `expanduser`, `Path(…) / …`, and `getattr(module, "name")`. A call that is
known with arguments that are not gives an effect on an unknown path. What never enters: importing, evaluating, files.
"""

from __future__ import annotations

import ast
import shlex
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from guard.core.actions import FileOp
from guard.core.predict_tools import Effect, Send, Touch, seen_from, url_send
from guard.core.shell_values import Word, words_of

MAX_SOURCE: Final = 65536
"""Characters of source that are read, as for a script (`ExecAction.script`)."""
_MAX_NODES: Final = 20000
_MAX_FOLD = 40  # levels of an expression whose value is worked out
_MAX_VALUE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonReading:
    """The effects in source order, the shell texts that the source runs, and whether it could be read at all."""

    effects: tuple[Effect, ...] = ()
    shell: tuple[str, ...] = ()
    readable: bool = True


def effects(text: str, *, home: str) -> PythonReading:
    """What this source would do as far as constants tell. Never raises; source that is no Python is not `readable`."""
    if len(text) > MAX_SOURCE:
        return PythonReading(readable=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a stray backslash in someone's string is not our message
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return PythonReading(readable=False)
    walker = _Walker(home=home)
    walker.program(tree)
    return PythonReading(effects=tuple(walker.effects), shell=tuple(walker.shell))


@dataclass(slots=True, kw_only=True)
class _Walker:
    home: str
    names: dict[str, str] = field(default_factory=dict)
    """Local names of modules and of what was imported from them: `sp` -> `subprocess`."""
    values: dict[str, str | None] = field(default_factory=dict)
    """Names with one constant text; None once they were given another."""
    effects: list[Effect] = field(default_factory=list)
    shell: list[str] = field(default_factory=list)
    folder: str | None = "."
    """The working folder seen from the one at the start; None after a move to where only running can tell."""

    def program(self, tree: ast.Module) -> None:
        calls: list[ast.Call] = []
        for count, node in enumerate(_in_order(tree)):
            if count > _MAX_NODES:
                break
            match node:
                case ast.Import():
                    for alias in node.names:
                        head = alias.name.partition(".")[0]
                        self.names[alias.asname or head] = alias.name if alias.asname else head
                case ast.ImportFrom(module=str() as module):
                    for alias in node.names:
                        self.names[alias.asname or alias.name] = f"{module}.{alias.name}"
                case ast.Assign(targets=[ast.Name(id=name)]):
                    self._assign(name, node.value)
                case ast.withitem(context_expr=value, optional_vars=ast.Name(id=name)):
                    self._assign(name, value)
                case ast.Call():
                    calls.append(node)
                case _:
                    pass
        for call in calls:
            self._call(call)

    def _assign(self, name: str, value: ast.expr) -> None:
        known = self.text(value)
        kind = self._made(value)
        if kind is not None:
            self.names.setdefault(name, kind)
        self.values[name] = known if name not in self.values or self.values[name] == known else None

    def _made(self, value: ast.expr) -> str | None:
        """The kind of object that an expression makes, where its methods count: a socket, a session, a path."""
        if isinstance(value, ast.Call):
            name = self.dotted(value.func)
            return _MAKES.get(name or "")
        return self.dotted(value) if isinstance(value, ast.Attribute | ast.Name) else None

    def dotted(self, node: ast.expr, depth: int = 0) -> str | None:
        """`os.remove` for whatever spelling names it; None for what has no such name."""
        if depth > _MAX_FOLD:
            return None
        match node:
            case ast.Name(id=name):
                return self.names.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                head = self.dotted(value, depth + 1)
                return None if head is None else f"{head}.{attr}"
            case ast.Call(func=ast.Name(id="getattr"), args=[module, name, *_]):
                head, tail = self.dotted(module, depth + 1), self.text(name)
                return None if head is None or tail is None else f"{head}.{tail}"
            case ast.Call(func=ast.Name(id="__import__"), args=[name, *_]):
                return self.text(name)
            case ast.Call(func=function):
                made = self.dotted(function, depth + 1)
                return (
                    self.text(node.args[0])
                    if made == "importlib.import_module" and node.args
                    else _MAKES.get(made or "")
                )
            case ast.BinOp(op=ast.Div(), left=left):
                return "pathlib.Path()" if self.dotted(left, depth + 1) == "pathlib.Path()" else None
            case _:
                return None

    def text(self, node: ast.expr, depth: int = 0) -> str | None:
        """The text that an expression certainly is; None where only running can tell."""
        if depth > _MAX_FOLD:
            return None
        value = self._text(node, depth + 1)
        return value if value is None or len(value) <= _MAX_VALUE else None

    def _text(self, node: ast.expr, depth: int) -> str | None:
        match node:
            case ast.Constant(value=str() as value):
                return value
            case ast.Constant(value=bytes() as raw):
                return raw.decode("utf-8", "replace")
            case ast.Name(id=name):
                return self.values.get(name)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _both(self.text(left, depth), self.text(right, depth), "")
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return _path(self.text(left, depth), self.text(right, depth))
            case ast.JoinedStr(values=parts):
                return self._joined(parts, depth)
            case ast.Call():
                return self._called(node, depth)
            case _:
                return None

    def _joined(self, parts: list[ast.expr], depth: int) -> str | None:
        texts = [self.text(part.value if isinstance(part, ast.FormattedValue) else part, depth) for part in parts]
        known = [text for text in texts if text is not None]
        return "".join(known) if len(known) == len(texts) else None

    def _called(self, node: ast.Call, depth: int) -> str | None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in (
            "encode",
            "decode",
            "expanduser",
            "resolve",
            "absolute",
            "as_posix",
        ):
            inside = node.args[0] if node.func.attr == "expanduser" and node.args else node.func.value
            text = self.text(inside, depth)
            return self._expanded(text) if node.func.attr == "expanduser" else text
        name = self.dotted(node.func, depth)
        texts = [self.text(arg, depth) for arg in node.args]
        if name in (
            "str",
            "os.fspath",
            "os.path.abspath",
            "os.path.realpath",
            "os.path.normpath",
            "pathlib.Path",
            "pathlib.PosixPath",
        ):
            whole: str | None = texts[0] if texts else "."
            for text in texts[1:]:
                whole = _path(whole, text)
            return whole
        if name == "os.path.join" and texts:
            whole = texts[0]
            for text in texts[1:]:
                whole = _path(whole, text)
            return whole
        if name == "pathlib.Path.home":
            return self.home
        if name == "chr" and isinstance(node.args[0] if node.args else None, ast.Constant):
            code = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            return chr(code) if isinstance(code, int) and 0 <= code < 0x110000 else None
        return None

    def _expanded(self, text: str | None) -> str | None:
        return self.home + text[1:] if text is not None and (text == "~" or text.startswith("~/")) else text

    # --- calls

    def _placed(self, effect: Effect, node: ast.Call) -> Effect:
        """The effect with its paths seen from the working folder of the moment, or from the descriptor that the call names."""
        if not isinstance(effect, Touch) or (
            self.folder == "." and not any("dir_fd" in (k.arg or "") for k in node.keywords)
        ):
            return effect
        return replace(
            effect, path=self._moved(effect.path, node), to=None if effect.to is None else self._moved(effect.to, node)
        )

    def _moved(self, word: Word, node: ast.Call) -> Word:
        known = word.text if word.text is not None else word.prefix
        if known.startswith("/"):
            return word
        if self.folder is None or any("dir_fd" in (keyword.arg or "") for keyword in node.keywords):
            return Word(text=None, source=word.source)
        return replace(
            word, text=_path(self.folder, word.text), prefix=f"{self.folder}/{word.prefix}" if word.text is None else ""
        )

    def _call(self, node: ast.Call) -> None:
        name = self.dotted(node.func)
        if name is None:
            return
        known = _CALLS.get(name)
        if name in ("os.chdir", "os.fchdir", "contextlib.chdir"):
            to = self.argument(node, 0, "path").text if name != "os.fchdir" else None
            self.folder = _path(self.folder, to)
        elif known is not None:
            self.effects.extend(self._placed(effect, node) for effect in known(self, node))
        elif name in _SHELL:
            self._runs(node, name)
        elif name.startswith("pathlib.Path().") or (
            isinstance(node.func, ast.Attribute) and self._is_path(node.func.value)
        ):
            assert isinstance(node.func, ast.Attribute)
            self.effects.extend(self._path_method(node, node.func))

    def _is_path(self, node: ast.expr) -> bool:
        return self.dotted(node) == "pathlib.Path()"

    def _path_method(self, node: ast.Call, function: ast.Attribute) -> Iterator[Effect]:
        word = self.word(function.value)
        op = _PATH_METHODS.get(function.attr)
        if function.attr == "open":
            yield Touch(op=self._mode(node, 0), path=word)
        elif op in ("rename", "link"):
            yield Touch(op=op, path=word, to=self.argument(node, 0))
        elif op is not None:
            yield Touch(op=op, path=word, folder=True if function.attr == "rmdir" else None)

    def word(self, node: ast.expr | None) -> Word:
        """A path argument as a word; the known beginning of a join is kept."""
        if node is None:
            return Word(text=None)
        text = self.text(node)
        source = ast.unparse(node)[:80] if text is None else text
        prefix = "" if text is not None else self._beginning(node)
        return Word(text=text, source=source, prefix=prefix)

    def _beginning(self, node: ast.expr) -> str:
        match node:
            case ast.BinOp(left=left, op=ast.Add() | ast.Div() as op):
                text = self.text(left)
                return (text + ("/" if isinstance(op, ast.Div) else "")) if text else ""
            case ast.BinOp(left=ast.Constant(value=str() as text), op=ast.Mod()):
                return text.partition("%")[0]
            case ast.JoinedStr(values=[ast.Constant(value=str() as text), *_]):
                return text
            case ast.Call(args=[first, _, *_]) if self.dotted(node.func) == "os.path.join":
                text = self.text(first)
                return text + "/" if text else ""
            case _:
                return ""

    def argument(self, node: ast.Call, at: int, *names: str) -> Word:
        given = node.args[at] if at < len(node.args) else next((k.value for k in node.keywords if k.arg in names), None)
        return self.word(given)

    def _mode(self, node: ast.Call, at: int) -> FileOp:
        mode = self.argument(node, at, "mode")
        given = len(node.args) > at or any(keyword.arg == "mode" for keyword in node.keywords)
        text = mode.text if given else "r"
        return "read" if text is not None and not set(text) & set("wax+") else "write"

    def _runs(self, node: ast.Call, name: str) -> None:
        """`os.system("…")`, `subprocess.run([...])`: text for the shell reader."""
        first = (
            node.args[0] if node.args else next((k.value for k in node.keywords if k.arg in ("args", "command")), None)
        )
        if first is None:
            return
        text = self.text(first)
        if text is None and isinstance(first, ast.List | ast.Tuple):
            parts = [self.text(item) for item in first.elts]
            known = [part for part in parts if part is not None]
            text = shlex.join(known) if len(known) == len(parts) else None
        if (text is not None and name.startswith("os.exec")) or name.startswith("os.spawn"):
            text = None  # these take the arguments one by one; the program itself is judged when it starts
        if text is not None:
            self.shell.append(text)


def _in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes in source order, without recursion."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _both(left: str | None, right: str | None, between: str) -> str | None:
    return None if left is None or right is None else left + between + right


def _path(left: str | None, right: str | None) -> str | None:
    if right is not None and right.startswith("/"):
        return right
    return _both(
        left.rstrip("/") if left not in (None, "/") and left is not None else left, right, "" if left == "/" else "/"
    )


type _Act = Callable[[_Walker, ast.Call], Iterator[Effect]]


def _touch(op: FileOp, *, folder: bool | None = None) -> _Act:
    def act(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
        yield Touch(op=op, path=walker.argument(node, 0, "path", "name", "file", "src"), folder=folder)

    return act


def _two(op: FileOp) -> _Act:
    def act(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
        yield Touch(op=op, path=walker.argument(node, 0, "src"), to=walker.argument(node, 1, "dst"))

    return act


def _copy(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
    yield Touch(op="read", path=walker.argument(node, 0, "src"))
    yield Touch(op="write", path=walker.argument(node, 1, "dst"))


def _symlink(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
    made, target = walker.argument(node, 1, "dst"), walker.argument(node, 0, "src")
    yield Touch(op="create", path=made, to=seen_from(made, target))


def _open(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
    if node.args or any(keyword.arg == "file" for keyword in node.keywords):
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, int):
            return  # a descriptor
        yield Touch(op=walker._mode(node, 1), path=walker.argument(node, 0, "file"))


def _os_open(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
    flags = node.args[1] if len(node.args) > 1 else None
    source = ast.unparse(flags) if flags is not None else ""
    reads = source in ("0", "") or ("O_RDONLY" in source and "O_CREAT" not in source) or source.endswith("O_PATH")
    yield Touch(op="read" if reads else "write", path=walker.argument(node, 0, "path"))


def _request(method: str | None) -> _Act:
    def act(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
        at = 1 if method is None else 0
        verb = method or walker.argument(node, 0, "method").text
        word = walker.argument(node, at, "url", "fullurl")
        bodies = [k.value for k in node.keywords if k.arg in ("data", "json", "files", "content")]
        if method == "URLOPEN":
            verb = "POST" if bodies or len(node.args) > 1 else "GET"
        body = walker.text(bodies[0]) if len(bodies) == 1 else None if bodies else ""
        known = word.text if word.text is not None else word.prefix
        send = url_send(known, method=(verb or "GET").upper(), body=body) if known else None
        if send is None or verb is None or (word.text is None and known.count("/") < 3):
            yield Send(host=None, protocol=None)
        elif word.text is None:
            yield Send(host=send.host, port=send.port, protocol=send.protocol, method=verb.upper())
        else:
            yield send

    return act


def _connect(walker: _Walker, node: ast.Call) -> Iterator[Effect]:
    first = node.args[0] if node.args else None
    if isinstance(first, ast.Tuple) and len(first.elts) >= 2:
        port = first.elts[1]
        number = port.value if isinstance(port, ast.Constant) and isinstance(port.value, int) else None
        yield Send(host=walker.text(first.elts[0]), port=number)
    elif first is not None and walker.text(first) is not None:
        yield Touch(op="write", path=walker.word(first))  # an AF_UNIX address
    else:
        yield Send(host=None, protocol=None)


_MAKES = {
    "socket.socket": "socket.socket()",
    "requests.Session": "requests",
    "requests.session": "requests",
    "httpx.Client": "httpx",
    "pathlib.Path": "pathlib.Path()",
    "pathlib.PosixPath": "pathlib.Path()",
    "pathlib.Path.home": "pathlib.Path()",
    "pathlib.Path().expanduser": "pathlib.Path()",
    "pathlib.Path().resolve": "pathlib.Path()",
    "pathlib.Path().joinpath": "pathlib.Path()",
}
_PATH_METHODS: dict[str, FileOp] = {
    "unlink": "delete",
    "rmdir": "delete",
    "write_text": "write",
    "write_bytes": "write",
    "read_text": "read",
    "read_bytes": "read",
    "touch": "create",
    "mkdir": "create",
    "chmod": "chmod",
    "rename": "rename",
    "replace": "rename",
    "hardlink_to": "link",
}
_SHELL = words_of(
    "os.system os.popen subprocess.run subprocess.call subprocess.check_call subprocess.check_output subprocess.Popen "
    "subprocess.getoutput subprocess.getstatusoutput pty.spawn commands.getoutput"
)
_CALLS: dict[str, _Act] = {
    "open": _open,
    "io.open": _open,
    "builtins.open": _open,
    "os.open": _os_open,
    "os.remove": _touch("delete", folder=False),
    "os.unlink": _touch("delete", folder=False),
    "os.rmdir": _touch("delete", folder=True),
    "os.removedirs": _touch("delete", folder=True),
    "shutil.rmtree": _touch("delete", folder=True),
    "os.mkdir": _touch("create", folder=True),
    "os.makedirs": _touch("create", folder=True),
    "os.truncate": _touch("write"),
    "os.chmod": _touch("chmod"),
    "os.chown": _touch("chmod"),
    "os.utime": _touch("chmod"),
    "os.rename": _two("rename"),
    "os.renames": _two("rename"),
    "os.replace": _two("rename"),
    "shutil.move": _two("rename"),
    "os.link": _two("link"),
    "os.symlink": _symlink,
    "shutil.copy": _copy,
    "shutil.copy2": _copy,
    "shutil.copyfile": _copy,
    "shutil.copytree": _copy,
    "sqlite3.connect": _touch("write"),
    "urllib.request.urlopen": _request("URLOPEN"),
    "urllib.request.urlretrieve": _request("GET"),
    "urllib.request.Request": _request("URLOPEN"),
    "socket.create_connection": _connect,
    "socket.socket().connect": _connect,
    "socket.socket().connect_ex": _connect,
    "requests.request": _request(None),
    "httpx.request": _request(None),
    **{
        f"{library}.{verb}": _request(verb.upper())
        for library in ("requests", "httpx")
        for verb in ("get", "post", "put", "delete", "head", "patch", "options")
    },
}
