"""Commands that run other commands, and interpreters: from the words of one command to the commands and code inside it.

One table a kind: wrappers that take a command line (`sudo`, `timeout`, `xargs` …), shells that take code, interpreters of other
languages, and tools with a back door (`tar --checkpoint-action`, `git -c alias.x=!…`, `awk`'s `system()`). What never enters:
the running of any of it, and files (the reader passes in what the same text wrote).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guard.core.shell_values import Language, Word, words_of

UNKNOWN = Word(text=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Something that a command runs: a command line (`words`) or, where `words` is empty, shell `code` (None: not known).

    `positional` are `$0`, `$1` … of code. `more` tells that arguments follow that only running can tell. `own` tells that
    stdin is the outer command's own, and not consumed by it (`xargs`). `remote` is where it runs, `prefix` assignments before it.
    """

    via: str
    words: tuple[Word, ...] = ()
    code: str | None = None
    positional: tuple[str | None, ...] = ()
    more: bool = False
    remote: str | None = None
    folder: str | None = None
    assignments: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Code in a language that this reader does not walk: its text (None: not known) goes to whoever reads that language."""

    text: str | None
    language: Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """How a wrapper's own line is stepped over: short options with a value, long ones, words before the command."""

    values: str = ""
    long_values: frozenset[str] = frozenset()
    skips: int = 0
    assignments: bool = False
    refuses: frozenset[str] = frozenset()
    """Options with which it runs no command."""


SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "busybox-sh"})

WRAPPERS: dict[str, Wrapper] = {
    "sudo": Wrapper(
        values="ugpCrThDRU",
        long_values=frozenset({"user", "group", "prompt", "host", "chdir", "chroot", "role", "type", "other-user"}),
        assignments=True,
        refuses=frozenset({"-l", "-v", "-k", "-K", "-e", "-V", "--list", "--edit", "--validate"}),
    ),
    "doas": Wrapper(values="uC"),
    "nohup": Wrapper(),
    "nice": Wrapper(values="n", long_values=frozenset({"adjustment"})),
    "ionice": Wrapper(values="cnpPu", long_values=frozenset({"class", "classdata"})),
    "timeout": Wrapper(values="ks", long_values=frozenset({"kill-after", "signal"}), skips=1),
    "setsid": Wrapper(),
    "stdbuf": Wrapper(values="ioe", long_values=frozenset({"input", "output", "error"})),
    "time": Wrapper(values="fo", long_values=frozenset({"format", "output"})),
    "chrt": Wrapper(skips=1),
    "taskset": Wrapper(skips=1),
    "command": Wrapper(refuses=frozenset({"-v", "-V", "-pv", "-pV"})),
    "builtin": Wrapper(),
    "exec": Wrapper(values="a"),
    "chroot": Wrapper(skips=1, long_values=frozenset()),
    "unshare": Wrapper(values="RwSG"),
    "nsenter": Wrapper(values="tSGw"),
    "strace": Wrapper(values="eoEPsbuIaSX"),
    "ltrace": Wrapper(values="eoaulnsx"),
    "flock": Wrapper(values="wE", skips=1),
    "pkexec": Wrapper(long_values=frozenset({"user"})),
    "setpriv": Wrapper(long_values=frozenset({"reuid", "regid", "groups", "inh-caps", "ambient-caps", "bounding-set"})),
    "runuser": Wrapper(values="ugGsw", long_values=frozenset({"user", "group"})),
    "busybox": Wrapper(),
    "toybox": Wrapper(),
    "systemd-run": Wrapper(
        values="pEMHut", long_values=frozenset({"unit", "property", "description", "slice", "uid", "gid"})
    ),
    "xvfb-run": Wrapper(values="efnps"),
    "dbus-run-session": Wrapper(),
    "caffeinate": Wrapper(values="tw"),
    "firejail": Wrapper(),
    "proot": Wrapper(values="rbwkq"),
    "fakeroot": Wrapper(values="lsb"),
    "unbuffer": Wrapper(),
}
_RUNNERS = {  # a word that must follow: the rest is a command line
    "uv": ("run",),
    "poetry": ("run",),
    "pipenv": ("run",),
    "pdm": ("run",),
    "bundle": ("exec",),
    "rtk": (),
}
_CONTAINERS = frozenset({"docker", "podman", "nerdctl", "kubectl"})
_CONTAINER_VALUES = words_of(
    "-e --env -v --volume -w --workdir -u --user -p --publish --name --network --net --mount --entrypoint --env-file -h "
    "--hostname -l --label --platform --cpus -m --memory --gpus --restart --add-host --device --tmpfs -n --namespace -c "
    "--container --context --pid --cap-add --cap-drop --security-opt --runtime --shm-size --ulimit --ipc"
)
_INTERPRETERS: dict[str, tuple[str, Language]] = {  # name: (options that take code, language)
    "python": ("c", "python"),
    "pypy": ("c", "python"),
    "perl": ("eE", "other"),
    "ruby": ("e", "other"),
    "node": ("ep", "other"),
    "nodejs": ("ep", "other"),
    "php": ("rBRE", "other"),
    "lua": ("e", "other"),
    "deno": ("", "other"),
    "bun": ("e", "other"),
    "Rscript": ("e", "other"),
    "osascript": ("e", "other"),
}
_INTERPRETER_VALUES = {
    "python": "mWXQ",
    "pypy": "mWX",
    "perl": "MmIxCDl",
    "ruby": "rICEFKTx",
    "node": "rC",
    "php": "dcz",
    "lua": "l",
}
_SQL = {
    "sqlite3": "",
    "psql": "c",
    "mysql": "e",
    "mariadb": "e",
    "duckdb": "c",
    "clickhouse-client": "q",
    "snowsql": "q",
}
_VERSIONED = re.compile(r"(python|pypy|perl|ruby|php|lua)[\d.]+(?:-dbg)?\Z")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
_AWK_SYSTEM = re.compile(r"""(?:system\s*\(\s*|\|\s*(?:getline\s*)?(?=")|(?<=\))\s*)"((?:[^"\\]|\\.){1,4096}?)\"""")
_AWK_PIPE = re.compile(r'"((?:[^"\\]|\\.){1,4096}?)"\s*\|\s*getline')


def interpreter(name: str) -> str:
    """The name of an interpreter without its version: `python3.13` is `python`."""
    found = _VERSIONED.match(name)
    return found.group(1) if found else name


def script_of(
    name: str, args: Sequence[Word], stdin: str | None, *, fed: bool, read: Callable[[str], str | None]
) -> Script | None:
    """The code that an interpreter (no shell) is given; None for what is no interpreter.

    `fed` tells that something feeds its stdin; `read` gives the content of a file that the same text wrote, else None.
    """
    base = interpreter(name)
    if base in _SQL:
        return _sql(base, args, stdin)
    if base not in _INTERPRETERS:
        return None
    takes_code, language = _INTERPRETERS[base]
    at = 0
    while at < len(args):
        text = args[at].text
        if text is None:
            return Script(text=None, language=language)
        if text == "-" or not text.startswith("-"):
            break
        cluster = text[1:] if not text.startswith("--") else ""
        if text in ("--eval", "--print") and base in ("node", "nodejs", "bun"):
            cluster = "e"
        valued = _INTERPRETER_VALUES.get(base, "")
        ends = next((index for index, letter in enumerate(cluster) if letter in takes_code or letter in valued), None)
        hit = ends if ends is not None and cluster[ends] in takes_code else None
        if hit is not None:
            rest = cluster[hit + 1 :] if language == "python" else ""
            given = rest if rest else args[at + 1].text if at + 1 < len(args) else None
            return Script(text=given, language=language)
        if base == "python" and "m" in cluster[: 1 if ends is None else ends + 1]:
            return Script(text="", language=language)
        at += 2 if ends is not None and ends == len(cluster) - 1 else 1
    if at >= len(args) or args[at].text == "-":
        return Script(text=stdin if fed else "" if at >= len(args) else None, language=language)
    path = args[at].text
    return Script(text=read(path) if path is not None else None, language=language)


def _sql(name: str, args: Sequence[Word], stdin: str | None) -> Script:
    option = _SQL[name]
    texts = [word.text for word in args]
    if not option:
        plain = [text for text in texts if text is None or not text.startswith("-")]
        given = plain[1:]
        if given:
            return Script(text=None if None in given else "\n".join(str(text) for text in given), language="sql")
        return Script(text=stdin, language="sql")
    for at, text in enumerate(texts):
        if text is None:
            continue
        if text in ("-" + option, "--command", "--execute", "--query"):
            return Script(text=texts[at + 1] if at + 1 < len(texts) else None, language="sql")
        if text.startswith("-" + option) and len(text) > 2:
            return Script(text=text[2:], language="sql")
        if text.startswith(("--command=", "--execute=", "--query=")):
            return Script(text=text.partition("=")[2], language="sql")
    return Script(text=stdin, language="sql")


def inner(
    name: str, args: Sequence[Word], stdin: str | None, *, fed: bool, read: Callable[[str], str | None]
) -> list[Inner]:
    """What a command runs inside it: nothing for most. Arguments as in `script_of`."""
    if name in SHELLS:
        return _shell(name, args, stdin, fed=fed, read=read)
    if name in _TOOLS:
        return _TOOLS[name](args, stdin)
    if name in WRAPPERS:
        return _wrapped(name, args)
    if name in _CONTAINERS:
        return _container(name, args)
    if name in _RUNNERS:
        return _runner(name, args)
    return []


# --- shells


def _shell(
    name: str, args: Sequence[Word], stdin: str | None, *, fed: bool, read: Callable[[str], str | None]
) -> list[Inner]:
    code, at = False, 0
    while at < len(args):
        text = args[at].text
        if text is None:
            return [Inner(via=name, code=None)]
        if text in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            at += 2
            continue
        if text == "--":
            at += 1
            break
        if text in ("-", "") or text[0] not in "-+":
            break
        if not text.startswith("--") and text[0] == "-":
            code = code or "c" in text
            if "s" in text and not code:
                return [Inner(via=f"{name} -s", code=stdin)]
        at += 2 if text.endswith("o") and not text.startswith("--") else 1
    rest = args[at:]
    if code:
        given = rest[0].text if rest else ""
        return [Inner(via=f"{name} -c", code=given, positional=tuple(word.text for word in rest[1:]))]
    if rest and rest[0].text != "-":
        return _shell_file(name, rest, stdin, read)
    return [Inner(via=name, code=stdin)] if fed else []


def _shell_file(name: str, rest: Sequence[Word], stdin: str | None, read: Callable[[str], str | None]) -> list[Inner]:
    path = rest[0].text
    if path in ("/dev/stdin", "/proc/self/fd/0", "/dev/fd/0"):
        return [Inner(via=name, code=stdin)]
    content = read(path) if path is not None else None
    if content is None:
        return []
    return [Inner(via=name, code=content, positional=tuple(word.text for word in rest))]


# --- wrappers


def _past_options(args: Sequence[Word], values: str, long_values: frozenset[str]) -> int | None:
    """The index of the first word that is no option; None where an unknown word makes that unclear."""
    at = 0
    while at < len(args):
        text = args[at].text
        if text is None:
            return None
        if text == "--":
            return at + 1
        if not text.startswith("-") or text == "-":
            return at
        if text.startswith("--"):
            at += 2 if text[2:] in long_values else 1
        else:
            at += 2 if text[-1] in values and not any(letter in values for letter in text[1:-1]) else 1
    return at


def _wrapped(name: str, args: Sequence[Word]) -> list[Inner]:
    spec = WRAPPERS[name]
    at = _past_options(args, spec.values, spec.long_values)
    if at is None:
        return [Inner(via=name, words=(UNKNOWN,))]
    options = [word.text or "" for word in args[:at]]
    if spec.refuses & set(options):
        return []
    if name in ("flock", "runuser") and (code := _option(args, "-c", "--command")) is not None:
        return [Inner(via=name, code=code.text)]
    at += spec.skips
    assigned: list[tuple[str, str | None]] = []
    while spec.assignments and at < len(args) and _ASSIGNMENT.match(args[at].text or ""):
        key, _, value = (args[at].text or "").partition("=")
        assigned.append((key, value))
        at += 1
    rest = tuple(args[at:])
    if not rest and name == "sudo" and {"-s", "-i", "--shell", "--login"} & set(options):
        return []
    if name == "sudo" and {"-s", "-i", "--shell", "--login"} & set(options):
        return [Inner(via=name, code=joined(rest))]
    return [Inner(via=name, words=rest, assignments=tuple(assigned))] if rest else []


def joined(words: Sequence[Word]) -> str | None:
    """Words as one code text, joined by blanks as `eval` and `ssh` join them; None where one is not known."""
    texts = [word.text for word in words]
    known = [text for text in texts if text is not None]
    return " ".join(known) if len(known) == len(texts) else None


def _option(args: Sequence[Word], *names: str) -> Word | None:
    """The value of an option, in either of its forms (`--x y`, `--x=y`, `-xy` for one letter); None where it is not given."""
    for at, word in enumerate(args):
        if word.text is None:
            continue
        if word.text in names:
            return args[at + 1] if at + 1 < len(args) else UNKNOWN
        for name in names:
            if name.startswith("--") and word.text.startswith(name + "="):
                return Word(text=word.text[len(name) + 1 :])
            if len(name) == 2 and word.text.startswith(name) and word.text[2:3] not in ("", "-"):
                return Word(text=word.text[2:])
    return None


def _env(args: Sequence[Word], _: str | None) -> list[Inner]:
    at, words = 0, list(args)
    assigned: list[tuple[str, str | None]] = []
    while at < len(words):
        text = words[at].text
        if text is None:
            return [Inner(via="env", words=(UNKNOWN,))]
        split = re.match(r"(?:-[i0v]*S|--split-string(?:=|\Z))(.*)", text, re.DOTALL)
        if split:
            code = split.group(1) or (words[at + 1].text if at + 1 < len(words) else "")
            used = 1 if split.group(1) else 2
            rest = joined(words[at + used :])
            return [Inner(via="env -S", code=None if code is None or rest is None else f"{code} {rest}".strip())]
        if text in ("-u", "--unset", "-C", "--chdir", "-a"):
            at += 2
        elif text.startswith("-"):
            at += 1
        elif _ASSIGNMENT.match(text):
            key, _sep, value = text.partition("=")
            assigned.append((key, value))
            at += 1
        else:
            return [Inner(via="env", words=tuple(words[at:]), assignments=tuple(assigned))]
    return []


def _bwrap(args: Sequence[Word], _: str | None) -> list[Inner]:
    at = 0
    while at < len(args):
        text = args[at].text
        if text is None or text == "--":
            break
        if not text.startswith("--"):
            return [Inner(via="bwrap", words=tuple(args[at:]))]
        at += 3 if text in _BWRAP_TWO else 2 if text in _BWRAP_ONE else 1
    rest = tuple(args[at + 1 :])
    return [Inner(via="bwrap", words=rest)] if rest else []


_BWRAP_TWO = words_of(
    "--bind --bind-try --dev-bind --dev-bind-try --ro-bind --ro-bind-try --symlink --setenv --file --bind-data --ro-bind-data "
    "--overlay --chmod"
)
_BWRAP_ONE = words_of(
    "--dev --proc --tmpfs --mqueue --dir --chdir --uid --gid --hostname --unsetenv --remount-ro --cap-add --cap-drop --seccomp "
    "--add-seccomp-fd --sync-fd --args --lock-file --perms --size --exec-label --file-label --block-fd --userns-block-fd --userns "
    "--userns2 --pidns --info-fd --json-status-fd --argv0 --overlay-src --tmp-overlay --ro-overlay"
)


def _xargs(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    at = _past_options(
        args, "ILnPsEdaJR", frozenset({"max-args", "max-procs", "replace", "delimiter", "arg-file", "max-lines"})
    )
    if at is None:
        return [Inner(via="xargs", words=(UNKNOWN,), more=True)]
    replace = _option(args[:at], "-I", "--replace")
    words = list(args[at:]) or [Word(text="echo", source="echo")]
    given = (
        None
        if stdin is None
        else [Word(text=text, source=text) for text in stdin.split("\0" if "\0" in stdin else None)][:256]
    )
    if replace is None:
        words += given if given is not None else [UNKNOWN]
        return [Inner(via="xargs", words=tuple(words), more=given is None)]
    mark = replace.text or "{}"
    fill = given[0] if given is not None and len(given) == 1 else UNKNOWN
    return [Inner(via="xargs", words=tuple(_replaced(word, mark, fill) for word in words))]


def _replaced(word: Word, mark: str, by: Word) -> Word:
    if word.text is None or mark not in word.text:
        return word
    before = word.text.partition(mark)[0]
    if by.text is None:
        alone = word.text == mark
        prefix = before + (by.prefix if not before else "")
        return Word(text=None, source=by.source if alone else word.source, prefix=prefix, pattern=alone and by.pattern)
    return Word(text=word.text.replace(mark, by.text), source=word.source)


def _find(args: Sequence[Word], _: str | None) -> list[Inner]:
    texts = [word.text for word in args]
    place = _find_root(args)
    found: list[Inner] = []
    at = 0
    while at < len(args):
        if texts[at] not in ("-exec", "-execdir", "-ok", "-okdir"):
            at += 1
            continue
        end = next(
            (i for i in range(at + 1, len(args)) if texts[i] == ";" or (texts[i] == "+" and texts[i - 1] == "{}")),
            len(args),
        )
        words = tuple(_replaced(word, "{}", place) for word in args[at + 1 : end])
        if words:
            found.append(Inner(via=f"find {texts[at]}", words=words))
        at = end + 1
    return found


def _find_root(args: Sequence[Word]) -> Word:
    """What `{}` stands for: something at or below the first folder that is searched."""
    roots: list[Word] = []
    for word in args:
        if word.text is not None and (word.text in ("-H", "-L", "-P") or word.text.startswith("-O")):
            continue
        if word.text is not None and word.text[:1] in ("-", "(", "!"):
            break
        roots.append(word)
    if len(roots) > 1:
        return UNKNOWN
    return below(roots[0]) if roots else below(Word(text="."))


def below(folder: Word) -> Word:
    """Some name at or below a folder."""
    if folder.text is None:
        return Word(text=None, prefix=folder.prefix, source=folder.source)
    return Word(
        text=None, prefix=folder.text.rstrip("/") + "/", source=f"{folder.source or folder.text}/…", pattern=True
    )


def _ssh(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    found: list[Inner] = []
    for at, word in enumerate(args[:-1]):
        setting = (args[at + 1].text or "") if word.text == "-o" else ""
        code = re.match(
            r"(?:ProxyCommand|LocalCommand|KnownHostsCommand)\s*[= ]\s*(.*)", setting, re.IGNORECASE | re.DOTALL
        )
        if code:
            found.append(Inner(via="ssh -o", code=code.group(1)))
    start = _past_options(args, "BbcDEeFIiJLlmOopQRSWw", frozenset())
    if start is None or start >= len(args):
        return found
    at = start
    host = args[at].text or "?"
    behind = args[at + 1 :]  # options may stand behind the host as well
    rest = behind[_past_options(behind, "BbcDEeFIiJLlmOopQRSWw", frozenset()) or 0 :]
    if rest:
        found.append(Inner(via="ssh", code=joined(rest), remote=host))
    elif stdin is not None:
        found.append(Inner(via="ssh", code=stdin, remote=host))
    return found


def _container(name: str, args: Sequence[Word]) -> list[Inner]:
    texts = [word.text for word in args]
    verb = next((at for at, text in enumerate(texts) if text in ("exec", "run")), None)
    if verb is None or verb > 6:
        return []
    at = verb + 1
    while at < len(args):
        text = texts[at]
        if text is None:
            return [Inner(via=f"{name} {texts[verb]}", words=(UNKNOWN,), remote="?")]
        if text == "--" or not text.startswith("-"):
            break
        at += 2 if text in _CONTAINER_VALUES and "=" not in text else 1
    target = texts[at] if at < len(args) else None
    rest = list(args[at + 1 :])
    if name == "kubectl" and rest:
        mark = next((i for i, word in enumerate(rest) if word.text == "--"), None)
        if mark is not None:
            rest = rest[mark + 1 :]
    elif rest and rest[0].text == "--":
        rest = rest[1:]
    return [Inner(via=f"{name} {texts[verb]}", words=tuple(rest), remote=target or "?")] if rest else []


def _runner(name: str, args: Sequence[Word]) -> list[Inner]:
    verbs = _RUNNERS[name]
    if verbs and (not args or args[0].text not in verbs):
        return []
    rest = args[len(verbs) :]
    at = _past_options(rest, "p", frozenset({"with", "python", "extra", "group", "project", "directory", "env-file"}))
    if at is None or at >= len(rest):
        return []
    return [Inner(via=" ".join((name, *verbs)), words=tuple(rest[at:]))]


# --- tools with a door to the shell


def _git(args: Sequence[Word], _: str | None) -> list[Inner]:
    found: list[Inner] = []
    texts = [word.text or "" for word in args]
    verb = next(
        (
            text
            for at, text in enumerate(texts)
            if not text.startswith("-") and (not at or texts[at - 1] not in ("-c", "-C"))
        ),
        "",
    )
    for at, text in enumerate(texts[:-1]):
        key, equals, value = texts[at + 1].partition("=")
        if text != "-c" or not equals:
            continue
        if key.lower().startswith("alias.") and value.startswith("!") and key[6:] == verb:
            found.append(Inner(via="git alias", code=value[1:]))
        elif key.lower() in _GIT_RUNS and value:
            found.append(Inner(via=f"git -c {key}", code=value.removeprefix("!")))
    if "rebase" in texts and (code := _option(args, "-x", "--exec")) is not None:
        found.append(Inner(via="git rebase -x", code=code.text))
    if texts[:2] == ["submodule", "foreach"]:
        found.append(
            Inner(via="git submodule foreach", code=joined([word for word in args[2:] if word.text != "--recursive"]))
        )
    if texts[:2] == ["bisect", "run"] and args[2:]:
        found.append(Inner(via="git bisect run", words=tuple(args[2:])))
    return found


_GIT_RUNS = words_of(
    "core.pager core.editor core.sshcommand core.fsmonitor core.askpass sequence.editor diff.external credential.helper"
)


def _tar(args: Sequence[Word], _: str | None) -> list[Inner]:
    found: list[Inner] = []
    for at, word in enumerate(args):
        text = word.text or ""
        following = args[at + 1] if at + 1 < len(args) else UNKNOWN
        action = text.removeprefix("--checkpoint-action=")
        if action == text and text == "--checkpoint-action":
            action = following.text or ""
        if action.startswith("exec="):
            found.append(Inner(via="tar --checkpoint-action", code=action[5:]))
        for option in (
            "--to-command",
            "--use-compress-program",
            "--rsh-command",
            "--info-script",
            "--new-volume-script",
        ):
            if text.startswith(option + "="):
                found.append(Inner(via=f"tar {option}", code=text[len(option) + 1 :]))
            elif text == option:
                found.append(Inner(via=f"tar {option}", code=following.text))
        if text == "-I":
            found.append(Inner(via="tar -I", code=following.text))
    return found


def _awk(args: Sequence[Word], _: str | None) -> list[Inner]:
    at = _past_options(args, "Fvf", frozenset({"field-separator", "assign", "file"}))
    program = args[at].text if at is not None and at < len(args) and _option(args, "-f", "--file") is None else None
    if program is None:
        return []
    codes = [*_AWK_SYSTEM.findall(program), *_AWK_PIPE.findall(program)]
    return [Inner(via="awk", code=code.replace('\\"', '"')) for code in codes[:16]]


def _editor(args: Sequence[Word], _: str | None) -> list[Inner]:
    """`vim -c '!cmd'`, `vim +'!cmd'`, `ex -c …`."""
    texts = [word.text or "" for word in args]
    given = [texts[at + 1] for at, text in enumerate(texts[:-1]) if text in ("-c", "--cmd")]
    given += [text[1:] for text in texts if text.startswith("+")]
    codes = (re.match(r":*(?:\d*|%)?!+\s*(.*)", text, re.DOTALL) for text in given)
    return [Inner(via="editor", code=code.group(1)) for code in codes if code]


def _sqlite(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    texts = [word.text or "" for word in args] + (stdin or "").splitlines()
    codes = (re.match(r"\s*\.(?:shell|system)\s+(.*)", text, re.DOTALL) for text in texts)
    return [Inner(via="sqlite3 .shell", code=code.group(1)) for code in codes if code]


def _su(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    code = _option(args, "-c", "--command")
    if code is not None:
        return [Inner(via="su -c", code=code.text)]
    return [Inner(via="su", code=stdin)] if stdin is not None else []


def _script(args: Sequence[Word], _: str | None) -> list[Inner]:
    code = _option(args, "-c", "--command", "-qc", "-qec", "-ec")
    return [] if code is None else [Inner(via="script -c", code=code.text)]


def _watch(args: Sequence[Word], _: str | None) -> list[Inner]:
    at = _past_options(args, "n", frozenset({"interval"}))
    return [] if at is None or at >= len(args) else [Inner(via="watch", code=joined(args[at:]))]


def _parallel(args: Sequence[Word], _: str | None) -> list[Inner]:
    at = _past_options(args, "jNnaIS", frozenset({"jobs", "arg-file", "sshlogin", "max-args"}))
    if at is None:
        return [Inner(via="parallel", words=(UNKNOWN,), more=True)]
    end = next((i for i in range(at, len(args)) if (args[i].text or "").startswith(":::")), len(args))
    given = args[end + 1 :]
    fill = given[0] if len(given) == 1 else UNKNOWN
    words = [_replaced(word, "{}", fill) for word in args[at:end]]
    if not words:
        return []
    if not any("{}" in (word.text or "") for word in args[at:end]):
        words += given or [UNKNOWN]
    if len(words) == 1 or " " in (words[0].text or ""):
        return [Inner(via="parallel", code=joined(words), more=True)]
    return [Inner(via="parallel", words=tuple(words), more=not given)]


def _at(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    if {"-l", "-r", "-d", "-c"} & {word.text for word in args}:
        return []
    return [Inner(via="at", code=stdin)] if stdin is not None else []


def _crontab(args: Sequence[Word], stdin: str | None) -> list[Inner]:
    if stdin is None or {"-l", "-r", "-e"} & {word.text for word in args}:
        return []
    lines = (re.match(r"\s*(?:@\w+|(?:\S+\s+){5})(.+)", line) for line in stdin.splitlines())
    return [Inner(via="crontab", code=line.group(1)) for line in lines if line][:16]


_TOOLS: dict[str, Callable[[Sequence[Word], str | None], list[Inner]]] = {
    "env": _env,
    "bwrap": _bwrap,
    "xargs": _xargs,
    "find": _find,
    "ssh": _ssh,
    "git": _git,
    "tar": _tar,
    "awk": _awk,
    "gawk": _awk,
    "mawk": _awk,
    "vim": _editor,
    "vi": _editor,
    "ex": _editor,
    "nvim": _editor,
    "sqlite3": _sqlite,
    "su": _su,
    "script": _script,
    "watch": _watch,
    "parallel": _parallel,
    "at": _at,
    "batch": _at,
    "crontab": _crontab,
}
