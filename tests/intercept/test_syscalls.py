"""The filter, run by a small BPF interpreter: what reaches the guard, what is refused with which error, what passes, on both machines.

What never enters: a kernel. That the kernel reads the program as this interpreter does is what the bypass matrix shows.
"""

from __future__ import annotations

import errno
import re
import struct

import pytest

from guard.intercept import receiver, syscalls

MACHINES = tuple(syscalls.ARCHES)
ALLOW, NOTIFY, ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
OPENS = ("open", "openat", "openat2", "creat", "open_by_handle_at")
CHANGES = (
    "unlink",
    "unlinkat",
    "rename",
    "renameat2",
    "linkat",
    "symlinkat",
    "mkdirat",
    "mknodat",
    "fchmod",
    "fchown",
    "truncate",
    "utimensat",
    "fsetxattr",
)
OTHERS = (
    "execve",
    "execveat",
    "connect",
    "bind",
    "sendmsg",
    "sendmmsg",
    "ptrace",
    "process_vm_writev",
    "pidfd_getfd",
    "mount",
    "setns",
    "bpf",
)


def verdict(machine: str, number: int, arguments: tuple[int, ...] = (), arch: int | None = None) -> int:
    """What the filter returns for this call (linux/filter.h: only the instructions that the filter is made of)."""
    code = [struct.unpack("=HBBI", chunk) for chunk in _chunks(syscalls.build_filter(machine))]
    data = struct.pack(
        "=iIQ6Q",
        _signed(number),
        syscalls.ARCHES[machine][1] if arch is None else arch,
        0,
        *(*arguments, *(0,) * (6 - len(arguments))),
    )
    accumulator, at = 0, 0
    while True:
        operation, when_true, when_false, k = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x15:
                at += when_true if accumulator == k else when_false
            case 0x25:
                at += when_true if accumulator > k else when_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"an instruction that is not expected: {operation:#x}")


def _chunks(code: bytes) -> list[bytes]:
    return [code[at : at + 8] for at in range(0, len(code), 8)]


def _signed(number: int) -> int:
    return number - (1 << 32) if number & 0x80000000 else number


def _numbered(machine: str, *names: str) -> list[tuple[str, int]]:
    column = syscalls.ARCHES[machine][0]
    return [(name, number) for name in names if (number := syscalls.NUMBERS[name][column]) is not None]


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_fits_into_the_kernels_limit(machine: str) -> None:
    """BPF_MAXINSNS is 4,096, and a conditional jump reaches 255 instructions."""
    assert len(syscalls.build_filter(machine)) // 8 <= 4096


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flags", [0, 0o10000000, 0o200000, 0o100 | 1, 0xFFFFFFFF, 0o20200000])
def test_no_open_of_any_kind_is_passed(machine: str, flags: int) -> None:
    """Whatever the flags say: they do not make an open harmless."""
    for name, number in _numbered(machine, *OPENS):
        assert verdict(machine, number, (flags, flags, flags, flags, flags, flags)) == NOTIFY, name


@pytest.mark.parametrize("machine", MACHINES)
def test_what_changes_or_leaves_is_notified_whatever_its_arguments(machine: str) -> None:
    """Calls without a row of conditions are always seen."""
    for name, number in _numbered(machine, *CHANGES, *OTHERS):
        for value in (0, 1, 0xFFFFFFFF, (1 << 64) - 1):
            assert verdict(machine, number, (value,) * 6) == NOTIFY, name


@pytest.mark.parametrize("machine", MACHINES)
def test_refused_calls_give_their_errno(machine: str) -> None:
    """Each with the error that the table names, for any arguments."""
    for name, (number_of_error, _) in syscalls.REFUSED.items():
        for _, number in _numbered(machine, name):
            assert verdict(machine, number, (1,) * 6) == ERRNO | number_of_error, name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "number", [syscalls.LAST_KNOWN + 1, 511, 0x40000000, 0x40000000 + 257, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
)
def test_numbers_above_the_table_do_not_exist(machine: str, number: int) -> None:
    """Later calls, x32's numbers and negative ones."""
    assert verdict(machine, number) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("arch", [0x40000003, 0x40000028, 0, 0xC00000F3])
def test_foreign_abis_do_not_exist(machine: str, arch: int) -> None:
    """i386 by `int 0x80`, 32-bit ARM, and machines that are not this one."""
    assert verdict(machine, 1, arch=arch) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_every_notified_call_has_a_handler(machine: str) -> None:
    """A call that is trapped for nobody would be refused to everybody."""
    treated = _handled_names()
    for number, name in syscalls.numbers(machine).items():
        rows, otherwise = syscalls.CONDITIONAL.get(name, ((), NOTIFY))
        if name not in syscalls.REFUSED and NOTIFY in (otherwise, *(action for _, action in rows)):
            assert name in treated, (number, name)


def _handled_names() -> frozenset[str]:
    """The names that the receiver's four tables serve; the tables are built without calling anything in them."""

    class Anything:
        def __getattr__(self, _: str) -> object:
            return lambda *_, **__: None

    tables = (receiver._file_handlers, receiver._socket_handlers, receiver._process_handlers, receiver._system_handlers)
    return frozenset(name for table in tables for name in table(Anything()))  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", MACHINES)
def test_conditions(machine: str) -> None:
    """The calls of which only some arguments matter."""

    def of(name: str, *arguments: int) -> int:
        return verdict(machine, _numbered(machine, name)[0][1], arguments)

    assert of("prctl", 4, 0) == ERRNO  # unreadable: answered with success, not done
    assert of("prctl", 4, 1) == ALLOW
    assert of("prctl", 35) == ERRNO | errno.EPERM
    assert of("fcntl", 3, 8, 1) == NOTIFY
    assert of("fcntl", 3, 1024, 0) == ERRNO | errno.EINVAL
    assert of("fcntl", 3, (1 << 32) | 8, 1) == NOTIFY  # the kernel reads 32 bits of it, and so does the filter
    assert of("ioctl", 3, 0x5412) == ERRNO | errno.EPERM
    assert of("ioctl", 3, 0x40086602) == NOTIFY
    assert of("ioctl", 3, 0x5401) == ALLOW
    assert of("clone", 0x10000000 | 17) == NOTIFY
    assert of("clone", 0x3D0F00 | 0x00020000) == NOTIFY  # a namespace flag among a thread's
    assert of("clone", 0x3D0F00) == ALLOW
    assert of("clone", 17) == ALLOW
    assert of("clone", 0x200 | 17) == NOTIFY
    assert of("socket", 1, 1, 0) == ALLOW
    assert of("socket", 2, 1 | 0o2000000, 6) == ALLOW
    assert of("socket", 2, 3, 1) == ERRNO | errno.EPROTONOSUPPORT
    assert of("socket", 17, 3, 0) == ERRNO | errno.EAFNOSUPPORT
    assert of("socket", 16, 3, 9) == ERRNO | errno.EPROTONOSUPPORT
    assert of("kill", 5, 0) == ALLOW
    assert of("kill", 5, 9) == NOTIFY
    assert of("sendto", 3, 0, 0, 0, 0) == ALLOW
    assert of("sendto", 3, 0, 0, 0, 1 << 40) == NOTIFY  # an address whose lower half is zero
    assert of("sendto", 3, 0, 0, 0x20000000, 0) == NOTIFY
    assert of("setsockopt", 3, 6, 19) == ERRNO | errno.EPERM
    assert of("unshare", 0) == ALLOW
    assert of("unshare", 0x10000000) == NOTIFY
    assert of("prlimit64", 7) == NOTIFY


def test_the_closed_list_of_continued_calls_is_what_the_docstring_says() -> None:
    """The list at the head of the receiver, as text: a change of either is a change of the promise."""
    text = receiver.__doc__ or ""
    listed = text.split("each with its reason:", 1)[1]
    firsts = [line.strip().split("  ")[0] for line in listed.splitlines() if re.match(r" {4}\S", line)]
    assert firsts == [
        "execve, execveat",
        "open with O_PATH",
        "open of a terminal by a",
        "sendmsg, sendto on stream",
        "kill, ptrace, sched_* …",
        "umask, set*id, capset,",
    ]
