"""Servers on loopback for the network tests: they remember who came and what was said, and nothing is scripted beyond that.

What never enters: the proxy. These are the world in which the tests look whether something arrived.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

PEM = serialization.Encoding.PEM


class TestCa:
    """An authority that only the proxy is told to trust (`--upstream-ca`), and certificates of servers signed by it."""

    __test__ = False  # no class of tests

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "test-ca.pem"
        self.file.write_bytes(self._signed(self._name, self._key, ["authority.test"], ca=True).public_bytes(PEM))

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[str], *, ca: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(_usage(ca), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def server(self, *names: str, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        """The TLS side of a server of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        file = self._folder / f"{names[0]}.pem"
        file.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + self._signed(subject, key, list(names)).public_bytes(PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        context.set_alpn_protocols(list(alpn))
        return context


def _usage(ca: bool) -> x509.KeyUsage:
    """What OpenSSL's strict mode, Python's default, asks for."""
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Listener:
    """A listening socket with a thread a connection. `accepted` counts connections, `received` keeps what came in."""

    def __init__(
        self,
        talk: Callable[[Listener, socket.socket], None],
        *,
        tls: ssl.SSLContext | None = None,
        family: int = 4,
    ) -> None:
        self._talk = talk
        self._tls = tls
        self.accepted = 0
        self.received = bytearray()
        self._open: list[socket.socket] = []
        address = "127.0.0.1" if family == 4 else "::1"
        self._socket = socket.create_server(
            (address, 0), family=socket.AF_INET if family == 4 else socket.AF_INET6, backlog=256
        )
        self.address: tuple[str, int] = (address, self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                made, _ = self._socket.accept()
            except OSError:
                return  # closed
            self.accepted += 1
            self._open.append(made)
            threading.Thread(target=self._serve, args=(made,), daemon=True).start()

    def _serve(self, made: socket.socket) -> None:
        try:
            if self._tls is not None:
                made = self._tls.wrap_socket(made, server_side=True)
                self._open.append(made)
            self._talk(self, made)
        except OSError:
            pass  # the other side is gone: what arrived until then is what the test looks at
        finally:
            made.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for made in self._open:
            made.close()


def swallow(listener: Listener, made: socket.socket) -> None:
    """Reads to the end and keeps it."""
    while data := made.recv(65536):
        listener.received += data


def echo(listener: Listener, made: socket.socket) -> None:
    while data := made.recv(65536):
        listener.received += data
        made.sendall(data)


def banner(listener: Listener, made: socket.socket) -> None:
    """A server that speaks first, like SMTP and SSH."""
    made.sendall(b"220 mail.test ready\r\n")
    echo(listener, made)


def http1(listener: Listener, made: socket.socket) -> None:
    """HTTP/1.1 with keep-alive; understands Content-Length and chunked bodies and what the paths below say.

    `/big/N` answers N bytes; `/events` sends three server-sent events and waits for nothing; `/ws` upgrades and echoes frames.
    """
    stream = made.makefile("rb")
    while head := _head(stream):
        line, headers = head
        body = _body(stream, headers)
        listener.received += line + b"\n" + body + b"\n"
        path = line.split()[1].rpartition(b"://")[2].partition(b"/")[2]
        if path.startswith(b"big/"):
            _big(made, int(path[4:]))
        elif path == b"events":
            made.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            made.sendall(b"d\r\ndata: first\n\n\r\n")
            stream.read(1)  # until the client has gone
            return
        elif path == b"ws":
            made.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            _frames(listener, made, stream)
            return
        else:
            text = b"%d bytes of body" % len(body)
            made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def _head(stream: Any) -> tuple[bytes, dict[bytes, bytes]] | None:
    line = stream.readline().strip()
    headers: dict[bytes, bytes] = {}
    while field := stream.readline().strip():
        name, _, value = field.partition(b":")
        headers[name.lower()] = value.strip()
    return (line, headers) if line else None


def _body(stream: Any, headers: dict[bytes, bytes]) -> bytes:
    if headers.get(b"transfer-encoding") == b"chunked":
        body = bytearray()
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            stream.readline()
        stream.readline()
        return bytes(body)
    read: bytes = stream.read(int(headers.get(b"content-length", b"0")))
    return read


def _big(made: socket.socket, size: int) -> None:
    made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    piece = bytes(range(256)) * 256
    while size:
        made.sendall(piece[:size])
        size -= min(size, len(piece))


def _frames(listener: Listener, made: socket.socket, stream: Any) -> None:
    """Echoes short masked text frames (RFC 6455 §5.2) unmasked."""
    while head := stream.read(2):
        size, mask = head[1] & 127, b""
        if size == 126:
            size = int.from_bytes(stream.read(2))
        mask = stream.read(4)
        data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(stream.read(size)))
        listener.received += data
        made.sendall(bytes([head[0], size]) + data)


def http2(listener: Listener, made: socket.socket) -> None:
    """HTTP/2: answers every request when it has ended, with the size of its body."""
    state = H2Connection(H2Configuration(client_side=False))
    state.initiate_connection()
    made.sendall(state.data_to_send())
    sizes: dict[int, int] = {}
    while data := made.recv(65536):
        for event in state.receive_data(data):
            match event:
                case RequestReceived():
                    fields = dict(event.headers)
                    listener.received += fields[b":method"] + b" " + fields[b":path"] + b" HTTP/2\n"
                    sizes[event.stream_id] = 0
                case DataReceived():
                    listener.received += event.data
                    sizes[event.stream_id] += len(event.data)
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case StreamEnded():
                    text = b"%d bytes of body" % sizes.pop(event.stream_id)
                    state.send_headers(event.stream_id, [(":status", "200"), ("content-length", str(len(text)))])
                    state.send_data(event.stream_id, text, end_stream=True)
        made.sendall(state.data_to_send())


def read_response(made: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One HTTP/1.1 response: status, headers (names lower case), body. The socket can be used on."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = made.recv(1)
        if not byte:
            raise ConnectionError(f"the connection ended within the head: {head!r}")
        head += byte
    first, *rest = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        more = made.recv(65536)
        if not more:
            raise ConnectionError("the connection ended within the body")
        body += more
    return int(first.split()[1]), headers, body


def ended(made: socket.socket) -> bytes:
    """What still comes until the other side is gone, be it by FIN or RST."""
    rest = b""
    try:
        while data := made.recv(65536):
            rest += data
    except ConnectionError:
        pass
    return rest
