"""What common tools do to files and hosts, by their arguments: one line of a table a tool.

The tables say what a call *would* touch when it succeeds; a tool that is not in them is not predicted. Manual pages of GNU
coreutils, findutils, tar, curl, wget, OpenSSH, rsync and git are their source. What never enters: running anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from guard.core.actions import FileOp
from guard.core.shell_nested import below, interpreter
from guard.core.shell_values import Word, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """A file operation on a word of the command line; `to`, `folder` and `sets` as in `FileAction`."""

    op: FileOp
    path: Word
    to: Word | None = None
    folder: bool | None = None
    sets: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A connection or request; fields as in `NetworkAction`, `host` a name or an address, None where it is not known."""

    host: str | None
    port: int | None = None
    protocol: str | None = "tcp"
    method: str | None = None
    url: str | None = None
    url_path: str | None = None
    query: str | None = None
    headers: tuple[tuple[str, str], ...] | None = None
    body: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """What changes the machine rather than a file: `op` and `target` of a `SystemAction`."""

    op: str
    target: str


type Effect = Touch | Send | Mount
type Tool = Callable[[Line], Iterator[Effect]]

HOME = "the home"
"""`source` of a word that a tool itself puts into the home: its `text` begins with `~/`."""
_HERE = Word(text=".", source=".")
_URL = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?(?:[^/?#@\s]*@)?(\[[^\]\s]+\]|[^/?#:\s]+)(?::(\d{1,5}))?((?:/[^?#\s]*)?)(?:\?([^#\s]*))?(?:#\S*)?\Z"
)
_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990, "sftp": 22, "ssh": 22, "git": 9418, "rsync": 873, "scp": 22}
_REMOTE = re.compile(r"(?:[\w.-]+@)?(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(?!//)(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A tool's arguments taken apart: `flags` without a value, `values` of those with one, and the `operands`."""

    flags: frozenset[str]
    values: dict[str, list[Word]] = field(default_factory=dict)
    operands: tuple[Word, ...] = ()
    words: tuple[Word, ...] = ()

    def has(self, *names: str) -> bool:
        return any(name in self.flags or name in self.values for name in names)

    def value(self, *names: str) -> Word | None:
        """The last value given to one of these options, None where none was."""
        found = [word for name in names for word in self.values.get(name, ())]
        return found[-1] if found else None


def effects_of(name: str, args: Sequence[Word]) -> list[Effect]:
    """What a call of this tool touches, in the order in which it would; nothing for a tool that the tables do not know."""
    tool = _TOOLS.get(interpreter(name))
    if tool is None:
        return []
    options, act = tool
    return list(act(parsed(args, options)))


def parsed(args: Sequence[Word], with_value: str) -> Line:
    """Arguments by getopt's rules; `with_value` names the options that take one: `o` short, `output` long, blanks between."""
    valued = frozenset(with_value.split())
    flags: set[str] = set()
    values: dict[str, list[Word]] = {}
    operands: list[Word] = []
    at = 0
    while at < len(args):
        word = args[at]
        at += 1
        text = word.text if word.text is not None else word.prefix
        if text == "--":
            operands += args[at:]
            break
        if not text.startswith("-") or text == "-":
            operands.append(word)
            continue
        if text.startswith("--"):
            name, equals, value = text[2:].partition("=")
            if equals:
                values.setdefault(name, []).append(_rest(word, value))
            elif name in valued and at < len(args):
                values.setdefault(name, []).append(args[at])
                at += 1
            else:
                flags.add(name)
            continue
        at += _cluster(text[1:], word, args[at : at + 1], valued, flags, values)
    return Line(flags=frozenset(flags), values=values, operands=tuple(operands), words=tuple(args))


def _cluster(
    letters: str,
    word: Word,
    following: Sequence[Word],
    valued: frozenset[str],
    flags: set[str],
    values: dict[str, list[Word]],
) -> int:
    """Short options in one word; gives how many of the following words they use."""
    if letters in valued and len(letters) > 1:  # `-exec`, `-output`: long names with one dash
        values.setdefault(letters, []).extend(following)
        return len(following)
    for index, letter in enumerate(letters):
        if letter not in valued:
            flags.add(letter)
            continue
        rest = letters[index + 1 :]
        if rest:
            values.setdefault(letter, []).append(_rest(word, rest))
            return 0
        values.setdefault(letter, []).extend(following)
        return len(following)
    return 0


def _rest(word: Word, text: str) -> Word:
    if word.text is None:
        return Word(text=None, prefix=text, source=word.source)
    return Word(text=text, source=text, pattern=word.pattern)


def _join(folder: Word, name: Word) -> Word:
    """`folder/name`: where a file goes that is put into a folder."""
    base = (name.text or "").rstrip("/").rpartition("/")[2]
    if folder.text is None or name.text is None or name.pattern:
        return Word(text=None, prefix=(folder.text or folder.prefix).rstrip("/") + "/", source=folder.source)
    return Word(text=folder.text.rstrip("/") + "/" + base, source=folder.source)


def url_send(
    url: str, *, method: str = "GET", headers: tuple[tuple[str, str], ...] | None = None, body: str | None = None
) -> Send | None:
    """The request that a URL stands for, with the default port of its scheme; None where it is no URL."""
    found = _URL.match(url)
    if found is None:
        return None
    scheme, host, port, path, query = found.groups()
    scheme = (scheme or "http").lower()
    web = scheme in ("http", "https")
    return Send(
        host=host.strip("[]"),
        port=int(port) if port else _PORTS.get(scheme),
        protocol=scheme if web else "tcp",
        method=method if web else None,
        url=url if web else None,
        url_path=(path or "/") if web else None,
        query=(query or "") if web else None,
        headers=headers,
        body=body,
    )


# --- files


def _each(op: FileOp, *, folder: bool | None = None, skip: int = 0) -> Tool:
    def act(line: Line) -> Iterator[Effect]:
        for word in line.operands[skip:]:
            yield Touch(op=op, path=word, folder=folder)

    return act


def _read_operands(line: Line) -> Iterator[Effect]:
    for word in line.operands:
        if word.text != "-":
            yield Touch(op="read", path=word)


def _after_program(*options: str) -> Tool:
    """Tools whose first operand is a program or pattern (grep, awk, jq) unless an option gave it."""

    def act(line: Line) -> Iterator[Effect]:
        for name in ("f", "file", "from-file"):
            for word in line.values.get(name, ()):
                yield Touch(op="read", path=word)
        yield from _read_operands(Line(flags=line.flags, operands=line.operands[0 if line.has(*options) else 1 :]))

    return act


def _rm(line: Line) -> Iterator[Effect]:
    folder = True if line.has("r", "R", "recursive") else None if line.has("d", "dir") else False
    for word in line.operands:
        yield Touch(op="delete", path=word, folder=folder)


def _targets(line: Line) -> tuple[tuple[Word, ...], Word | None, bool]:
    """Sources, destination, and whether the destination is a folder that they go into."""
    into = line.value("t", "target-directory")
    if into is not None:
        return line.operands, into, True
    if len(line.operands) < 2:
        return line.operands, None, False
    *sources, last = line.operands
    known = last.text or last.prefix
    folder = len(sources) > 1 or known.endswith("/") or known.rpartition("/")[2] in (".", "..")
    folder = folder or any(word.pattern for word in sources)
    return tuple(sources), last, folder and not line.has("T", "no-target-directory")


def _mv(line: Line) -> Iterator[Effect]:
    sources, last, into = _targets(line)
    for word in sources if last is not None else ():
        assert last is not None
        yield Touch(op="rename", path=word, to=_join(last, word) if into else last)


def _cp(line: Line) -> Iterator[Effect]:
    sources, last, into = _targets(line)
    tree = line.has("r", "R", "a", "recursive", "archive")
    for word in sources if last is not None else ():
        assert last is not None
        yield Touch(op="read", path=word, folder=True if tree else None)
        yield Touch(op="write", path=_join(last, word) if into else last)


def _install(line: Line) -> Iterator[Effect]:
    if line.has("d", "directory"):
        yield from _each("create", folder=True)(line)
    else:
        yield from _cp(line)


def _ln(line: Line) -> Iterator[Effect]:
    sources, last, into = _targets(line)
    if last is None:
        last, into = _HERE, True
    for word in sources:
        made = _join(last, word) if into else last
        if line.has("s", "symbolic"):
            yield Touch(op="create", path=made, to=seen_from(made, word))
        else:
            yield Touch(op="link", path=word, to=made)


def seen_from(link: Word, target: Word) -> Word:
    """A relative target of a symbolic link counts from the link's folder."""
    if target.text is None or target.text.startswith("/") or link.text is None:
        return target
    folder = link.text.rpartition("/")[0]
    return Word(text=f"{folder}/{target.text}" if folder else target.text, source=target.source)


def _tee(line: Line) -> Iterator[Effect]:
    yield from _each("write")(line)


def _sed(line: Line) -> Iterator[Effect]:
    files = line.operands[0 if line.has("e", "f", "expression", "file") else 1 :]
    changes = line.has("i", "in-place")
    for word in files:
        yield Touch(op="write" if changes else "read", path=word)


def _perl(line: Line) -> Iterator[Effect]:
    if line.has("i") and line.has("e", "E"):
        for word in line.operands:
            yield Touch(op="write", path=word)


def _dd(line: Line) -> Iterator[Effect]:
    for word in line.words:
        known = word.text if word.text is not None else word.prefix
        key, _, value = known.partition("=")
        if key in ("if", "of"):
            yield Touch(op="read" if key == "if" else "write", path=_rest(word, value))


def _shred(line: Line) -> Iterator[Effect]:
    for word in line.operands:
        yield Touch(op="write", path=word)
        if line.has("u", "remove"):
            yield Touch(op="delete", path=word, folder=False)


def _chmod(line: Line) -> Iterator[Effect]:
    # a mode such as `-x` looks like an option: then every operand is a file
    symbolic = any(
        (word.text or "").startswith(("-r", "-w", "-x", "-s", "-t")) and len(word.text or "") <= 5
        for word in line.words
    )
    tree = True if line.has("R", "recursive") else None
    for word in line.operands[0 if line.has("reference") or (symbolic and len(line.operands) == 1) else 1 :]:
        yield Touch(op="chmod", path=word, folder=tree)


def _touch(line: Line) -> Iterator[Effect]:
    yield from _each("create")(line)


def _tar(line: Line) -> Iterator[Effect]:
    # the first word may be a bundle of options without a dash: `tar czf a.tgz src`
    words = list(line.words)
    first = words[0].text if words else None
    if first is not None and re.fullmatch(r"[A-Za-z]+", first) and set(first) & set("cxtru"):
        taken = [letter for letter in first if letter in "fCTXbgHNLKFVI"]
        values = words[1 : 1 + len(taken)]
        words = [
            *(Word(text="-" + letter) for letter in first if letter not in taken),
            *(item for letter, value in zip(taken, values, strict=False) for item in (Word(text="-" + letter), value)),
            *words[1 + len(taken) :],
        ]
        line = parsed(words, _TAR_VALUES)
    archive = line.value("f", "file")
    named = archive is not None and archive.text != "-"
    folder = line.value("C", "directory") or _HERE
    if line.has("x", "extract", "get"):
        if named and archive is not None:
            yield Touch(op="read", path=archive)
        yield Touch(op="write", path=folder, folder=True)
    elif line.has("c", "create", "r", "append", "u", "update"):
        for word in line.operands:
            yield Touch(op="read", path=_below(folder, word), folder=True)
            if line.has("remove-files"):
                yield Touch(op="delete", path=_below(folder, word), folder=True)
        if named and archive is not None:
            yield Touch(op="write", path=archive)
    elif named and archive is not None:
        yield Touch(op="read", path=archive)


_TAR_VALUES = "f C T X b g H I file directory files-from exclude exclude-from transform use-compress-program checkpoint-action to-command owner group mode"


def _below(folder: Word, word: Word) -> Word:
    if folder.text in (None, ".") or word.text is None or word.text.startswith("/"):
        return word
    return Word(text=f"{folder.text}/{word.text}", source=word.source, pattern=word.pattern)


def _zip(line: Line) -> Iterator[Effect]:
    for word in line.operands[1:]:
        yield Touch(op="read", path=word, folder=True if line.has("r") else None)
        if line.has("m"):
            yield Touch(op="delete", path=word)
    for word in line.operands[:1]:
        yield Touch(op="write", path=word)


def _unzip(line: Line) -> Iterator[Effect]:
    for word in line.operands[:1]:
        yield Touch(op="read", path=word)
    if not line.has("l", "t", "p", "Z"):
        yield Touch(op="write", path=line.value("d") or _HERE, folder=True)


def _gzip(line: Line) -> Iterator[Effect]:
    for word in line.operands:
        yield Touch(op="read", path=word)
        if not line.has("c", "k", "t", "l", "stdout", "keep", "to-stdout", "test", "list"):
            yield Touch(op="delete", path=word, folder=False)


def _find(line: Line) -> Iterator[Effect]:
    texts = [word.text for word in line.words]
    roots: list[Word] = []
    for word in line.words:
        if word.text is not None and word.text[:1] in ("-", "(", "!") and word.text not in ("-H", "-L", "-P"):
            break
        if word.text not in ("-H", "-L", "-P"):
            roots.append(word)
    for at, text in enumerate(texts[:-1]):
        if text in ("-fprint", "-fprintf", "-fls", "-fprint0"):
            yield Touch(op="write", path=line.words[at + 1])
    if "-delete" in texts:
        chosen = any(text and text.startswith("-") and text not in _FIND_ALL for text in texts)
        for root in roots or [_HERE]:
            yield Touch(op="delete", path=below(root) if chosen else root, folder=None if chosen else True)


_FIND_ALL = words_of(
    "-H -L -P -delete -print -print0 -depth -d -xdev -mount -mindepth -maxdepth -type -o -a -ls -noleaf"
)


def _rsync(line: Line) -> Iterator[Effect]:
    yield from _copied(line)
    if line.has("delete", "delete-after", "delete-before", "delete-excluded") and line.operands:
        last = line.operands[-1]
        if _remote(last) is None:
            yield Touch(op="delete", path=last, folder=True)
    if line.has("remove-source-files"):
        for word in line.operands[:-1]:
            yield Touch(op="delete", path=word, folder=True)


def _copied(line: Line) -> Iterator[Effect]:
    """scp and rsync: sources are read, the destination written; what names a host is a connection to it."""
    port = line.value("P")
    for at, word in enumerate(line.operands):
        last = at == len(line.operands) - 1 and at > 0
        host = _remote(word)
        if host is not None:
            number = port.text if port is not None and port.text else "22"
            yield Send(host=host, port=int(number) if number.isdigit() else None, protocol="tcp")
        else:
            yield Touch(
                op="write" if last else "read",
                path=word,
                folder=True if line.has("r", "a", "archive", "recursive") else None,
            )


def _remote(word: Word) -> str | None:
    """The host of `user@host:path` or of a URL; None for a local path."""
    text = word.text if word.text is not None else word.prefix
    if "://" in text:
        send = url_send(text)
        return None if send is None else send.host
    found = _REMOTE.match(text)
    return found.group(1).strip("[]") if found and "/" not in text.partition(":")[0] else None


# --- hosts


def _curl(line: Line) -> Iterator[Effect]:
    body, method, sends_files = None, "GET", []
    for name in ("d", "data", "data-raw", "data-binary", "data-urlencode", "data-ascii", "json", "F", "form"):
        for word in line.values.get(name, ()):
            method = "POST"
            known = word.text if word.text is not None else word.prefix
            at = known.partition("=")[2] if name in ("F", "form") else known
            if at.startswith(("@", "<")) and name != "data-raw":
                sends_files.append(_rest(word, at[1:].partition(";")[0]))
            elif word.text is not None:
                body = word.text if body is None else f"{body}&{word.text}"
    for word in (*line.values.get("T", ()), *line.values.get("upload-file", ())):
        method = "PUT"
        sends_files.append(word)
    if line.has("G", "get"):
        method = "GET"
    if line.has("I", "head"):
        method = "HEAD"
    given = line.value("X", "request")
    if given is not None:
        method = given.text.upper() if given.text else ""
    for word in sends_files:
        if word.text != "-":
            yield Touch(op="read", path=word)
    for name in ("K", "config", "b", "cookie", "netrc-file", "E", "cert", "key", "cacert"):
        for word in line.values.get(name, ()):
            if "=" not in (word.text or "") and word.text != "-":
                yield Touch(op="read", path=word)
    output = line.value("o", "output")
    if output is not None:
        yield Touch(op="write", path=output)
    urls = [*line.values.get("url", ()), *line.operands]
    for word in urls:
        if line.has("O", "remote-name"):
            yield Touch(op="write", path=_url_file(word))
        yield _request(
            word,
            method or None,
            _headers(line, "H", "header"),
            None if sends_files else body if body is not None else "",
        )
    if not urls and line.has("K", "config"):
        yield Send(host=None, protocol=None)


def _request(word: Word, method: str | None, headers: tuple[tuple[str, str], ...] | None, body: str | None) -> Send:
    known = word.text if word.text is not None else word.prefix
    send = url_send(known, method=method or "GET", headers=headers, body=body)
    if send is None or (word.text is None and known.count("/") < 3):
        return Send(host=None, protocol=None)  # the host itself is not known
    if word.text is None or method is None:
        return Send(host=send.host, port=send.port, protocol=send.protocol, method=method, headers=headers, body=body)
    return send


def _headers(line: Line, *names: str) -> tuple[tuple[str, str], ...] | None:
    given = [word.text for name in names for word in line.values.get(name, ())]
    if None in given:
        return None
    pairs = [text.partition(":") for text in given if text]
    return tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)


def _url_file(word: Word) -> Word:
    path = (word.text or "").partition("?")[0].rpartition("/")[2]
    return Word(text=path or "index.html", source=word.source) if word.text else Word(text=None, prefix="./")


def _wget(line: Line) -> Iterator[Effect]:
    file, data = line.value("post-file", "body-file"), line.value("post-data", "body-data")
    given = line.value("method")
    method = (given.text or "").upper() if given is not None else "POST" if file or data else "GET"
    if file is not None:
        yield Touch(op="read", path=file)
    output, folder = line.value("O", "output-document"), line.value("P", "directory-prefix")
    for word in line.operands:
        if output is not None:
            if output.text != "-":
                yield Touch(op="write", path=output)
        elif not line.has("spider"):
            name = _url_file(word)
            yield Touch(op="write", path=_join(folder, name) if folder is not None else name)
        body = None if file is not None else data.text if data is not None else ""
        yield _request(word, method or None, _headers(line, "header"), body)


def _httpie(line: Line) -> Iterator[Effect]:
    words = list(line.operands)
    method = "GET"
    if words and re.fullmatch(r"[A-Z]+", words[0].text or ""):
        method = words.pop(0).text or "GET"
    for word in words[1:]:
        text = word.text or ""
        if "@" in text:
            yield Touch(op="read", path=_rest(word, text.rpartition("@")[2]))
    for word in words[:1]:
        yield _request(word, "POST" if method == "GET" and len(words) > 1 else method, None, None)


def _nc(line: Line) -> Iterator[Effect]:
    if line.has("l", "listen"):
        return
    if line.has("U"):
        for word in line.operands[:1]:
            yield Touch(op="write", path=word)
        return
    if line.operands:
        host = line.operands[0].text
        port = line.operands[1].text if len(line.operands) > 1 else None
        yield Send(
            host=host, port=int(port) if port and port.isdigit() else None, protocol="udp" if line.has("u") else "tcp"
        )


def _socat(line: Line) -> Iterator[Effect]:
    for word in line.operands:
        kind, _, rest = (word.text or word.prefix).partition(":")
        host, _, port = rest.partition(",")[0].rpartition(":")
        upper = kind.upper()
        if (
            upper.startswith(("TCP", "UDP", "OPENSSL", "SSL"))
            and "LISTEN" not in upper
            and upper not in ("TCP-L", "TCP4-L")
        ):
            known = host.strip("[]") or None
            yield Send(
                host=known,
                port=int(port) if port.isdigit() else None,
                protocol="udp" if upper.startswith("UDP") else "tcp",
            )
        elif upper in ("FILE", "OPEN", "GOPEN", "CREATE"):
            yield Touch(op="write", path=Word(text=rest.partition(",")[0], source=rest))


def _ssh(line: Line) -> Iterator[Effect]:
    identity = line.value("i")
    if identity is not None:
        yield Touch(op="read", path=identity)
    if not line.operands:
        return
    target = line.operands[0].text
    port = line.value("p")
    number = port.text if port is not None and port.text else "22"
    yield Send(host=target.rpartition("@")[2] if target else None, port=int(number) if number.isdigit() else None)


def _telnet(line: Line) -> Iterator[Effect]:
    if line.operands:
        port = line.operands[1].text if len(line.operands) > 1 else None
        yield Send(host=line.operands[0].text, port=int(port) if port and port.isdigit() else None)


# --- git, machine


def _git(line: Line) -> Iterator[Effect]:
    words = list(line.words)
    folder: Word = _HERE
    while words and (words[0].text or "").startswith("-"):
        flag = words.pop(0).text
        if flag in ("-C", "-c", "--git-dir", "--work-tree") and words:
            value = words.pop(0)
            folder = value if flag == "-C" else folder
    if not words:
        return
    verb, rest = words[0].text, words[1:]
    act = _GIT.get(verb or "")
    if act is not None:
        yield from act(parsed(rest, _GIT_VALUES.get(verb or "", "")), folder)


def _git_clean(line: Line, folder: Word) -> Iterator[Effect]:
    if line.has("f", "force") and not line.has("n", "dry-run"):
        for word in line.operands or (folder,):
            yield Touch(op="delete", path=word if word is folder else _below(folder, word), folder=True)


def _git_reset(line: Line, folder: Word) -> Iterator[Effect]:
    if line.has("hard", "merge"):
        yield Touch(op="write", path=folder, folder=True)


def _git_restore(line: Line, folder: Word) -> Iterator[Effect]:
    if not line.has("staged", "S") or line.has("worktree", "W"):
        for word in line.operands:
            yield Touch(op="write", path=_below(folder, word))


def _git_checkout(line: Line, folder: Word) -> Iterator[Effect]:
    texts = [word.text for word in line.words]
    if "--" in texts:
        for word in line.words[texts.index("--") + 1 :]:
            yield Touch(op="write", path=_below(folder, word))
    elif (line.operands[:1] and line.operands[0].text in (".", "./")) or line.has("f", "force"):
        yield Touch(op="write", path=folder, folder=True)


def _git_rm(line: Line, folder: Word) -> Iterator[Effect]:
    if not line.has("cached", "n", "dry-run"):
        for word in line.operands:
            yield Touch(op="delete", path=_below(folder, word), folder=line.has("r"))


def _git_mv(line: Line, folder: Word) -> Iterator[Effect]:
    yield from _mv(Line(flags=line.flags, operands=tuple(_below(folder, word) for word in line.operands)))


def _git_remote(line: Line, _: Word) -> Iterator[Effect]:
    """clone, fetch, pull, push, ls-remote: a host where the line names one, an unknown one where it names a remote."""
    named = [host for word in line.operands if (host := _remote(word)) is not None]
    if named:
        text = line.operands[0].text or ""
        send = url_send(text) if "://" in text else None
        yield send if send is not None else Send(host=named[0], port=22)
    elif not any((word.text or "")[:1] in ("/", ".") for word in line.operands):
        yield Send(host=None, protocol=None)


def _git_clone(line: Line, folder: Word) -> Iterator[Effect]:
    if not line.operands:
        return
    source = line.operands[0]
    host = _remote(source)
    if host is not None:
        send = url_send(source.text or "") if "://" in (source.text or "") else None
        yield send if send is not None else Send(host=host, port=22)
    elif source.text is not None:
        yield Touch(op="read", path=_below(folder, source), folder=True)
    name = (source.text or "").rstrip("/").removesuffix(".git").rpartition("/")[2].rpartition(":")[2]
    made = line.operands[1] if len(line.operands) > 1 else Word(text=name or ".", source=source.source)
    yield Touch(op="create", path=_below(folder, made), folder=True)


def _git_config(line: Line, folder: Word) -> Iterator[Effect]:
    reads = line.has("l", "list", "get", "get-all", "get-regexp")
    if reads or not line.operands or (len(line.operands) < 2 and not line.has("unset", "unset-all")):
        return
    key = (line.operands[0].text or "").lower()
    given = line.value("f", "file")
    if given is not None:
        path = given
    elif line.has("global"):
        path = Word(text="~/.gitconfig", source=HOME)
    elif line.has("system"):
        path = Word(text="/etc/gitconfig")
    else:
        path = _below(folder, Word(text=".git/config"))
    yield Touch(op="write", path=path, sets=(key,) if key else None)


_GIT: dict[str, Callable[[Line, Word], Iterator[Effect]]] = {
    "clean": _git_clean,
    "reset": _git_reset,
    "restore": _git_restore,
    "checkout": _git_checkout,
    "rm": _git_rm,
    "mv": _git_mv,
    "clone": _git_clone,
    "fetch": _git_remote,
    "pull": _git_remote,
    "push": _git_remote,
    "ls-remote": _git_remote,
    "config": _git_config,
}
_GIT_VALUES = {
    "clone": "b branch depth o origin c config reference separate-git-dir j jobs",
    "checkout": "b B orphan",
    "restore": "s source",
    "config": "f file type",
    "push": "o push-option",
    "clean": "e exclude",
    "fetch": "depth j jobs",
    "pull": "depth s strategy",
}


def _mount(line: Line) -> Iterator[Effect]:
    if line.operands:
        yield Mount(op="mount", target=line.operands[-1].text or "?")


def _umount(line: Line) -> Iterator[Effect]:
    for word in line.operands:
        yield Mount(op="umount", target=word.text or "?")


def _last(op: FileOp) -> Tool:
    def act(line: Line) -> Iterator[Effect]:
        for word in line.operands[-1:]:
            yield Touch(op=op, path=word)

    return act


def _first(op: FileOp) -> Tool:
    def act(line: Line) -> Iterator[Effect]:
        for word in line.operands[:1]:
            yield Touch(op=op, path=word)

    return act


def _database(line: Line) -> Iterator[Effect]:
    for word in line.operands[:1]:
        if word.text not in (":memory:", ""):
            yield Touch(op="write", path=word)


def _crontab(line: Line) -> Iterator[Effect]:
    spool = Word(text="/var/spool/cron/crontabs")
    if line.has("r"):
        yield Touch(op="delete", path=spool)
    elif not line.has("l"):
        yield Touch(op="write", path=spool)


_READERS = [
    "cat",
    "tac",
    "head",
    "tail",
    "less",
    "more",
    "nl",
    "od",
    "xxd",
    "hexdump",
    "strings",
    "base64",
    "base32",
    "md5sum",
    "sha1sum",
    "sha256sum",
    "sha512sum",
    "cksum",
    "wc",
    "cut",
    "paste",
    "sort",
    "uniq",
    "rev",
    "fold",
    "fmt",
    "column",
    "expand",
    "file",
    "diff",
    "cmp",
    "comm",
    "zcat",
    "bzcat",
    "xzcat",
    "zless",
    "bat",
    "batcat",
    "tailf",
    "look",
    ".",
    "source",
    "ls-tree",
    "pr",
    "split",
]
_READER_VALUES = (
    "n c bytes lines w s d f k t o D N C A j L S i b separator key field-separator delimiter fields characters"
)

_TOOLS: dict[str, tuple[str, Tool]] = {
    **dict.fromkeys(_READERS, (_READER_VALUES, _read_operands)),
    "rm": ("", _rm),
    "rmdir": ("", _each("delete", folder=True)),
    "unlink": ("", _each("delete", folder=False)),
    "shred": ("n s", _shred),
    "srm": ("", _rm),
    "mv": ("t target-directory S suffix", _mv),
    "cp": ("t target-directory S suffix", _cp),
    "install": ("t m o g target-directory mode owner group", _install),
    "ln": ("t target-directory S suffix", _ln),
    "link": ("", _ln),
    "touch": ("r t d reference date", _touch),
    "mkdir": ("m mode", _each("create", folder=True)),
    "mkfifo": ("m mode", _each("create")),
    "mknod": ("m mode", _first("create")),
    "tee": ("", _tee),
    "sponge": ("", _tee),
    "truncate": ("s r size reference", _each("write")),
    "fallocate": ("l o length offset", _each("write")),
    "dd": ("", _dd),
    "sed": ("e f l expression file line-length", _sed),
    "perl": ("e E", _perl),
    "grep": (
        "e f A B C m regexp file after-context before-context context max-count include exclude exclude-dir",
        _after_program("e", "f", "regexp", "file"),
    ),
    "egrep": ("e f A B C m", _after_program("e", "f")),
    "fgrep": ("e f A B C m", _after_program("e", "f")),
    "zgrep": ("e f A B C m", _after_program("e", "f")),
    "rg": ("e f A B C m g t T regexp file glob type", _after_program("e", "f", "regexp", "file", "files")),
    "awk": ("F v f field-separator assign file", _after_program("f", "file")),
    "gawk": ("F v f field-separator assign file", _after_program("f", "file")),
    "mawk": ("F v f", _after_program("f")),
    "jq": ("f from-file arg argjson indent", _after_program("f", "from-file")),
    "yq": ("", _after_program()),
    "chmod": ("reference", _chmod),
    "chown": ("reference from", _chmod),
    "chgrp": ("reference", _chmod),
    "chattr": ("p v", _chmod),
    "setfacl": ("m x M X modify remove set", _each("chmod")),
    "tar": (_TAR_VALUES, _tar),
    "bsdtar": (_TAR_VALUES, _tar),
    "zip": ("x i P", _zip),
    "unzip": ("d x P", _unzip),
    **dict.fromkeys(("gzip", "gunzip", "bzip2", "bunzip2", "xz", "unxz", "zstd", "lz4"), ("S suffix", _gzip)),
    "find": ("", _find),
    "rsync": ("e f P exclude include exclude-from rsh password-file port", _rsync),
    "scp": ("P i F o c l S J", _copied),
    "curl": (
        (
            "d data data-raw data-binary data-urlencode data-ascii json F form T upload-file X request H header o output K config b cookie "
            "c cookie-jar u user A user-agent e referer m max-time x proxy E cert key cacert w write-out url retry connect-timeout "
            "netrc-file resolve interface limit-rate max-redirs D dump-header C continue-at r range y Y z output-dir unix-socket"
        ),
        _curl,
    ),
    "wget": (
        (
            "O output-document P directory-prefix post-data post-file body-data body-file method header U user-agent t tries T timeout o "
            "output-file a append-output i input-file user password e execute l level A R D w wait Q"
        ),
        _wget,
    ),
    "http": ("a auth o output", _httpie),
    "https": ("a auth o output", _httpie),
    **dict.fromkeys(("nc", "ncat", "netcat", "nc.openbsd", "nc.traditional"), ("w i p s q e c X x g G I O T m", _nc)),
    "socat": ("d b t T L W", _socat),
    "telnet": ("l n e b S X", _telnet),
    "ssh": ("B b c D E e F I i J L l m O o p Q R S W w", _ssh),
    "sftp": ("B b c D F i J l o P R S s", _ssh),
    "git": ("", _git),
    "mount": ("t o L U types options", _mount),
    "umount": ("t O", _umount),
    **dict.fromkeys(
        ("mkfs", "mkfs.ext4", "mkfs.ext3", "mkfs.xfs", "mkfs.btrfs", "mkfs.vfat", "mke2fs", "mkswap", "wipefs"),
        ("t L a o n types all", _last("write")),
    ),
    "fdisk": ("", _last("write")),
    "sqlite3": ("cmd separator init", _database),
    "crontab": ("u", _crontab),
    "patch": ("i d p o", _first("write")),
}
