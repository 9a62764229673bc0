"""What a path means to the caller: from its root, working folder and descriptors, through symlinks, `..` and magic links.

Everything ends in a descriptor of the very object (O_PATH) and its canonical name in the guard's own mount namespace, so that what is
judged is what is used. Nothing is judged here but one thing that only a walker can see: stepping through another process's
`/proc/PID/{root,cwd,exe,fd,…}`, for which the owner of this room is called back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from guard.intercept import kernel
from guard.intercept.identity import Identity
from guard.intercept.tasks import Task, start_time

_MOST_LINKS: Final = 40  # MAXSYMLINKS, linux/namei.h
_ODD: Final = (b"/proc/", b"/dev/fd", b"/dev/std", b"/dev/tty")  # where the guard's own view is not the caller's
PRIVATE: Final = b"/(private)"  # names in file systems that the caller mounted for itself and that start empty or show the kernel's own
FOREIGN_PROC: Final = PRIVATE + b"/proc"  # a procfs that the caller mounted; its process numbers are not the guard's
UNNAMED: Final = b"/(unnamed)"  # names in any other file system that the guard cannot see: it might be a view of anything (overlay, FUSE)
_OWN_KINDS: Final = frozenset((b"tmpfs", b"ramfs", b"devpts", b"mqueue"))

_libc = ctypes.CDLL(None, use_errno=True)
_statfs_buffer = ctypes.create_string_buffer(256)


@dataclass(frozen=True, slots=True)
class Found:
    """An object: an O_PATH descriptor that the holder must close, its canonical name, its st_mode."""

    descriptor: int
    name: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A name in a folder, there or not: the folder's O_PATH descriptor (to be closed), its canonical name, the last component.

    `last` is as the caller wrote it, trailing slash included, so that the kernel says what it would have said.
    """

    descriptor: int
    folder: bytes
    last: bytes

    @property
    def name(self) -> bytes:
        """The canonical name of the slot."""
        plain = self.last.rstrip(b"/")
        if plain in (b"", b"."):
            return self.folder
        if plain == b"..":
            return os.path.dirname(self.folder)
        return (self.folder if self.folder != b"/" else b"") + b"/" + plain


class NotAt(OSError):
    """Nothing is there, but the slot where it would be made is known: `slot` (to be closed)."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(errno.ENOENT, "no such file")
        self.slot = slot


ThroughOther = Callable[[Task, int, str], None]


class Paths:
    """Resolves paths for callers.

    `through_other(task, pid, entry)` is called before a magic link of another process is followed; it raises to refuse.
    """

    def __init__(self, through_other: ThroughOther, identity: Identity) -> None:
        self._through_other = through_other
        self._identity = identity
        self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._own = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._proc_device = os.stat("/proc").st_dev
        self._mount_namespace = os.stat("/proc/self/ns/mnt").st_ino
        root = os.fstat(self._root)
        self._root_identity = (root.st_dev, root.st_ino)
        self.namespaces_moved = False  # set once any task asked for a new root or mount namespace

    # ---- names

    def name_of(self, descriptor: int) -> bytes:
        """What the kernel calls the object of one of our own descriptors."""
        return os.fsencode(os.readlink(str(descriptor), dir_fd=self._own))

    def reopen(self, descriptor: int, flags: int) -> int:
        """Opens the very object of an O_PATH descriptor, through /proc/self/fd."""
        return os.open(str(descriptor), flags, dir_fd=self._own)

    @staticmethod
    def by_descriptor(descriptor: int) -> str:
        """A path that means this very object, for calls that take no descriptor."""
        return f"/proc/self/fd/{descriptor}"

    def _canonical(self, task: Task, descriptor: int) -> bytes:
        name = self.name_of(descriptor)
        # by the mount that the descriptor belongs to, not by the task: descriptors travel between mount namespaces
        return self._host_name(task, descriptor, name) if self.namespaces_moved and not is_nameless(name) else name

    def is_foreign(self, task: Task) -> bool:
        """Whether the caller's root or mount namespace is not the guard's; asked anew each time, because a sibling may change it (CLONE_FS)."""
        if not self.namespaces_moved:
            return False
        root = os.stat("root", dir_fd=task.folder)
        return (root.st_dev, root.st_ino) != self._root_identity or os.stat(
            "ns/mnt", dir_fd=task.folder
        ).st_ino != self._mount_namespace

    @staticmethod
    def in_own_user_namespace(task: Task) -> bool:
        """Whether the caller left the guard's user namespace."""
        return os.stat("ns/user", dir_fd=task.folder).st_ino != os.stat("/proc/self/ns/user").st_ino

    def _host_name(self, task: Task, descriptor: int, name: bytes) -> bytes:
        """The guard's own name of an object seen through the caller's mounts (bind mounts undone), or a name under PRIVATE."""
        with open(f"/proc/self/fdinfo/{descriptor}", "rb") as info:
            mount = next((int(line[7:]) for line in info if line.startswith(b"mnt_id:")), -1)
        with open("/proc/self/mountinfo", "rb") as table:
            own = _mounts(table.read())
        if any(row.number == mount for row in own):
            return name
        theirs = next((row for row in _mounts(task.file("mountinfo")) if row.number == mount), None)
        if theirs is None:  # through a descriptor from a mount namespace that the caller has left
            in_proc = _is_procfs(descriptor) and b"/proc/" in name
            return _in_foreign_proc(name[name.index(b"/proc/") + 5 :]) if in_proc else UNNAMED + name
        rest = name[len(theirs.point) :] if theirs.point != b"/" else name
        inside = _join(theirs.root, rest)
        best = max(
            (row for row in own if row.device == theirs.device and _below(inside, row.root)),
            key=lambda row: len(row.root),
            default=None,
        )
        if best is None:
            if theirs.kind == b"proc":
                return _in_foreign_proc(inside)
            return (PRIVATE if theirs.kind in _OWN_KINDS else UNNAMED) + inside
        return _join(best.point, inside[len(best.root) :] if best.root != b"/" else inside)

    # ---- resolution

    def find(self, task: Task, dirfd: int, path: bytes, *, follow: bool = True, to_make: bool = False) -> Found:
        """The object that the path names; raises OSError as the kernel would.

        With `to_make`, NotAt (an ENOENT that carries the slot) says that only the last component is missing; dangling symlinks are
        followed to the slot that they name.
        """
        if not path:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        if self._identity.differs(task, namespaces_moved=self.namespaces_moved):
            with self._identity.of(
                task, namespaces_moved=self.namespaces_moved
            ):  # whoever may not search a folder finds nothing in it
                return self._find(task, dirfd, path, follow, to_make)
        return self._find(task, dirfd, path, follow, to_make)

    def _find(self, task: Task, dirfd: int, path: bytes, follow: bool, to_make: bool) -> Found:
        if not self.is_foreign(task) and not path.startswith(_ODD):
            try:
                found = self._quick(task, dirfd, path, follow)
            except FileNotFoundError:
                if not to_make:
                    raise
                found = None
            if found is not None:
                return found
        return self._walk(task, dirfd, path, follow)

    def slot(self, task: Task, dirfd: int, path: bytes) -> Slot:
        """The folder and last component of a path whose last component is not followed (unlink, rename, mkdir …)."""
        if not path:
            raise FileNotFoundError(errno.ENOENT, "empty path")
        bare = path.rstrip(b"/")
        if not bare:
            return Slot(self.find(task, dirfd, b"/").descriptor, b"/", b".")
        parent, _, last = bare.rpartition(b"/")
        if not parent:
            parent = b"/" if bare.startswith(b"/") else b"."
        folder = self.find(task, dirfd, parent)
        if not stat.S_ISDIR(folder.mode):
            os.close(folder.descriptor)
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")
        return Slot(folder.descriptor, folder.name, last + path[len(bare) :])

    def of_descriptor(self, task: Task, number: int) -> Found:
        """The object behind one of the caller's descriptors."""
        return self._found(task, task.base(number))

    def _root_of(self, task: Task) -> int:
        return task.handle("root") if self.is_foreign(task) else self._root

    def _found(self, task: Task, descriptor: int) -> Found:
        try:
            return Found(descriptor, self._canonical(task, descriptor), os.fstat(descriptor).st_mode)
        except BaseException:
            os.close(descriptor)
            raise

    def _quick(self, task: Task, dirfd: int, path: bytes, follow: bool) -> Found | None:
        """One openat2 that follows plain symlinks; None where procfs or a magic link is involved and the walker must do it."""
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        if path.startswith(b"/"):
            base, to_close = self._root, -1
        else:
            base = to_close = task.base(dirfd)
        try:
            descriptor = kernel.openat2(base, path, flags, kernel.RESOLVE_NO_MAGICLINKS)
        except OSError as problem:
            if problem.errno == errno.ELOOP:
                return None  # a magic link, or a true loop: the walker tells them apart
            raise
        finally:
            if to_close >= 0:
                os.close(to_close)
        name = self.name_of(descriptor)
        if name.startswith(b"/proc/") or name == b"/proc" or (self.namespaces_moved and _is_procfs(descriptor)):
            os.close(descriptor)
            return None
        return self._found(task, descriptor)

    def _walk(self, task: Task, dirfd: int, path: bytes, follow: bool) -> Found:
        """Component by component, with `self`, `thread-self`, magic links and `..` read as the caller would."""
        walker = _Walk(self, task, self._root_of(task))
        try:
            if not path.startswith(b"/"):
                walker.enter(task.base(dirfd))
            return walker.run(path, follow)
        finally:
            walker.close()


class _Walk:
    """One walk: `here` is the O_PATH descriptor reached so far."""

    def __init__(self, paths: Paths, task: Task, root: int) -> None:
        self.paths, self.task, self.root = paths, task, root
        self.here = os.dup(root)
        self.links = 0
        self.own = 0  # the caller's number in a foreign procfs, once `self` was met there

    def close(self) -> None:
        if self.here >= 0:
            os.close(self.here)
        if self.root != self.paths._root:
            os.close(self.root)

    def enter(self, descriptor: int) -> None:
        os.close(self.here)
        self.here = descriptor

    def run(self, path: bytes, follow: bool) -> Found:
        parts = [p for p in path.split(b"/") if p]
        must_be_folder = path.endswith(b"/") or (bool(parts) and parts[-1] == b".")
        parts.reverse()
        while parts:
            part = parts.pop()
            last = not parts
            if part == b".":
                self._need_folder()
                continue
            if part == b"..":
                self._up()
                continue
            self._down(part, parts, last, follow or must_be_folder)
        if must_be_folder:
            self._need_folder()
        descriptor, self.here = self.here, -1
        return self.paths._found(self.task, descriptor)

    def _need_folder(self) -> None:
        if not stat.S_ISDIR(os.fstat(self.here).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")

    def _up(self) -> None:
        self._need_folder()
        here, root = os.fstat(self.here), os.fstat(self.root)
        if (here.st_dev, here.st_ino) != (root.st_dev, root.st_ino):
            self.enter(os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=self.here))

    def _down(self, part: bytes, parts: list[bytes], last: bool, follow: bool) -> None:
        if len(part) > 255:
            raise OSError(errno.ENAMETOOLONG, "name too long")
        in_proc = _is_procfs(self.here)
        if in_proc and os.fstat(self.here).st_ino == 1 and part in (b"self", b"thread-self"):
            if last and not follow:
                self.enter(os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.here))
            else:
                parts.extend(reversed(self._own_folder(part)))
            return
        try:
            step = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.here)
        except FileNotFoundError:
            if last:
                folder = self.paths._found(self.task, os.dup(self.here))
                raise NotAt(Slot(folder.descriptor, folder.name, part)) from None
            raise
        if not stat.S_ISLNK(os.fstat(step).st_mode) or (last and not follow):
            self.enter(step)
            return
        os.close(step)
        self.links += 1
        if self.links > _MOST_LINKS:
            raise OSError(errno.ELOOP, "too many symlinks")
        if in_proc and self._is_magic(part):
            self._through(part)
            return
        target = os.fsencode(os.readlink(part, dir_fd=self.here))
        if target.startswith(b"/"):
            self.enter(os.dup(self.root))
        parts.extend(reversed([p for p in target.split(b"/") if p]))

    def _own_folder(self, part: bytes) -> list[bytes]:
        """What `self` and `thread-self` mean to the caller in this procfs, which numbers processes as the pid namespace it belongs to does."""
        status = self.task.status()
        level = 0 if os.fstat(self.here).st_dev == self.paths._proc_device else self._level(status.groups)
        group, thread = status.groups[level], status.threads[level]
        self.own = group
        return [b"%d" % group] if part == b"self" else [b"%d" % group, b"task", b"%d" % thread]

    def _level(self, groups: tuple[int, ...]) -> int:
        """Which of the caller's numbers names it in this procfs: the one under which its own start time stands (proc_pid_stat(5), field 22)."""
        started = start_time(self.task.file("stat"))
        for level in range(
            len(groups)
        ):  # outermost first: there a wrong number could be anybody's, further in only the tree's
            try:
                descriptor = os.open(f"{groups[level]}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.here)
            except OSError:
                continue
            try:
                if start_time(os.read(descriptor, 4096)) == started:
                    return level
            finally:
                os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "not in this procfs")

    def _is_magic(self, part: bytes) -> bool:
        try:
            os.close(kernel.openat2(self.here, part, os.O_PATH | os.O_CLOEXEC, kernel.RESOLVE_NO_MAGICLINKS))
        except OSError as problem:
            return problem.errno == errno.ELOOP
        return False

    def _through(self, part: bytes) -> None:
        """Follows a magic link; another process's only after the callback."""
        owner, entry = self._owner(part)
        if owner != self.task.tgid:
            self.paths._through_other(self.task, owner, entry)
        handle_only = entry == "fd" and self._is_handle(part)
        self.enter(os.open(part, os.O_PATH | os.O_CLOEXEC, dir_fd=self.here))
        if handle_only and is_nameless(self.paths.name_of(self.here)):
            # a pipe or memory file that the caller never opened, only looked up (O_PATH) in somebody's table
            raise PermissionError(errno.EACCES, "a handle to something without a name")

    def _is_handle(self, number: bytes) -> bool:
        try:
            info = self.task.file(f"fdinfo/{number.decode('ascii')}")
        except OSError:
            return True
        flags = next((int(line[6:], 8) for line in info.splitlines() if line.startswith(b"flags:")), os.O_PATH)
        return bool(flags & os.O_PATH)

    def _owner(self, part: bytes) -> tuple[int, str]:
        """The process (guard's numbering; -1 where it cannot be told) and the kind of entry that this magic link belongs to."""
        folder = self.paths.name_of(self.here).split(b"/")
        numbers = [p for p in folder if p.isdigit()]
        names = [p for p in folder if p in (b"fd", b"map_files", b"ns")]
        entry = (names[-1] if names else part).decode("ascii", "replace")
        if not numbers:
            return -1, entry
        number = int(numbers[0])
        if os.fstat(self.here).st_dev == self.paths._proc_device:
            return number, entry
        return (self.task.tgid if number == self.own else -1), entry


def is_nameless(name: bytes) -> bool:
    """Pipes, sockets, memory files: what no path leads to."""
    return not name.startswith(b"/") or name.startswith(b"/memfd:")


def _in_foreign_proc(inside: bytes) -> bytes:
    """Processes are numbered as that procfs does it; everything else (`/proc/sys`, …) is the machine's, whoever mounted it."""
    return FOREIGN_PROC + inside if inside[1:2].isdigit() else b"/proc" + inside


def _is_procfs(descriptor: int) -> bool:
    if _libc.fstatfs(descriptor, _statfs_buffer) != 0:
        return False
    return int.from_bytes(_statfs_buffer.raw[:8], "little") == kernel.PROC_SUPER_MAGIC


@dataclass(frozen=True, slots=True)
class _Mount:
    number: int
    device: bytes
    root: bytes
    point: bytes
    kind: bytes


def _mounts(table: bytes) -> list[_Mount]:
    """Rows of a mountinfo file, proc_pid_mountinfo(5)."""
    rows = []
    for line in table.splitlines():
        parts = line.split(b" ")
        kind = parts[parts.index(b"-") + 1]
        rows.append(_Mount(int(parts[0]), parts[2], _unescaped(parts[3]), _unescaped(parts[4]), kind))
    return rows


def _unescaped(text: bytes) -> bytes:
    for code, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        text = text.replace(code, plain)
    return text


def _below(path: bytes, folder: bytes) -> bool:
    return folder == b"/" or path == folder or path.startswith(folder + b"/")


def _join(folder: bytes, rest: bytes) -> bytes:
    rest = rest.strip(b"/")
    return (folder.rstrip(b"/") + b"/" + rest).rstrip(b"/") or b"/" if rest else folder
