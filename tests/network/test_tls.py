"""TLS through the proxy: opened with the guard's own authority, servers verified as ever, names judged where it stays closed."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived

from guard.intercept.trust import ca_environment, ensure_bundle, ensure_ca
from tests.network.peer import ALLOW, BLOCK, Peer, Script, allow_all, reads_only
from tests.network.servers import Listener, TestCa, banner, ended, http1, http2, read_response, swallow

type Start = Callable[[Script], Peer]

GET = b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 2\r\n\r\nhi"


def secured(peer: Peer, made: socket.socket, name: str = "api.test", *alpn: str) -> ssl.SSLSocket:
    """The TLS of an agent's client that trusts the guard's authority and nothing else."""
    context = ssl.create_default_context(cafile=peer.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(made, server_hostname=name)


def curl(peer: Peer, server: Listener, *options: str, names: tuple[str, ...] = ("api.test",), said: bytes = b"") -> str:
    """Runs curl in the environment that agents get, with `said` on its stdin, towards https://api.test/, redirected as the kernel edge would."""
    placeholder = peer.unannounced()
    port = placeholder.getsockname()[1]
    placeholder.close()
    peer.announce(port, server.address, names)
    command = ["curl", "-sS", "--max-time", "20", "--local-port", str(port), *options]
    command += ["--connect-to", f"::127.0.0.1:{peer.ready['port4']}", "-w", " %{http_code} %{http_version}"]
    trust = ca_environment(ensure_bundle(ensure_ca(peer.ca.parent), {}), {})
    return subprocess.run(
        command, input=said, env={**os.environ, **trust}, capture_output=True, check=False
    ).stdout.decode()


def test_https_is_judged_like_http_and_the_server_is_reached_after_the_verdict(start: Start, authority: TestCa) -> None:
    verdict = threading.Event()

    def slowly(action: dict[str, Any]) -> dict[str, Any]:
        verdict.wait(10)
        return reads_only(action)

    peer = start(slowly)
    with Listener(http1, tls=authority.server("api.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        with secured(peer, made) as client:
            client.sendall(GET)
            time.sleep(0.5)
            assert (len(peer.actions), server.accepted) == (1, 0)
            verdict.set()
            assert read_response(client)[0] == 200
            client.sendall(POST)
            assert read_response(client)[0] == 403
        assert bytes(server.received) == b"GET / HTTP/1.1\n\n"
    assert (peer.actions[0]["protocol"], peer.actions[0]["url"]) == ("https", "https://api.test/")


def test_a_blocked_https_request_makes_no_connection(start: Start, authority: TestCa) -> None:
    peer = start(reads_only)
    with Listener(swallow, tls=authority.server("api.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        with secured(peer, made) as client:
            client.sendall(POST)
            assert read_response(client)[0] == 403
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("server_speaks", "option", "expected"),
    [
        ("h2", "--http2", "4 bytes of body 200 2"),
        ("http/1.1", "--http2", "4 bytes of body 200 2"),
        ("h2", "--http1.1", "4 bytes of body 200 1.1"),
        ("http/1.1", "--http1.1", "4 bytes of body 200 1.1"),
    ],
)
def test_curl_gets_its_answer_with_every_pair_of_http_versions(
    start: Start, authority: TestCa, server_speaks: str, option: str, expected: str
) -> None:
    """Towards a server that also speaks HTTP/1.1 where the client does not offer HTTP/2."""
    peer = start(allow_all)
    both = ("h2", "http/1.1") if server_speaks == "h2" else ("http/1.1",)

    def talk(listener: Listener, made: socket.socket) -> None:
        chosen = made.selected_alpn_protocol() if isinstance(made, ssl.SSLSocket) else None
        (http2 if chosen == "h2" else http1)(listener, made)

    with Listener(talk, tls=authority.server("api.test", alpn=both)) as server:
        assert curl(peer, server, option, "-d", "data", "https://api.test/x") == expected
    assert [(a["method"], a["url_path"], a["body"]) for a in peer.actions] == [("POST", "/x", "data")]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: api.test\r\n\r\n"


@pytest.mark.parametrize("said", [SMUGGLED, SMUGGLED * 4000])
def test_an_http2_body_without_a_length_does_not_become_requests_of_an_http1_server(
    start: Start, authority: TestCa, said: bytes
) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("api.test")) as server:
        answer = curl(peer, server, "--http2", "-T", "-", "https://api.test/up", said=said)
        assert answer == f"{len(said)} bytes of body 200 2"
        assert bytes(server.received) == b"PUT /up HTTP/1.1\n" + said + b"\n"
    assert [action["url_path"] for action in peer.actions] == ["/up"]


def test_a_large_http2_upload_that_is_blocked_gets_its_answer(start: Start, authority: TestCa) -> None:
    peer = start(reads_only)
    with Listener(http2, tls=authority.server("api.test", alpn=("h2",))) as server:
        answer = curl(peer, server, "--http2", "-T", "-", "https://api.test/up", said=bytes(3_000_000))
        assert ("blocked_by_guard" in answer, answer.endswith("403 2")) == (True, True)
        assert server.accepted == 0


def test_http2_without_tls_is_judged_request_by_request(start: Start) -> None:
    peer = start(lambda action: BLOCK if action["url_path"] == "/two" else ALLOW)
    with Listener(http2) as server:
        made, _ = peer.connect(server.address)
        state = H2Connection(H2Configuration())
        state.initiate_connection()
        statuses: dict[int | None, bytes] = {}
        for number, path in ((1, "/one"), (3, "/two"), (5, "/three")):
            fields = [(":method", "GET"), (":scheme", "http"), (":authority", "api.test"), (":path", path)]
            state.send_headers(number, fields, end_stream=True)
        while len(statuses) < 3:
            made.sendall(state.data_to_send())
            for event in state.receive_data(made.recv(65536)):
                if isinstance(event, ResponseReceived):
                    statuses[event.stream_id] = dict(event.headers)[b":status"]
        made.close()
        assert statuses == {1: b"200", 3: b"403", 5: b"200"}
        assert sorted(bytes(server.received).splitlines()) == [b"GET /one HTTP/2", b"GET /three HTTP/2"]
    assert [(action["protocol"], action["url_path"]) for action in peer.actions] == [
        ("http", "/one"),
        ("http", "/two"),
        ("http", "/three"),
    ]


def test_each_http2_request_is_judged_and_a_block_leaves_the_others_alone(start: Start, authority: TestCa) -> None:
    peer = start(lambda action: BLOCK if action["url_path"] == "/b" else ALLOW)
    with Listener(http2, tls=authority.server("api.test", alpn=("h2",))) as server:
        urls = [f"https://api.test/{path}" for path in ("a", "b", "c")]
        said = curl(peer, server, "--http2", "--parallel", "--parallel-max", "1", *urls)
        assert (said.count("0 bytes of body 200 2"), said.count("blocked_by_guard"), said.count("403 2")) == (2, 1, 1)
        assert b"/b" not in server.received
    assert sorted(action["url_path"] for action in peer.actions) == ["/a", "/b", "/c"]


def test_a_server_that_is_known_to_have_no_http2_is_not_promised_to_clients(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("api.test")) as server:
        assert curl(peer, server, "--http2", "https://api.test/").endswith("200 2")
        assert curl(peer, server, "--http2", "https://api.test/").endswith("200 1.1")


def test_a_server_with_a_bad_certificate_is_not_hidden(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("another.test")) as server:
        made, flow = peer.connect(server.address, ["api.test"])
        with secured(peer, made) as client:
            client.sendall(GET)
            said = ended(client)
        assert said.startswith(b"HTTP/1.1 502 ")
        assert b"ertificate verify failed" in said
        assert server.received == b""
    assert "ertificate verify failed" in peer.finished(flow)["error"]


def test_an_authority_that_nobody_named_is_not_trusted(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    peer = start(allow_all)
    stranger = TestCa(tmp_path_factory.mktemp("stranger"))
    with Listener(http1, tls=stranger.server("api.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        with secured(peer, made) as client:
            client.sendall(GET)
            assert ended(client).startswith(b"HTTP/1.1 502 ")


def test_an_sni_that_dns_did_not_give_is_one_more_name_for_the_rules(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("front.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        with secured(peer, made, "front.test") as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: hidden.test\r\n\r\n")
            assert read_response(client)[0] == 200
    assert peer.actions[0]["host"] == ["api.test", "hidden.test", "front.test"]


def test_a_client_without_sni_gets_a_certificate_for_the_address(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("127.0.0.1")) as server:
        made, _ = peer.connect(server.address)
        with secured(peer, made, "127.0.0.1") as client:
            client.sendall(GET)
            assert read_response(client)[0] == 200


def test_a_client_that_does_not_trust_the_authority_is_reported(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("api.test")) as server:
        made, flow = peer.connect(server.address, ["api.test"])
        pinned = ssl.create_default_context(cafile=authority.file)
        with pytest.raises(ssl.SSLCertVerificationError):
            pinned.wrap_socket(made, server_hostname="api.test")
        made.close()
        assert server.accepted == 0
    assert "client" in peer.finished(flow)["error"]


def test_passthrough_judges_the_name_and_leaves_the_certificate_alone(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(http1, tls=authority.server("pinned.test")) as server:
        made, flow = peer.connect(server.address, ["cdn.test"], inspect="passthrough")
        pinned = ssl.create_default_context(cafile=authority.file)
        with pinned.wrap_socket(made, server_hostname="pinned.test") as client:
            client.sendall(POST)
            assert read_response(client)[0] == 200
        assert server.received.startswith(b"POST / HTTP/1.1")
    assert peer.actions == [
        {"host": ["cdn.test", "pinned.test"], "address": "127.0.0.1", "port": server.address[1], "protocol": "https"}
    ]
    assert peer.finished(flow)["error"] is None


def test_passthrough_that_is_blocked_reaches_nobody(start: Start, authority: TestCa) -> None:
    peer = start(lambda action: BLOCK)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address, inspect="passthrough")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ssl.create_default_context(cafile=authority.file).wrap_socket(made, server_hostname="pinned.test")
        made.close()
        assert server.accepted == 0


def test_passthrough_is_for_tls_alone(start: Start) -> None:
    peer = start(reads_only)
    with Listener(swallow) as server:
        made, _ = peer.connect(server.address, inspect="passthrough")
        made.sendall(POST)
        assert read_response(made)[0] == 403
        made.close()
        assert server.accepted == 0


def test_a_connection_opened_early_is_inspected_when_its_handshake_comes(start: Start, authority: TestCa) -> None:
    peer = start(lambda action: ALLOW if action["protocol"] == "tcp" else reads_only(action))
    with Listener(http1, tls=authority.server("api.test")) as server:
        made, _ = peer.connect(server.address, ["api.test"])
        peer.until(lambda: len(peer.actions) == 1)
        time.sleep(0.2)
        with secured(peer, made) as client:
            client.sendall(POST)
            assert read_response(client)[0] == 403
            assert (server.accepted, bytes(server.received)) == (1, b"")
            client.sendall(GET)
            assert read_response(client)[0] == 200
    assert [action.get("method") for action in peer.actions] == [None, "POST", "GET"]


def test_a_server_that_speaks_first_inside_tls(start: Start, authority: TestCa) -> None:
    peer = start(allow_all)
    with Listener(banner, tls=authority.server("mail.test")) as server:
        made, _ = peer.connect(server.address, ["mail.test"])
        with secured(peer, made, "mail.test") as client:
            assert client.recv(100) == b"220 mail.test ready\r\n"
            client.sendall(b"QUIT\r\n")
            assert client.recv(100) == b"QUIT\r\n"
    assert [(action["protocol"], action["body"], action["body_size"]) for action in peer.actions] == [
        ("tcp", "", 0),
        ("tcp", "QUIT\r\n", None),
    ]
