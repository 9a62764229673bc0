"""What an exec is about to run, and whether it is what then runs.

Reads the executable by descriptor, follows `#!` lines and the dynamic linker used as a launcher, takes argv from the caller's memory, and
keeps one record a process. The facts come from the file system and the kernel, never from what a process says of itself. Nothing is
judged here.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from guard.core.actions import Actor, ExecAction
from guard.intercept import kernel
from guard.intercept.paths import Found, Paths
from guard.intercept.tasks import Gone, Task

SCRIPT_LIMIT: Final = 65536  # bytes of a script that are read for rules, score and question
_ARGV_LIMIT: Final = 262144  # bytes of argv that are read; the rest is said to be cut
_INTERPRETER_DEPTH: Final = 4  # BINPRM_MAX_RECURSION is 5 in linux/fs/exec.c, counting the first
_LOADER: Final = re.compile(r"ld(-linux[^/]*|-musl[^/]*|64)?\.so(\.\d+)?\Z")
_INTERPRETERS: Final = re.compile(
    r"(python[\d.]*|pypy[\d.]*|node|nodejs|bun|deno|perl[\d.]*|ruby[\d.]*|php[\d.]*|lua[\d.]*|tclsh[\d.]*|bash|sh|dash|zsh|ksh|fish|busybox)\Z"
)
_SYSTEM_LOADERS: Final = (
    b"/lib/",
    b"/lib32/",
    b"/lib64/",
    b"/libx32/",
    b"/usr/lib/",
    b"/usr/lib64/",
    b"/nix/store/",
    b"/gnu/store/",
)
_SHELLS: Final = frozenset(("bash", "sh", "dash", "zsh", "ksh", "fish", "ash"))
# Variables by which whoever sets them runs code inside a program (ld.so(8) and the programs' manuals), and the programs that read them
_ANY, _GIT, _SSH = r"", r"^git", r"^(git|ssh|scp|sftp)"
INJECTING: Final = {
    _ANY: (
        b"LD_PRELOAD=",
        b"LD_AUDIT=",
        b"LD_LIBRARY_PATH=",
        b"GCONV_PATH=",
        b"OPENSSL_CONF=",
        b"OPENSSL_MODULES=",
        b"OPENSSL_ENGINES=",
    ),
    r"^(ba|da|z|k)?sh$": (b"BASH_ENV=", b"ENV=", b"ZDOTDIR="),
    _GIT: (
        b"GIT_SSH=", b"GIT_SSH_COMMAND=", b"GIT_EXTERNAL_DIFF=", b"GIT_PROXY_COMMAND=", b"GIT_CONFIG", b"GIT_ASKPASS=", b"GIT_EXEC_PATH=",
        b"GIT_TEMPLATE_DIR=", b"GIT_PAGER=", b"GIT_EDITOR=", b"GIT_SEQUENCE_EDITOR=", b"BROWSER=", b"EDITOR=", b"VISUAL=", b"PAGER=",
    ),
    _SSH: (b"SSH_ASKPASS=", b"KRB5_CONFIG=", b"KRB5CCNAME="),
    r"^(npm|npx|node|yarn|pnpm)": (b"npm_config_", b"NODE_OPTIONS=", b"NODE_PATH="),
    r"^(python|pip|aws|az|gcloud|twine|uv)": (
        b"PYTHONPATH=",
        b"PYTHONSTARTUP=",
        b"PYTHONHOME=",
        b"PYTHONUSERBASE=",
        b"PYTHONINSPECT=",
    ),
    r"^(perl|git)": (b"PERL5LIB=", b"PERL5OPT=", b"PERLLIB="),
    r"^(ruby|gem)": (b"RUBYOPT=", b"RUBYLIB=", b"GEM_PATH=", b"GEM_HOME="),
    r"^(java|mvn|gradle)": (b"JAVA_TOOL_OPTIONS=", b"_JAVA_OPTIONS=", b"JDK_JAVA_OPTIONS="),
    r"^lua": (b"LUA_INIT=", b"LUA_PATH="),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """The guard's own record of an image.

    `exe` is the canonical name of what was asked for (the script of a script), `runs` the names and identities of what the kernel will load
    (the interpreter of a script), `cmdline` what /proc/PID/cmdline must then say (None where that cannot be foretold), `before` and `identity_before` what was
    there before; `dynamic` tells that ld.so runs first, which always makes a trapped call before any code of the program's own. `injected` tells
    that a variable which injects code was set when the image was first seen, None before that. `scored` tells that the classifier saw the
    text that started it or an ancestor.
    """

    exe: str
    runs: str
    identity: tuple[int, int]
    argv: tuple[str, ...]
    cmdline: bytes | None
    dynamic: bool
    anonymous: bool
    script_path: str | None = None
    before: bytes = b""
    identity_before: tuple[int, int] = (0, 0)
    injected: bool | None = None
    scored: bool = False

    @property
    def name(self) -> str:
        """The file name that rules know the program by."""
        return os.path.basename(self.exe)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An exec as proposed: the record it will have, and the action as far as it costs nothing to know."""

    program: Program
    action: ExecAction
    readable: bool


class Programs:
    """Reads proposals."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def propose(self, task: Task, dirfd: int, path: bytes, argv: int, flags: int) -> Proposal:
        """What this execve(2) or execveat(2) would run; raises OSError as the kernel would where it would run nothing."""
        if not path and flags & kernel.AT_EMPTY_PATH:
            found = self.paths.of_descriptor(task, dirfd)
        else:
            found = self.paths.find(task, dirfd, path, follow=not flags & kernel.AT_SYMLINK_NOFOLLOW)
        try:
            words = self._words(task, argv)
            shown = path
            if dirfd & 0xFFFFFFFF != kernel.AT_FDCWD and not path.startswith(
                b"/"
            ):  # as fs/exec.c names it to an interpreter
                shown = b"/dev/fd/%d" % dirfd + (b"/" + path if path else b"")
            return self._proposal(task, found, shown, words)
        finally:
            os.close(found.descriptor)

    def _proposal(self, task: Task, found: Found, path: bytes, words: list[bytes]) -> Proposal:
        if not stat.S_ISREG(found.mode):
            raise PermissionError(errno.EACCES, "not a file")
        if not os.access(self.paths.by_descriptor(found.descriptor), os.X_OK, effective_ids=False):
            raise PermissionError(errno.EACCES, "not executable")
        exe = os.fsdecode(found.name)
        what = os.fstat(found.descriptor)
        anonymous = what.st_nlink == 0 or not exe.startswith("/") or exe.startswith("/memfd:")
        head = self._head(found)
        runs, identity, dynamic, script = exe, (what.st_dev, what.st_ino), True, None
        cmdline = b"".join(word + b"\0" for word in words)
        if head is not None and head.startswith(b"#!"):
            script = exe
            runs, identity, dynamic, before = self._interpreter(task, head, 1)
            cmdline = b"".join(word + b"\0" for word in [*before, path, *words[1:]])
        elif head is not None:
            if head[:4] != b"\x7fELF":
                raise OSError(errno.ENOEXEC, "no format that is known")
            dynamic = _has_loader(head, found, self.paths)
        argv = tuple(os.fsdecode(word) for word in words)
        program = Program(
            exe=exe,
            runs=runs,
            identity=identity,
            argv=argv,
            cmdline=cmdline if len(cmdline) < _ARGV_LIMIT and words and dynamic else None,
            dynamic=dynamic,
            anonymous=anonymous,
            script_path=script,
            before=task.file("cmdline"),
            identity_before=image_of(task),
        )
        launched = _launched(program)
        action = ExecAction(
            exe=launched,
            name=os.path.basename(launched),
            args=argv[1:],
            command=shlex.join(argv) if argv else exe,
            cwd=None,
            anonymous=anonymous,
        )
        return Proposal(program, action, head is not None)

    def _interpreter(self, task: Task, head: bytes, depth: int) -> tuple[str, tuple[int, int], bool, list[bytes]]:
        """The interpreter of a `#!` line (execve(2)): name, identity, whether dynamic, and the words it puts before the script."""
        line = head[2:].split(b"\n", 1)[0].strip()
        if not line or depth > _INTERPRETER_DEPTH:
            raise OSError(errno.ELOOP if line else errno.ENOEXEC, "interpreter")
        parts = line.split(None, 1)
        found = self.paths.find(task, kernel.AT_FDCWD, parts[0])
        try:
            what = os.fstat(found.descriptor)
            inner = self._head(found)
            words = [part.strip() for part in parts]
            if inner is not None and inner.startswith(b"#!"):
                name, identity, dynamic, before = self._interpreter(task, inner, depth + 1)
                return name, identity, dynamic, [*before, *words]
            dynamic = inner is None or _has_loader(inner, found, self.paths)
            return os.fsdecode(found.name), (what.st_dev, what.st_ino), dynamic, words
        finally:
            os.close(found.descriptor)

    def _head(self, found: Found) -> bytes | None:
        """The first bytes of the file, None where the guard may not read it."""
        try:
            descriptor = self.paths.reopen(found.descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            return None
        try:
            return os.pread(descriptor, 4096, 0)
        finally:
            os.close(descriptor)

    def _words(self, task: Task, address: int) -> list[bytes]:
        """argv from the caller's memory; [] for a null pointer; raises OSError EFAULT as natively."""
        if not address:
            return []
        words: list[bytes] = []
        taken = 0
        while taken < _ARGV_LIMIT:
            block = task.read(address + 8 * len(words), 512)
            pointers = struct.unpack(f"={len(block) // 8}Q", block[: len(block) // 8 * 8])
            if not pointers:
                raise OSError(errno.EFAULT, "argv")
            for pointer in pointers:
                if not pointer:
                    return words
                words.append(task.string(pointer, 131072))  # MAX_ARG_STRLEN
                taken += len(words[-1]) + 1
        return words

    # ---- facts that cost something

    def script(self, task: Task, program: Program) -> str | None:
        """The text that an interpreter is given: the `-c` text or the script's body; "" where there is none, None where it cannot be read."""
        inline = inline_code(program)
        if inline is not None:
            return inline[:SCRIPT_LIMIT]
        path = program.script_path or _script_argument(program)
        if path is None:
            return ""
        try:
            found = self.paths.find(task, kernel.AT_FDCWD, os.fsencode(path))
        except OSError:
            return "" if program.script_path is None else None
        try:
            if not stat.S_ISREG(found.mode):
                return ""
            descriptor = self.paths.reopen(found.descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                return os.pread(descriptor, SCRIPT_LIMIT, 0).decode("utf-8", "surrogateescape")
            finally:
                os.close(descriptor)
        except OSError:
            return None
        finally:
            os.close(found.descriptor)

    def verify(self, task: Task, expected: Program) -> str:
        """Compares the running image with the one that was judged: `same`, `failed` (the exec did not happen) or `other`."""
        now = image_of(task)
        cmdline = task.file("cmdline")
        if now == expected.identity and (expected.cmdline is None or cmdline == expected.cmdline):
            return "same"
        return "failed" if cmdline == expected.before and now == expected.identity_before else "other"

    @staticmethod
    def injected(task: Task, program: Program) -> bool:
        """Whether a variable is set that injects code into this program (by its own name or its interpreter's); asked at the image's first
        trapped call, when nothing can have hidden it yet.
        """
        names = (program.name, os.path.basename(program.runs))
        prefixes = tuple(
            p for who, some in INJECTING.items() if any(re.search(who, name) for name in names) for p in some
        )
        try:
            return any(part.startswith(prefixes) for part in task.file("environ").split(b"\0"))
        except OSError:
            return True

    @staticmethod
    def actor(program: Program | None, writable: bool) -> Actor | None:
        """The actor that this record stands for; `writable` tells that the tree may write one of its files."""
        if program is None:
            return None
        script = program.script_path or _script_argument(program)
        return Actor(
            name=os.path.basename(script) if script else program.name,
            exe=program.runs,
            script=script,
            verified=program.injected is False
            and not (writable or program.anonymous or inline_code(program) is not None)
            and (
                program.script_path is not None or script is None
            ),  # `python3 PATH` takes its name from a word that anybody writes
        )


def image_of(task: Task) -> tuple[int, int]:
    """Device and inode of the running image."""
    try:
        what = os.stat("exe", dir_fd=task.folder)
    except (FileNotFoundError, ProcessLookupError) as problem:
        raise Gone from problem
    return what.st_dev, what.st_ino


def _launched(program: Program) -> str:
    """What really runs where the dynamic linker is used as a launcher (ld.so(8)): its first operand."""
    if not _LOADER.search(program.name):
        return program.exe
    takes_value = {
        "--library-path",
        "--inhibit-rpath",
        "--audit",
        "--preload",
        "--argv0",
        "--glibc-hwcaps-prepend",
        "--glibc-hwcaps-mask",
    }
    words = iter(program.argv[1:])
    for word in words:
        if word in takes_value:
            next(words, None)
        elif not word.startswith("--"):
            return word
    return program.exe


def _family(name: str) -> str:
    return re.sub(r"[\d.]+\Z", "", name)


def inline_code(program: Program) -> str | None:
    """The code given on the command line (`sh -c TEXT`, `python3 -c TEXT`, `perl -e TEXT`), None where there is none."""
    family = _family(os.path.basename(program.runs if program.script_path is None else program.exe))
    words = program.argv[1:]
    if program.argv and os.path.basename(program.runs) == "busybox":
        family = os.path.basename(program.argv[0]).lstrip("-")
        if family == "busybox" and words:
            family, words = words[0], words[1:]
    if family in _SHELLS:
        for index, word in enumerate(words):
            if not word.startswith(("-", "+")):
                return None
            if not word.startswith("--") and "c" in word[1:]:
                rest = list(words[index + 1 :])
                while rest and rest[0].startswith("-"):
                    rest.pop(0)
                return rest[0] if rest else None
        return None
    return _code_of(family, words)


def _code_of(family: str, words: Sequence[str]) -> str | None:
    """The argument of the option that brings code, also at the end of a bundle (`python3 -Bc TEXT`, `perl -ne TEXT`)."""
    taken = -1  # the index of a word that is another option's value
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else None
        if index == taken:
            continue
        if family in ("python", "pypy"):
            if not word.startswith("-") or word == "-" or word.startswith("--"):
                return None
            found = re.match(r"-[bBdEhiIOPqRsSuvVx]*([cmWX])(.*)", word, re.DOTALL)
            if found and found[1] == "c":
                return found[2] or following
            if found and found[1] == "m":
                return None
            if found and not found[2]:
                taken = index + 1
        elif family in ("perl", "ruby"):
            if re.match(r"-[\w.]*[eE]\Z", word):
                return following
        elif family in ("node", "nodejs", "bun", "deno"):
            if word in ("-e", "--eval", "-p", "-pe", "--print"):
                return following
            if word.startswith(("--eval=", "--print=")):
                return word.partition("=")[2]
        elif family == "php" and word == "-r":
            return following
    return None


def _script_argument(program: Program) -> str | None:
    """The script that an interpreter was told to run by its first operand, None where there is none."""
    if not _INTERPRETERS.match(program.name) or program.script_path is not None:
        return program.script_path
    words = list(program.argv[1:])
    while words:
        word = words.pop(0)
        if word in ("-m", "-c", "-e", "--eval", "-"):
            return None
        if word in ("-W", "-X", "-o", "-r", "--require", "-O", "+O") and words:
            words.pop(0)
        elif not word.startswith(("-", "+")):
            return word
    return None


def carries_code(program: Program) -> bool:
    """Whether the exec itself brings text that runs: inline code or a script."""
    return inline_code(program) is not None or program.script_path is not None or _script_argument(program) is not None


def _has_loader(head: bytes, found: Found, paths: Paths) -> bool:
    """Whether an ELF image asks for the system's dynamic linker (PT_INTERP), which runs before its own code and opens files.

    An image that names a linker of its own is as good as a static one.
    """
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2:
        return False
    offset, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
    table = head[offset : offset + size * count]
    if len(table) < size * count:
        descriptor = paths.reopen(found.descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            table = os.pread(descriptor, size * count, offset)
        finally:
            os.close(descriptor)
    for row in range(min(count, len(table) // max(size, 1))):
        kind, _, place = struct.unpack_from("<IIQ", table, size * row)
        if kind == 3:  # PT_INTERP
            return _at(head, found, paths, place).startswith(_SYSTEM_LOADERS)
    return False


def _at(head: bytes, found: Found, paths: Paths, place: int) -> bytes:
    if place + 64 <= len(head):
        return head[place : place + 64]
    descriptor = paths.reopen(found.descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, 64, place)
    finally:
        os.close(descriptor)
