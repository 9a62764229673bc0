"""Connections that are no HTTP: their first bytes are judged, or, where the server speaks first, that they are made at all."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from tests.network.peer import ALLOW, BLOCK, Peer, Script, allow_all, no_secrets, reads_only
from tests.network.servers import Listener, banner, echo, ended, http1, read_response, swallow

type Start = Callable[[Script], Peer]


def test_plain_bytes_are_judged_then_flow(start: Start) -> None:
    peer = start(allow_all)
    with Listener(echo) as server:
        made, flow = peer.connect(server.address, ["db.test"])
        for data in (b"\x00\x01SELECT \xff\n", b"more", b"x" * 300_000):
            made.sendall(data)
            back = b""
            while len(back) < len(data):
                back += made.recv(65536)
            assert back == data
        made.close()
        done = peer.finished(flow)
    assert peer.actions == [
        {
            "host": ["db.test"],
            "address": "127.0.0.1",
            "port": server.address[1],
            "protocol": "tcp",
            "body": "\\x00\\x01SELECT \\xff\n",
            "body_size": None,
            "content": [],
        }
    ]
    assert (done["bytes_up"], done["bytes_down"], done["error"]) == (300_015, 300_015, None)


@pytest.mark.parametrize(
    "first", [b"\x00\x01\x02", b"hello world\n", b"GET key\r\n", b"PING\r\n", b"HELO", b"\x16\x03"]
)
def test_blocked_bytes_reach_nobody(start: Start, first: bytes) -> None:
    peer = start(lambda action: BLOCK)
    with Listener(swallow) as server:
        made, flow = peer.connect(server.address)
        made.sendall(first)
        assert ended(made) == b""
        made.close()
        assert server.accepted == 0
    assert [action["protocol"] for action in peer.actions] == ["tcp"]
    assert peer.finished(flow)["error"] == "blocked: the script blocks it"


def test_a_server_that_speaks_first_is_opened_after_a_verdict_and_the_clients_words_are_judged(start: Start) -> None:
    peer = start(lambda action: BLOCK if "secret" in action["body"] else ALLOW)
    with Listener(banner) as server:
        made, _ = peer.connect(server.address)
        assert made.recv(100) == b"220 mail.test ready\r\n"
        made.sendall(b"the secret\r\n")
        assert ended(made) == b""
        made.close()
        assert (server.accepted, bytes(server.received)) == (1, b"")
    assert [(action["body"], action["body_size"]) for action in peer.actions] == [("", 0), ("the secret\r\n", None)]


def test_a_silent_client_that_is_blocked_opens_nothing(start: Start) -> None:
    peer = start(lambda action: BLOCK)
    with Listener(banner) as server:
        made, _ = peer.connect(server.address)
        assert ended(made) == b""
        made.close()
        assert server.accepted == 0


def test_a_connection_opened_early_is_inspected_when_its_request_comes(start: Start) -> None:
    """Clients with connection pools open sockets that stay silent for a while."""
    peer = start(lambda action: ALLOW if action["protocol"] == "tcp" else reads_only(action))
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        peer.until(lambda: len(peer.actions) == 1)
        time.sleep(0.2)
        made.sendall(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi")
        assert read_response(made)[0] == 403
        made.sendall(b"GET /ok HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert read_response(made)[0] == 200
        made.close()
        assert bytes(server.received) == b"GET /ok HTTP/1.1\n\n"
    assert [action.get("method") for action in peer.actions] == [None, "POST", "GET"]


def test_a_request_while_the_question_about_silence_is_open_does_not_wait_for_it(start: Start) -> None:
    peer = start(lambda action: None if action["protocol"] == "tcp" else ALLOW)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        peer.until(lambda: len(peer.actions) == 1)
        made.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert read_response(made)[0] == 200
        made.close()


def test_a_slow_request_is_still_a_request(start: Start) -> None:
    peer = start(reads_only)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        for part in (b"\r\nPOST", b" / HT", b"TP/1.1\r\nHost: a.test\r\nContent", b"-Length: 2\r\n\r\nhi"):
            made.sendall(part)
            time.sleep(0.1 if part.endswith(b"POST") else 0.35)
        assert read_response(made)[0] == 403
        made.close()
        assert server.accepted == 0
    assert [action["method"] for action in peer.actions] == ["POST"]


def test_a_request_in_pieces_that_was_judged_as_bytes_does_not_become_one(start: Start) -> None:
    peer = start(lambda action: ALLOW if action["protocol"] == "tcp" else BLOCK)
    with Listener(swallow) as server:
        made, flow = peer.connect(server.address)
        made.sendall(b"PO")
        peer.until(lambda: len(peer.actions) == 1)
        made.sendall(b"ST /publish HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert ended(made) == b""
        made.close()
        assert "pieces" in peer.finished(flow)["error"]
        assert b"HTTP" not in server.received


def test_half_closed_connections_work_as_natively(start: Start) -> None:
    def until_the_end(listener: Listener, made: socket.socket) -> None:
        swallow(listener, made)
        made.sendall(b"got %d" % len(listener.received))

    peer = start(allow_all)
    with Listener(until_the_end) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"\0\0\0\0")
        made.shutdown(socket.SHUT_WR)
        assert ended(made) == b"got 4"
        made.close()


def test_a_secret_in_the_middle_of_a_stream_is_judged_before_it_goes_on(start: Start) -> None:
    peer = start(no_secrets)
    peer.secrets(b"correct horse battery staple")
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"\0nothing here: correct horse")
        peer.until(lambda: len(peer.actions) == 1)
        made.sendall(b" battery staple")
        assert ended(made) == b""
        made.close()
        assert b"battery" not in server.received
    assert [action["content"] for action in peer.actions] == [[], ["session-secret"]]


def test_a_server_that_cannot_be_reached_ends_the_connection(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        gone = server.address
    made, flow = peer.connect(gone)
    made.sendall(b"\0")
    assert ended(made) == b""
    made.close()
    assert "cannot reach" in peer.finished(flow)["error"]
    made, _ = peer.connect(gone)
    made.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert ended(made).startswith(b"HTTP/1.1 502 ")
    made.close()
