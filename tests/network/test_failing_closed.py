"""Who may come in, and what happens when something goes wrong: nothing passes, others go on, the process ends with its guard."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.network.peer import ALLOW, WAIT_S, Peer, Script, allow_all, reads_only
from tests.network.servers import Listener, ended, http1, read_response, swallow

type Start = Callable[[Script], Peer]

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def test_a_connection_that_nobody_announced_is_closed(start: Start) -> None:
    peer = start(allow_all)
    made = peer.unannounced()
    peer.enter(made)
    made.sendall(GET)
    assert ended(made) == b""
    made.close()
    assert peer.actions == []


def test_an_announcement_may_come_after_the_connection(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made = peer.unannounced()
        peer.enter(made)
        made.sendall(GET)
        time.sleep(0.5)
        peer.announce(made.getsockname()[1], server.address)
        assert read_response(made)[0] == 200
        made.close()


def test_an_announcement_is_good_for_one_connection(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, flow = peer.connect(server.address)
        source = made.getsockname()
        made.sendall(GET)
        assert read_response(made)[0] == 200
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT: the port is free
        made.close()
        peer.finished(flow)
        again = socket.socket()
        again.settimeout(WAIT_S)
        again.bind(source)
        peer.enter(again)
        again.sendall(GET)
        assert ended(again) == b""
        again.close()
        assert server.accepted == 1


def test_the_proxy_does_not_lead_to_itself(start: Start) -> None:
    peer = start(allow_all)
    made, _ = peer.connect(("127.0.0.1", peer.ready["port4"]))
    made.sendall(GET)
    assert ended(made) == b""
    made.close()
    assert peer.actions == []


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {"decision": "allow"},
        {"decision": "allow", "rules": None, "because": "", "instead": None},
        {"decision": ["allow"], "rules": [], "because": "", "instead": None},
        {"decision": "ask", "rules": [], "because": "", "instead": None},
        {"decision": "ALLOW", "rules": [], "because": "", "instead": None},
    ],
)
def test_a_verdict_that_is_no_clear_allow_lets_nothing_pass(start: Start, verdict: dict[str, Any]) -> None:
    peer = start(lambda action: verdict if action["method"] == "POST" else ALLOW)
    peer.complains = "instead" not in verdict or verdict["rules"] is None
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        assert ended(made)[9:12] in (b"", b"403")
        made.close()
        assert server.accepted == 0
        other, _ = peer.connect(server.address)
        other.sendall(GET)
        assert read_response(other)[0] == 200, "other connections go on"
        other.close()


def client_hello(name: bytes) -> bytes:
    """A ClientHello with any bytes as its SNI (RFC 8446 §4.1.2, RFC 6066 §3)."""
    entry = b"\0" + struct.pack(">H", len(name)) + name
    listed = struct.pack(">H", len(entry)) + entry
    extension = struct.pack(">HH", 0, len(listed)) + listed
    body = (
        b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\xc0\x2f" + b"\x01\0" + struct.pack(">H", len(extension)) + extension
    )
    handshake = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


def test_an_exception_in_a_hook_ends_the_connection_and_no_other(start: Start) -> None:
    """No certificate can be made for such a name: the hook raises."""
    peer = start(allow_all)
    with Listener(http1) as server:
        made, flow = peer.connect(server.address)
        made.sendall(client_hello(b"a" * 70 + b"\xff\x00.test"))
        assert ended(made) == b""
        made.close()
        assert peer.finished(flow)["error"]
        assert server.accepted == 0
        other, _ = peer.connect(server.address)
        other.sendall(GET)
        assert read_response(other)[0] == 200
        other.close()


def test_an_exception_in_a_layer_ends_the_connection(start: Start) -> None:
    """Trailers of HTTP/1 are not implemented in mitmproxy, which would log that and keep the connection."""
    peer = start(allow_all)
    peer.complains = True
    with Listener(swallow) as server:
        made, flow = peer.connect(server.address)
        made.sendall(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: y\r\n\r\n"
        )
        assert ended(made) == b""
        made.close()
        assert "NotImplementedError" in peer.finished(flow)["error"]
        assert server.accepted == 0


def test_everything_ends_with_the_guard(start: Start) -> None:
    peer = start(lambda action: ALLOW if action.get("url_path") == "/" else None)
    peer.complains = True
    with Listener(http1) as server:
        served, _ = peer.connect(server.address)
        served.sendall(GET)
        assert read_response(served)[0] == 200
        waiting, _ = peer.connect(server.address)
        waiting.sendall(b"GET /waits HTTP/1.1\r\nHost: a.test\r\n\r\n")
        peer.until(lambda: len(peer.actions) == 2)
        peer.control.shutdown(socket.SHUT_RDWR)
        assert (ended(served), ended(waiting)) == (b"", b"")
        served.close()
        waiting.close()
        assert peer.process.wait(WAIT_S) == 3
        assert b"/waits" not in server.received
    assert "the guard is gone" in peer.errors.read_text()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "unheard"},
        {"kind": "announce"},
        {"type": "announce", "family": 4},
        {"type": "secrets", "values": ["%"]},
    ],
)
def test_a_guard_that_speaks_something_else_is_no_guard(start: Start, message: dict[str, Any]) -> None:
    peer = start(allow_all)
    peer.complains = True
    peer.send(message)
    assert peer.process.wait(WAIT_S) == 3


def test_stop_ends_it_cleanly(start: Start) -> None:
    peer = start(allow_all)
    peer.send({"type": "stop"})
    assert peer.process.wait(WAIT_S) == 0
    assert peer.errors.read_text() == ""


def test_a_killed_proxy_lets_no_request_pass_unjudged(start: Start) -> None:
    peer = start(reads_only)
    with Listener(swallow) as server:
        stop = threading.Event()

        def post() -> None:
            while not stop.is_set():
                with peer.unannounced() as made:
                    peer.announce(made.getsockname()[1], server.address)
                    try:
                        peer.enter(made)
                        for _ in range(5):
                            made.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
                            read_response(made)
                    except OSError:
                        return  # the proxy is gone

        workers = [threading.Thread(target=post) for _ in range(8)]
        for worker in workers:
            worker.start()
        peer.until(lambda: len(peer.actions) > 20)
        os.kill(peer.process.pid, signal.SIGKILL)
        peer.process.wait(WAIT_S)
        stop.set()
        for worker in workers:
            worker.join(WAIT_S)
        assert (server.accepted, bytes(server.received)) == (0, b"")


def test_files_of_the_authority_are_for_the_owner_alone(start: Start) -> None:
    peer = start(allow_all)
    assert (peer.folder / "ca").stat().st_mode & 0o777 == 0o700
    assert (peer.folder / "ca" / "ca-key.pem").stat().st_mode & 0o777 == 0o600
    assert ssl.create_default_context(cafile=peer.ca).get_ca_certs()[0]["subject"]
