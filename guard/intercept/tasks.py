"""Who is calling: threads of the tree, their memory, identity and namespaces, read from procfs.

A task is known by the descriptor of its /proc/TID folder, which the kernel binds to that very task: once it ended, every read through
the folder says ESRCH, so a reused number is never taken for its predecessor (proc(5)). Nothing is judged or performed here.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Final

PATH_MAX: Final = 4096  # linux/limits.h, with the NUL
_CHUNK: Final = 256  # most paths fit in one read of this size


class Gone(Exception):
    """The caller ended, or its call was withdrawn, while it was being looked at: there is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Persona:
    """Who opens and owns: file system uid and gid, supplementary groups, effective capabilities (bit mask, initial namespace)."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int


@dataclass(slots=True)
class Status:
    """What /proc/TID/status says, as far as the guard asks."""

    tgid: int
    parent: int
    umask: int
    persona: Persona
    threads: tuple[int, ...]  # the thread's numbers, from the guard's pid namespace to the innermost one
    groups: tuple[int, ...]  # likewise the process's
    pending: int  # signals that wait and are neither blocked nor ignored (bit mask)


class Task:
    """One thread of the tree. Attributes that are None have not been asked for, or were forgotten because they may have changed."""

    __slots__ = ("tid", "folder", "_group", "_memory", "_status")

    def __init__(self, tid: int) -> None:
        self.tid = tid
        try:
            self.folder = os.open(f"/proc/{tid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise Gone from problem
        self._memory = -1
        self._status: Status | None = None
        self._group = 0  # the process, once it was asked for; a thread never changes it

    def close(self) -> None:
        """Lets go of the descriptors; the task object must not be used afterwards."""
        for descriptor in (self.folder, self._memory):
            if descriptor >= 0:
                os.close(descriptor)
        self.folder = self._memory = -1

    def alive(self) -> bool:
        """Whether this very task (not a later one of the same number) still exists."""
        return os.access("comm", os.F_OK, dir_fd=self.folder)

    # ---- memory

    def forget_memory(self) -> None:
        """Called at every exec: the pinned memory may belong to an image that is about to be replaced."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of the caller's memory; raises OSError EFAULT where nothing is mapped, Gone where the caller ended."""
        for _ in range(2):
            if self._memory < 0:
                try:
                    self._memory = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
                except FileNotFoundError as problem:
                    raise Gone from problem
                except ProcessLookupError as problem:
                    raise Gone from problem
            try:
                data = os.pread(self._memory, size, address)
            except OverflowError as problem:
                raise OSError(errno.EFAULT, "address out of range") from problem
            except OSError as problem:
                raise OSError(errno.EFAULT, "not mapped") from problem
            if data:
                return data
            self.forget_memory()  # nothing at all: the address space is dead (an exec happened), look at the new one
        raise OSError(errno.EFAULT, "no memory")

    def exactly(self, address: int, size: int) -> bytes:
        """This many bytes; OSError EFAULT where they are not all there, as copy_from_user in the kernel would say."""
        data = b""
        while len(data) < size:
            data += self.read(address + len(data), size - len(data))
        return data

    def string(self, address: int, limit: int = PATH_MAX) -> bytes:
        """The NUL-terminated string at this address; OSError ENAMETOOLONG beyond `limit` bytes, EFAULT as the kernel would say."""
        data = self.read(address, min(_CHUNK, limit))
        end = data.find(0)
        if end >= 0:
            return data[:end]
        while len(data) < limit:
            more = self.read(address + len(data), min(limit - len(data), 4096 - (address + len(data)) % 4096))
            end = more.find(0)
            if end >= 0:
                return data + more[:end]
            data += more
        raise OSError(errno.ENAMETOOLONG, "string too long")

    # ---- identity

    def status(self) -> Status:
        """Identity of the caller, read once and kept until `forget_identity`."""
        if self._status is None:
            self._status = _parsed(self._file("status"))
        return self._status

    def forget_identity(self) -> None:
        """Called when a call that may change credentials, umask or namespaces is let through."""
        self._status = None

    def pending_signals(self) -> int:
        """Signals that wait for this task and would interrupt it, as a bit mask; never cached."""
        return _parsed(self._file("status")).pending

    @property
    def tgid(self) -> int:
        """The process that this thread belongs to."""
        if not self._group:
            self._group = self.status().tgid
        return self._group

    def may_be_of(self, group: int) -> bool:
        """Whether the thread belongs to this process, or has never been asked; never looks, so that dead tasks raise nothing."""
        return self._group in (0, group)

    def _file(self, name: str) -> bytes:
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.folder)
        except (FileNotFoundError, ProcessLookupError) as problem:
            raise Gone from problem
        try:
            data = bytearray()
            while chunk := os.read(descriptor, 65536):
                data += chunk
        except ProcessLookupError as problem:
            raise Gone from problem
        finally:
            os.close(descriptor)
        return bytes(data)

    def file(self, name: str) -> bytes:
        """A whole small file of the task's procfs folder (`cmdline`, `stat`, `environ`); raises Gone, or OSError where it may not be read."""
        return self._file(name)

    def link(self, name: str) -> bytes:
        """What a magic link of the folder names (`exe`, `cwd`, `root`, `fd/3`)."""
        try:
            return os.fsencode(os.readlink(name, dir_fd=self.folder))
        except ProcessLookupError as problem:
            raise Gone from problem

    def handle(self, name: str) -> int:
        """An O_PATH descriptor of what a magic link leads to (`cwd`, `root`, `exe`, `fd/3`); raises OSError."""
        return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self.folder)

    def base(self, dirfd: int) -> int:
        """An O_PATH descriptor of where a relative path starts: the working folder for AT_FDCWD, else that descriptor; EBADF as natively."""
        if dirfd == 0xFFFFFF9C:
            try:
                return self.handle("cwd")
            except ProcessLookupError as problem:
                raise Gone from problem
        if dirfd & 0x80000000:
            raise OSError(errno.EBADF, "bad descriptor")
        try:
            return self.handle(f"fd/{dirfd}")
        except FileNotFoundError as problem:
            raise OSError(errno.EBADF, "bad descriptor") from problem

    def terminal(self) -> int:
        """The device number of the controlling terminal, 0 where there is none (proc_pid_stat(5), field 7)."""
        return int(self._file("stat").rsplit(b")", 1)[1].split()[4])

    def is_alone(self) -> bool:
        """Whether the process has one thread, so that nobody exchanges its descriptors while a call is looked at."""
        return _field(self._file("status"), b"Threads").strip() == b"1"

    def is_traced(self) -> bool:
        """Whether a tracer is attached (ptrace(2)); it stays attached over an exec."""
        return int(_field(self._file("status"), b"TracerPid") or b"0") != 0

    def leads_session(self) -> bool:
        """Whether the process is a session leader, which acquires a terminal by opening it."""
        return int(self._file("stat").rsplit(b")", 1)[1].split()[3]) == self.tgid


def start_time(stat: bytes) -> int:
    """When a process began, in clock ticks since boot (proc_pid_stat(5), field 22)."""
    return int(stat.rsplit(b")", 1)[1].split()[19])


def _field(text: bytes, name: bytes) -> bytes:
    start = text.find(b"\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 2
    return text[start : text.index(b"\n", start)]


def _parsed(text: bytes) -> Status:
    uids, gids = _field(text, b"Uid").split(), _field(text, b"Gid").split()
    waiting = int(_field(text, b"SigPnd") or b"0", 16) | int(_field(text, b"ShdPnd") or b"0", 16)
    shut = int(_field(text, b"SigBlk") or b"0", 16) | int(_field(text, b"SigIgn") or b"0", 16)
    return Status(
        tgid=int(_field(text, b"Tgid")),
        parent=int(_field(text, b"PPid")),
        umask=int(_field(text, b"Umask") or b"022", 8),
        persona=Persona(
            uid=int(uids[3]),
            gid=int(gids[3]),
            groups=tuple(int(g) for g in _field(text, b"Groups").split()),
            capabilities=int(_field(text, b"CapEff") or b"0", 16),
        ),
        threads=tuple(int(n) for n in _field(text, b"NSpid").split()) or (int(_field(text, b"Pid")),),
        groups=tuple(int(n) for n in _field(text, b"NStgid").split()) or (int(_field(text, b"Tgid")),),
        pending=waiting & ~shut,
    )
