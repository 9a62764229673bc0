"""The kernel's own vocabulary: seccomp user notification, openat2 and the calls that Python has no name for.

Everything here is a thin, typed reach into the kernel by ctypes and ioctl; no decision is made in this file. Sources: seccomp(2),
seccomp_unotify(2), openat2(2), pidfd_getfd(2), linux/seccomp.h, linux/filter.h (6.18).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

# ioctl numbers of the listener: _IOWR/_IOW('!', n, struct), linux/seccomp.h
RECV: Final = 0xC0502100
SEND: Final = 0xC0182101
ID_VALID: Final = 0x40082102
ADDFD: Final = 0x40182103
SET_FLAGS: Final = 0x40082104

CONTINUE: Final = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
ADDFD_SEND: Final = 2  # SECCOMP_ADDFD_FLAG_SEND, 5.14
SYNC_WAKE_UP: Final = 1  # SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, 6.6
ERESTARTSYS: Final = 512  # linux/errno.h: the kernel runs the handler, then restarts or returns EINTR as natively

NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, nr, arch, instruction pointer, args
RESPONSE: Final = struct.Struct("=QqiI")  # id, val, error, flags
ADDED: Final = struct.Struct("=QIIII")  # id, flags, srcfd, newfd, newfd_flags

AT_FDCWD: Final = 0xFFFFFF9C
AT_EMPTY_PATH: Final = 0x1000
AT_SYMLINK_NOFOLLOW: Final = 0x100
AT_SYMLINK_FOLLOW: Final = 0x400
AT_REMOVEDIR: Final = 0x200

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_IN_ROOT: Final = 0x10
RESOLVE_CACHED: Final = 0x20

PROC_SUPER_MAGIC: Final = 0x9FA0

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_NR_SECCOMP = {"x86_64": 317, "aarch64": 277}
_NR_CAPSET = {"x86_64": 126, "aarch64": 91}
_NR_SETGROUPS = {"x86_64": 116, "aarch64": 159}
_NR_OPENAT2 = 437
_NR_PIDFD_GETFD = 438
_NR_PIDFD_OPEN = 434
PIDFD_THREAD: Final = os.O_EXCL  # 6.9

MACHINE: Final = os.uname().machine


class KernelRefused(OSError):
    """A feature that the guard stands on is refused by this kernel or by a surrounding sandbox."""


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise KernelRefused(number, f"{what}: {os.strerror(number)}")
    return result


class _Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install_filter(code: bytes, *, new_privileges: bool) -> int:
    """Puts this BPF code on the calling thread and returns the listener's descriptor (close-on-exec).

    `new_privileges` False sets no_new_privs first, which an ordinary user must. WAIT_KILLABLE_RECV (5.19) is asked for: once received,
    a call is interrupted by fatal signals alone. Raises KernelRefused: EBUSY means that another listener already watches this task.
    """
    if not new_privileges:
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    new_listener, wait_killable = 1 << 3, 1 << 5
    return _checked(
        _syscall(_NR_SECCOMP[MACHINE], 1, new_listener | wait_killable, ctypes.byref(program)), "seccomp filter"
    )


def set_sync_wake_up(listener: int) -> bool:
    """Asks for wake-ups on the waker's CPU (6.6); False where the kernel does not know it."""
    try:
        fcntl.ioctl(listener, SET_FLAGS, SYNC_WAKE_UP)
    except OSError:
        return False
    return True


def die_with_parent(signal_number: int) -> None:
    """PR_SET_PDEATHSIG, prctl(2): this process gets the signal when the thread that made it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "pdeathsig")


def be_subreaper() -> None:
    """Orphans among the descendants become children of this process, PR_SET_CHILD_SUBREAPER (3.4)."""
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")


def be_unreadable() -> None:
    """No process without privilege may read or trace this one (PR_SET_DUMPABLE 0)."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "dumpable")


class _How(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


_how = _How()
_how_view = memoryview(_how).cast("B")
_how_address = ctypes.addressof(_how)
_pack_how = struct.Struct("=QQQ").pack_into
# A function object of its own, so that its argument types are this call's alone; PyDLL keeps the GIL: the call is shorter than a switch.
_openat2 = ctypes.PyDLL(None, use_errno=True)["syscall"]
_openat2.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long]
_openat2.restype = ctypes.c_long


def openat2(folder: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2) by descriptor; raises OSError. EAGAIN (a rename or mount raced with `..`) is retried a bounded number of times."""
    for _ in range(64):
        _pack_how(_how_view, 0, flags, mode, resolve)
        result = int(_openat2(_NR_OPENAT2, folder, path, _how_address, 24))
        if result >= 0:
            return result
        number = ctypes.get_errno()
        if number != errno.EAGAIN:
            break
    raise OSError(number, os.strerror(number))


def open_interruptibly(path: bytes, flags: int) -> int:
    """open(2) that ends with EINTR at a signal (Python's own starts again); raises OSError."""
    result = int(_libc.open(path, flags | os.O_CLOEXEC))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def descriptor_of(tid: int, number: int) -> int:
    """A copy of another task's descriptor: pidfd_open(2) with PIDFD_THREAD where known (6.9), then pidfd_getfd(2). Raises OSError."""
    pidfd = _syscall(_NR_PIDFD_OPEN, tid, PIDFD_THREAD)
    if pidfd < 0:
        pidfd = _checked(_syscall(_NR_PIDFD_OPEN, thread_group(tid), 0), "pidfd_open")
    try:
        return _checked(_syscall(_NR_PIDFD_GETFD, pidfd, number, 0), "pidfd_getfd")
    finally:
        os.close(pidfd)


def thread_group(tid: int) -> int:
    """The process that this thread belongs to, from /proc/TID/status; raises OSError where it is gone."""
    with open(f"/proc/{tid}/status", "rb") as status:
        for line in status:
            if line.startswith(b"Tgid:"):
                return int(line[5:])
    raise OSError(errno.ESRCH, "no such thread")


class _CapHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


def set_thread_groups(groups: tuple[int, ...]) -> None:
    """setgroups(2) for this thread alone (the C library's wrapper would change every thread)."""
    array = (ctypes.c_uint32 * max(len(groups), 1))(*groups)
    _checked(_syscall(_NR_SETGROUPS[MACHINE], len(groups), array), "setgroups")


def set_thread_capabilities(effective: int, permitted: int) -> None:
    """capset(2), version 3, for this thread alone; inheritable is left empty."""
    header = _CapHeader(0x20080522, 0)
    words = (effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, 0, effective >> 32, permitted >> 32, 0)
    _checked(_syscall(_NR_CAPSET[MACHINE], ctypes.byref(header), (ctypes.c_uint32 * 6)(*words)), "capset")


def set_thread_fs_user(uid: int, gid: int) -> None:
    """setfsgid(2), then setfsuid(2): who opens, creates and owns, for this thread alone."""
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)


def raw_syscall(number: int, *arguments: int | bytes | None) -> int:
    """syscall(2) with errno as OSError, for calls that have no name in Python."""
    result = int(_syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
