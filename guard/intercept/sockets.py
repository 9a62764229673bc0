"""Sockets of the tree: connect, bind, listen and addressed sends, done on a copy of the caller's socket.

Classes the other end (a listener inside the tree, a resolver, the agent's model endpoint, …) and lets the owner of this room judge. TCP that is
not direct is connected to the proxy, which judges what is said before anything goes further. Nothing is decided here.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from guard.core.actions import Action, FileAction, Listener, NetworkAction
from guard.core.places import Places
from guard.intercept import kernel
from guard.intercept.files import CONTINUED, Continued
from guard.intercept.identity import Identity, become
from guard.intercept.paths import Paths
from guard.intercept.tasks import Task

MSG_FASTOPEN: Final = 0x20000000
_SO_NETNS_COOKIE: Final = 71
_SCM_RIGHTS: Final = 1
_PIECE: Final = 1 << 20  # bytes of a stream's message that are sent at once on behalf of a threaded caller
_DATAGRAM_LIMIT: Final = 212992  # net.core.wmem_default: no larger datagram leaves a socket with default settings
_METADATA: Final = frozenset(
    ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "168.63.129.16", "192.0.0.192")
)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class InThread:
    """Work that may wait; `run()` is called in a thread of its own and gives the call's result or raises OSError."""

    run: Callable[[], int]


Outcome = int | Continued | InThread


class Redirect(Protocol):
    """What the owner offers: the proxy's ports and the announcement of a redirected connection."""

    def proxy_ports(self) -> tuple[int, int | None]:
        """The proxy's IPv4 and IPv6 port; raises to wait where it is not ready."""

    def announce(self, task: Task, family: int, port: int, action: NetworkAction, inspect: str) -> None:
        """Tells the proxy whose connection comes from this source port."""

    def inspect(self, action: NetworkAction) -> str:
        """`always`, `never` or `passthrough`."""


class Judge(Protocol):
    """Records and returns, or raises to refuse or to wait; with `ask` False what would be asked is refused."""

    def __call__(self, task: Task, action: Action, *, ask: bool = True) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """A socket address as the caller gave it: raw bytes and what they mean."""

    raw: bytes
    family: int
    ip: str | None = None
    port: int | None = None
    path: bytes | None = None  # AF_UNIX path name as given; abstract names start with NUL; b"" is unnamed


def read_address(task: Task, pointer: int, length: int) -> Address:
    """The sockaddr at this pointer; raises OSError EINVAL/EFAULT as the kernel would."""
    if length > 128 or length < 2:
        raise OSError(errno.EINVAL, "address length")
    raw = task.read(pointer, length)
    if len(raw) < length:
        raise OSError(errno.EFAULT, "address")
    (family,) = struct.unpack_from("=H", raw)
    if family == socket.AF_INET and length >= 16:
        return Address(raw, family, socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack_from(">H", raw, 2)[0])
    if family == socket.AF_INET6 and length >= 24:
        ip = ipaddress.IPv6Address(raw[8:24])
        shown = str(ip.ipv4_mapped) if ip.ipv4_mapped else str(ip)
        return Address(raw, family, shown, struct.unpack_from(">H", raw, 2)[0])
    if family == socket.AF_UNIX:
        name = raw[2:]
        return Address(raw, family, path=name if name.startswith(b"\0") and len(name) > 1 else name.split(b"\0", 1)[0])
    if family in (socket.AF_UNSPEC, socket.AF_NETLINK):
        return Address(raw, family)
    raise OSError(
        errno.EAFNOSUPPORT if family not in (socket.AF_INET, socket.AF_INET6) else errno.EINVAL, "address family"
    )


def _call(name: str, *arguments: int | bytes) -> int:
    result = int(getattr(_libc, name)(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


class Sockets:
    """Performs socket calls."""

    def __init__(
        self, paths: Paths, identity: Identity, judge: Judge, redirect: Redirect, places: Places, *, no_network: bool
    ) -> None:
        self.paths, self.identity, self.judge, self.redirect = paths, identity, judge, redirect
        self.no_network = no_network
        self.places = places
        # (network namespace, port) -> inodes of the tree's TCP listeners, and of its bound datagram sockets
        self._listening: dict[tuple[int, int], tuple[int, ...]] = {}
        self._datagrams: dict[tuple[int, int], tuple[int, ...]] = {}
        self._bound: set[tuple[int, int]] = set()  # device and inode of socket files that the tree made
        self._abstract: dict[bytes, int] = {}  # abstract name -> inode of the tree's socket
        with socket.socket() as probe:
            self._own_namespace = _namespace(probe.fileno())
        self._resolvers = frozenset(places.resolvers)
        self._models = frozenset(places.model_endpoints)

    # ---- calls

    def connect(self, task: Task, number: int, pointer: int, length: int) -> Outcome:
        """connect(2)."""
        address = read_address(task, pointer, length)
        copy = kernel.descriptor_of(task.tid, number)
        keep = False
        try:
            kind = _option(copy, socket.SOL_SOCKET, socket.SO_TYPE)
            if address.family == socket.AF_UNSPEC:
                return _call("connect", copy, address.raw, len(address.raw))
            if address.family == socket.AF_UNIX:
                outcome = self._to_unix(task, copy, address)
            elif address.family == socket.AF_NETLINK:
                return _call("connect", copy, address.raw, len(address.raw))
            elif kind == socket.SOCK_STREAM:
                outcome = self._to_tcp(task, copy, address)
            else:
                outcome = self._to_udp(task, copy, address)
            keep = isinstance(outcome, InThread)
            return outcome
        finally:
            if not keep:
                os.close(copy)

    def _to_tcp(self, task: Task, copy: int, address: Address) -> Outcome:
        assert address.ip is not None
        assert address.port is not None
        namespace = _namespace(copy)
        listener = self.listener(task, address, namespace)
        action = NetworkAction(
            host=(address.ip,), address=address.ip, port=address.port, protocol="tcp", listener=listener
        )
        if listener == "tree":
            self.judge(task, action)
            return self._direct(copy, address)
        self._refuse_without_network(listener)
        if namespace != self._own_namespace:
            self.judge(task, action)
            return self._direct(copy, address)
        inspect = self.redirect.inspect(action)
        if inspect == "never":
            self.judge(task, action)
            return self._direct(copy, address)
        if _is_loopback(address.ip) and not _listeners(task, address.port):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        return self._redirected(task, copy, address, action, inspect)

    def _redirected(self, task: Task, copy: int, address: Address, action: NetworkAction, inspect: str) -> Outcome:
        port4, port6 = self.redirect.proxy_ports()
        if address.family == socket.AF_INET:
            target = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port4) + bytes((127, 0, 0, 1)) + bytes(8)
        else:
            mapped = ipaddress.IPv6Address(address.raw[8:24]).ipv4_mapped is not None or port6 is None
            place = socket.inet_pton(socket.AF_INET6, "::ffff:127.0.0.1" if mapped else "::1")
            port = port4 if mapped else port6 or port4
            target = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + place + bytes(4)
        result = 0
        try:
            _call("connect", copy, target, len(target))
        except BlockingIOError:
            result = -errno.EINPROGRESS
        with socket.socket(fileno=os.dup(copy)) as own:
            source = own.getsockname()
        family = 4 if address.family == socket.AF_INET or ":" not in source[0].replace("::ffff:", "") else 6
        self.redirect.announce(task, family, source[1], action, inspect)
        return result

    def _direct(self, copy: int, address: Address) -> Outcome:
        """Connects where the caller wanted; a blocking socket is waited for in a thread."""
        if not os.get_blocking(copy):
            try:
                return _call("connect", copy, address.raw, len(address.raw))
            except BlockingIOError:
                return -errno.EINPROGRESS

        def run() -> int:
            try:
                return _call("connect", copy, address.raw, len(address.raw))
            finally:
                os.close(copy)

        return InThread(run)

    def _to_udp(self, task: Task, copy: int, address: Address) -> Outcome:
        """A connected datagram socket sends without another trapped call, so its destination is judged here, and never asked about:
        resolvers' clients connect such sockets only to learn their own address (RFC 6724), and do well without an answer.
        """
        action = self._datagram(task, copy, address)
        self._refuse_without_network(action.listener)
        self.judge(task, action, ask=False)
        return _call("connect", copy, address.raw, len(address.raw))

    def _to_unix(self, task: Task, copy: int, address: Address) -> Outcome:
        assert address.path is not None
        raw, name, inside = self._unix_name(task, address)
        if not inside:
            self._refuse_without_network("unix")
            self.judge(task, NetworkAction(host=(name,), address=name, protocol="unix", listener="unix"))
        return self._as_peer(task, copy, raw, lambda place: _call("connect", copy, place, len(place)))

    def _unix_name(self, task: Task, address: Address) -> tuple[tuple[int, bytes], str, bool]:
        """How to reach a unix socket again ((handle, rest) with handle -1 for abstract names), its canonical name, and whether it is the tree's."""
        path = address.path or b""
        if path.startswith(b"\0") or not path:
            inode = self._abstract.get(path)
            return (-1, address.raw), "@" + os.fsdecode(path[1:]), inode is not None and inode in _unix_inodes(path)
        found = self.paths.find(task, kernel.AT_FDCWD, path)
        try:
            what = os.fstat(found.descriptor)
            return (os.dup(found.descriptor), b""), os.fsdecode(found.name), (what.st_dev, what.st_ino) in self._bound
        finally:
            os.close(found.descriptor)

    def _as_peer(self, task: Task, copy: int, where: tuple[int, bytes], act: Callable[[bytes], int]) -> Outcome:
        """A unix peer sees who connected: where that is not the guard's own user, a thread takes the caller's identity first."""
        handle, raw = where
        place = raw if handle < 0 else struct.pack("=H", socket.AF_UNIX) + f"/proc/self/fd/{handle}".encode() + b"\0"
        persona = task.status().persona
        own = self.identity.own

        def run() -> int:
            try:
                if persona.uid != own.uid or persona.gid != own.gid:
                    become(persona)
                return act(place)
            finally:
                if handle >= 0:
                    os.close(handle)
                os.close(copy)

        if (persona.uid, persona.gid) != (own.uid, own.gid) or os.get_blocking(copy):
            return InThread(run)
        try:
            return act(place)
        finally:
            if handle >= 0:
                os.close(handle)

    def bind(self, task: Task, number: int, pointer: int, length: int) -> Outcome:
        """bind(2): a unix path is a file made; what the tree bound is known as its own."""
        address = read_address(task, pointer, length)
        copy = kernel.descriptor_of(task.tid, number)
        try:
            if address.family != socket.AF_UNIX or not address.path:
                result = _call("bind", copy, address.raw, len(address.raw))
                if address.ip is not None and _option(copy, socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_DGRAM:
                    self._remember(self._datagrams, copy)
                return result
            if address.path.startswith(b"\0"):
                _call("bind", copy, address.raw, len(address.raw))
                self._abstract[address.path] = os.fstat(copy).st_ino
                return 0
            return self._bind_path(task, copy, address)
        finally:
            os.close(copy)

    def _bind_path(self, task: Task, copy: int, address: Address) -> int:
        assert address.path is not None
        slot = self.paths.slot(task, kernel.AT_FDCWD, address.path)
        try:
            self.judge(task, FileAction(op="create", path=os.fsdecode(slot.name)))
            with self.identity.of(task, namespaces_moved=self.paths.namespaces_moved):
                self.identity.take_umask(task)
                # the name that getsockname shows stays the caller's own: the guard stands where the caller stands for this one call
                base = slot.descriptor if b"/" not in address.path else task.base(kernel.AT_FDCWD)
                try:
                    os.fchdir(base)
                    if address.path.startswith(b"/") and self.paths.is_foreign(task):
                        name = f"/proc/self/fd/{slot.descriptor}/".encode() + slot.last
                        raw = struct.pack("=H", socket.AF_UNIX) + name + b"\0"
                    else:
                        raw = address.raw
                    _call("bind", copy, raw, len(raw))
                finally:
                    if base != slot.descriptor:
                        os.close(base)
                    os.chdir("/")
            what = os.stat(slot.last, dir_fd=slot.descriptor, follow_symlinks=False)
            self._bound.add((what.st_dev, what.st_ino))
        finally:
            os.close(slot.descriptor)
        return 0

    def listen(self, task: Task, number: int, backlog: int) -> Outcome:
        """listen(2): done here, so that the port is known as the tree's before anybody can connect."""
        copy = kernel.descriptor_of(task.tid, number)
        try:
            _call("listen", copy, backlog & 0x7FFFFFFF)
            if _option(copy, socket.SOL_SOCKET, socket.SO_DOMAIN) in (socket.AF_INET, socket.AF_INET6):
                self._remember(self._listening, copy)
            return 0
        finally:
            os.close(copy)

    @staticmethod
    def _remember(known: dict[tuple[int, int], tuple[int, ...]], copy: int) -> None:
        """Notes the port of a socket of the tree, by the socket's inode, so that a later owner of the port is not taken for it."""
        with socket.socket(fileno=os.dup(copy)) as own:
            key = (_namespace(copy), own.getsockname()[1])
        known[key] = (*known.get(key, ())[-31:], os.fstat(copy).st_ino)

    def send_to(self, task: Task, number: int, data: int, size: int, flags: int, pointer: int, length: int) -> Outcome:
        """sendto(2) with an address, or with MSG_FASTOPEN (answered as on a kernel without it, so that programs connect)."""
        if flags & MSG_FASTOPEN:
            raise OSError(errno.EOPNOTSUPP, "fast open")
        copy = kernel.descriptor_of(task.tid, number)
        try:
            kind = _option(copy, socket.SOL_SOCKET, socket.SO_TYPE)
            family = _option(copy, socket.SOL_SOCKET, socket.SO_DOMAIN)
            if family == socket.AF_NETLINK or kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
                # the address is ignored (stream) or names the kernel (netlink route)
                return (
                    CONTINUED
                    if task.is_alone()
                    else self._stream(copy, [task.exactly(data, min(size, _PIECE))], [], flags)
                )
            if size > _DATAGRAM_LIMIT:
                raise OSError(errno.EMSGSIZE, "datagram too long")
            payload = task.exactly(data, size)
            return self._send(
                task, copy, [payload], b"", flags, read_address(task, pointer, length) if pointer else None
            )
        finally:
            os.close(copy)

    def send_message(self, task: Task, number: int, header: int, flags: int) -> Outcome:
        """sendmsg(2): the destination lies in memory, so datagrams are sent from a copy; streams, whose address is ignored, are continued."""
        if flags & MSG_FASTOPEN:
            raise OSError(errno.EOPNOTSUPP, "fast open")
        copy = kernel.descriptor_of(task.tid, number)
        try:
            if self._ignores_address(copy):
                return CONTINUED if task.is_alone() else self._stream_message(task, copy, header, flags)
            return self._message(task, copy, header, flags)
        finally:
            os.close(copy)

    def _stream_message(self, task: Task, copy: int, header: int, flags: int) -> Outcome:
        """A stream's message of a caller whose descriptors a sibling may exchange: sent on the socket that was looked at."""
        _, _, _, vectors, count, control, control_size, _ = struct.unpack("=QIIQQQQI", task.exactly(header, 52))
        pieces: list[bytes] = []
        room = _PIECE
        for place, size in struct.iter_unpack("=QQ", task.exactly(vectors, 16 * min(count, 1024))):
            pieces.append(task.exactly(place, min(size, room)))
            room -= len(pieces[-1])
            if len(pieces[-1]) < size:
                break
        passed: list[int] = []
        ancillary = task.exactly(control, control_size) if control and 0 < control_size <= 4096 else b""
        try:
            messages = self._ancillary(task, ancillary, passed)
        except BaseException:
            for descriptor in passed:
                os.close(descriptor)
            raise
        return self._stream(copy, pieces, messages, flags, passed)

    @staticmethod
    def _stream(
        copy: int, pieces: list[bytes], messages: list[tuple[int, int, bytes]], flags: int, passed: Sequence[int] = ()
    ) -> Outcome:
        """Sends now, or, where the caller would wait, in a thread; a stream may take less than it was given."""
        own = socket.socket(fileno=os.dup(copy))

        def finish() -> None:
            own.close()
            for descriptor in passed:
                os.close(descriptor)

        try:
            sent = own.sendmsg(pieces, messages, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            if flags & socket.MSG_DONTWAIT or not os.get_blocking(copy):
                finish()
                raise

            def run() -> int:
                try:
                    return own.sendmsg(pieces, messages, flags)
                finally:
                    finish()

            return InThread(run)
        except OSError:
            finish()
            raise
        finish()
        return sent

    def send_messages(self, task: Task, number: int, headers: int, count: int, flags: int) -> Outcome:
        """sendmmsg(2), message by message; the lengths are written back as the kernel does."""
        if flags & MSG_FASTOPEN:
            raise OSError(errno.EOPNOTSUPP, "fast open")
        copy = kernel.descriptor_of(task.tid, number)
        try:
            if self._ignores_address(copy):
                return CONTINUED if task.is_alone() else self._stream_messages(task, copy, headers, count, flags)
            sent = 0
            for index in range(min(count, 1024)):
                place = headers + 64 * index  # struct mmsghdr: msghdr of 56 bytes, length, padding
                try:
                    length = self._message(task, copy, place, flags)
                except OSError:
                    if sent:
                        break
                    raise
                _write(task, place + 56, struct.pack("=I", length))
                sent += 1
            return sent
        finally:
            os.close(copy)

    def _stream_messages(self, task: Task, copy: int, headers: int, count: int, flags: int) -> Outcome:
        """The first message alone, which sendmmsg(2) may do; its length is written back."""
        if not count:
            return 0
        length = self._stream_message(task, copy, headers, flags | socket.MSG_DONTWAIT)
        if isinstance(length, int):
            _write(task, headers + 56, struct.pack("=I", length))
        return 1

    @staticmethod
    def _ignores_address(copy: int) -> bool:
        family = _option(copy, socket.SOL_SOCKET, socket.SO_DOMAIN)
        kind = _option(copy, socket.SOL_SOCKET, socket.SO_TYPE)
        return family == socket.AF_NETLINK or kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)

    def _message(self, task: Task, copy: int, header: int, flags: int) -> int:
        name, name_size, _, vectors, vector_count, control, control_size, _ = struct.unpack(
            "=QIIQQQQI", task.exactly(header, 52)
        )
        if vector_count > 1024:
            raise OSError(errno.EMSGSIZE, "too many pieces")
        table = task.exactly(vectors, 16 * vector_count)
        pieces = []
        total = 0
        for place, size in struct.iter_unpack("=QQ", table):
            total += size
            if total > _DATAGRAM_LIMIT:
                raise OSError(errno.EMSGSIZE, "datagram too long")
            pieces.append(task.exactly(place, size))
        address = read_address(task, name, name_size) if name and name_size else None
        ancillary = task.exactly(control, control_size) if control and 0 < control_size <= 4096 else b""
        return self._send(task, copy, pieces, ancillary, flags, address)

    def _send(
        self, task: Task, copy: int, pieces: list[bytes], ancillary: bytes, flags: int, address: Address | None
    ) -> int:
        raw: str | bytes | tuple[str, int | None] | None = None
        handle = -1
        if address is not None and address.family == socket.AF_UNIX:
            (handle, rest), name, inside = self._unix_name(task, address)
            if not inside:
                self._refuse_without_network("unix")
                self.judge(task, NetworkAction(host=(name,), address=name, protocol="unix", listener="unix"))
            raw = os.fsencode(f"/proc/self/fd/{handle}") if handle >= 0 else rest[2:]
        elif address is not None and address.ip is not None:
            action = self._datagram(task, copy, address)
            self._refuse_without_network(action.listener)
            self.judge(task, action)
            raw = (
                (str(ipaddress.IPv6Address(address.raw[8:24])), address.port)
                if address.family == socket.AF_INET6
                else (address.ip, address.port)
            )
        passed: list[int] = []
        try:
            messages = self._ancillary(task, ancillary, passed)
            with socket.socket(fileno=os.dup(copy)) as own:
                wanted = flags | socket.MSG_DONTWAIT
                return (
                    own.sendmsg(pieces, messages, wanted, raw)
                    if raw is not None
                    else own.sendmsg(pieces, messages, wanted)
                )
        finally:
            for descriptor in passed:
                os.close(descriptor)
            if handle >= 0:
                os.close(handle)

    @staticmethod
    def _ancillary(task: Task, data: bytes, passed: list[int]) -> list[tuple[int, int, bytes]]:
        """Control messages with the caller's descriptors exchanged for copies; credentials that would become the guard's are refused."""
        messages = []
        at = 0
        while at + 16 <= len(data):
            length, level, kind = struct.unpack_from("=Qii", data, at)
            if length < 16 or at + length > len(data):
                raise OSError(errno.EINVAL, "control message")
            body = data[at + 16 : at + length]
            if level == socket.SOL_SOCKET and kind == _SCM_RIGHTS:
                numbers = struct.unpack(f"={len(body) // 4}i", body[: len(body) // 4 * 4])
                for number in numbers:
                    passed.append(kernel.descriptor_of(task.tid, number))
                body = struct.pack(f"={len(numbers)}i", *passed[-len(numbers) :]) if numbers else b""
            elif level == socket.SOL_SOCKET:
                raise OSError(errno.EPERM, "credentials cannot be sent on behalf")
            messages.append((level, kind, body))
            at += (length + 7) & ~7
        return messages

    # ---- classes

    def _datagram(self, task: Task, copy: int, address: Address) -> NetworkAction:
        assert address.ip is not None
        listener = self.listener(task, address, _namespace(copy), stream=False)
        protocol = "dns" if listener == "resolver" else "udp"
        return NetworkAction(
            host=(address.ip,), address=address.ip, port=address.port, protocol=protocol, listener=listener
        )

    def listener(self, task: Task, address: Address, namespace: int, *, stream: bool = True) -> Listener:
        """Whom the caller would reach."""
        assert address.ip is not None
        ip, port = address.ip, address.port or 0
        if ip in _METADATA:
            return "metadata"
        if port == 53 and ip in self._resolvers:
            return "resolver"
        local = _is_loopback(ip) or ip in ("0.0.0.0", "::")
        inodes = self._listening.get((namespace, port), ())
        if (
            stream
            and inodes
            and (local or _is_own_address(ip))
            and _answer(task, ("tcp", "tcp6"), ip, port, b"0A") <= set(inodes)
        ):
            return "tree"
        datagrams = self._datagrams.get((namespace, port), ())
        if (
            not stream
            and datagrams
            and (local or _is_own_address(ip))
            and _answer(task, ("udp", "udp6"), ip, port, None) <= set(datagrams)
        ):
            return "tree"
        if f"{ip}:{port}" in self._models or (local and f"localhost:{port}" in self._models):
            return "model"
        return "loopback" if local else "elsewhere"

    def _refuse_without_network(self, listener: Listener | None) -> None:
        if self.no_network and listener not in ("tree",):
            raise OSError(errno.ENETUNREACH, "no network in this session")


def _option(descriptor: int, level: int, name: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as own:
        return own.getsockopt(level, name)


def _namespace(descriptor: int) -> int:
    """The cookie of the socket's network namespace (SO_NETNS_COOKIE, 5.14)."""
    with socket.socket(fileno=os.dup(descriptor)) as own:
        return int.from_bytes(own.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), "little")


def _is_loopback(ip: str) -> bool:
    return ip.startswith("127.") or ip == "::1"


def _is_own_address(ip: str) -> bool:
    """Whether packets to this address stay on this machine: binding to it works for local addresses alone (ip(7))."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True


def _listeners(task: Task, port: int) -> set[int]:
    """Inodes of the TCP sockets that listen on this port in the caller's network namespace (proc_net_tcp(5); state 0A is LISTEN)."""
    return {inode for _, inode in _bound(task, ("tcp", "tcp6"), port, b"0A")}


def _answer(task: Task, tables: tuple[str, ...], ip: str, port: int, state: bytes | None) -> set[int]:
    """Inodes of the sockets that would get what is sent to this address: those bound to it, else those bound to all addresses.

    `{-1}` where there is none, which is nobody's.
    """
    bound = _bound(task, tables, port, state)
    exact = {inode for address, inode in bound if address == ip}
    return exact or {inode for address, inode in bound if address in ("0.0.0.0", "::")} or {-1}


def _bound(task: Task, tables: tuple[str, ...], port: int, state: bytes | None) -> list[tuple[str, int]]:
    wanted = b":%04X" % port
    found: list[tuple[str, int]] = []
    for table in tables:
        try:
            text = task.file(f"net/{table}")
        except OSError:
            continue
        for line in text.splitlines()[1:]:
            parts = line.split()
            if parts[1].endswith(wanted) and (state is None or parts[3] == state):
                found.append((_shown_address(parts[1][: -len(wanted)]), int(parts[9])))
    return found


def _shown_address(text: bytes) -> str:
    """An address as procfs prints it: 32-bit words in the machine's byte order."""
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw)
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _unix_inodes(path: bytes) -> set[int]:
    """Inodes of the sockets bound to an abstract name (proc_net_unix(5) shows the NULs as @)."""
    shown = path.replace(b"\0", b"@")
    with open("/proc/net/unix", "rb") as table:
        return {int(parts[6]) for line in table if len(parts := line.split(None, 7)) == 8 and parts[7].strip() == shown}


def _write(task: Task, pointer: int, data: bytes) -> None:
    """Writes a result that the kernel would have written."""
    descriptor = os.open("mem", os.O_WRONLY | os.O_CLOEXEC, dir_fd=task.folder)
    try:
        os.pwrite(descriptor, data, pointer)
    finally:
        os.close(descriptor)
