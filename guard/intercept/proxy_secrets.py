"""Whether bytes on their way out contain something they should not: secrets this session has read, private keys.

Pure: bytes in, labels out. What never enters: where the secrets came from, what is done about a find.

What is seen: the plain bytes, JSON- and URL-escaped, base64 (both alphabets, any alignment, wrapped lines) and hexadecimal
(any case, wrapped, with colons). What is missed: compressed, encrypted, split over connections, other encodings.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

SECRET = "session-secret"
PRIVATE_KEY = "private-key"
SHORTEST = 8  # bytes; shorter values turn up by chance, in base64 and in ordinary words
LONGEST = 4096  # bytes of a value that are looked for; the start of a longer one is as telling

_END = rb"(?:[ \t]*[\r\n]|\\[nr]|%0[AaDd])"  # of a line, also as JSON and forms escape it
_KEY = re.compile(
    # Then maybe the old headers (`Proc-Type: …`), and enough of a body that documentation does not match. No two parts can
    # match the same bytes: what an agent sends must not make this slow.
    rb"-----BEGIN(?: |\+|%20)[A-Z0-9 +%]{0,40}PRIVATE(?: |\+|%20)KEY-----" + _END + rb"{1,8}"
    rb"(?:[A-Za-z-]{1,40}(?::|%3A)(?:[^\r\n\\%]|%(?!0[AaDd])){1,80}" + _END + rb"{1,8}){0,4}[A-Za-z0-9+/=%]{32}"
)
_KEY_WORDS = b"PRIVATE KEY-----"
_SPACES = b" \t\r\n"


def _base64_cores(value: bytes) -> Iterable[bytes]:
    """What stays the same of the value's base64 wherever it stands in the text that was encoded, for three alignments."""
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + value)
        first = (shift * 8 + 5) // 6  # characters that also hold bits of what stands before
        last = (shift + len(value)) * 8 // 6  # characters full of our bits
        core = encoded[first:last]
        yield core
        if b"+" in core or b"/" in core:
            yield core.replace(b"+", b"-").replace(b"/", b"_")


class Secrets:
    """The values to look for; grows during the session."""

    def __init__(self) -> None:
        self._values: set[bytes] = set()
        self._plain: tuple[bytes, ...] = ()
        self._base64: tuple[bytes, ...] = ()
        self._hex: tuple[bytes, ...] = ()
        self._key_cores = tuple(_base64_cores(_KEY_WORDS))
        self.overlap = 512  # bytes of a stream's past that a find may begin in: the longest form of the longest value

    def add(self, values: Iterable[bytes]) -> None:
        """Adds values; those shorter than `SHORTEST` are not looked for."""
        new = {value.strip()[:LONGEST] for value in values}
        self._values |= {value for value in new if len(value) >= SHORTEST}
        self._plain = tuple(self._values)
        self._base64 = tuple({core for value in self._values for core in _base64_cores(value)})
        self._hex = tuple(value.hex().encode() for value in self._values)
        self.overlap = max([512, *(4 * len(value) for value in self._values)])

    def find(self, data: bytes) -> tuple[str, ...]:
        """The labels of what is in these bytes, empty where nothing is."""
        found = []
        if self._values and any(self._has_secret(view) for view in (data, *_decoded(data))):
            found.append(SECRET)
        if self._has_key(data):  # its pattern knows the escapes, which saves most bytes from being decoded
            found.append(PRIVATE_KEY)
        return tuple(found)

    def _has_secret(self, data: bytes) -> bool:
        if any(value in data for value in self._plain):
            return True
        dense = data.translate(None, _SPACES)
        if any(core in dense for core in self._base64):
            return True
        flat = dense.translate(None, b":").lower()
        return any(digits in flat for digits in self._hex)

    def _has_key(self, data: bytes) -> bool:
        if b"KEY-----" in data and _KEY.search(data) is not None:
            return True
        return any(core in data for core in self._key_cores)


def _decoded(data: bytes) -> Iterable[bytes]:
    """The same bytes without the escapes of URLs and of JSON, where they have any."""
    if b"%" in data:
        yield unquote_to_bytes(data.replace(b"+", b" "))
        yield unquote_to_bytes(data)
    if b"\\" in data:
        yield (
            data.replace(b"\\n", b"\n")
            .replace(b"\\r", b"\r")
            .replace(b"\\/", b"/")
            .replace(b'\\"', b'"')
            .replace(b"\\\\", b"\\")
        )


class Scan:
    """One direction of one stream: finds what spans two chunks, reports each label once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._tail = b""
        self.labels: tuple[str, ...] = ()

    def feed(self, data: bytes) -> bool:
        """Looks at the next bytes; True where they brought a label that was not there before."""
        window = self._tail + data
        self._tail = window[-self._secrets.overlap :]
        new = tuple(label for label in self._secrets.find(window) if label not in self.labels)
        self.labels += new
        return bool(new)
