"""What the proxy says about traffic: the fields of a network action, and the answer a blocked client gets.

Pure. What never enters: sockets, mitmproxy's objects, verdicts being made.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

PREFIX = 64 * 1024  # bytes of a body that are judged before the request goes on
RAW_PREFIX = 4 * 1024  # bytes of a stream that is not HTTP

REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}[ \t]+[^\r\n]*HTTP/", re.ASCII)
_TOKEN_START = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?:[ \t][^\r\n]*)?\Z", re.ASCII)
_METHOD_START = re.compile(
    rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|REPORT)[ \t]"
)
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113 §3.4
LINE_LIMIT = 64 * 1024  # bytes without a line end that may still become a request


@dataclass(slots=True, kw_only=True)
class Destination:
    """One redirected connection as the guard announced it, and what became of it.

    `address` and `port` are where it goes, whatever the client says later. `names` are what DNS answered with that address, lower
    case, maybe none. `inspect` is `always` or `passthrough`. `sent` and `received` count bytes on the upstream connection;
    `allowed` turns true with the first verdict that allows; `error` says why it ended early.
    """

    flow: Any
    address: str
    port: int
    names: tuple[str, ...]
    inspect: str
    sent: int = 0
    received: int = 0
    allowed: bool = False
    error: str | None = None
    sni: str | None = field(default=None)

    def hosts(self, claimed: Iterable[str] = ()) -> tuple[str, ...]:
        """Every name this destination goes by; the address stands in where DNS gave none, so that a claim never hides it."""
        known = self.names or (self.address,)
        said = (host_name(claim) for claim in (*claimed, *((self.sni,) if self.sni else ())))
        return tuple(dict.fromkeys((*known, *(name for name in said if name and name != self.address))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The guard's verdict on one action; anything but a clear allow blocks."""

    allow: bool
    rules: tuple[str, ...] = ()
    because: str = ""
    instead: str | None = None

    @classmethod
    def read(cls, message: dict[str, Any]) -> Answer:
        """From the guard's message; raises KeyError and TypeError where it is not one."""
        return cls(
            allow=message["decision"] == "allow",
            rules=tuple(str(rule) for rule in message["rules"]),
            because=str(message["because"]),
            instead=None if message["instead"] is None else str(message["instead"]),
        )


def host_name(authority: str) -> str:
    """The host of a Host header, an authority or an SNI: lower case, no port, no trailing dot, no brackets."""
    host = authority.strip().rpartition("@")[2]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.lower().removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def url_path(target: str) -> str:
    """The path as servers read it: percent-decoded once, `.` and `..` resolved, so that no spelling evades a rule."""
    decoded = unquote_to_bytes(target.partition("?")[0].partition("#")[0]).decode("utf-8", "replace")
    kept: list[str] = []
    parts = decoded.split("/")
    for part in parts:
        if part == "..":
            if len(kept) > 1:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept) or "/"


def request_action(
    destination: Destination,
    *,
    tls: bool,
    method: str,
    authority: str,
    target: str,
    claimed: Iterable[str],
    headers: list[tuple[str, str]],
    body: bytes,
    body_size: int | None,
    content: tuple[str, ...],
) -> dict[str, Any]:
    """The action of one request. `target` is path and query as sent; `claimed` every host it names; `body` a prefix."""
    protocol = "https" if tls else "http"
    content_type = next((value for name, value in headers if name == "content-type"), None)
    return {
        "host": destination.hosts(claimed),
        "address": destination.address,
        "port": destination.port,
        "protocol": protocol,
        "method": method,
        "url": f"{protocol}://{authority or _literal(destination)}{target}",
        "url_path": url_path(target),
        "query": target.partition("?")[2],
        "headers": headers,
        "body": body[:PREFIX].decode("utf-8", "replace"),
        "body_size": body_size,
        "content_type": content_type,
        "content": content,
    }


def raw_action(destination: Destination, data: bytes, content: tuple[str, ...]) -> dict[str, Any]:
    """The action of bytes that are no HTTP; no bytes: the client waits for the server to speak first."""
    return {
        "host": destination.hosts(),
        "address": destination.address,
        "port": destination.port,
        "protocol": "tcp",
        "body": printable(data[:RAW_PREFIX]),
        "body_size": len(data) if not data else None,
        "content": content,
    }


def passthrough_action(destination: Destination) -> dict[str, Any]:
    """The action of a TLS connection that is not opened: only its names are known."""
    return {
        "host": destination.hosts(),
        "address": destination.address,
        "port": destination.port,
        "protocol": "https",
    }


def _literal(destination: Destination) -> str:
    address = f"[{destination.address}]" if ":" in destination.address else destination.address
    return f"{address}:{destination.port}"


def printable(data: bytes) -> str:
    """Bytes as text in which every control character and every byte that is no UTF-8 is visible."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in "\t\n\r" else f"\\x{ord(c):02x}" for c in text)


def refusal(answer: Answer) -> bytes:
    """The body of the 403 that a blocked client gets."""
    error = {
        "type": "blocked_by_guard",
        "message": answer.because,
        "rule": answer.rules[0] if answer.rules else None,
        "instead": answer.instead,
    }
    return json.dumps({"error": error}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def first_words(data: bytes, *, tls_possible: bool, waited: bool) -> str:
    """What a client speaks, by its first bytes: `tls`, `http`, `h2c` (HTTP/2 without TLS), `raw`, or `more` to see more.

    `waited` tells that nothing more came for a while: then only the start of a well-known method is worth waiting for.
    """
    if tls_possible and data[:1] == b"\x16" and b"\x16\x03".startswith(data[:2]):
        if len(data) > 2:
            return "tls"
        return "raw" if waited else "more"
    text = data.lstrip(b"\r\n")
    if text.startswith(H2_PREFACE):
        return "h2c"
    if H2_PREFACE.startswith(text) and not waited:
        return "more"
    line, end, _ = text.partition(b"\n")
    if end:
        return "http" if REQUEST_LINE.match(line) else "raw"
    if _METHOD_START.match(text):
        return "more" if len(text) < LINE_LIMIT else "http"
    if not waited and len(text) < 1024 and (not text or _TOKEN_START.match(text)):
        return "more"
    return "raw"
