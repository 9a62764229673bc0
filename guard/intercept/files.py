"""File calls, performed for the caller on resolved descriptors: what was judged is what happens.

Each method takes the caller's arguments as the kernel got them, resolves them, lets the owner of this room judge the canonical action,
and then does it as the caller. Errors are the kernel's own (OSError); a refusal travels as whatever `judge` raises. Nothing is decided here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from guard.core.actions import Action, FileAction, SystemAction
from guard.intercept import kernel
from guard.intercept.identity import Identity
from guard.intercept.paths import FOREIGN_PROC, Found, NotAt, Paths, Slot, is_nameless
from guard.intercept.tasks import Task

O_TMPFILE: Final = 0o20200000
_TTY_MAJORS: Final = frozenset((4, *range(136, 144)))
_DEEP_ENTRIES: Final = frozenset(("mem", "map_files", "fd", "pagemap", "syscall", "stack"))
_MAPS: Final = frozenset((b"uid_map", b"gid_map", b"setgroups", b"projid_map"))  # user_namespaces(7)
_DEV_TTY = (5, 0)
# Entries of /proc/PID that show or change more of another process than its name and state, proc(5)
_PRIVATE_ENTRIES: Final = frozenset(
    ("mem", "environ", "maps", "smaps", "map_files", "auxv", "fd", "fdinfo", "syscall", "stack", "pagemap", "io")
)


@dataclass(frozen=True, slots=True)
class Give:
    """A descriptor to put into the caller's table; the receiver closes its own copy."""

    descriptor: int
    close_on_exec: bool


@dataclass(frozen=True, slots=True)
class Later:
    """An open that is done in a thread of its own: because it may wait (a FIFO without its other end), or (`become`) because the kernel looks at
    who opened, and not only at the file system identity (`uid_map` and its kin, user_namespaces(7)).
    """

    handle: int
    flags: int
    become: bool = False


class Continued:
    """The call is let through to the kernel."""


CONTINUED: Final = Continued()
Done = Give | Later | Continued | int
Judge = Callable[[Task, Action], bytes | None]
"""Records and returns, or raises to refuse or to wait; where the verdict rests on a file's content it returns that content, and this very content
is put in place."""


class Files:
    """Performs file calls. `whose(pid)` classes a process: `guard`, `tree` or `outside`."""

    def __init__(self, paths: Paths, identity: Identity, judge: Judge, whose: Callable[[int], str]) -> None:
        self.paths, self.identity, self.judge, self.whose = paths, identity, judge, whose

    # ---- opens

    def open(self, task: Task, dirfd: int, path: bytes, flags: int, mode: int) -> Done:
        """open(2), openat(2), creat(2); O_PATH opens are continued: a handle gives nothing until another trapped call uses it."""
        if flags & os.O_PATH:
            return CONTINUED
        if flags & O_TMPFILE == O_TMPFILE:
            return self._temporary(task, dirfd, path, flags, mode)
        exclusive = flags & (os.O_CREAT | os.O_EXCL) == os.O_CREAT | os.O_EXCL
        for _ in range(8):  # names that outsiders change between the look and the use are looked at again
            try:
                follow = not (flags & os.O_NOFOLLOW or exclusive)
                found = self.paths.find(task, dirfd, path, follow=follow, to_make=bool(flags & os.O_CREAT))
            except NotAt as missing:
                try:
                    made = self._create(task, missing.slot, path, flags, mode)
                finally:
                    os.close(missing.slot.descriptor)
                if made is not None:
                    return made
                continue
            try:
                if exclusive:
                    raise FileExistsError(errno.EEXIST, "exists")
                return self._existing(task, found, flags)
            finally:
                os.close(found.descriptor)
        raise OSError(errno.EAGAIN, "the name keeps changing")

    def open2(self, task: Task, dirfd: int, path: bytes, how: int, size: int) -> Done:
        """openat2(2): its flags lie in memory, so it is never continued; O_PATH and unusual resolve flags get ENOSYS, and programs fall back."""
        if size < 24:
            raise OSError(errno.EINVAL, "open_how too small")
        data = task.exactly(how, min(size, 4096))
        flags, mode, resolve = struct.unpack_from("=QQQ", data)
        if any(data[24:]):
            raise OSError(errno.E2BIG, "unknown fields")
        if flags & os.O_PATH or flags >> 32 or resolve & ~(kernel.RESOLVE_NO_MAGICLINKS | kernel.RESOLVE_NO_SYMLINKS):
            raise OSError(errno.ENOSYS, "not offered")
        if resolve:
            # exactly the kernel's own check, on a handle that is thrown away; the walk below finds the same object or a judged other one
            base = task.base(dirfd) if not path.startswith(b"/") else os.open("/", os.O_PATH | os.O_CLOEXEC)
            try:
                os.close(kernel.openat2(base, path, os.O_PATH | os.O_CLOEXEC, resolve))
            except FileNotFoundError:
                if not flags & os.O_CREAT:
                    raise
            finally:
                os.close(base)
        return self.open(task, dirfd, path, flags, mode)

    def _existing(self, task: Task, found: Found, flags: int) -> Done:
        self._refuse_kinds(found.mode, flags)
        if stat.S_ISDIR(found.mode):
            with self._as(task):
                return Give(self.paths.reopen(found.descriptor, _ours(flags)), bool(flags & os.O_CLOEXEC))
        if stat.S_ISCHR(found.mode):
            device = os.fstat(found.descriptor).st_rdev
            number = (os.major(device), os.minor(device))
            if number == _DEV_TTY:
                return self._own_terminal(task, flags)
            if number[0] in _TTY_MAJORS and not flags & os.O_NOCTTY and self._acquires(task):
                return CONTINUED
        self._judge_open(task, found.name, flags)
        if self._is_own_entry(task, found.name):
            return self._own_procfs(task, found, flags)
        if stat.S_ISFIFO(found.mode) and not flags & os.O_NONBLOCK and flags & os.O_ACCMODE != os.O_RDWR:
            return Later(os.dup(found.descriptor), _ours(flags))
        with self._as(task):
            return Give(self.paths.reopen(found.descriptor, _ours(flags)), bool(flags & os.O_CLOEXEC))

    @staticmethod
    def _is_own_entry(task: Task, name: bytes) -> bool:
        """Whether this is an entry of the caller's own procfs folder; in a procfs that it mounted itself, only a map of its user namespace is."""
        if name.startswith(b"/proc/%d/" % task.tgid):
            return True
        folder, _, entry = name.rpartition(b"/")
        return entry in _MAPS and folder in [FOREIGN_PROC + b"/%d" % number for number in task.status().groups]

    def _own_procfs(self, task: Task, found: Found, flags: int) -> Done:
        """A process's own entries: opened as the guard's user where that is the caller's, for the caller's namespace may have taken every
        capability; else by a thread that becomes the caller.
        """
        if os.path.basename(found.name) in _MAPS and self.paths.in_own_user_namespace(task):
            return Give(self.identity.opened_inside(task, found.descriptor, _ours(flags)), bool(flags & os.O_CLOEXEC))
        persona, own = task.status().persona, self.identity.own
        if (persona.uid, persona.gid) != (own.uid, own.gid):
            return Later(os.dup(found.descriptor), _ours(flags), become=True)
        return Give(self.paths.reopen(found.descriptor, _ours(flags)), bool(flags & os.O_CLOEXEC))

    def _judge_open(self, task: Task, name: bytes, flags: int) -> None:
        if is_nameless(name):
            return  # pipes, sockets and memory files that the caller holds already
        access = flags & os.O_ACCMODE
        writes = access != os.O_RDONLY or bool(flags & os.O_TRUNC)
        path = os.fsdecode(name)
        if self._judge_proc(task, name, writes=writes):
            return
        if access != os.O_WRONLY:
            self.judge(task, FileAction(op="read", path=path))
        if writes:
            self.judge(task, FileAction(op="write", path=path))

    def _judge_proc(self, task: Task, name: bytes, *, writes: bool) -> bool:
        """True where the file shows or changes another process: judged as that."""
        foreign = name.startswith(FOREIGN_PROC + b"/")
        if not foreign and not name.startswith(b"/proc/"):
            return False
        parts = os.fsdecode(name[len(FOREIGN_PROC) if foreign else 5 :]).split("/")
        if len(parts) < 3 or not parts[1].isdigit():
            return False
        entry = parts[4] if parts[2] == "task" and len(parts) > 4 else parts[2]
        if entry not in _PRIVATE_ENTRIES and not writes:
            return False
        # a number in a procfs that the caller mounted may be anybody's, also where it equals one of its own: then only what changes nothing
        # and shows little is taken for its own
        if int(parts[1]) in (task.status().groups if foreign else (task.tgid,)) and not (
            foreign and entry in _DEEP_ENTRIES
        ):
            return False
        target = "outside" if foreign else self.whose(int(parts[1]))
        self.judge(task, SystemAction(op=f"proc_{entry}", target=target))
        return True

    @staticmethod
    def _refuse_kinds(mode: int, flags: int) -> None:
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, "a symlink")
        if flags & os.O_DIRECTORY and not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        if stat.S_ISDIR(mode) and (flags & os.O_ACCMODE != os.O_RDONLY or flags & (os.O_CREAT | os.O_TRUNC)):
            raise IsADirectoryError(errno.EISDIR, "a folder")
        if stat.S_ISSOCK(mode):
            raise OSError(errno.ENXIO, "a socket")

    def _own_terminal(self, task: Task, flags: int) -> Done:
        """/dev/tty is the caller's controlling terminal, never the guard's."""
        number = task.terminal()
        if number == 0:
            raise OSError(errno.ENXIO, "no controlling terminal")
        device = os.makedev((number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00))
        for entry in ("0", "1", "2", "255"):
            try:
                handle = task.handle(f"fd/{entry}")
            except OSError:
                continue
            try:
                if os.fstat(handle).st_rdev == device:
                    with self._as(task):
                        return Give(self.paths.reopen(handle, _ours(flags)), bool(flags & os.O_CLOEXEC))
            finally:
                os.close(handle)
        if 136 <= os.major(device) <= 143:
            name = f"/dev/pts/{(os.major(device) - 136) * 256 + os.minor(device)}"
            with self._as(task):
                descriptor = os.open(name, _ours(flags))
            if os.fstat(descriptor).st_rdev == device:
                return Give(descriptor, bool(flags & os.O_CLOEXEC))
            os.close(descriptor)
        raise OSError(errno.ENXIO, "terminal out of reach")

    @staticmethod
    def _acquires(task: Task) -> bool:
        """A session leader without a terminal acquires the one it opens, which nobody can do for it (tty_ioctl(4)).

        It is continued only for a caller with a single thread, so that no sibling can change the path meanwhile.
        """
        if not task.leads_session() or task.terminal() != 0:
            return False
        return b"\nThreads:\t1\n" in task.file("status")

    def _create(self, task: Task, slot: Slot, path: bytes, flags: int, mode: int) -> Done | None:
        if path.endswith(b"/"):
            raise IsADirectoryError(errno.EISDIR, "a folder cannot be made by open")
        if slot.folder.startswith(b"/proc/"):
            raise FileNotFoundError(errno.ENOENT, "nothing can be made in procfs")
        content = self.judge(task, FileAction(op="create", path=os.fsdecode(slot.name)))
        try:
            with self._as(task):
                self.identity.take_umask(task)
                if content is not None:  # judged as a file that is and stays empty
                    flags = (flags & ~os.O_ACCMODE) | os.O_RDONLY
                made = os.open(slot.last, _ours(flags) | os.O_CREAT | os.O_EXCL, mode & 0o7777, dir_fd=slot.descriptor)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            return None
        return Give(made, bool(flags & os.O_CLOEXEC))

    def _temporary(self, task: Task, dirfd: int, path: bytes, flags: int, mode: int) -> Done:
        """O_TMPFILE: a file without a name, judged again when it is linked."""
        found = self.paths.find(task, dirfd, path)
        try:
            self.judge(task, FileAction(op="create", path=os.fsdecode(found.name) + "/#unnamed"))
            with self._as(task):
                self.identity.take_umask(task)
                folder = self.paths.by_descriptor(found.descriptor)
                return Give(os.open(folder, flags | os.O_CLOEXEC, mode & 0o7777), bool(flags & os.O_CLOEXEC))
        finally:
            os.close(found.descriptor)

    # ---- names

    def unlink(self, task: Task, dirfd: int, path: bytes, flags: int) -> int:
        """unlink(2), rmdir(2), unlinkat(2)."""
        if flags & ~kernel.AT_REMOVEDIR:
            raise OSError(errno.EINVAL, "flags")
        slot = self.paths.slot(task, dirfd, path)
        try:
            folder = bool(flags & kernel.AT_REMOVEDIR)
            os.stat(
                slot.last.rstrip(b"/") or b".", dir_fd=slot.descriptor, follow_symlinks=False
            )  # ENOENT is nobody's business
            self.judge(task, FileAction(op="delete", path=os.fsdecode(slot.name), folder=folder))
            with self._as(task):
                (os.rmdir if folder else os.unlink)(slot.last, dir_fd=slot.descriptor)
        finally:
            os.close(slot.descriptor)
        return 0

    def rename(self, task: Task, old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> int:
        """rename(2), renameat(2), renameat2(2) with NOREPLACE and EXCHANGE."""
        source = self.paths.slot(task, old_fd, old)
        try:
            target = self.paths.slot(task, new_fd, new)
            try:
                self._rename(task, source, target, flags)
            finally:
                os.close(target.descriptor)
        finally:
            os.close(source.descriptor)
        return 0

    def _rename(self, task: Task, source: Slot, target: Slot, flags: int) -> None:
        what = os.stat(source.last.rstrip(b"/") or b".", dir_fd=source.descriptor, follow_symlinks=False)
        is_folder = stat.S_ISDIR(what.st_mode)
        content = self.judge(
            task,
            FileAction(op="rename", path=os.fsdecode(source.name), to=os.fsdecode(target.name), folder=is_folder),
        )
        with self._as(task):
            if content is not None and flags:
                raise PermissionError(errno.EACCES, "judged by its content, which an exchange would not put in place")
            if content is not None:
                self._put_content(source, target, content)
            elif flags:
                number = kernel.raw_syscall(
                    _renameat2(), source.descriptor, source.last, target.descriptor, target.last, flags & 0xFFFFFFFF
                )
                assert number == 0
            else:
                os.rename(source.last, target.last, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)

    @staticmethod
    def _put_content(source: Slot, target: Slot, content: bytes) -> None:
        """Renames a copy: whoever still holds the judged file open for writing writes into the old one, which goes away."""
        temporary = b".guard-" + os.urandom(8).hex().encode()
        reader = os.open(source.last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source.descriptor)
        try:
            what = os.fstat(reader)
            make = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            writer = os.open(temporary, make, 0o600, dir_fd=target.descriptor)
            try:
                _write_whole(writer, content)
                os.fchown(writer, what.st_uid, what.st_gid)
                os.fchmod(writer, stat.S_IMODE(what.st_mode))
            finally:
                os.close(writer)
            os.rename(temporary, target.last, src_dir_fd=target.descriptor, dst_dir_fd=target.descriptor)
            os.unlink(source.last, dir_fd=source.descriptor)
        except OSError:
            try:
                os.unlink(temporary, dir_fd=target.descriptor)
            except FileNotFoundError:
                pass
            raise
        finally:
            os.close(reader)

    def link(self, task: Task, old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> int:
        """link(2), linkat(2), also of an unnamed file (AT_EMPTY_PATH, or through /proc/self/fd)."""
        _only(flags, kernel.AT_EMPTY_PATH | kernel.AT_SYMLINK_FOLLOW)
        if not old and flags & kernel.AT_EMPTY_PATH:
            found = self.paths.of_descriptor(task, old_fd)
        else:
            found = self.paths.find(task, old_fd, old, follow=bool(flags & kernel.AT_SYMLINK_FOLLOW))
        try:
            slot = self.paths.slot(task, new_fd, new)
            try:
                to = os.fsdecode(slot.name)
                if os.fstat(found.descriptor).st_nlink == 0:
                    self.judge(task, FileAction(op="create", path=to))
                    content = None
                else:
                    content = self.judge(task, FileAction(op="link", path=os.fsdecode(found.name), to=to))
                with self._as(task):
                    if content is not None:
                        self._put_copy(found, slot, content)
                        return 0
                    os.link(
                        self.paths.by_descriptor(found.descriptor),
                        slot.last,
                        dst_dir_fd=slot.descriptor,
                        follow_symlinks=True,
                    )
            finally:
                os.close(slot.descriptor)
        finally:
            os.close(found.descriptor)
        return 0

    @staticmethod
    def _put_copy(found: Found, slot: Slot, content: bytes) -> None:
        """A link judged by content becomes a file of its own, which nobody has open."""
        what = os.fstat(found.descriptor)
        make = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writer = os.open(slot.last, make, stat.S_IMODE(what.st_mode) & 0o777, dir_fd=slot.descriptor)
        try:
            _write_whole(writer, content)
        finally:
            os.close(writer)

    def symlink(self, task: Task, target: bytes, dirfd: int, path: bytes) -> int:
        """symlink(2): only the new name is judged; what is reached through it is resolved and judged at each use."""
        return self._make(task, dirfd, path, lambda slot: os.symlink(target, slot.last, dir_fd=slot.descriptor))

    def mkdir(self, task: Task, dirfd: int, path: bytes, mode: int) -> int:
        """mkdir(2), mkdirat(2)."""
        return self._make(
            task, dirfd, path, lambda slot: os.mkdir(slot.last, mode & 0o7777, dir_fd=slot.descriptor), folder=True
        )

    def mknod(self, task: Task, dirfd: int, path: bytes, mode: int, device: int) -> int:
        """mknod(2), mknodat(2); a device node is an action of kind system as well."""
        mode &= 0xFFFF
        if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and device):
            self.judge(task, SystemAction(op="device_node", target=os.fsdecode(path)))
        return self._make(task, dirfd, path, lambda slot: os.mknod(slot.last, mode, device, dir_fd=slot.descriptor))

    def _make(self, task: Task, dirfd: int, path: bytes, make: Callable[[Slot], None], *, folder: bool = False) -> int:
        slot = self.paths.slot(task, dirfd, path)
        try:
            if _exists(slot):
                raise FileExistsError(errno.EEXIST, "exists")  # nothing would happen: nothing to judge
            self.judge(task, FileAction(op="create", path=os.fsdecode(slot.name), folder=folder))
            with self._as(task):
                self.identity.take_umask(task)
                make(slot)
        finally:
            os.close(slot.descriptor)
        return 0

    # ---- attributes

    def chmod(self, task: Task, dirfd: int, path: bytes | None, mode: int, flags: int = 0) -> int:
        """chmod(2), fchmod(2) (`path` None), fchmodat(2), fchmodat2 (6.6)."""
        _only(flags, kernel.AT_EMPTY_PATH | kernel.AT_SYMLINK_NOFOLLOW)
        return self._attribute(task, dirfd, path, flags, lambda name: os.chmod(name, mode & 0o7777))

    def chown(self, task: Task, dirfd: int, path: bytes | None, uid: int, gid: int, flags: int = 0) -> int:
        """chown(2), lchown(2), fchown(2) (`path` None), fchownat(2)."""
        _only(flags, kernel.AT_EMPTY_PATH | kernel.AT_SYMLINK_NOFOLLOW)
        return self._attribute(task, dirfd, path, flags, lambda name: os.chown(name, _signed(uid), _signed(gid)))

    def truncate(self, task: Task, path: bytes, length: int) -> int:
        """truncate(2): a write."""
        return self._attribute(task, kernel.AT_FDCWD, path, 0, lambda name: os.truncate(name, length), op="write")

    def times(self, task: Task, dirfd: int, path: bytes | None, times: bytes | None, flags: int = 0) -> int:
        """utime(2) and its kin; `times` are two struct timespec as utimensat(2) takes them, None for now."""
        _only(flags, kernel.AT_EMPTY_PATH | kernel.AT_SYMLINK_NOFOLLOW)
        number = 280 if kernel.MACHINE == "x86_64" else 88

        def set_times(name: str) -> None:
            kernel.raw_syscall(number, -100, name.encode(), times, 0)

        return self._attribute(task, dirfd, path, flags, set_times)

    def set_xattr(
        self, task: Task, dirfd: int, path: bytes | None, name: bytes, value: bytes, how: int, flags: int
    ) -> int:
        """setxattr(2), lsetxattr(2), fsetxattr(2)."""
        return self._attribute(task, dirfd, path, flags, lambda place: os.setxattr(place, name, value, how))

    def remove_xattr(self, task: Task, dirfd: int, path: bytes | None, name: bytes, flags: int) -> int:
        """removexattr(2) and its kin."""
        return self._attribute(task, dirfd, path, flags, lambda place: os.removexattr(place, name))

    def inode_flags(self, task: Task, number: int, request: int, argument: int) -> int:
        """ioctl FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR and FS_IOC_SETVERSION by descriptor (ioctl_iflags(2))."""
        size = (request >> 16) & 0x3FFF
        data = bytearray(task.read(argument, size).ljust(size, b"\0"))
        found = self.paths.of_descriptor(task, number)
        try:
            self.judge(task, FileAction(op="chmod", path=os.fsdecode(found.name)))
            with self._as(task):
                descriptor = self.paths.reopen(found.descriptor, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(descriptor, request, data)
                finally:
                    os.close(descriptor)
        finally:
            os.close(found.descriptor)
        return 0

    def _attribute(
        self,
        task: Task,
        dirfd: int,
        path: bytes | None,
        flags: int,
        change: Callable[[str], None],
        *,
        op: str = "chmod",
    ) -> int:
        if path is None or (not path and flags & kernel.AT_EMPTY_PATH):
            found = self.paths.of_descriptor(task, dirfd)
        else:
            found = self.paths.find(task, dirfd, path, follow=not flags & kernel.AT_SYMLINK_NOFOLLOW)
        try:
            if found.name.startswith(
                b"/"
            ):  # pipes, sockets and memory files have no name, and nothing outside the tree sees them
                self.judge(task, FileAction(op="write" if op == "write" else "chmod", path=os.fsdecode(found.name)))
            with self._as(task):
                change(self.paths.by_descriptor(found.descriptor))
        finally:
            os.close(found.descriptor)
        return 0

    def _as(self, task: Task) -> AbstractContextManager[None]:
        return self.identity.of(task, namespaces_moved=self.paths.namespaces_moved)


def _ours(flags: int) -> int:
    """The flags of the guard's own open of an object already found."""
    drop = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | 0o100000  # O_LARGEFILE is implied
    return (flags & ~drop & 0x7FFFFFFF) | os.O_CLOEXEC | os.O_NOCTTY


def _only(flags: int, known: int) -> None:
    """EINVAL for flags that the call does not have, before anything is looked at."""
    if flags & ~known:
        raise OSError(errno.EINVAL, "flags")


def _signed(identity: int) -> int:
    """-1 means "leave it", chown(2)."""
    return -1 if identity & 0xFFFFFFFF == 0xFFFFFFFF else identity & 0xFFFFFFFF


def _write_whole(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _exists(slot: Slot) -> bool:
    try:
        os.stat(slot.last.rstrip(b"/") or b".", dir_fd=slot.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _renameat2() -> int:
    return 316 if kernel.MACHINE == "x86_64" else 276
