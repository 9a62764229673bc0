"""Memory stays bounded whatever the two ends do: bodies without end, slow readers, closed windows, verdicts that take their time."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

from h2.config import H2Configuration
from h2.connection import H2Connection

from tests.network.peer import Peer, Script, allow_all, reads_only
from tests.network.servers import Listener, TestCa, ended, http1, read_response, swallow

type Start = Callable[[Script], Peer]

LARGE = 200 * 1024 * 1024  # bytes; several times what is allowed to stay in memory
KEPT_KIB = 40 * 1024  # of memory that a transfer of `LARGE` may add


def push(made: socket.socket, size: int) -> int:
    """Sends so many zeros, or as many as the other side takes within a second of standstill."""
    made.settimeout(1.0)
    piece, sent = bytes(1 << 18), 0
    try:
        while sent < size:
            sent += made.send(piece)
    except TimeoutError:
        pass
    made.settimeout(10.0)
    return sent


def test_a_large_download_streams(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"GET /big/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % LARGE)
        before = peer.memory_kib()
        _, _, received = read_head_and_count(made, LARGE)
        assert received == LARGE
        assert peer.memory_kib() - before < KEPT_KIB
        made.close()


def read_head_and_count(made: socket.socket, size: int) -> tuple[int, bytes, int]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += made.recv(1)
    count = 0
    while count < size and (data := made.recv(1 << 18)):
        count += len(data)
    return int(head[9:12]), head, count


def test_a_download_that_nobody_reads_stands_still(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        before = peer.memory_kib()
        made.sendall(b"GET /big/%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % LARGE)
        time.sleep(1.5)
        assert peer.memory_kib() - before < KEPT_KIB
        made.close()


def test_a_large_upload_streams(start: Start) -> None:
    def count(listener: Listener, made: socket.socket) -> None:
        seen = 0
        while seen < LARGE and (data := made.recv(1 << 18)):
            seen += len(data)
        made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    peer = start(allow_all)
    with Listener(count) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % LARGE)
        before = peer.memory_kib()
        assert push(made, LARGE) >= LARGE
        assert read_response(made)[0] == 200
        assert peer.memory_kib() - before < KEPT_KIB
        made.close()


def test_what_a_client_sends_while_a_verdict_is_waited_for_is_bounded(start: Start) -> None:
    peer = start(lambda action: None)
    with Listener(swallow) as server:
        before = peer.memory_kib()
        for text in (b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % LARGE, b"\0\0\0\0"):
            made, _ = peer.connect(server.address)
            made.sendall(text)
            assert push(made, LARGE) < LARGE
            made.close()
        assert peer.memory_kib() - before < KEPT_KIB
        assert server.accepted == 0


def test_requests_behind_one_that_waits_are_bounded(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:  # which never answers the first
        before = peer.memory_kib()
        made, _ = peer.connect(server.address)
        made.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert push(made, LARGE) < LARGE
        assert peer.memory_kib() - before < KEPT_KIB
        made.close()


def test_a_refused_upload_without_end_is_cut(start: Start) -> None:
    peer = start(reads_only)
    with Listener(swallow) as server:
        before = peer.memory_kib()
        made, _ = peer.connect(server.address)
        made.sendall(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 999999999999\r\n\r\n")
        try:
            assert push(made, LARGE) < LARGE
        except ConnectionError:
            pass  # cut within a send
        ended(made)
        assert peer.memory_kib() - before < KEPT_KIB
        made.close()
        assert server.accepted == 0


def test_a_head_that_grows_slowly_ends(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"GET / HTTP/1.1\r\n")
        try:
            for _ in range(100):
                made.sendall(b"X: " + b"a" * 8000 + b"\r\n")
        except ConnectionError:
            pass  # cut within a send
        assert ended(made)[9:12] in (b"431", b"")
        made.close()
        assert server.accepted == 0


def test_a_chunk_line_without_end_ends(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        made, flow = peer.connect(server.address)
        made.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1;")
        try:
            push(made, LARGE)
        except ConnectionError:
            pass  # cut within a send
        ended(made)
        made.close()
        assert peer.finished(flow)["error"]
        assert server.received == b"" or b"\r\n\r\n" in server.received


def test_an_http2_client_with_a_closed_window_holds_the_server_up(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("api.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        context = ssl.create_default_context(cafile=peer.ca)
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(made, server_hostname="api.test") as client:
            state = H2Connection(H2Configuration())
            state.initiate_connection()
            state.send_headers(
                1,
                [(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", f"/big/{LARGE}")],
                end_stream=True,
            )
            before = peer.memory_kib()
            client.sendall(state.data_to_send())
            client.settimeout(2.0)
            try:
                while client.recv(1 << 16):  # the first 64 KiB, as the window says; no update is ever sent
                    pass
            except TimeoutError:
                pass
            assert peer.memory_kib() - before < KEPT_KIB


def test_idle_connections_stay_small(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        before = peer.memory_kib()
        idle = []
        for _ in range(400):  # as many as the usual limit of descriptors allows in this process
            made, _ = peer.connect(server.address)
            made.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert read_response(made)[0] == 200
            idle.append(made)
        each = (peer.memory_kib() - before) / len(idle)
        for made in idle:
            made.close()
        assert each < 100  # KiB
