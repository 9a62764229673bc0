"""What this kernel, and the container or profile around us, really grant: each thing the interposition rests on is tried.

Every attempt runs in a Python process of its own, so that a filter or a lost privilege never stays with the caller, and gives None
where the thing was granted, else the reason in words. What never enters: what a refusal means for `guard run`; the words for that
are the command's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import platform
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

from guard.intercept import kernel, syscalls

LIMIT_S = 20  # for one attempt; an attempt needs milliseconds, so this bounds a hang on a loaded machine

type Reasons = dict[str, str | None]

_PROC_FILES = ("status", "stat", "maps", "mountinfo", "cmdline", "comm")  # /proc/PID files read while judging a call
_PROC_LINKS = ("cwd", "root", "exe", "ns/mnt", "ns/user")
_ANSWER = 4242  # what the supervisor answers in place of mkdirat, which natively gives 0 or an error
_TRAPPED = "mkdirat"  # a call that both architectures have and that nothing in a probe needs


def reasons(name: str) -> Reasons:
    """Runs one of `ATTEMPTS` in its own process: thing → None where it is granted, else why not.

    An attempt that dies, hangs or prints something else gives one entry under its own name with the reason.
    """
    command = [sys.executable, "-c", f"from guard.intercept import probe; probe.child({name!r})"]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": import_path()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
        )
        answer: Reasons = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {name: f"no answer within {LIMIT_S} s"}
    except ValueError:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return {name: f"the attempt ended with status {done.returncode}: {' '.join(last)}"}
    return answer


def import_path() -> str:
    """A PYTHONPATH with which a child process imports the same modules as this process, installed or not."""
    return os.pathsep.join(path for path in sys.path if path)


def child(name: str) -> None:
    """The other side of `reasons`: makes the attempt and prints its answer as JSON."""
    try:
        answer = ATTEMPTS[name]()
    except OSError as problem:
        answer = {name: words(problem)}
    sys.stdout.write(json.dumps(answer))


def words(problem: OSError) -> str:
    """The error with its symbolic name: `EPERM (Operation not permitted)`."""
    return f"{errno.errorcode.get(problem.errno or 0, 'error')} ({problem.strerror or problem})"


# ------------------------------------------------------------------------------------------------------- attempts


def _machine() -> Reasons:
    if not sys.platform.startswith("linux"):
        return {"machine": f"this is {platform.system()}, and interposition needs Linux"}
    if platform.machine() not in syscalls.ARCHES:
        return {
            "machine": f"no table of system calls for `{platform.machine()}`, only for {' and '.join(syscalls.ARCHES)}"
        }
    return {"machine": None}


def _notification() -> Reasons:
    """User notification from end to end: a child's call is received, answered, and answered with a descriptor."""
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT_S / 2)
    with _forked(lambda: _caller(theirs)):
        theirs.close()
        said, listeners, _, _ = socket.recv_fds(ours, 4096, 1)
        if not listeners:
            return {"notify": said.decode()}
        listener = listeners[0]
        sync = _tried(lambda: fcntl.ioctl(listener, kernel.SET_FLAGS, kernel.SYNC_WAKE_UP))
        _reply(listener, _receive(listener), _ANSWER)
        waiting = _receive(listener)
        addfd = _tried(lambda: _inject(listener, waiting))
        if addfd:
            _reply(listener, waiting, 0)
        caller = json.loads(ours.recv(4096))
    return {
        "notify": _tried(lambda: _expect(caller["answer"], _ANSWER)),
        "addfd": addfd or _tried(lambda: _expect(caller["injected"], True)),
        "sync": sync,
        "no_new_privs": _tried(lambda: _expect(caller["no_new_privs"], True)),
        "nested": caller["nested"],
    }


def _memory() -> Reasons:
    """A descendant's memory and /proc files, read as at every trapped call."""
    word = ctypes.create_string_buffer(b"before", 16)
    ready, tell = os.pipe()

    def speak() -> None:
        word.value = b"after"
        os.write(tell, b"1")
        threading.Event().wait(LIMIT_S)

    with _forked(speak) as pid:
        os.read(ready, 1)
        memory = _tried(lambda: _expect(_peek(pid, ctypes.addressof(word)), b"after\0"))
        unreadable = [
            f"{name}: {why}" for name in (*_PROC_FILES, *_PROC_LINKS, "fd") if (why := _tried(_reader(pid, name)))
        ]
    return {"memory": memory, "proc": "; ".join(unreadable) or None}


def _descriptors() -> Reasons:
    """A copy of a descendant's descriptor, and a handle on a thread that is not a leader."""
    ready, tell = os.pipe()

    def hold() -> None:
        os.write(tell, b"1")
        threading.Event().wait(LIMIT_S)

    with _forked(hold) as pid:
        os.read(ready, 1)
        getfd = _tried(lambda: _copy_of(pid, tell))
    return {"getfd": getfd, "thread": _tried(_thread_handle)}


def _namespaces() -> Reasons:
    """A user namespace with a mapped user, as an agent's own sandbox makes one."""

    def enter() -> None:
        user = os.getuid()
        os.unshare(os.CLONE_NEWUSER)
        with open("/proc/self/uid_map", "w", encoding="ascii") as file:
            file.write(f"{user} {user} 1")

    return {"userns": _tried(lambda: _expect(_status_of(enter), 0))}


def _terminal() -> Reasons:
    """A new pseudo-terminal becomes the controlling terminal of a new session."""

    def lead() -> None:
        os.login_tty(slave)
        os.close(os.open("/dev/tty", os.O_RDWR))

    master, slave = os.openpty()
    held = _tried(lambda: _expect(_status_of(lead), 0))
    os.close(master)
    os.close(slave)
    return {"pty": held}


def _loopback() -> Reasons:
    """Listeners on both loopback addresses, each reached by a connection."""

    def meet(family: socket.AddressFamily, address: str) -> None:
        with socket.create_server((address, 0), family=family) as server:
            socket.create_connection(server.getsockname()[:2], timeout=LIMIT_S / 2).close()

    return {
        "loopback4": _tried(lambda: meet(socket.AF_INET, "127.0.0.1")),
        "loopback6": _tried(lambda: meet(socket.AF_INET6, "::1")),
    }


ATTEMPTS: Mapping[str, Callable[[], Reasons]] = {
    "machine": _machine,
    "notification": _notification,
    "memory": _memory,
    "descriptors": _descriptors,
    "namespaces": _namespaces,
    "terminal": _terminal,
    "loopback": _loopback,
}


# ------------------------------------------------------------------------------------- the pieces of the attempts


@contextlib.contextmanager
def _forked(work: Callable[[], None]) -> Iterator[int]:
    """Runs `work` in a child that is killed and reaped when the block ends; gives its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _status_of(work: Callable[[], None]) -> int:
    """0 where `work` ends well in a child, else its errno (1 where it has none)."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except OSError as problem:
            status = problem.errno or 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _tried(work: Callable[[], object]) -> str | None:
    """None where `work` goes through, else its error in words."""
    try:
        work()
    except OSError as problem:
        return words(problem)
    return None


def _expect(found: object, wanted: object) -> None:
    """Raises OSError where a value is not the expected one; a number that is an errno is told as that error."""
    if found == wanted:
        return
    if isinstance(found, int) and found in errno.errorcode:
        raise OSError(found, os.strerror(found))
    raise OSError(errno.EIO, f"found {found!r} instead of {wanted!r}")


def _caller(channel: socket.socket) -> None:
    """The guarded side of `_notification`: traps one of its own calls, hands the listener over, and makes the call twice."""
    column, arch = syscalls.ARCHES[platform.machine()]
    number = syscalls.NUMBERS[_TRAPPED][column] or 0
    try:
        listener = kernel.install_filter(one_call_filter(arch, number), new_privileges=False)
    except OSError as problem:
        inside = "another guard watches this process already: " if problem.errno == errno.EBUSY else ""
        channel.send(f"{inside}{words(problem)}".encode())
        return
    socket.send_fds(channel, [b"listener"], [listener])
    answer = kernel.raw_syscall(number, kernel.AT_FDCWD, b"", 0)
    injected = kernel.raw_syscall(number, kernel.AT_FDCWD, b"", 0)
    is_null = injected > 2 and os.path.samestat(os.fstat(injected), os.stat(os.devnull))
    report = {
        "answer": answer,
        "injected": is_null,
        "no_new_privs": b"\nNoNewPrivs:\t1\n" in _contents("/proc/self/status"),
        "nested": _second_listener(one_call_filter(arch, number)),
    }
    channel.send(json.dumps(report).encode())


def _second_listener(code: bytes) -> str | None:
    """None where a second listener is refused as busy: how a guard inside a guard knows that it is not the outermost."""
    try:
        kernel.install_filter(code, new_privileges=False)
    except OSError as problem:
        return None if problem.errno == errno.EBUSY else words(problem)
    return "a second listener was accepted"


def one_call_filter(arch: int, number: int) -> bytes:
    """A BPF program that notifies on one call of one architecture and lets everything else pass."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    notify, allow = 0x7FC00000, 0x7FFF0000
    steps = [
        (load, 0, 0, 4),
        (equal, 0, 3, arch),
        (load, 0, 0, 0),
        (equal, 0, 1, number),
        (give, 0, 0, notify),
        (give, 0, 0, allow),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _receive(listener: int) -> int:
    """The id of the next notification; raises OSError where none comes."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    if not waiting.poll(LIMIT_S * 500):
        raise OSError(errno.ETIMEDOUT, "the call never reached the supervisor")
    event = bytearray(kernel.NOTIFICATION.size)
    fcntl.ioctl(listener, kernel.RECV, event)
    return int(kernel.NOTIFICATION.unpack(event)[0])


def _reply(listener: int, event: int, value: int) -> None:
    fcntl.ioctl(listener, kernel.SEND, kernel.RESPONSE.pack(event, value, 0, 0))


def _inject(listener: int, event: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    fcntl.ioctl(listener, kernel.ADDFD, kernel.ADDED.pack(event, kernel.ADDFD_SEND, null, 0, 0))


def _peek(pid: int, address: int) -> bytes:
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return os.pread(memory, 6, address)
    finally:
        os.close(memory)


def _reader(pid: int, name: str) -> Callable[[], object]:
    """A read of one entry of /proc/PID, whichever kind it is."""
    path = f"/proc/{pid}/{name}"
    if name in _PROC_LINKS:
        return lambda: os.readlink(path)
    if name == "fd":
        return lambda: os.listdir(path)
    return lambda: _contents(path)


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _copy_of(pid: int, descriptor: int) -> None:
    _expect(os.fstat(kernel.descriptor_of(pid, descriptor)).st_ino, os.fstat(descriptor).st_ino)


def _thread_handle() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(LIMIT_S,))
    thread.start()
    try:
        os.close(os.pidfd_open(thread.native_id or 0, kernel.PIDFD_THREAD))
    finally:
        over.set()
        thread.join()
