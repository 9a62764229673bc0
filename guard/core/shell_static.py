"""What harmless filters print, worked out from the text alone: `echo`, `printf`, `base64 -d` … and the like.

It is what joins `echo cm0g… | base64 -d | sh` to the command that it hides. What never enters: a program that would have to
run, and files, apart from those whose content the same text wrote (`files`). None always means: only running can tell.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from guard.core.shell_syntax import unescape_ansi
from guard.core.shell_values import Word, absolute

MAX_OUTPUT: Final = 65536
"""Characters that are worked out; more is unknown."""
_FORMAT = re.compile(r"%(?:%|[-+ #0]*\d{0,4}(?:\.\d{0,4})?([bcdiqsuxX]))")
_SET_RANGE = re.compile(r"(.)-(.)", re.DOTALL)

type Files = Mapping[str, str | None]


def printed(words: Sequence[Word], stdin: str | None, *, cwd: str | None, files: Files) -> str | None:
    """The standard output of one simple command."""
    texts = [word.text for word in words]
    known = [text for text in texts if text is not None]
    if not known or texts[0] is None:
        return None
    name = known[0].rpartition("/")[2]
    if name in _SILENT:
        return ""
    if len(known) != len(texts):
        return None
    if name == "pwd":
        return None if cwd is None else cwd + "\n"
    if name in ("cat", "base64") and not _reads_stdin(known[1:]):
        return _from_files(name, known[1:], cwd, files)
    filter_ = _FILTERS.get(name)
    output = filter_(known[1:], stdin) if filter_ else None
    return output if output is not None and len(output) <= MAX_OUTPUT else None


def _reads_stdin(args: Sequence[str]) -> bool:
    return all(arg.startswith("-") for arg in args)


def _from_files(name: str, args: Sequence[str], cwd: str | None, files: Files) -> str | None:
    contents: list[str] = []
    for arg in args:
        if arg.startswith("-"):
            continue
        path = absolute(cwd, arg)
        content = files.get(path) if path is not None else None
        if content is None:
            return None
        contents.append(content)
    whole = "".join(contents)
    return _base64([arg for arg in args if arg.startswith("-")], whole) if name == "base64" else whole


def _echo(args: Sequence[str], _: str | None) -> str | None:
    escapes, newline, rest = False, True, list(args)
    while rest and re.fullmatch(r"-[neE]+", rest[0]):
        escapes = "e" in rest[0] or escapes
        newline = newline and "n" not in rest[0]
        rest.pop(0)
    text = " ".join(rest)
    return (unescape_ansi(text) if escapes else text) + ("\n" if newline else "")


def _printf(args: Sequence[str], _: str | None) -> str | None:
    rest = list(args)
    if rest and rest[0] == "--":
        rest.pop(0)
    if not rest or rest[0].startswith("-"):
        return None
    form, values = unescape_ansi(rest[0]), rest[1:]
    if not _FORMAT.search(form):
        return form
    done: list[str] = []
    size = 0
    while True:
        taken = len(values)
        done.append(_FORMAT.sub(lambda found: _one(found, values), form))
        size += len(done[-1])
        if not values or len(values) == taken or size > MAX_OUTPUT:
            return "".join(done)


def _one(found: re.Match[str], values: list[str]) -> str:
    kind = found.group(1)
    if kind is None:
        return "%"
    value = values.pop(0) if values else ""
    if kind == "b":
        return unescape_ansi(value)
    if kind == "c":
        return value[:1]
    if kind in "xX" and value.isdigit():
        return format(int(value[:18]), kind)
    return value or ("0" if kind in "diuxX" else "")


def _base64(args: Sequence[str], stdin: str | None) -> str | None:
    if stdin is None:
        return None
    if any(arg in ("-d", "-D", "--decode") or re.fullmatch(r"-[a-z]*d[a-z]*", arg) for arg in args):
        return _decoded(stdin)
    return base64.b64encode(stdin.encode("utf-8", "surrogateescape")).decode() + "\n"


def _openssl(args: Sequence[str], stdin: str | None) -> str | None:
    asks = {"base64", "-base64", "-a"} & set(args)
    return _decoded(stdin) if asks and "-d" in args and stdin is not None else None


def _decoded(text: str) -> str | None:
    try:
        data = base64.b64decode("".join(text.split()), validate=False)
    except (binascii.Error, ValueError):
        return None
    return data.decode("utf-8", "replace")


def _xxd(args: Sequence[str], stdin: str | None) -> str | None:
    flags = "".join(arg.lstrip("-") for arg in args)
    if stdin is None or "r" not in flags or "p" not in flags:
        return None
    try:
        return bytes.fromhex("".join(stdin.split())).decode("utf-8", "replace")
    except ValueError:
        return None


def _rev(_: Sequence[str], stdin: str | None) -> str | None:
    return None if stdin is None else "".join(line.rstrip("\n")[::-1] + "\n" for line in stdin.splitlines())


def _tr(args: Sequence[str], stdin: str | None) -> str | None:
    if stdin is None:
        return None
    if len(args) == 2 and args[0] == "-d":
        gone = set(_members(args[1]))
        return "".join(char for char in stdin if char not in gone)
    if len(args) != 2 or args[0].startswith("-"):
        return None
    old, new = _members(args[0]), _members(args[1])
    if not new:
        return None
    return stdin.translate({ord(char): new[min(at, len(new) - 1)] for at, char in reversed(list(enumerate(old)))})


def _members(text: str) -> str:
    """The characters of a `tr` set with its ranges written out."""
    text = unescape_ansi(text)[:256]
    return _SET_RANGE.sub(
        lambda r: "".join(map(chr, range(ord(r[1]), min(ord(r[2]), ord(r[1]) + 255) + 1))),
        text,
    )


def _cat(_: Sequence[str], stdin: str | None) -> str | None:
    return stdin


def _dirname(args: Sequence[str], _: str | None) -> str | None:
    if len(args) != 1:
        return None
    head, slash, _tail = args[0].rstrip("/").rpartition("/")
    return (head or slash or ".") + "\n"


def _basename(args: Sequence[str], _: str | None) -> str | None:
    if not 1 <= len(args) <= 2 or args[0].startswith("-"):
        return None
    name = args[0].rstrip("/").rpartition("/")[2]
    return (name.removesuffix(args[1]) if len(args) == 2 else name) + "\n"


def _mktemp(args: Sequence[str], _: str | None) -> str | None:
    """The template itself: its folder is what counts, and the letters that replace the X are nobody's."""
    plain = [arg for arg in args if not arg.startswith("-")]
    if any(arg.startswith("--") for arg in args) or len(plain) > 1:
        return None
    if not plain:
        return "/tmp/tmp.XXXXXXXXXX\n"
    if any(arg in ("-p", "-t") for arg in args):
        return None
    return plain[0] + "\n"


def _seq(args: Sequence[str], _: str | None) -> str | None:
    if not 1 <= len(args) <= 2 or not all(re.fullmatch(r"\d{1,6}", arg) for arg in args):
        return None
    low, high = (1, int(args[0])) if len(args) == 1 else (int(args[0]), int(args[1]))
    return "".join(f"{number}\n" for number in range(low, min(high, low + 255) + 1))


_SILENT = frozenset(
    {":", "true", "false", "cd", "export", "set", "unset", "shopt", "mkdir", "touch", "rm", "chmod", "sleep"}
)
_FILTERS: dict[str, Callable[[Sequence[str], str | None], str | None]] = {
    "echo": _echo,
    "printf": _printf,
    "base64": _base64,
    "openssl": _openssl,
    "xxd": _xxd,
    "rev": _rev,
    "tr": _tr,
    "cat": _cat,
    "tee": _cat,
    "dirname": _dirname,
    "basename": _basename,
    "mktemp": _mktemp,
    "seq": _seq,
}
