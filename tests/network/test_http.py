"""HTTP through the proxy: every request judged on its own, before the server is even connected to; answers as servers gave them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.network.peer import ALLOW, BLOCK, Peer, Script, allow_all, no_secrets, reads_only
from tests.network.servers import Listener, ended, http1, read_response, swallow

type Start = Callable[[Script], Peer]


def request(made: socket.socket, text: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    made.sendall(text.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    return read_response(made)


def test_a_request_is_judged_with_all_that_is_known_of_it_and_passed_on(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, flow = peer.connect(server.address, ["api.test"])
        status, _, body = request(
            made,
            "POST /v1/items?x=1 HTTP/1.1\nHost: API.test:8080\nContent-Type: text/plain\nContent-Length: 5\nX-A: b",
            b"hello",
        )
        made.close()
        assert (status, body) == (200, b"5 bytes of body")
        assert bytes(server.received) == b"POST /v1/items?x=1 HTTP/1.1\nhello\n"
    assert peer.actions == [
        {
            "host": ["api.test"],
            "address": "127.0.0.1",
            "port": server.address[1],
            "protocol": "http",
            "method": "POST",
            "url": "http://API.test:8080/v1/items?x=1",
            "url_path": "/v1/items",
            "query": "x=1",
            "headers": [
                ["host", "API.test:8080"],
                ["content-type", "text/plain"],
                ["content-length", "5"],
                ["x-a", "b"],
            ],
            "body": "hello",
            "body_size": 5,
            "content_type": "text/plain",
            "content": [],
        }
    ]
    done = peer.finished(flow)
    assert (done["error"], done["bytes_up"] > 100, done["bytes_down"] > 30) == (None, True, True)


def test_a_blocked_request_gets_a_reason_as_json_and_the_server_nothing(start: Start) -> None:
    peer = start(reads_only)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        status, headers, body = request(made, "POST /x HTTP/1.1\nHost: a.test\nContent-Length: 3", b"abc")
        assert status == 403
        assert headers["content-type"].startswith("application/json")
        assert json.loads(body) == {
            "error": {
                "type": "blocked_by_guard",
                "message": "the script blocks it",
                "rule": "test/block",
                "instead": "read it",
            }
        }
        assert server.accepted == 0
        status, _, _ = request(made, "GET /x HTTP/1.1\nHost: a.test")
        made.close()
        assert (status, server.accepted) == (200, 1), "the connection is good for the next request"
        assert bytes(server.received) == b"GET /x HTTP/1.1\n\n"


def test_nothing_is_opened_upstream_while_the_verdict_is_waited_for(start: Start) -> None:
    verdict = threading.Event()

    def slowly(action: dict[str, Any]) -> dict[str, Any]:
        verdict.wait(10)
        return ALLOW

    peer = start(slowly)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        time.sleep(0.6)
        assert (len(peer.actions), server.accepted) == (1, 0)
        verdict.set()
        assert read_response(made)[0] == 200
        made.close()


def test_every_request_of_a_kept_connection_is_judged(start: Start) -> None:
    peer = start(lambda action: BLOCK if action["url_path"] == "/7" else ALLOW)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        statuses = [request(made, f"GET /{n} HTTP/1.1\nHost: a.test")[0] for n in range(20)]
        made.close()
        assert statuses == [403 if n == 7 else 200 for n in range(20)]
        assert server.accepted == 1
        assert b"/7 " not in server.received
    assert [action["url_path"] for action in peer.actions] == [f"/{n}" for n in range(20)]


def test_pipelined_requests_are_judged_one_by_one(start: Start) -> None:
    peer = start(reads_only)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(
            b"GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n"
            b"POST /2 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
            b"GET /3 HTTP/1.1\r\nHost: a.test\r\n\r\n"
        )
        assert [read_response(made)[0] for _ in range(3)] == [200, 403, 200]
        made.close()
        assert bytes(server.received) == b"GET /1 HTTP/1.1\n\nGET /3 HTTP/1.1\n\n"


@pytest.mark.parametrize(
    ("names", "line", "host", "expected"),
    [
        (["api.test"], "GET /", "API.TEST.:443", ["api.test"]),
        (["api.test"], "GET /", "other.test", ["api.test", "other.test"]),
        ([], "GET /", "good.test", ["127.0.0.1", "good.test"]),
        ([], "GET /", "127.0.0.1:80", ["127.0.0.1"]),
        (["api.test"], "GET http://third.test/x", "other.test", ["api.test", "other.test", "third.test"]),
    ],
)
def test_where_it_goes_is_what_was_announced_and_every_claimed_name_is_reported(
    start: Start, names: list[str], line: str, host: str, expected: list[str]
) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address, names)
        assert request(made, f"{line} HTTP/1.1\nHost: {host}")[0] == 200
        made.close()
        assert server.accepted == 1
    (action,) = peer.actions
    assert (action["host"], action["address"], action["port"]) == (expected, *server.address)


def test_a_tunnel_is_refused_whatever_the_verdict(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        status, _, body = request(made, "CONNECT target.test:443 HTTP/1.1\nHost: target.test:443")
        assert (status, "tunnel" in json.loads(body)["error"]["message"]) == (403, True)
        assert ended(made) == b""
        made.close()
        assert server.accepted == 0
    (action,) = peer.actions
    assert (action["method"], action["host"]) == ("CONNECT", ["127.0.0.1", "target.test"])


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"400"),
        (b"GET / HTTP/9.99\r\nHost: a\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 400_000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"a" * 400_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"431"),
    ],
)
def test_malformed_requests_end_with_an_error_and_nothing_upstream(start: Start, text: bytes, status: bytes) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        try:
            made.sendall(text)
        except ConnectionError:
            pass  # refused before all of it was sent
        assert ended(made)[9:12] in (status, b"")
        made.close()
        assert server.accepted == 0


def test_a_large_upload_is_judged_by_its_start_then_streams(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        body = bytes(range(256)) * 4000
        made.sendall(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert read_response(made)[2] == b"1024000 bytes of body"
        made.close()
        assert body in server.received
    (action,) = peer.actions
    assert (action["body_size"], action["body"]) == (1024000, body[: 64 * 1024].decode("utf-8", "replace"))


def test_a_large_upload_that_is_blocked_gets_its_answer_and_sends_nothing_on(start: Start) -> None:
    peer = start(reads_only)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000)
        status, headers, _ = read_response(made)
        assert (status, headers["connection"], ended(made)) == (403, "close", b"")
        made.close()
        assert server.accepted == 0


def test_a_body_that_stands_still_is_judged_as_far_as_it_came(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"POST /slow HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        peer.until(lambda: len(peer.actions) == 1)
        assert (peer.actions[0]["body"], peer.actions[0]["body_size"]) == ("hello", None)
        made.sendall(b"6\r\n world\r\n0\r\n\r\n")
        assert read_response(made)[2] == b"11 bytes of body"
        made.close()


def test_a_client_that_waits_for_100_continue_gets_it(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"PUT /e HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert read_response(made)[0] == 100
        made.sendall(b"ok")
        assert read_response(made)[2] == b"2 bytes of body"
        made.close()


def test_a_blocked_head_request_keeps_the_connection_readable(start: Start) -> None:
    peer = start(lambda action: BLOCK if action["method"] == "HEAD" else ALLOW)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert [read_response(made)[0] for _ in range(2)] == [403, 200]
        made.close()


def test_events_arrive_while_the_response_goes_on(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n")
        seen = b""
        while b"data: first" not in seen:
            seen += made.recv(4096)
        made.close()


def frame(data: bytes) -> bytes:
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return b"\x81" + size + b"\0\0\0\0" + data


WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def test_websocket_messages_flow_until_one_holds_a_secret(start: Start) -> None:
    peer = start(no_secrets)
    peer.secrets(b"hunter2-hunter2-hunter2")
    with Listener(http1) as server:
        made, flow = peer.connect(server.address)
        made.sendall(WEBSOCKET)
        assert read_response(made)[0] == 101
        for text in (b"one", b"two"):
            made.sendall(frame(text))
            assert made.recv(100) == b"\x81" + bytes([len(text)]) + text
        made.sendall(frame(b"see: hunter2-hunter2-hunter2"))
        assert ended(made) == b""
        made.close()
        assert "blocked" in peer.finished(flow)["error"]
        assert bytes(server.received).endswith(b"onetwo")
    assert [action["content"] for action in peer.actions] == [[], ["session-secret"]]


def test_an_upgrade_to_http2_without_tls_is_not_passed_on(start: Start) -> None:
    peer = start(allow_all)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address)
        made.sendall(
            b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        )
        deadline = time.monotonic() + 10
        while not server.received.endswith(b"\r\n\r\n") and time.monotonic() < deadline:
            time.sleep(0.01)
        made.close()
        assert server.received.startswith(b"GET / HTTP/1.1")
        assert b"h2c" not in server.received


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/../admin", "/admin"),
        ("/%61dmin/%2e%2e/x?q=/../", "/x"),
        ("/../../x", "/x"),
        ("/a/./b/", "/a/b/"),
        ("/a/..", "/"),
        ("*", "*"),
    ],
)
def test_a_path_is_judged_as_servers_read_it_and_sent_as_it_was(start: Start, target: str, path: str) -> None:
    peer = start(allow_all)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        method = "OPTIONS" if target == "*" else "GET"
        assert request(made, f"{method} {target} HTTP/1.1\nHost: a.test")[0] == 200
        made.close()
        assert server.received.startswith(f"{method} {target} HTTP/1.1".encode())
    assert peer.actions[0]["url_path"] == path


def test_ipv6_destinations_are_reached_by_the_ipv6_port(start: Start) -> None:
    peer = start(allow_all)
    with Listener(http1, family=6) as server:
        made, _ = peer.connect(server.address, family=6)
        assert request(made, "GET / HTTP/1.1\nHost: [::1]:80")[0] == 200
        made.close()
    assert peer.actions[0]["host"] == ["::1"]
