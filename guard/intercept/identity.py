"""Acting as the caller: the receiver's thread takes the caller's file system identity around a performed call.

An ordinary user's guard and its tree have one identity, so nothing is switched. A root guard's tree may drop to other users or into user
namespaces; a performed call must then be allowed exactly what the caller is (credentials(7), capabilities(7)).
"""

from __future__ import annotations

import _thread
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from guard.intercept import kernel
from guard.intercept.tasks import Persona, Task

# capabilities that a file operation looks at: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, SYS_ADMIN (trusted.*
# attributes), SYS_RESOURCE (reserved blocks), MKNOD, SETFCAP
_FILE_CAPABILITIES: Final = sum(1 << bit for bit in (0, 1, 2, 3, 4, 9, 21, 24, 27, 31))


class Identity:
    """Switches this thread between the guard's own identity and a caller's."""

    def __init__(self) -> None:
        own = Task(os.getpid())
        self.own: Persona = own.status().persona
        own.close()
        self._user_namespace = os.stat("/proc/self/ns/user").st_ino
        os.umask(0o077)
        self._umask = 0o077
        self._inside: set[int] = set()  # threads that have taken a caller's identity: each has its own

    def differs(self, task: Task, *, namespaces_moved: bool) -> bool:
        """Whether `of` would switch anything for this caller."""
        return not self._same_for_files(self._effective(task, namespaces_moved))

    @contextmanager
    def of(self, task: Task, *, namespaces_moved: bool) -> Iterator[None]:
        """Inside, this thread opens, creates and owns as the caller; raises OSError EPERM where that identity cannot be taken."""
        persona = self._effective(task, namespaces_moved)
        thread = _thread.get_ident()
        if thread in self._inside or self._same_for_files(persona):
            yield
            return
        if self.own.uid != 0:
            raise OSError(errno.EPERM, "the caller's identity cannot be taken")
        self._inside.add(thread)
        try:
            kernel.set_thread_groups(persona.groups)
            kernel.set_thread_fs_user(persona.uid, persona.gid)
            kept = self.own.capabilities & ~_FILE_CAPABILITIES
            kernel.set_thread_capabilities(kept | (persona.capabilities & _FILE_CAPABILITIES), self.own.capabilities)
            yield
        finally:
            self._inside.discard(thread)
            kernel.set_thread_capabilities(self.own.capabilities, self.own.capabilities)
            kernel.set_thread_fs_user(self.own.uid, self.own.gid)
            kernel.set_thread_groups(self.own.groups)
            kernel.set_thread_capabilities(self.own.capabilities, self.own.capabilities)

    def opened_inside(self, task: Task, handle: int, flags: int) -> int:
        """Opens the object of this O_PATH handle from inside the caller's user namespace: the kernel wants the opener of a `uid_map` there.

        A child does it, for only a process with one thread can enter a user namespace (setns(2)); it closes everything else at once.
        """
        ours, theirs = socket.socketpair()
        persona = task.status().persona
        namespace = os.open("ns/user", os.O_RDONLY | os.O_CLOEXEC, dir_fd=task.folder)
        child = os.fork()
        if child == 0:
            _serve_inside(theirs, namespace, handle, flags, persona if persona.uid != self.own.uid else None)
        theirs.close()
        os.close(namespace)
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        finally:
            ours.close()
            os.waitpid(child, 0)
        if not descriptors:
            raise PermissionError(errno.EPERM, "the caller's user namespace cannot be entered")
        return descriptors[0]

    def take_umask(self, task: Task) -> None:
        """The caller's umask becomes the guard's for the next creation, so that default ACLs decide as natively (umask(2))."""
        wanted = task.status().umask
        if wanted != self._umask:
            os.umask(wanted)
            self._umask = wanted

    def _effective(self, task: Task, namespaces_moved: bool) -> Persona:
        persona = task.status().persona
        if namespaces_moved and os.stat("ns/user", dir_fd=task.folder).st_ino != self._user_namespace:
            # capabilities of another user namespace say nothing about files of this one
            return Persona(persona.uid, persona.gid, persona.groups, 0)
        return persona

    def _same_for_files(self, persona: Persona) -> bool:
        own = self.own
        if persona == own:
            return True
        if own.uid != 0:
            return persona.uid == own.uid and persona.gid == own.gid
        same_capabilities = not (persona.capabilities ^ own.capabilities) & _FILE_CAPABILITIES
        return (persona.uid, persona.gid, persona.groups) == (own.uid, own.gid, own.groups) and same_capabilities


def _serve_inside(answer: socket.socket, namespace: int, handle: int, flags: int, persona: Persona | None) -> NoReturn:
    try:
        kept = sorted((answer.fileno(), namespace, handle))
        at = 0
        for descriptor in (*kept, 65536):
            os.closerange(at, descriptor)
            at = descriptor + 1
        if persona is not None:
            become(persona)
        os.setns(namespace, os.CLONE_NEWUSER)
        socket.send_fds(answer, [b"O"], [os.open(f"/proc/self/fd/{handle}", flags)])
    finally:
        os._exit(0)


def become(persona: Persona) -> None:
    """This thread alone, and for good: real, effective and saved ids and groups by raw calls (the C library's would change every thread)."""
    user, group = (117, 119) if kernel.MACHINE == "x86_64" else (147, 149)
    kernel.set_thread_groups(persona.groups)
    kernel.raw_syscall(group, persona.gid, persona.gid, persona.gid)
    kernel.raw_syscall(user, persona.uid, persona.uid, persona.uid)
