"""What is found in bytes on their way out, in every encoding that is looked through; and what is no find."""

from __future__ import annotations

import base64
import itertools
import json
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.intercept.proxy_secrets import Scan, Secrets
from tests.network.peer import BLOCK, Peer, Script, no_secrets
from tests.network.servers import Listener, ended, http1, read_response

type Start = Callable[[Script], Peer]

SECRET = b"AKIA-example/+key=with&marks 42"


def wrapped(text: bytes) -> bytes:
    """Lines of 76 characters, as base64(1) prints them."""
    return b"\n".join(text[at : at + 76] for at in range(0, len(text), 76))


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 in lines": lambda data: wrapped(base64.b64encode(b"." * 50 + data)),
    "base64 in lines in JSON": lambda data: json.dumps(wrapped(base64.b64encode(b"." * 50 + data)).decode()).encode(),
    "base64 in a URL": lambda data: urllib.parse.quote(base64.b64encode(data), safe="").encode(),
    "hex": lambda data: data.hex().encode(),
    "HEX": lambda data: data.hex().upper().encode(),
    "hex with colons": lambda data: data.hex(":").encode(),
    "hex in lines": lambda data: wrapped(data.hex().encode() * 3),
    "URL": lambda data: urllib.parse.quote(data, safe="").encode(),
    "form": lambda data: urllib.parse.quote_plus(data).encode(),
    "every byte escaped": lambda data: b"".join(b"%%%02x" % byte for byte in data),
    "JSON": lambda data: json.dumps(data.decode("latin-1")).encode() if data.isascii() else data,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("before", range(4))
def test_a_secret_is_found_in_every_encoding_at_every_alignment(encoding: str, before: int) -> None:
    secrets = Secrets()
    secrets.add([b"another secret", SECRET])
    data = b"x=" + ENCODINGS[encoding](b"#" * before + SECRET + b"###") + b";"
    assert secrets.find(data) == ("session-secret",)


@given(
    secret=st.binary(min_size=10, max_size=200).filter(lambda value: len(value.strip()) >= 10),
    before=st.binary(max_size=100),
    after=st.binary(max_size=100),
    encoding=st.sampled_from(["plain", "base64", "base64url", "hex", "URL", "every byte escaped"]),
)
def test_any_secret_within_anything(secret: bytes, before: bytes, after: bytes, encoding: str) -> None:
    secrets = Secrets()
    secrets.add([secret])
    assert "session-secret" in secrets.find(ENCODINGS[encoding](before + secret + after))


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000), max_size=8), at=st.integers(0, 3000))
def test_where_a_stream_is_cut_makes_no_difference(data: bytes, cuts: list[int], at: int) -> None:
    secrets = Secrets()
    secrets.add([SECRET])
    data = data[:at] + base64.b64encode(SECRET) + data[at:]
    scan = Scan(secrets)
    edges = [0, *sorted(cuts), len(data)]
    finds = [scan.feed(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert (finds.count(True), scan.labels) == (1, ("session-secret",))


@pytest.mark.parametrize("data", [SECRET[:-1], SECRET[1:], SECRET.lower(), b"", b"%", b"\\", bytes(range(256)) * 10])
def test_what_is_not_the_secret_is_no_find(data: bytes) -> None:
    secrets = Secrets()
    secrets.add([SECRET])
    assert secrets.find(data) == ()


def test_values_too_short_to_mean_anything_are_left_out() -> None:
    secrets = Secrets()
    secrets.add([b"test", b"  admin  \n", b"12345678\n"])
    assert secrets.find(b"a test for admin") == ()
    assert secrets.find(b"pin 12345678") == ("session-secret",)


PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + wrapped(base64.b64encode(bytes(range(200)))) + b"\n-----END"


@pytest.mark.parametrize("encoding", ["plain", "base64", "base64 in a URL", "URL", "form", "JSON"])
@pytest.mark.parametrize(
    "key",
    [
        PEM,
        PEM.replace(b"OPENSSH ", b""),
        PEM.replace(b"OPENSSH", b"RSA"),
        PEM.replace(b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1),
    ],
)
def test_a_private_key_is_found_without_having_been_read(key: bytes, encoding: str) -> None:
    assert Secrets().find(b"key=" + ENCODINGS[encoding](key)) == ("private-key",)


@pytest.mark.parametrize(
    "text",
    [
        b"a key starts with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----",
        b"-----BEGIN CERTIFICATE-----\n" + wrapped(base64.b64encode(bytes(range(200)))),
        b"-----BEGIN PUBLIC KEY-----\n" + wrapped(base64.b64encode(bytes(range(200)))),
        b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    ],
)
def test_talk_about_keys_is_no_key(text: bytes) -> None:
    assert Secrets().find(text) == ()


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /?q={url} HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET /{base64url} HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: {hex}.a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic {basic}\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500\r\n\r\n{plain padded}",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 200500\r\n\r\n{far}",
    ],
)
def test_a_request_with_a_secret_anywhere_does_not_bring_it_out(start: Start, request_text: bytes) -> None:
    peer = start(no_secrets)
    peer.secrets(SECRET)
    for name, value in {
        b"{url}": ENCODINGS["URL"](SECRET),
        b"{base64url}": ENCODINGS["base64url"](SECRET),
        b"{hex}": ENCODINGS["hex"](SECRET)[:62] + ENCODINGS["hex"](SECRET)[62:],
        b"{basic}": base64.b64encode(b"user:" + SECRET),
        b"{plain padded}": SECRET.ljust(500, b"."),
        b"{far}": b"." * 200_000 + SECRET.ljust(500, b"."),
    }.items():
        request_text = request_text.replace(name, value)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(request_text)
        ended_with = made.recv(12)
        made.close()
        assert ended_with in (b"HTTP/1.1 403", b"")
        assert SECRET not in server.received
    assert peer.actions[-1]["content"] == ["session-secret"]


def test_a_secret_may_go_where_the_rules_let_it(start: Start) -> None:
    peer = start(
        lambda action: BLOCK if action["content"] and action["host"] != ["own.test"] else no_secrets({"content": []})
    )
    peer.secrets(SECRET)
    with Listener(http1) as server:
        for names, status in ((["own.test"], 200), (["other.test"], 403)):
            made, _ = peer.connect(server.address, names)
            made.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nX-Key: %s\r\n\r\n" % (names[0].encode(), SECRET))
            assert read_response(made)[0] == status
            made.close()


def test_a_private_key_in_a_plain_connection_is_reported(start: Start) -> None:
    peer = start(no_secrets)
    with Listener(http1) as server:
        made, _ = peer.connect(server.address)
        made.sendall(b"\0\0" + PEM)
        assert ended(made) == b""
        made.close()
        assert server.accepted == 0
    assert peer.actions[0]["content"] == ["private-key"]
