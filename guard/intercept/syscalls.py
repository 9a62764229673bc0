"""Which system calls reach the guard, which are refused outright, and the BPF filter that says so.

The filter looks at call numbers and register arguments only. The rule of the table: a call that can change, read or send something
outside the caller's own memory is `NOTIFY`; a call that would make the others meaningless is refused with an error that programs
cope with; what stays out works on descriptors whose opening was judged, or on the caller itself. No open of any kind is passed.
Numbers: linux/arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of 6.18.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# name: (x86-64, aarch64); None where the architecture has no such call
NUMBERS: Final[Mapping[str, tuple[int | None, int | None]]] = {
    # opens
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None), "open_by_handle_at": (304, 265),
    # the tree of names
    "unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "mkdir": (83, None), "mkdirat": (258, 34), "mknod": (133, None), "mknodat": (259, 33),
    "symlink": (88, None), "symlinkat": (266, 36), "link": (86, None), "linkat": (265, 37),
    # attributes, by path and by descriptor
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "truncate": (76, 45),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    # programs
    "execve": (59, 221), "execveat": (322, 281),
    # sockets
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269), "setsockopt": (54, 208),
    # other processes
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "prlimit64": (302, 261), "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "setpgid": (109, 154), "fcntl": (72, 25), "ioctl": (16, 29), "prctl": (157, 167),
    # what a check relies on
    "umask": (95, 166), "clone": (56, 220), "clone3": (435, 435), "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51),
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143), "setresuid": (117, 147),
    "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152), "setgroups": (116, 159), "capset": (126, 91),
    # mounts
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "move_mount": (429, 429), "open_tree": (428, 428),
    "open_tree_attr": (467, 467), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442),
    # the machine
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "iopl": (172, None), "ioperm": (173, None), "bpf": (321, 280),
    "perf_event_open": (298, 241), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58), "nfsservctl": (180, 42),
    "fanotify_init": (300, 262), "mq_open": (240, 180), "mq_unlink": (241, 181),
    # rings and faults that would act or wait behind the filter's back
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "userfaultfd": (323, 282),
    "uselib": (134, None),
}  # fmt: skip

LAST_KNOWN: Final = 469  # file_setattr, 6.17; every number above is refused with ENOSYS

ARCHES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of NUMBERS, AUDIT_ARCH_*

_ALLOW = 0x7FFF0000
_NOTIFY = 0x7FC00000
_ERRNO = 0x00050000

CLONE_NEW: Final = 0x7E020080  # NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_FS: Final = 0x200
_CLONE_THREAD = 0x10000

# Refused without a notification: (errno, why)
REFUSED: Final[Mapping[str, tuple[int, str]]] = {
    "clone3": (
        errno.ENOSYS,
        "its flags lie in memory; C libraries fall back to clone, whose flags the filter can read",
    ),
    "io_uring_setup": (errno.ENOSYS, "a ring opens, connects and unlinks without a system call; Node and Go fall back"),
    "io_uring_enter": (errno.ENOSYS, "see io_uring_setup"),
    "io_uring_register": (errno.ENOSYS, "see io_uring_setup"),
    "userfaultfd": (errno.EPERM, "lets one thread stop the guard in the middle of reading another's arguments"),
    "uselib": (errno.ENOSYS, "loads a library by path without an open"),
    "nfsservctl": (errno.ENOSYS, "gone since 3.1"),
}


@dataclass(frozen=True, slots=True)
class Test:
    """One look at a register argument: `args[index] & mask` equals `value` (lower 32 bits, as the kernel reads an int)."""

    index: int
    value: int
    mask: int = 0xFFFFFFFF


_ANSWER_ZERO = _ERRNO
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902
_FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR, _FS_IOC_SETVERSION = 0x40086602, 0x401C5820, 0x40087602
_BTRFS_TREE = (0x50009401, 0x5000940E, 0x5000940F, 0x50009417, 0x50009418, 0x5000943F)
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_STREAM, _DGRAM, _SEQPACKET = 1, 2, 5

# Calls of which only some arguments matter: rows are tried in order, the last word is `otherwise`.
_Row = tuple[tuple[Test, ...], int]
CONDITIONAL: Final[Mapping[str, tuple[tuple[_Row, ...], int]]] = {
    # answered with success and not executed, so that no caller becomes unreadable; PR_SET_MM would forge /proc/PID/exe and cmdline
    "prctl": ((((Test(0, 4), Test(1, 0)), _ANSWER_ZERO), ((Test(0, 35),), _ERRNO | errno.EPERM)), _ALLOW),
    "fcntl": (
        (
            ((Test(1, 8),), _NOTIFY),  # F_SETOWN: signals that the kernel sends for the caller
            ((Test(1, 15),), _ERRNO | errno.EINVAL),  # F_SETOWN_EX: the same, from memory
            ((Test(1, 1024),), _ERRNO | errno.EINVAL),  # F_SETLEASE: would make the guard's own opens wait
        ),
        _ALLOW,
    ),
    "ioctl": (
        (
            ((Test(1, _TIOCSTI),), _ERRNO | errno.EPERM),
            ((Test(1, _TIOCLINUX),), _ERRNO | errno.EPERM),
            ((Test(1, _FIOSETOWN),), _ERRNO | errno.EINVAL),
            ((Test(1, _SIOCSPGRP),), _ERRNO | errno.EINVAL),
            *((((Test(1, number),), _ERRNO | errno.EPERM)) for number in _BTRFS_TREE),
            ((Test(1, _FS_IOC_SETFLAGS),), _NOTIFY),
            ((Test(1, _FS_IOC_FSSETXATTR),), _NOTIFY),
            ((Test(1, _FS_IOC_SETVERSION),), _NOTIFY),
        ),
        _ALLOW,
    ),
    "clone": (
        (
            *(
                ((Test(0, bit, bit),), _NOTIFY)
                for bit in (1 << n for n in range(32))
                if bit & CLONE_NEW and bit != 0x80
            ),
            ((Test(0, _CLONE_THREAD, _CLONE_THREAD),), _ALLOW),
            ((Test(0, CLONE_FS, CLONE_FS),), _NOTIFY),
        ),
        _ALLOW,
    ),
    "socket": (
        (
            ((Test(0, _AF_UNIX),), _ALLOW),
            ((Test(0, _AF_NETLINK), Test(2, 0)), _ALLOW),  # NETLINK_ROUTE
            *(
                ((Test(0, family), Test(1, kind, 0xF), Test(2, protocol)), _ALLOW)
                for family in (_AF_INET, _AF_INET6)
                for kind, protocol in ((_STREAM, 0), (_STREAM, 6), (_DGRAM, 0), (_DGRAM, 17))
            ),
            ((Test(0, _AF_INET),), _ERRNO | errno.EPROTONOSUPPORT),
            ((Test(0, _AF_INET6),), _ERRNO | errno.EPROTONOSUPPORT),
            ((Test(0, _AF_NETLINK),), _ERRNO | errno.EPROTONOSUPPORT),
        ),
        _ERRNO | errno.EAFNOSUPPORT,
    ),
    "setsockopt": (
        (((Test(1, 6), Test(2, 19)), _ERRNO | errno.EPERM),),
        _ALLOW,
    ),  # TCP_REPAIR makes connections without connect
    # a null signal only asks whether the process exists
    "kill": ((((Test(1, 0),), _ALLOW),), _NOTIFY),
    "tkill": ((((Test(1, 0),), _ALLOW),), _NOTIFY),
    "tgkill": ((((Test(2, 0),), _ALLOW),), _NOTIFY),
    # 0 is the caller itself
    "prlimit64": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
    "setpriority": ((((Test(0, 0), Test(1, 0)), _ALLOW),), _NOTIFY),
    "ioprio_set": ((((Test(0, 1), Test(1, 0)), _ALLOW),), _NOTIFY),
    "sched_setscheduler": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
    "sched_setparam": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
    "sched_setattr": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
    "sched_setaffinity": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
    "setpgid": ((((Test(1, 0),), _ALLOW),), _NOTIFY),  # a group of its own; joining one is judged
    "unshare": ((((Test(0, 0),), _ALLOW),), _NOTIFY),
}

HOT: Final = (
    "openat",
    "open",
    "unlinkat",
    "unlink",
    "execve",
    "sendmsg",
    "sendto",
    "fcntl",
    "ioctl",
    "clone",
    "kill",
    "tgkill",
)


def _statement(code: int, k: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, k)


def _jump(code: int, k: int, when_true: int, when_false: int) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, k)


_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_EQUAL, _GREATER = 0x15, 0x25
_OFFSET_NUMBER, _OFFSET_ARCH = 0, 4  # struct seccomp_data, linux/seccomp.h


def _argument(index: int, *, high: bool = False) -> int:
    return 16 + 8 * index + (4 if high else 0)  # little-endian machines only: both that are supported are


def _row(tests: tuple[Test, ...], action: int) -> list[bytes]:
    """`if all tests: return action`, else fall through."""
    body: list[bytes] = []
    remaining = [_statement(_RETURN, action)]
    for test in reversed(tests):
        look = [_statement(_LOAD, _argument(test.index))]
        if test.mask != 0xFFFFFFFF:
            look.append(_statement(_AND, test.mask))
        remaining = [*look, _jump(_EQUAL, test.value, 0, len(remaining)), *remaining]
    body.extend(remaining)
    return body


def _send_to() -> list[bytes]:
    """sendto passes only without an address and without MSG_FASTOPEN, which connects."""
    fast_open = 0x20000000
    return [
        _statement(_LOAD, _argument(3)),
        _statement(_AND, fast_open),
        _jump(_EQUAL, 0, 1, 0),
        _statement(_RETURN, _NOTIFY),
        _statement(_LOAD, _argument(4)),
        _jump(_EQUAL, 0, 1, 0),
        _statement(_RETURN, _NOTIFY),
        _statement(_LOAD, _argument(4, high=True)),
        _jump(_EQUAL, 0, 1, 0),
        _statement(_RETURN, _NOTIFY),
        _statement(_RETURN, _ALLOW),
    ]


def _treatment(name: str) -> list[bytes]:
    if name in REFUSED:
        return [_statement(_RETURN, _ERRNO | REFUSED[name][0])]
    if name == "sendto":
        return _send_to()
    if name in CONDITIONAL:
        rows, otherwise = CONDITIONAL[name]
        return [line for tests, action in rows for line in _row(tests, action)] + [_statement(_RETURN, otherwise)]
    return [_statement(_RETURN, _NOTIFY)]


def numbers(machine: str) -> dict[int, str]:
    """Call number to name, for the calls of the table that this machine has; KeyError for a machine without a table."""
    column = ARCHES[machine][0]
    return {row[column]: name for name, row in NUMBERS.items() if row[column] is not None}  # type: ignore[misc]


def build_filter(machine: str) -> bytes:
    """The BPF program (struct sock_filter[]) for this machine; KeyError for a machine without a table."""
    named = numbers(machine)
    order = sorted(named.items(), key=lambda item: HOT.index(item[1]) if item[1] in HOT else len(HOT) + item[0])
    code = [
        _statement(_LOAD, _OFFSET_ARCH),
        _jump(_EQUAL, ARCHES[machine][1], 1, 0),
        _statement(_RETURN, _ERRNO | errno.ENOSYS),
        _statement(_LOAD, _OFFSET_NUMBER),
        _jump(_GREATER, LAST_KNOWN, 0, 1),
        _statement(_RETURN, _ERRNO | errno.ENOSYS),
    ]
    for number, name in order:
        body = _treatment(name)
        code.append(_jump(_EQUAL, number, 0, len(body)))
        code.extend(body)
        # a body always returns, so the accumulator still holds the number on the next line
    code.append(_statement(_RETURN, _ALLOW))
    return b"".join(code)
