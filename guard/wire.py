"""Messages between the guard's own processes: JSON behind a 4-byte little-endian length, over stream sockets and pipes.

What never enters: what a message means. A message that is not of this form, or longer than `LIMIT`, ends the connection: the
reader raises `WireError` and its owner fails closed.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import Any

LIMIT = 8 * 1024 * 1024  # bytes; the largest message is an action with a 64 KiB script and a few hundred facts

_LENGTH = struct.Struct("<I")


class WireError(Exception):
    """The other side is gone or speaks something else."""


def pack(message: dict[str, Any]) -> bytes:
    """The bytes of one message. Lone surrogates (non-UTF-8 file names) survive as \\udcXX escapes."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return _LENGTH.pack(len(body)) + body


def send(fd: int, message: dict[str, Any]) -> None:
    """Writes one whole message; raises WireError where the reader is gone."""
    data = memoryview(pack(message))
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as problem:
        raise WireError(f"cannot write: {problem.strerror}") from problem


class Reader:
    """Collects bytes and gives whole messages.

    >>> r = Reader(); list(r.feed(pack({"a": 1}) + pack({"b": 2})[:5]))
    [{'a': 1}]
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages completed by these bytes; raises WireError on a message that is too long or is no JSON object."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > LIMIT:
                raise WireError(f"message of {length} bytes")
            if len(self._buffer) < _LENGTH.size + length:
                return
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            yield _parsed(body)

    def read(self, fd: int) -> list[dict[str, Any]]:
        """Reads once from the descriptor; an empty list where nothing was whole yet; raises WireError at its end."""
        data = os.read(fd, 65536)
        if not data:
            raise WireError("the other side is gone")
        return list(self.feed(data))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as problem:
        raise WireError("not JSON") from problem
    if not isinstance(message, dict):
        raise WireError("not an object")
    return message
