"""Framing between the guard's processes: whole messages or an error, however the bytes arrive."""

from __future__ import annotations

import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire import LIMIT, Reader, WireError, pack, send

MESSAGES = st.lists(
    st.dictionaries(st.text(max_size=4), st.text(max_size=9) | st.integers() | st.lists(st.booleans()), max_size=3),
    max_size=5,
)


@given(MESSAGES, st.lists(st.integers(1, 7), min_size=1))
def test_messages_arrive_whole_and_in_order_in_any_pieces(messages: list[dict[str, object]], cuts: list[int]) -> None:
    """Reads of any size give the same messages."""
    data = b"".join(pack(m) for m in messages)
    reader, got, at = Reader(), [], 0
    for turn in range(len(data) + 1):
        size = cuts[turn % len(cuts)]
        got += list(reader.feed(data[at : at + size]))
        at += size
    assert got == messages


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", LIMIT + 1),
        struct.pack("<I", 2) + b"[]",
        struct.pack("<I", 3) + b"{]}",
        struct.pack("<I", 1) + b"\xff",
    ],
)
def test_anything_else_ends_the_connection(data: bytes) -> None:
    """Too long, no object, no JSON, no text."""
    with pytest.raises(WireError):
        list(Reader().feed(data))


def test_the_end_of_the_other_side_is_an_error() -> None:
    """Reading from and writing to a closed pipe."""
    read, write = os.pipe()
    os.close(write)
    with pytest.raises(WireError, match="gone"):
        Reader().read(read)
    os.close(read)
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(WireError, match="cannot write"):
        send(write, {"a": 1})
    os.close(write)
