"""Small programs in Python, each a function that prints: system calls that no ordinary tool makes, and their errors.

Each runs in a forked process and an empty folder of its own; what it prints, how it ends and what it leaves is compared with and without the
guard. Nothing here prints what differs from run to run, and nothing writes outside of that folder and `/dev/shm`.
"""

# Programs print, and a loop's variable is used within its turn:
# ruff: noqa: T201, B023
# Calls are made wrongly on purpose, and tables hold lambdas:
# mypy: disable-error-code="misc, no-untyped-call, func-returns-value, unreachable, index"

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import mmap
import multiprocessing
import os
import pty
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

_libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD: Final = -100
AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR = 0x1000, 0x400, 0x100, 0x200
X86 = os.uname().machine == "x86_64"


def _number(x86: int, other: int) -> int:
    return x86 if X86 else other


def _say(what: str, call: Callable[[], Any]) -> Any:
    """Prints the call's result, or the name of its error."""
    try:
        result = call()
    except OSError as problem:
        print(what, errno.errorcode.get(problem.errno or 0, problem.errno))
        return None
    except (ValueError, OverflowError) as problem:
        print(what, type(problem).__name__)
        return None
    print(what, "ok" if result is None else result)
    return result


def _raw(number: int, *arguments: Any) -> str:
    """A system call by number: what it gives, a descriptor or size only as `ok`."""
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    return "ok" if result >= 0 else errno.errorcode[ctypes.get_errno()]


def _put(name: str | bytes, text: str = "x") -> None:
    with open(name, "w") as file:
        file.write(text)


def _get(name: str | bytes | int) -> str:
    with open(name) as file:
        return file.read()


def _mode(name: str) -> str:
    return oct(os.lstat(name).st_mode)


# ---- opens


def open_flags() -> None:
    """Every combination that decides between success and an error, on every kind of object."""
    _put("file")
    os.mkdir("folder")
    os.symlink("file", "to_file")
    os.symlink("folder", "to_folder")
    os.symlink("nothing", "dangling")
    os.symlink("loop", "loop")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket")
    flags = {
        "r": 0, "w": os.O_WRONLY, "rw": os.O_RDWR, "c": os.O_CREAT | os.O_WRONLY, "cx": os.O_CREAT | os.O_EXCL | os.O_WRONLY, "t": os.O_TRUNC,
        "wt": os.O_WRONLY | os.O_TRUNC, "nf": os.O_NOFOLLOW, "cnf": os.O_CREAT | os.O_NOFOLLOW | os.O_WRONLY, "d": os.O_DIRECTORY,
        "dnf": os.O_DIRECTORY | os.O_NOFOLLOW, "dw": os.O_DIRECTORY | os.O_WRONLY, "cd": os.O_CREAT | os.O_DIRECTORY, "p": os.O_PATH,
        "pnf": os.O_PATH | os.O_NOFOLLOW, "pd": os.O_PATH | os.O_DIRECTORY, "3": 3, "cr": os.O_CREAT, "crx": os.O_CREAT | os.O_EXCL, "dir": os.O_DIRECT,
        "a": os.O_APPEND | os.O_WRONLY, "na": os.O_NOATIME, "sync": os.O_SYNC | os.O_WRONLY, "nonb": os.O_NONBLOCK | os.O_WRONLY,
    }  # fmt: skip
    places = "file folder to_file to_folder dangling loop socket nothing file/ folder/ to_file/ to_folder/ dangling/ nothing/ file/x folder/n . .. / ./file folder/../file"
    for name, value in flags.items():
        for place in places.split():
            try:
                number = os.open(place, value, 0o640)
            except OSError as problem:
                print(name, place, errno.errorcode[problem.errno or 0])
                continue
            status = fcntl.fcntl(number, fcntl.F_GETFL) if not value & os.O_PATH else -1
            print(
                name,
                place,
                oct(status),
                bool(fcntl.fcntl(number, fcntl.F_GETFD)),
                stat.S_IFMT(os.fstat(number).st_mode),
            )
            os.close(number)
            for made in ("nothing", "folder/n"):
                if os.path.lexists(made):
                    os.unlink(made)


def open_append_shares_the_end() -> None:
    """Two descriptors that append never overwrite one another; a duplicate shares the offset."""
    one, two = (os.open("f", os.O_WRONLY | os.O_APPEND | os.O_CREAT) for _ in range(2))
    for number in (one, two, one, two):
        os.write(number, b"ab")
    print(_get("f"))
    three = os.dup(one)
    os.write(three, b"c")
    print(os.lseek(one, 0, os.SEEK_CUR), oct(fcntl.fcntl(one, fcntl.F_GETFL)))
    os.pwrite(one, b"Z", 0)
    print(_get("f"))


def open_exclusive_race() -> None:
    """Of many that create one name exclusively, one wins; all lines of many appenders are whole."""
    won = []

    def contend() -> None:
        for name in range(20):
            try:
                os.close(os.open(f"n{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won.append(name)
            except FileExistsError:
                pass
            with open("lines", "ab", buffering=0) as lines:
                lines.write(b"line %02d\n" % name)

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(won) == list(range(20)), len(won))
    print(sorted(_get("lines").splitlines()))
    os.unlink("lines")


def open_lowest_descriptor() -> None:
    """The lowest free number is given, and close-on-exec is as asked for."""
    gaps = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]
    os.close(gaps[1])
    os.close(gaps[3])
    print(os.open("/etc/hostname", os.O_RDONLY) == gaps[1], os.open("f", os.O_CREAT | os.O_WRONLY) == gaps[3])
    for flag in (0, os.O_CLOEXEC):
        number = _libc.open(b"/dev/null", flag)
        print(fcntl.fcntl(number, fcntl.F_GETFD))


def open_no_descriptors_left() -> None:
    """EMFILE as natively, and everything works again afterwards."""
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    held = []
    while True:
        try:
            held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as problem:
            print(errno.errorcode[problem.errno or 0], len(held) + 3 <= 64)
            break
    _say("create", lambda: os.open("f", os.O_CREAT | os.O_WRONLY))
    print(os.path.exists("f"))
    os.close(held.pop())
    _say("mkdir", lambda: os.mkdir("d"))
    _say("again", lambda: os.close(os.open("g", os.O_CREAT | os.O_WRONLY)))


def open_creation_modes() -> None:
    """Mode bits and umask of open, creat, mkdir, mknod, O_TMPFILE, with odd modes."""
    for mask in (0, 0o22, 0o77, 0o777, 0o111):
        os.umask(mask)
        for mode in (0, 0o777, 0o7777, 0o600, 0o1777):
            os.close(os.open(f"f{mask}-{mode}", os.O_CREAT | os.O_WRONLY, mode))
            os.mkdir(f"d{mask}-{mode}", mode)
            os.mkfifo(f"p{mask}-{mode}", mode & 0o777)
            print(oct(mask), oct(mode), *(_mode(f"{kind}{mask}-{mode}") for kind in "fdp"))
    os.umask(0o22)


def open_temporary_file() -> None:
    """O_TMPFILE: nothing is seen until it is linked, by descriptor or through procfs; with O_EXCL it cannot be."""
    os.umask(0o27)
    number = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o666)
    os.write(number, b"made")
    print(os.listdir("."), oct(os.fstat(number).st_mode), os.fstat(number).st_nlink)
    print(_raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{number}".encode(), AT_FDCWD, b"one", AT_SYMLINK_FOLLOW))
    print(_get("one"), os.fstat(number).st_nlink)
    second = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600)
    if os.geteuid() == 0:
        print(_raw(_number(265, 37), second, b"", AT_FDCWD, b"two", AT_EMPTY_PATH), os.path.exists("two"))
    third = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_EXCL, 0o600)
    print(_raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{third}".encode(), AT_FDCWD, b"three", AT_SYMLINK_FOLLOW))
    _say("read only", lambda: os.open(".", os.O_TMPFILE | os.O_RDONLY, 0o600))
    _put("file")
    _say("in a file", lambda: os.open("file", os.O_TMPFILE | os.O_RDWR, 0o600))
    _say("nowhere", lambda: os.open("nothing", os.O_TMPFILE | os.O_RDWR, 0o600))


def open_bad_pointers() -> None:
    """EFAULT for every pointer that means nothing, ENOENT for empty paths, ENAMETOOLONG for endless ones."""
    calls = {
        "openat": (257, 56, lambda p: (AT_FDCWD, p, 0, 0)),
        "openat create": (257, 56, lambda p: (AT_FDCWD, p, os.O_CREAT | os.O_WRONLY, 0o600)),
        "unlinkat": (263, 35, lambda p: (AT_FDCWD, p, 0)),
        "rmdir": (263, 35, lambda p: (AT_FDCWD, p, AT_REMOVEDIR)),
        "mkdirat": (258, 34, lambda p: (AT_FDCWD, p, 0o777)),
        "mknodat": (259, 33, lambda p: (AT_FDCWD, p, 0o10644, 0)),
        "renameat2": (316, 276, lambda p: (AT_FDCWD, p, AT_FDCWD, b"x", 0)),
        "renameat2 to": (316, 276, lambda p: (AT_FDCWD, b".", AT_FDCWD, p, 0)),
        "linkat": (265, 37, lambda p: (AT_FDCWD, p, AT_FDCWD, b"x", 0)),
        "linkat to": (265, 37, lambda p: (AT_FDCWD, b"own_file", AT_FDCWD, p, 0)),
        "symlinkat": (266, 36, lambda p: (p, AT_FDCWD, b"made_link")),
        "symlinkat to": (266, 36, lambda p: (b"x", AT_FDCWD, p)),
        "fchmodat": (268, 53, lambda p: (AT_FDCWD, p, 0o600)),
        "fchownat": (260, 54, lambda p: (AT_FDCWD, p, -1, -1, 0)),
        "truncate": (76, 45, lambda p: (p, 0)),
        "utimensat": (280, 88, lambda p: (AT_FDCWD, p, 0, 0)),
        "utimensat times": (280, 88, lambda p: (AT_FDCWD, b".", p, 0)),
        "setxattr": (188, 5, lambda p: (p, b"user.x", b"v", 1, 0)),
        "setxattr name": (188, 5, lambda p: (b".", p, b"v", 1, 0)),
        "setxattr value": (188, 5, lambda p: (b".", b"user.x", p, 1, 0)),
        "removexattr": (197, 14, lambda p: (p, b"user.x")),
        "execve": (59, 221, lambda p: (p, 0, 0)),
        "execve argv": (59, 221, lambda p: (b"/bin/true-not", p, 0)),
        "openat2 how": (437, 437, lambda p: (AT_FDCWD, b".", p, 24)),
        "connect": (42, 203, lambda p: (_stream(), p, 16)),
        "bind": (49, 200, lambda p: (_stream(), p, 16)),
        "sendto": (44, 206, lambda p: (_datagram(), b"x", 1, 0, p, 16)),
        "sendmsg": (46, 211, lambda p: (_datagram(), p, 0)),
    }  # fmt: skip
    _put("own_file")
    start = _page_before(unmapped=True)
    closed = _page_before(unmapped=False)
    pointers = {
        "null": 0, "low": 8, "high": 0x7FFFFFFFF000, "kernel": -4096, "minus one": -1, "odd": 0x123456789ABC, "noncanonical": 1 << 55, "page end": start + 4090, "closed page": closed + 4090,
        "empty": ctypes.c_char_p(b""), "long": ctypes.c_char_p(b"a" * 300), "longer": ctypes.c_char_p(b"a/" * 3000), "4095": ctypes.c_char_p(b"./" * 2047 + b"z"),
    }  # fmt: skip
    for name, (x86, other, arguments) in calls.items():
        for which, pointer in pointers.items():
            if which == "null" and name in ("utimensat times", "utimensat", "execve argv"):
                continue  # these mean something
            if "how" in name and which in ("empty", "long", "longer", "4095"):
                continue
            if name in ("connect", "bind", "sendto", "sendmsg", "utimensat times", "execve argv") and not isinstance(
                pointer, int
            ):
                continue
            print(name, which, _raw(_number(x86, other), *arguments(pointer)))
            for made in ("made_link", "z", "x"):
                if os.path.lexists(made):
                    (os.rmdir if os.path.isdir(made) and not os.path.islink(made) else os.unlink)(made)


def _page_before(*, unmapped: bool) -> int:
    """The address of a page full of `n` without a NUL, before one that is not mapped, or mapped without any right."""
    _libc.mmap.restype = ctypes.c_void_p
    start = int(_libc.mmap(None, ctypes.c_size_t(8192), 3, 0x22, -1, ctypes.c_long(0)))
    ctypes.memset(start, ord("n"), 4096)
    if unmapped:
        _libc.munmap(ctypes.c_void_p(start + 4096), ctypes.c_size_t(4096))
    else:
        _libc.mprotect(ctypes.c_void_p(start + 4096), ctypes.c_size_t(4096), 0)
    return start


def _stream() -> int:
    return socket.socket(socket.AF_INET).detach()


def _datagram() -> int:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach()


def open_path_limit() -> None:
    """4,095 bytes pass and 4,096 do not, for every call that takes a path."""
    for length in (4094, 4095, 4096, 5000):
        path = b"./" * 2040
        path += b"/" * (length - len(path) - 1) + b"f"
        print(length, len(path))
        for name, call in {
            "open": lambda p: os.close(os.open(p, os.O_CREAT | os.O_WRONLY)),
            "chmod": lambda p: os.chmod(p, 0o600),
            "link": lambda p: os.link("f", p + b"2" if len(p) < 4095 else p),
            "rename": lambda p: os.rename(p, b"g"),
            "mkdir": os.mkdir,
            "rmdir": os.rmdir,
            "symlink": lambda p: os.symlink(b"x", p),
            "unlink": os.unlink,
            "symlink to": lambda p: os.symlink(p, b"l"),
        }.items():
            _say(name, lambda c=call, p=path: c(p))
        for left in ("f", "f2", "g", "l"):
            if os.path.lexists(left):
                os.unlink(left)


def openat2_resolve() -> None:
    """openat2 works, or says ENOSYS so that callers fall back; it never does something else."""
    _put("file")
    os.symlink("file", "link")
    os.symlink("/etc", "out")
    folder = os.open(".", os.O_PATH)

    def opened(path: bytes, flags: int, resolve: int, extra: bytes = b"") -> str:
        how = struct.pack("=QQQ", flags, 0, resolve) + extra
        return _raw(437, folder, path, how, len(how))

    for path in (b"file", b"link", b"out/hostname", b"/proc/self/exe", b"nothing", b"file/x"):
        for resolve in (0, 2, 4):
            print(path, resolve, opened(path, 0, resolve))
    print(opened(b"file", 0, 0, bytes(8)), opened(b"file", 0, 0, b"\1" + bytes(7)))
    print(_raw(437, folder, b"file", struct.pack("=QQ", 0, 0), 16))
    print(_raw(437, folder, b"file", struct.pack("=QQQ", 0, 0o600, 0), 24))


# ---- folders by descriptor


def dirfd_calls() -> None:
    """Names relative to descriptors: moved, removed, wrong, and of files."""
    os.makedirs("a/b")
    folder = os.open("a", os.O_RDONLY | os.O_DIRECTORY)
    handle = os.open("a/b", os.O_PATH | os.O_DIRECTORY)
    file = os.open("f", os.O_CREAT | os.O_WRONLY)
    os.rename("a", "moved")
    _say("create in moved", lambda: os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=folder)))
    _say("up", lambda: os.close(os.open("../up", os.O_CREAT | os.O_WRONLY, dir_fd=handle)))
    _say("mkdir", lambda: os.mkdir("sub", dir_fd=handle))
    _say("rename between", lambda: os.rename("x", "y", src_dir_fd=folder, dst_dir_fd=handle))
    _say("link", lambda: os.link("y", "z", src_dir_fd=handle, dst_dir_fd=folder))
    _say("symlink", lambda: os.symlink("y", "s", dir_fd=handle))
    _say("stat", lambda: os.stat("s", dir_fd=handle).st_size)
    _say("under file", lambda: os.open("x", os.O_RDONLY, dir_fd=file))
    _say("closed", lambda: os.open("x", os.O_RDONLY, dir_fd=777))
    _say("absolute, closed", lambda: os.close(os.open("/etc/hostname", os.O_RDONLY, dir_fd=777)))
    _say("negative", lambda: os.unlink("x", dir_fd=-7))
    _say("unlink folder", lambda: os.unlink("sub", dir_fd=handle))
    _say("rmdir", lambda: os.rmdir("sub", dir_fd=handle))
    os.unlink("y", dir_fd=handle)
    os.unlink("s", dir_fd=handle)
    os.rmdir("moved/b")
    _say("in removed", lambda: os.open("n", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    _say("mkdir in removed", lambda: os.mkdir("n", dir_fd=handle))
    _say("rename into removed", lambda: os.rename("f", "n", dst_dir_fd=handle))
    _say("symlink in removed", lambda: os.symlink("f", "n", dir_fd=handle))
    _say("self of removed", lambda: os.open(".", os.O_RDONLY, dir_fd=handle) > 0)


def working_folder_moves() -> None:
    """Relative names follow the working folder, also when it is moved, removed, or changed by fchdir and by a thread."""
    os.makedirs("a/b")
    os.chdir("a")
    os.rename("../a", "../c")
    _put("in_moved")
    print(os.path.basename(os.getcwd()), os.listdir("."))
    os.chdir("b")
    os.rmdir("../b")
    _say("create in removed", lambda: _put("x"))
    _say("up", lambda: _put("../from_removed"))
    os.chdir("..")
    back = os.open("..", os.O_RDONLY)
    os.fchdir(back)
    _put("at_top")
    thread = threading.Thread(target=os.chdir, args=("c",))
    thread.start()
    thread.join()
    _put("by_thread")


def symlinks_on_the_way() -> None:
    """Links in the middle, at the end, absolute, upward, into procfs."""
    os.makedirs("d/e")
    os.symlink("d", "l")
    os.symlink("../..", "d/e/up")
    os.symlink(os.getcwd() + "/d/e", "absolute")
    os.symlink("/proc/self/cwd", "own")
    os.symlink("/proc/self/fd/0", "zero")
    os.symlink("nothing-yet", "dangling")
    os.symlink("gone/x", "far")
    for name in (
        "l/e/f",
        "d/e/up/g",
        "absolute/h",
        "l/../i",
        "l/e/up/l/j",
        "own/k",
        "dangling",
        "far",
        "l/e/../../m",
        "own/l/e/n",
    ):
        _say(name, lambda n=name: _put(n, n))
    _say("exclusive on dangling", lambda: os.open("far", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink("nothing-yet")
    _say("exclusive on dangling 2", lambda: os.open("dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    _say("nofollow", lambda: os.open("l", os.O_NOFOLLOW | os.O_RDONLY))
    _say("nofollow in the middle", lambda: os.close(os.open("l/e", os.O_NOFOLLOW | os.O_RDONLY)))
    _say("unlink link", lambda: os.unlink("l"))
    _say("rmdir link", lambda: os.rmdir("own"))
    _say("rename link", lambda: os.rename("absolute", "absolute2"))
    _say("chmod through", lambda: os.chmod("own", 0o755))
    _say("lchown", lambda: os.lchown("far", os.getuid(), os.getgid()))
    _say("link of link", lambda: os.link("far", "far2", follow_symlinks=False))
    _say("mkdir on dangling", lambda: os.mkdir("dangling"))
    _say("open dangling folder", lambda: os.open("dangling/", os.O_CREAT | os.O_WRONLY))


# ---- names


def rename_all() -> None:
    """rename(2) between every two kinds, with and without a target, and renameat2 flags."""

    def made(name: str, kind: str) -> None:
        if kind == "file":
            _put(name, name)
        elif kind in ("folder", "full"):
            os.mkdir(name)
            if kind == "full":
                _put(f"{name}/in", name)
        elif kind == "link":
            os.symlink("x", name)
        elif kind == "fifo":
            os.mkfifo(name)

    kinds = ("file", "folder", "full", "link", "fifo", "nothing")
    number = 0
    for source in kinds:
        for target in kinds:
            for flag in (0, 1, 2, 3, 8):
                number += 1
                folder = f"{number:03}"
                os.mkdir(folder)
                made(f"{folder}/a", source)
                made(f"{folder}/b", target)
                done = _raw(_number(316, 276), AT_FDCWD, f"{folder}/a".encode(), AT_FDCWD, f"{folder}/b".encode(), flag)
                print(
                    source,
                    target,
                    flag,
                    done,
                    sorted((n, stat.S_IFMT(os.lstat(f"{folder}/{n}").st_mode)) for n in os.listdir(folder)),
                )
    os.mkdir("tree")
    os.mkdir("tree/below")
    for old, new in (
        ("tree", "tree/below/x"), ("tree/below", "tree"), ("tree", "tree"), ("tree/.", "y"), ("tree/..", "y"), ("tree", "."), (".", "y"), ("tree", ".."),
        ("tree/", "y/"), ("y", "y/"), ("y/below/", "y/z"), ("", "y"), ("y", ""), ("y", "/proc/y"), ("/proc/self", "y"), ("y", "/dev/shm/nowhere/x"),
    ):  # fmt: skip
        _say(f"{old} {new}", lambda o=old, n=new: os.rename(o, n))
    _put("one")
    os.link("one", "same")
    _say("same file", lambda: os.rename("one", "same"))
    print(sorted(n for n in os.listdir(".") if not n.isdigit()))


def rename_across_devices() -> None:
    """EXDEV for rename and link between file systems."""
    if os.stat("/dev/shm").st_dev == os.stat(".").st_dev:
        print("one file system")
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        _put("f")
        os.mkdir("d")
        _say("rename", lambda: os.rename("f", f"{other}/f"))
        _say("link", lambda: os.link("f", f"{other}/f"))
        _say("folder", lambda: os.rename("d", f"{other}/d"))
        _put(f"{other}/g", "g")
        _say("back", lambda: os.rename(f"{other}/g", "g"))
        _say("missing", lambda: os.rename("nothing", f"{other}/g"))


def unlink_all() -> None:
    """unlink, rmdir and unlinkat on every kind and spelling."""
    for flags in (0, AT_REMOVEDIR, 1, 0x400):
        for kind in ("file", "folder", "full", "link", "to_folder", "fifo", "nothing"):
            for spelling in ("{}", "{}/", "{}/.", "{}/..", "./{}", "{}//"):
                os.mkdir("w")
                os.chdir("w")
                os.mkdir("t")
                match kind:
                    case "file":
                        _put("x")
                    case "folder" | "full":
                        os.mkdir("x")
                        if kind == "full":
                            _put("x/y")
                    case "link":
                        os.symlink("t", "x") if spelling == "{}" else os.symlink("nowhere", "x")
                    case "to_folder":
                        os.symlink("t", "x")
                    case "fifo":
                        os.mkfifo("x")
                print(
                    flags,
                    kind,
                    spelling,
                    _raw(_number(263, 35), AT_FDCWD, spelling.format("x").encode(), flags),
                    sorted(os.listdir(".")),
                )
                os.chdir("..")
                subprocess_free_remove("w")
    _say("empty", lambda: os.unlink(""))
    _say("proc", lambda: os.unlink("/proc/self/comm"))


def subprocess_free_remove(top: str) -> None:
    """Removes a folder with what is in it."""
    for folder, folders, files in os.walk(top, topdown=False):
        for name in files:
            os.unlink(os.path.join(folder, name))
        for name in folders:
            path = os.path.join(folder, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
    os.rmdir(top)


def hard_links() -> None:
    """link and linkat: flags, kinds, counts, existing targets."""
    _put("f")
    os.mkdir("d")
    os.symlink("f", "l")
    os.symlink("nothing", "dangling")
    os.mkfifo("p")
    opened = os.open("f", os.O_RDONLY)
    handle = os.open("f", os.O_PATH)
    for old in (b"f", b"d", b"l", b"dangling", b"p", b"nothing", b"f/", b"d/", b".", b"", b"f/x"):
        for flags in (0, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, 1):
            print(
                old,
                flags,
                _raw(_number(265, 37), AT_FDCWD, old, AT_FDCWD, b"new", flags),
                os.path.lexists("new") and stat.S_IFMT(os.lstat("new").st_mode),
            )
            if os.path.lexists("new"):
                os.unlink("new")
    for new in (b"f", b"d", b"d/", b"new/", b"nothing/x", b"f/x", b"", b"."):
        print(new, _raw(_number(265, 37), AT_FDCWD, b"f", AT_FDCWD, new, 0))
    print(
        "fd",
        _raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{opened}".encode(), AT_FDCWD, b"by_fd", AT_SYMLINK_FOLLOW),
    )
    print(
        "path fd",
        _raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{handle}".encode(), AT_FDCWD, b"by_handle", AT_SYMLINK_FOLLOW),
    )
    print(
        "magic, not followed",
        _raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{opened}".encode(), AT_FDCWD, b"by_magic", 0),
    )
    print(os.stat("f").st_nlink)
    os.unlink("f")
    os.unlink("by_fd")
    os.unlink("by_handle")
    print(
        "deleted",
        _raw(_number(265, 37), AT_FDCWD, f"/proc/self/fd/{opened}".encode(), AT_FDCWD, b"again", AT_SYMLINK_FOLLOW),
    )


def special_files() -> None:
    """mknod, mkfifo, symlink: kinds, existing names, empty and long targets."""
    for kind in (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFLNK, 0o170000):
        print(oct(kind), _raw(_number(259, 33), AT_FDCWD, f"k{kind}".encode(), kind | 0o640, 0))
    print("exists", _raw(_number(259, 33), AT_FDCWD, b"k0", 0o100644, 0))
    for target in (b"", b"x", b"/", b"../..", b"a" * 4095, b"a" * 4096, b"\xff\x01"):
        print(len(target), _raw(_number(266, 36), target, AT_FDCWD, b"s%d" % len(target)))
    print(len(os.readlink("s4095")), os.readlink(b"s2"))
    for name in ("k0", ".", "..", "/", "nothing/x", "k0/x", "new/", ""):
        _say(f"symlink {name}", lambda n=name: os.symlink("t", n))
        _say(f"mkdir {name}", lambda n=name: os.mkdir(n))
    _say("write-protected", lambda: os.mkdir("/proc/self/x"))
    _say("proc root", lambda: os.mkdir("/proc/x"))


# ---- attributes


def chmod_all() -> None:
    """By path, by descriptor, through links, with fchmodat2, on O_PATH descriptors, with odd bits."""
    _put("f")
    os.mkdir("d")
    os.symlink("f", "l")
    for mode in (0, 0o7777, 0o4755, 0o2755, 0o1777, 0o100644, 0o644):
        for name in ("f", "d", "l"):
            _say(f"{name} {oct(mode)}", lambda n=name, m=mode: os.chmod(n, m))
            print(_mode("f"), _mode("d"))
    number, handle = os.open("f", os.O_RDONLY), os.open("f", os.O_PATH)
    print(_raw(_number(91, 52), number, 0o600), _mode("f"))
    print(_raw(_number(91, 52), handle, 0o640))
    print(_raw(_number(91, 52), 999, 0o640))
    print("fchmodat2", _raw(452, AT_FDCWD, b"f", 0o611, 0), _mode("f"))
    print("nofollow", _raw(452, AT_FDCWD, b"l", 0o611, AT_SYMLINK_NOFOLLOW))
    print("nofollow file", _raw(452, AT_FDCWD, b"f", 0o612, AT_SYMLINK_NOFOLLOW), _mode("f"))
    print("empty path", _raw(452, number, b"", 0o613, AT_EMPTY_PATH), _mode("f"))
    print("bad flag", _raw(452, AT_FDCWD, b"f", 0o611, 1))
    read, write = os.pipe()
    print("pipe", _raw(_number(91, 52), read, 0o600), oct(os.fstat(write).st_mode))
    for name in ("nothing", "f/", "f/x", "", "d/."):
        _say(name, lambda n=name: os.chmod(n, 0o700))


def chown_all() -> None:
    """By path, by descriptor, links themselves, AT_EMPTY_PATH, -1 leaves, suid is dropped."""
    _put("f")
    os.symlink("f", "l")
    me, mine = os.getuid(), os.getgid()
    number, handle = os.open("f", os.O_RDONLY), os.open("l", os.O_PATH | os.O_NOFOLLOW)
    _say("path", lambda: os.chown("f", me, -1))
    _say("fd", lambda: os.fchown(number, -1, mine))
    _say("link", lambda: os.lchown("l", me, mine))
    print("empty", _raw(_number(260, 54), handle, b"", me, mine, AT_EMPTY_PATH))
    print("handle", _raw(_number(93, 55), handle, me, mine))
    os.chmod("f", 0o6755)
    os.chown("f", -1, -1)
    print(_mode("f"))
    os.chmod("f", 0o6755)
    os.fchown(number, me, mine)
    print(_mode("f"))
    if me == 0:
        os.chown("f", 1234, 2345)
        os.lchown("l", 99, 98)
        print(os.stat("f").st_uid, os.stat("f").st_gid, os.lstat("l").st_uid)
    for name in ("nothing", "f/", "f/x", ""):
        _say(name, lambda n=name: os.chown(n, me, mine))
    print("bad flag", _raw(_number(260, 54), AT_FDCWD, b"f", me, mine, 1))


def times_all() -> None:
    """utimensat with OMIT, NOW, nanoseconds, before 1970, descriptors, links; utime, utimes, futimesat and their errors."""
    now, omit = (1 << 30) - 1, (1 << 30) - 2
    _put("f")
    os.symlink("f", "l")
    number = os.open("f", os.O_RDONLY)

    def set_times(fd: int, path: bytes | int, *values: int, flags: int = 0) -> str:
        return _raw(_number(280, 88), fd, path, struct.pack("=qqqq", *values), flags)

    def seen(name: str = "f") -> tuple[int, int]:
        info = os.lstat(name)
        recent = int(time.time()) - 100
        return tuple(-1 if t // 10**9 > recent else t for t in (info.st_atime_ns, info.st_mtime_ns))  # type: ignore[return-value]

    print(set_times(AT_FDCWD, b"f", 1, 2, 3, 4), seen())
    print(set_times(AT_FDCWD, b"f", 0, omit, 9, 9), seen())
    print(set_times(AT_FDCWD, b"f", 7, 7, 0, omit), seen())
    print(set_times(AT_FDCWD, b"f", 0, now, 0, omit), seen())
    print(set_times(AT_FDCWD, b"f", 0, omit, 0, omit), seen())
    print(set_times(AT_FDCWD, b"f", -5, 1, 2**33, 999999999), seen())
    print(set_times(AT_FDCWD, b"f", 1, 10**9, 3, 4), set_times(AT_FDCWD, b"f", 1, -1, 3, 4))
    print(set_times(AT_FDCWD, b"l", 11, 0, 12, 0, flags=AT_SYMLINK_NOFOLLOW), seen("l"), seen())
    print(set_times(AT_FDCWD, b"l", 13, 0, 14, 0), seen("l")[1], seen())
    print(set_times(number, 0, 15, 0, 16, 0), seen())
    print(set_times(number, b"", 17, 0, 18, 0, flags=AT_EMPTY_PATH), seen())
    print(set_times(number, b"", 17, 0, 18, 0), set_times(AT_FDCWD, 0, 1, 0, 1, 0))
    print(_raw(_number(280, 88), AT_FDCWD, b"f", 0, 0), seen())
    print(set_times(AT_FDCWD, b"f", 1, 0, 1, 0, flags=1), set_times(AT_FDCWD, b"nothing", 0, omit, 0, omit))
    for name in ("nothing", "f/", "f/x", ""):
        _say(name, lambda n=name: os.utime(n, (1, 1)))
    if X86:
        print(_raw(132, b"f", struct.pack("=qq", 21, 22)), seen())
        print(_raw(235, b"f", struct.pack("=qqqq", 23, 1, 24, 2)), seen())
        print(_raw(235, b"f", struct.pack("=qqqq", 23, 10**6, 24, 2)), _raw(132, b"f", 0), seen())
        print(
            _raw(261, AT_FDCWD, b"f", struct.pack("=qqqq", 25, 3, 26, 4)),
            _raw(261, number, 0, struct.pack("=qqqq", 27, 3, 28, 4)),
            seen(),
        )


def xattrs_all() -> None:
    """set, replace, create, remove, by descriptor and on links; sizes and namespaces."""
    _put("f")
    os.symlink("f", "l")
    number = os.open("f", os.O_RDONLY)
    _say("set", lambda: os.setxattr("f", "user.a", b"1"))
    _say("create", lambda: os.setxattr("f", "user.a", b"2", os.XATTR_CREATE))
    _say("replace", lambda: os.setxattr("f", "user.b", b"2", os.XATTR_REPLACE))
    _say("through link", lambda: os.setxattr("l", "user.c", b"3"))
    _say("on link", lambda: os.setxattr("l", "user.d", b"4", follow_symlinks=False))
    _say("fd", lambda: os.setxattr(number, "user.e", b"\0\xff" * 10))
    _say("empty", lambda: os.setxattr("f", "user.empty", b""))
    _say("big", lambda: os.setxattr("f", "user.big", b"x" * 65537))
    _say("long name", lambda: os.setxattr("f", "user." + "n" * 255, b"x"))
    _say("no namespace", lambda: os.setxattr("f", "plain", b"x"))
    _say("unknown namespace", lambda: os.setxattr("f", "nope.x", b"x"))
    _say("missing", lambda: os.setxattr("nothing", "user.a", b"x"))
    _say("flags", lambda: os.setxattr("f", "user.a", b"x", 64))
    print(sorted((name, os.getxattr("f", name)) for name in os.listxattr("f") if name.startswith("user.")))
    _say("remove", lambda: os.removexattr("f", "user.a"))
    _say("again", lambda: os.removexattr("f", "user.a"))
    _say("fd remove", lambda: os.removexattr(number, "user.e"))
    _say("link remove", lambda: os.removexattr("l", "user.c", follow_symlinks=False))
    print(sorted(name for name in os.listxattr("f") if name.startswith("user.")))


def truncate_all() -> None:
    """truncate by path: sizes, kinds, links, permissions, negative lengths."""
    _put("f", "hello")
    os.mkdir("d")
    os.symlink("f", "l")
    os.mkfifo("p")
    for name in ("f", "d", "l", "p", "nothing", "f/", "/dev/null", ""):
        for length in (3, 0, 10, -1):
            _say(f"{name} {length}", lambda n=name, s=length: os.truncate(n, s))
    number = os.open("f", os.O_RDWR)
    _say("fd", lambda: os.ftruncate(number, 7))
    print(os.stat("f").st_size)
    _say("huge", lambda: os.truncate("f", 2**63 - 1))


def inode_flags() -> None:
    """FS_IOC_GETFLAGS and SETFLAGS give what the file system gives."""
    _put("f")
    number = os.open("f", os.O_RDONLY)
    data = array.array("i", [0])
    _say("get", lambda: fcntl.ioctl(number, 0x80086601, data) and None)
    before = data[0]
    _say("set same", lambda: fcntl.ioctl(number, 0x40086602, array.array("l", [before])) and None)
    _say("no-dump", lambda: fcntl.ioctl(number, 0x40086602, array.array("l", [before | 0x40])) and None)
    _say("get", lambda: fcntl.ioctl(number, 0x80086601, data) and None)
    print(data[0] ^ before)
    _say("bad", lambda: fcntl.ioctl(number, 0x40086602, array.array("l", [0x7FFFFFFF])) and None)
    _say("pipe", lambda: fcntl.ioctl(os.pipe()[0], 0x40086602, array.array("l", [0])) and None)


# ---- processes


def exec_failures() -> None:
    """Every way in which an exec fails, and that the process goes on afterwards."""
    _put("plain", "echo text\n")
    _put("script", "#!/nothing/here\n")
    _put("empty", "")
    _put("text", "no format at all")
    _put("elf", "\x7fELF")
    os.mkdir("d")
    os.symlink("loop", "loop")
    for name in ("script", "empty", "text", "elf"):
        os.chmod(name, 0o755)
    _put("chain", "#!" + os.getcwd() + "/chain\n")
    os.chmod("chain", 0o755)
    _put("long", "#!/" + "x" * 300 + "\n")
    os.chmod("long", 0o755)
    _put("bare", "#!   \n")
    os.chmod("bare", 0o755)
    _put("to_folder", "#!" + os.getcwd() + "/d\n")
    os.chmod("to_folder", 0o755)
    _put("to_plain", "#!" + os.getcwd() + "/plain\n")
    os.chmod("to_plain", 0o755)
    for name in (
        "nothing", "plain", "script", "empty", "text", "elf", "d", "loop", "chain", "long", "bare", "to_folder", "to_plain", "plain/x", "d/", "", "x" * 300, "a/" * 2100,
        "/dev/null", "/proc/self/mem", "/etc/hostname", "/",
    ):  # fmt: skip
        _say(name[:20], lambda n=name: os.execv(n, ["a"]))
    held = os.open("/bin/true", os.O_RDONLY)
    print(
        "execveat", _raw(_number(322, 281), held, b"", 0, 0, 0), _raw(_number(322, 281), 999, b"", 0, 0, AT_EMPTY_PATH)
    )
    print("nofollow", _raw(_number(322, 281), AT_FDCWD, b"loop", 0, 0, AT_SYMLINK_NOFOLLOW))
    print("flag", _raw(_number(322, 281), AT_FDCWD, b"/bin/true", 0, 0, 2))
    writer = os.open("busy", os.O_CREAT | os.O_RDWR, 0o755)
    with open("/bin/true", "rb") as true:
        os.write(writer, true.read())
    _say("busy", lambda: os.execv("./busy", ["busy"]))
    print("still here", _get("plain"))


def exec_forms() -> None:
    """exec with an empty argv, a long one, odd bytes; by descriptor; of a memory file; from a thread."""

    def child(run: Callable[[], Any]) -> None:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            try:
                run()
            except OSError as problem:
                print(errno.errorcode[problem.errno or 0])
                sys.stdout.flush()
            os._exit(99)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    child(lambda: os.execv("/bin/echo", ["echo", "plain"]))
    child(lambda: os.execve("/bin/sh", ["odd name", "-c", 'echo "$0 $A"'], {"A": "\udcff"}))
    child(lambda: os.execv("/bin/echo", [b"echo", b"\xff\xfe", b"", b" ", b"\n"]))
    child(lambda: os.execve("/usr/bin/env", ["env"], {}))
    held = os.open("/bin/echo", os.O_RDONLY | os.O_CLOEXEC)
    child(lambda: os.execve(held, ["echo", "by descriptor"], {}))
    handle = os.open("/bin/echo", os.O_PATH | os.O_CLOEXEC)
    child(lambda: os.execve(handle, ["echo", "by handle"], {}))
    child(lambda: os.execv(f"/proc/self/fd/{held}", ["echo", "by procfs"]))
    memory = os.memfd_create("m", os.MFD_CLOEXEC)
    with open("/bin/echo", "rb") as echo:
        os.write(memory, echo.read())
    child(lambda: os.execve(memory, ["echo", "from memory"], {}))
    child(lambda: _libc.syscall(_number(59, 221), b"/bin/true", None, None))
    child(lambda: os.execv("/bin/true", ["true", *(["x" * 1000] * 2000)]))
    child(lambda: os.execv("/bin/true", ["true", "x" * 131071]))
    child(lambda: os.execv("/bin/true", ["true", "x" * 131072]))
    child(lambda: os.execv("/bin/true", ["true"] * 200000))
    child(lambda: os.execve("/bin/true", ["true"], {f"V{n}": "x" * 10 for n in range(60000)}))
    child(lambda: os.execve("/bin/true", ["true"], {f"V{n}": "x" * 1000 for n in range(3000)}))

    def from_thread() -> None:
        thread = threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "echo from thread; exit 7"]))
        thread.start()
        thread.join()

    child(from_thread)
    os.symlink("/bin/echo", "called")
    child(lambda: os.execv("./called", ["called", "by link"]))
    child(lambda: os.execv("/proc/self/exe", [sys.executable, "-S", "-c", "print('itself')"]))


def subprocess_forms() -> None:
    """subprocess by vfork, fork and posix_spawn; pipes, timeouts, process groups, descriptors, missing programs."""
    print(subprocess.run(["echo", "a"], capture_output=True, text=True))
    print(subprocess.run("echo $0; exit 4", shell=True, capture_output=True, text=True))
    print(
        subprocess.run(
            ["cat"], input="in", capture_output=True, text=True, cwd="/", env={"A": "1", "PATH": "/bin:/usr/bin"}
        )
    )
    _say("missing", lambda: subprocess.run(["nothing-here"]))
    _say("not executable", lambda: subprocess.run(["/etc/hostname"]))
    _say("bad folder", lambda: subprocess.run(["true"], cwd="nothing"))
    _say("prepared", lambda: subprocess.run(["true"], preexec_fn=os.setsid).returncode)
    try:
        subprocess.run(["sleep", "9"], timeout=0.2)
    except subprocess.TimeoutExpired:
        print("timed out")
    running = subprocess.Popen(["sleep", "9"], start_new_session=True)
    os.killpg(running.pid, signal.SIGTERM)
    print(running.wait())
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned > s; exit 6"], dict(os.environ))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _get("s"))
    _say("spawn missing", lambda: os.posix_spawn("/nothing", ["x"], {}))
    pid = os.posix_spawn(
        "/bin/cat",
        ["cat"],
        {},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "s", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "t", os.O_WRONLY | os.O_CREAT, 0o600),
        ],
    )
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _get("t"))
    read, write = os.pipe()
    done = subprocess.run(["sh", "-c", f"echo through >&{write}"], pass_fds=(write,))
    print(done.returncode, os.read(read, 100))
    pipes = [subprocess.Popen(["echo", str(n)], stdout=subprocess.PIPE) for n in range(20)]
    print([p.communicate()[0] for p in pipes])


def threads_open_files() -> None:
    """Eight threads open, write, rename and remove at once; each finds its own."""

    def work(number: int) -> int:
        folder = f"t{number}"
        os.mkdir(folder)
        for n in range(30):
            name = f"{folder}/{n}"
            _put(name, f"{number} {n}")
            os.rename(name, name + "x")
            if _get(name + "x") != f"{number} {n}":
                return -1
            if n % 3:
                os.unlink(name + "x")
        return len(os.listdir(folder))

    with ThreadPoolExecutor(8) as pool:
        print(list(pool.map(work, range(8))))


def thread_of_its_own_folder() -> None:
    """A thread with its own working folder and umask (unshare CLONE_FS) resolves by its own."""
    os.mkdir("a")
    result = []

    def apart() -> None:
        result.append(_raw(_number(272, 97), 0x200))
        os.chdir("a")
        os.umask(0o77)
        _put("inside")
        os.mkdir("d")

    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    _put("outside")
    print(result, _mode("outside"), _mode("a/inside"), _mode("a/d"))


def thread_of_its_own_descriptors() -> None:
    """A thread with its own descriptor table (unshare CLONE_FILES) gets its descriptors there."""
    result = []

    def apart() -> None:
        result.append(_raw(_number(272, 97), 0x400))
        number = os.open("f", os.O_CREAT | os.O_RDWR)
        os.write(number, b"apart")
        folder = os.open("/etc", os.O_RDONLY)
        result.append(str(os.stat("hostname", dir_fd=folder).st_size > 0))
        result.append(str(bool(os.open("hostname", os.O_RDONLY, dir_fd=folder))))

    thread = threading.Thread(target=apart)
    thread.start()
    thread.join()
    print(result, _get("f"))


def multiprocessing_forms() -> None:
    """Pools, queues and shared memory by fork and by spawn."""
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        print(pool.map(abs, [-1, -2, -3]))
    queue = context.Queue()
    worker = context.Process(target=queue.put, args=("through",))
    worker.start()
    print(queue.get(timeout=10))
    worker.join()
    from multiprocessing import shared_memory

    block = shared_memory.SharedMemory(create=True, size=100)
    block.buf[0] = 7
    again = shared_memory.SharedMemory(name=block.name)
    print(again.buf[0])
    again.close()
    block.close()
    block.unlink()
    lock = context.Lock()
    with lock:
        print(lock.acquire(timeout=0.01))


def forks_and_orphans() -> None:
    """Double forks, orphans that write later, exit statuses, sessions and groups."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(0.1)
            _put("by_orphan")
            os.write(write, b"orphan done")
            os._exit(0)
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
    print(os.read(read, 100), os.getsid(0) == os.getsid(os.getpid()), _get("by_orphan"))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        pid = os.fork()
        if pid == 0:
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            time.sleep(5)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    pids = []
    for n in range(40):
        pid = os.fork()
        if pid == 0:
            _put(f"c{n}", str(n))
            os._exit(n)
        pids.append(pid)
    print([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids])


def signals_to_tree() -> None:
    """kill, tgkill, pidfd, sigqueue, process groups and errors."""
    got = []
    signal.signal(signal.SIGUSR1, lambda *_: got.append("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR1)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
    print(got)
    pid = os.fork()
    if pid == 0:
        time.sleep(10)
        os._exit(0)
    handle = os.pidfd_open(pid)
    _say("null", lambda: os.kill(pid, 0))
    signal.pidfd_send_signal(handle, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    _say("gone", lambda: signal.pidfd_send_signal(handle, signal.SIGTERM))
    _say("gone kill", lambda: os.kill(pid, signal.SIGTERM))
    _say("bad signal", lambda: os.kill(os.getpid(), 99))
    _say("bad pidfd", lambda: os.pidfd_open(999999))
    _say("no group", lambda: os.killpg(999999, signal.SIGTERM))
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    signal.signal(signal.SIGALRM, lambda *_: got.append("alarm"))
    time.sleep(0.2)
    print(got)


def signals_interrupt_fifo() -> None:
    """A handler runs while an open waits for the other end of a FIFO, and EINTR ends it where the handler raises."""
    pid = os.fork()
    if pid == 0:
        _interrupted_opens()
        sys.stdout.flush()
        os._exit(0)
    end = time.monotonic() + 8
    while not os.waitpid(pid, os.WNOHANG)[0]:
        if time.monotonic() > end:
            print("hung")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.01)


def _interrupted_opens() -> None:
    os.mkfifo("p")

    def stop(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    for flags in (os.O_RDONLY, os.O_WRONLY):
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        start = time.monotonic()
        try:
            os.open("p", flags)
            print("opened")
        except TimeoutError:
            print("interrupted", time.monotonic() - start < 3)
    _say("no reader", lambda: os.open("p", os.O_WRONLY | os.O_NONBLOCK))
    reader = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("p", os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, b"x")
    print(os.read(reader, 5), os.get_blocking(reader))


def signal_storm() -> None:
    """Calls under a timer without SA_RESTART: nothing is done twice, and what is interrupted is retried by Python."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    twice = 0
    for n in range(300):
        for call in (lambda: os.mkdir(f"d{n}"), lambda: os.rename(f"d{n}", f"e{n}"), lambda: os.rmdir(f"e{n}")):
            while True:
                try:
                    call()
                    break
                except InterruptedError:
                    continue
                except (FileExistsError, FileNotFoundError):
                    twice += 1
                    break
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("twice", twice, os.listdir("."))


def dumpable_and_names() -> None:
    """prctl, and that files open afterwards."""
    print(_libc.prctl(4, 0, 0, 0, 0))
    _put("f")
    print(_libc.prctl(15, b"renamed", 0, 0, 0), _get("/proc/self/comm"), os.readlink("/proc/self/cwd") == os.getcwd())


# ---- descriptors of other kinds


def terminal_calls() -> None:
    """A pseudo-terminal: a child acquires it by opening, /dev/tty is its own, without one it is ENXIO."""
    _say("none", lambda: os.setsid() and None)
    _say("tty", lambda: os.open("/dev/tty", os.O_RDWR))
    pid, master = pty.fork()
    if pid == 0:
        number = os.open("/dev/tty", os.O_RDWR)
        os.write(number, os.ttyname(0).encode()[:8] + b" " + os.read(0, 3) + b"\n")
        os.write(number, b"%d" % os.isatty(number))
        os._exit(8)
    os.write(master, b"key\n")
    shown = b""
    while True:
        try:
            data = os.read(master, 1000)
        except OSError:
            break
        if not data:
            break
        shown += data
    print(shown, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    first, second = os.openpty()
    name = os.ttyname(second)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        acquired = os.open(name, os.O_RDWR)
        os.write(acquired, b"acquired" if os.tcgetpgrp(acquired) == os.getpgrp() else b"not")
        os._exit(0)
    print(os.read(first, 100), os.waitpid(pid, 0)[1])
    _say("noctty", lambda: os.close(os.open(name, os.O_RDWR | os.O_NOCTTY)))
    _say("again", lambda: os.open("/dev/tty", os.O_RDWR))


def proc_self_entries() -> None:
    """What procfs tells of oneself is oneself's, for a process and for a thread."""
    print(
        _get("/proc/self/stat").split()[0] == str(os.getpid()),
        _get("/proc/self/comm") == _get(f"/proc/{os.getpid()}/comm"),
    )
    print(os.readlink("/proc/self"), os.getpid()) if os.readlink("/proc/self") != str(os.getpid()) else print(
        "self is me"
    )
    found = []

    def inside() -> None:
        found.append(_get("/proc/thread-self/stat").split()[0] == str(threading.get_native_id()))
        found.append(
            _get(f"/proc/self/task/{threading.get_native_id()}/stat").split()[0] == str(threading.get_native_id())
        )
        found.append(os.path.realpath("/proc/thread-self/cwd") == os.getcwd())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    print(found)
    _put("f", "content")
    number = os.open("f", os.O_RDONLY)
    print(_get(f"/proc/self/fd/{number}"), _get(f"/dev/fd/{number}"), _get(f"/proc/{os.getpid()}/fd/{number}"))
    _say("write through a reader", lambda: os.close(os.open(f"/proc/self/fd/{number}", os.O_WRONLY)))
    _say("nofollow", lambda: os.open(f"/proc/self/fd/{number}", os.O_NOFOLLOW))
    handle = os.open("f", os.O_PATH)
    print(_get(f"/proc/self/fd/{handle}"))
    read, write = os.pipe()
    again = os.open(f"/proc/self/fd/{write}", os.O_WRONLY)
    os.write(again, b"pipe")
    print(os.read(read, 9))
    folder = os.open(".", os.O_RDONLY)
    print(_get(f"/proc/self/fd/{folder}/f"), os.listdir(f"/proc/self/fd/{folder}"))
    _put(f"/proc/self/fd/{folder}/g")
    _say("unlink in", lambda: os.unlink(f"/proc/self/fd/{folder}/g"))
    _say("chmod through", lambda: os.chmod(f"/proc/self/fd/{number}", 0o600))
    _say("truncate through", lambda: os.truncate(f"/proc/self/fd/{number}", 2))
    _say("root", lambda: len(_get("/proc/self/root/etc/hostname")) > 0)
    _say("socket", lambda: os.open(f"/proc/self/fd/{socket.socket().detach()}", os.O_RDWR))
    memory = os.memfd_create("m")
    os.write(memory, b"memory")
    print(_get(f"/proc/self/fd/{memory}"))
    _say("oom", lambda: _put("/proc/self/oom_score_adj", "7"))
    print(_get("/proc/self/oom_score_adj").strip())
    _say("maps", lambda: len(_get("/proc/self/maps")) > 100)
    with open("/proc/self/mem", "rb") as mem:
        buffer = ctypes.create_string_buffer(b"in memory")
        mem.seek(ctypes.addressof(buffer))
        print(mem.read(9))
    _say("missing", lambda: os.open("/proc/self/fd/999", os.O_RDONLY))
    _say("other", lambda: os.open("/proc/999999/stat", os.O_RDONLY))
    _say("create", lambda: os.open("/proc/self/new", os.O_CREAT | os.O_WRONLY))


def devices() -> None:
    """The usual devices give what they give."""
    for name in ("null", "zero", "full", "random", "urandom"):
        number = os.open(f"/dev/{name}", os.O_RDWR)
        _say(f"{name} read", lambda n=number: len(os.read(n, 5)))
        _say(f"{name} write", lambda n=number: os.write(n, b"x"))
        os.close(number)
    _say("truncate", lambda: os.close(os.open("/dev/null", os.O_WRONLY | os.O_TRUNC | os.O_CREAT)))
    _say("exclusive", lambda: os.open("/dev/null", os.O_CREAT | os.O_EXCL))
    _say("folder", lambda: os.open("/dev/null/x", os.O_RDONLY))
    _say("ptmx", lambda: os.close(os.open("/dev/ptmx", os.O_RDWR)))


def locks_and_maps() -> None:
    """Locks, mappings, fallocate, sendfile, copy_file_range, splice on descriptors that the guard put there."""
    number = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(number, b"0123456789" * 1000)
    fcntl.lockf(number, fcntl.LOCK_EX)
    pid = os.fork()
    if pid == 0:
        second = os.open("f", os.O_RDWR)
        try:
            fcntl.lockf(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os._exit(1)
        except BlockingIOError:
            os._exit(0)
    print(os.waitpid(pid, 0)[1])
    with mmap.mmap(number, 0) as view:
        view[:5] = b"mmap!"
        print(view[:10])
    print(os.pread(number, 10, 0))
    other = os.open("g", os.O_CREAT | os.O_RDWR)
    print(os.sendfile(other, number, 0, 100), os.copy_file_range(number, other, 50, 0, 100))
    os.posix_fallocate(other, 0, 1000)
    print(os.fstat(other).st_size)
    fcntl.flock(number, fcntl.LOCK_SH)
    with open("h", "w+") as file:
        file.write("x" * 10000)
        file.seek(0)
        print(len(file.read()))


# ---- sockets


def unix_stream() -> None:
    """A path, an abstract name, relative and long names, accept, getsockname, getpeername, unlink and rebind."""
    for name in (
        "s",
        os.path.basename(os.getcwd()) and "./t",
        "\0abstract-" + os.path.basename(os.getcwd()),
        "x" * 107,
    ):
        server = socket.socket(socket.AF_UNIX)
        server.bind(name)
        server.listen()
        client = socket.socket(socket.AF_UNIX)
        client.connect(name)
        held, peer = server.accept()
        client.sendall(b"to")
        held.sendall(b"from " + held.recv(10))
        print(repr(peer), client.recv(20), client.getpeername(), held.getsockname())
        credentials = held.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        print(struct.unpack("iii", credentials)[1:] == (os.getuid(), os.getgid()))
    again = socket.socket(socket.AF_UNIX)
    _say("in use", lambda: again.bind("s"))
    _say("missing", lambda: again.connect("nothing"))
    _put("plain")
    _say("no socket", lambda: again.connect("plain"))
    _say("in no folder", lambda: again.bind("nothing/s"))
    os.unlink("s")
    _say("gone", lambda: again.connect("s"))
    _say("rebound", lambda: again.bind("s"))
    _say("not listening", lambda: socket.socket(socket.AF_UNIX).connect("s"))
    print(_mode("s"), again.getsockname())
    _say("too long", lambda: socket.socket(socket.AF_UNIX).bind("y" * 200))
    auto = socket.socket(socket.AF_UNIX)
    _say("auto", lambda: auto.bind(""))
    print(auto.getsockname()[:1])
    os.umask(0o77)
    masked = socket.socket(socket.AF_UNIX)
    masked.bind("masked")
    print(_mode("masked"))


def unix_datagram() -> None:
    """Datagrams by path and abstract name, connected and not, and from where they come."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind("server")
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    _say("unnamed", lambda: client.sendto(b"one", "server"))
    print(server.recvfrom(10))
    client.bind("client")
    client.sendto(b"two", "server")
    data, where = server.recvfrom(10)
    server.sendto(b"back", where)
    print(data, where, client.recvfrom(10))
    client.connect("server")
    print(client.send(b"three"), server.recv(10), client.getpeername())
    _say("missing", lambda: client.sendto(b"x", "nothing"))
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = "\0dgram-" + os.path.basename(os.getcwd())
    abstract.bind(name)
    print(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"abstract", name), abstract.recv(20))
    print(client.sendmsg([b"a", b"b"]), server.recv(10))
    loose = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    print(loose.sendmsg([b"c", b"d"], [], 0, "server"), server.recv(10))


def descriptors_over_sockets() -> None:
    """SCM_RIGHTS and SCM_CREDENTIALS over a pair, a stream and datagrams; the received descriptor works."""
    one, two = socket.socketpair()
    _put("f", "passed")
    number = os.open("f", os.O_RDONLY)
    socket.send_fds(one, [b"x"], [number, 1])
    data, received, _, _ = socket.recv_fds(two, 10, 5)
    print(data, len(received), _get(received[0]))
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    socket.send_fds(one, [b"y"], [os.open("f", os.O_RDONLY)])
    print(_get(socket.recv_fds(two, 10, 5)[1][0]))
    one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.sendmsg([b"one", b"two"])
    print(two.recv(20))
    one, two = socket.socketpair()
    two.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    one.send(b"c")
    _, ancillary, _, _ = two.recvmsg(10, 100)
    print([(level, kind, struct.unpack("iii", value)[0] == os.getpid()) for level, kind, value in ancillary])
    one.sendmsg(
        [b"d"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iii", os.getpid(), os.getuid(), os.getgid()))]
    )
    _, ancillary, _, _ = two.recvmsg(10, 100)
    print([struct.unpack("iii", value)[1:] == (os.getuid(), os.getgid()) for _, _, value in ancillary])
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind("server")
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.sendmsg(
        [b"z"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.open("f", os.O_RDONLY)]))], 0, "server"
    )
    print(_get(socket.recv_fds(server, 10, 5)[1][0]))


def tcp_inside() -> None:
    """Listen, connect, accept and shutdown inside the tree; names of both ends; IPv6 and dual stack; nobody there."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            server = socket.create_server((host, 0), family=family)
        except OSError as problem:
            print(host, errno.errorcode[problem.errno or 0])
            continue
        client = socket.create_connection(server.getsockname()[:2])
        held, peer = server.accept()
        print(
            peer[1] == client.getsockname()[1],
            client.getpeername() == server.getsockname(),
            held.getsockname() == server.getsockname(),
        )
        client.sendall(b"ping" * 10000)
        client.shutdown(socket.SHUT_WR)
        total = 0
        while data := held.recv(65536):
            total += len(data)
        print(total)
        held.close()
        print(client.recv(10))
        port = server.getsockname()[1]
        server.close()
        _say("refused", lambda h=host, p=port: socket.create_connection((h, p)))
    with socket.socket() as lone:
        lone.bind(("127.0.0.1", 0))
        _say("bound, not listening", lambda: socket.create_connection(lone.getsockname()))
        _say("in use", lambda: socket.socket().bind(lone.getsockname()))
    _say("foreign address", lambda: socket.socket().bind(("192.0.2.1", 0)))
    _say("not connected", lambda: socket.socket().send(b"x"))
    with socket.create_server(("127.0.0.1", 0)) as twice:
        client = socket.create_connection(twice.getsockname())
        _say("again", lambda: client.connect(twice.getsockname()))
        _say("any", lambda: socket.create_connection(("0.0.0.0", twice.getsockname()[1])).close())
        _say("unspecified", lambda: _libc.connect(client.fileno(), struct.pack("=H14x", 0), 16))
    _say("short address", lambda: _connect_raw(struct.pack("=H", 2), 2))
    _say("wrong family", lambda: _connect_raw(struct.pack("=H14x", 99), 16))
    _say(
        "not a socket",
        lambda: print(_raw(_number(42, 203), os.open("/dev/null", os.O_RDONLY), struct.pack("=H14x", 2), 16)),
    )
    _say("closed", lambda: print(_raw(_number(42, 203), 999, struct.pack("=H14x", 2), 16)))


def _connect_raw(address: bytes, length: int) -> None:
    with socket.socket() as client:
        print(_raw(_number(42, 203), client.fileno(), address, length))


def tcp_without_blocking() -> None:
    """A non-blocking connect inside the tree: EINPROGRESS or done at once, then writable, no error."""
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.socket()
    client.setblocking(False)
    try:
        client.connect(server.getsockname())
    except BlockingIOError:
        pass
    held, _ = server.accept()
    print(
        len(select.select([], [client], [], 5)[1]),
        client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        client.getblocking(),
    )
    client.send(b"x")
    print(held.recv(5))
    dead = socket.socket()
    dead.bind(("127.0.0.1", 0))
    late = socket.socket()
    late.setblocking(False)
    print(late.connect_ex(dead.getsockname()) in (errno.ECONNREFUSED, errno.EINPROGRESS))
    many = [socket.socket() for _ in range(20)]
    for one in many:
        one.setblocking(False)
        one.connect_ex(server.getsockname())
    print(sum(1 for one in many if select.select([], [one], [], 5)[1]))

    import asyncio

    async def talk() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.read(100)).upper())
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as inner:
            reader, writer = await asyncio.open_connection(*inner.sockets[0].getsockname())
            writer.write(b"asyncio")
            return await reader.read(100)

    print(asyncio.run(talk()))


def udp_inside() -> None:
    """Datagrams between sockets of the tree: addressed, connected, by sendmsg and sendmmsg, empty and large."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(5)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    print(client.sendto(b"one", server.getsockname()), server.recv(10))
    print(client.sendmsg([b"tw", b"o"], [], 0, server.getsockname()), server.recv(10))
    client.connect(server.getsockname())
    print(client.send(b"three"), server.recvfrom(10)[0], client.getpeername() == server.getsockname())
    print(client.send(b""), server.recv(10))
    print(client.send(b"x" * 60000), len(server.recv(65536)))
    _say("too large", lambda: client.send(b"x" * 70000))
    _say("too large to", lambda: client.sendto(b"x" * 70000, server.getsockname()))
    _say("no address", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).send(b"x"))


def socket_families() -> None:
    """The families that are open natively and under a guard; what the guard closes is not compared."""
    for family, kind in (
        (socket.AF_UNIX, socket.SOCK_STREAM),
        (socket.AF_INET, socket.SOCK_STREAM),
        (socket.AF_INET6, socket.SOCK_DGRAM),
        (socket.AF_NETLINK, socket.SOCK_RAW),
    ):
        _say(str((family, kind)), lambda f=family, k=kind: socket.socket(f, k).close())
    _say("interfaces", lambda: len(socket.if_nameindex()) > 0)
    _say("resolve", lambda: socket.getaddrinfo("localhost", 80, socket.AF_INET, socket.SOCK_STREAM)[0][4])
    with socket.socket() as made:
        _say("option", lambda: made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
        _say("twice", lambda: (made.bind(("127.0.0.1", 0)), made.bind(("127.0.0.1", 0))))
        _say("listen", lambda: made.listen(-1))
    _say("listen on datagrams", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).listen())


# ---- other users


def dropped_user() -> None:
    """A child that gave up root gets what the file system gives that user, for 200 paths, and owns what it makes."""
    if os.geteuid() != 0:
        print("needs root")
        return
    os.chmod(".", 0o777)
    for mode in (0o600, 0o640, 0o644, 0o000, 0o666):
        _put(f"f{mode:o}")
        os.chmod(f"f{mode:o}", mode)
        os.mkdir(f"d{mode:o}")
        _put(f"d{mode:o}/f")
        os.chmod(f"d{mode:o}", mode | 0o111 if mode == 0o644 else mode)
    os.mkdir("sticky")
    _put("sticky/f")
    os.chmod("sticky", 0o1777)
    os.chown("f640", 0, 65534)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        places = [name for folder in (".", "/etc", "/root", "/proc/1") for name in _listed(folder)]
        for name in [*sorted(places)[:200], "/etc/shadow", "/root/.bashrc", "d600/f", "d0/f", "d644/f"]:
            for flags in (os.O_RDONLY, os.O_WRONLY):
                if name.startswith(("/etc", "/root")) and flags != os.O_RDONLY and os.access(name, os.W_OK):
                    continue
                _say(f"{name} {flags}", lambda n=name, f=flags: os.close(os.open(n, f | os.O_NONBLOCK)))
        _say("make", lambda: _put("mine"))
        _say("mkdir", lambda: os.mkdir("mine_d"))
        _say("fifo", lambda: os.mkfifo("mine_p"))
        _say("in root's", lambda: _put("d644/x"))
        _say("unlink sticky", lambda: os.unlink("sticky/f"))
        _say("unlink", lambda: os.unlink("f600"))
        _say("chmod", lambda: os.chmod("f666", 0o777))
        _say("chown", lambda: os.chown("mine", 0, 0))
        _say("own chmod", lambda: os.chmod("mine", 0o4755))
        _say("link", lambda: os.link("f644", "linked"))
        _say("rename", lambda: os.rename("f666", "renamed"))
        _say("utime", lambda: os.utime("f644", (1, 1)))
        _say("utime now", lambda: os.utime("f644"))
        _say("truncate", lambda: os.truncate("f644", 0))
        _say("xattr", lambda: os.setxattr("f644", "user.x", b"1"))
        _say("own xattr", lambda: os.setxattr("mine", "user.x", b"1"))
        _say("exec", lambda: subprocess.run(["/usr/bin/id", "-u"], stdout=subprocess.PIPE).stdout)
        _say("environ of root", lambda: os.open("/proc/1/environ", os.O_RDONLY))
        _say("own environ", lambda: os.close(os.open("/proc/self/environ", os.O_RDONLY)))
        with socket.socket(socket.AF_UNIX) as unix:
            _say("unix", lambda: unix.bind("mine_s"))
        _say("kill root's", lambda: os.kill(os.getppid(), signal.SIGCONT))
        sys.stdout.flush()
        os._exit(0)
    print(os.waitpid(pid, 0)[1])
    print(sorted((n, os.lstat(n).st_uid, os.lstat(n).st_gid) for n in os.listdir(".")))


def _listed(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if not name.isdigit()]
    except OSError as problem:
        print(folder, errno.errorcode[problem.errno or 0])
        return []


def switched_user() -> None:
    """A root process that changes its effective and file system user forth and back."""
    if os.geteuid() != 0:
        print("needs root")
        return
    os.chmod(".", 0o777)
    _put("roots")
    os.chmod("roots", 0o600)
    os.setegid(65534)
    os.seteuid(65534)
    _say("as nobody", lambda: _get("roots"))
    _say("make", lambda: _put("made"))
    os.seteuid(0)
    os.setegid(0)
    _say("as root", lambda: _get("roots"))
    print(os.stat("made").st_uid, os.stat("made").st_gid)
    _libc.setfsuid(65534)
    _libc.setfsgid(65534)
    _say("fsuid", lambda: _get("roots"))
    _say("make 2", lambda: _put("made2"))
    _libc.setfsuid(0)
    _libc.setfsgid(0)
    print(os.stat("made2").st_uid, os.stat("made2").st_gid)
    os.setgroups([1234])
    os.mkdir("group")
    os.chown("group", 0, 1234)
    os.chmod("group", 0o2070)
    os.seteuid(65534)
    _say("by group", lambda: _put("group/f"))
    os.seteuid(0)
    print(os.stat("group/f").st_gid)


def without_capabilities() -> None:
    """A root process that drops CAP_DAC_OVERRIDE is bound by modes again."""
    if os.geteuid() != 0:
        print("needs root")
        return
    _put("closed")
    os.chmod("closed", 0)
    os.chmod(".", 0o700)
    header = struct.pack("=Ii", 0x20080522, 0)
    data = ctypes.create_string_buffer(24)
    _libc.capget(header, data)
    words = list(struct.unpack("=6I", data.raw))
    words[0] &= ~0b1111
    print(_libc.capset(header, struct.pack("=6I", *words)))
    _say("read", lambda: _get("closed"))
    _say("chown", lambda: os.chown("closed", 5, 5))
    _say("own", lambda: os.chmod("closed", 0o600))
    _say("read", lambda: _get("closed"))


PROGRAMS: Final[dict[str, Callable[[], None]]] = {
    function.__name__: function
    for function in (
        open_flags, open_append_shares_the_end, open_exclusive_race, open_lowest_descriptor, open_no_descriptors_left, open_creation_modes,
        open_temporary_file, open_bad_pointers, open_path_limit, openat2_resolve, dirfd_calls, working_folder_moves, symlinks_on_the_way, rename_all,
        rename_across_devices, unlink_all, hard_links, special_files, chmod_all, chown_all, times_all, xattrs_all, truncate_all, inode_flags, exec_failures,
        exec_forms, subprocess_forms, threads_open_files, thread_of_its_own_folder, thread_of_its_own_descriptors, multiprocessing_forms, forks_and_orphans,
        signals_to_tree, signals_interrupt_fifo, signal_storm, dumpable_and_names, terminal_calls, proc_self_entries, devices, locks_and_maps, unix_stream,
        unix_datagram, descriptors_over_sockets, tcp_inside, tcp_without_blocking, udp_inside, socket_families, dropped_user, switched_user, without_capabilities,
    )
}  # fmt: skip
