"""Readers of terminal bytes: the same result however the bytes are cut, and no key where a terminal answers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.screen import Keys, Modes, unfinished

TOKENS = [
    b"a",
    b"\r",
    b"\x03",
    "ä".encode(),
    "😀".encode(),
    b"\x1b[A",
    b"\x1b[5~",
    b"\x1bOP",
    b"\x1bb",
    b"\x1b[97u",
    b"\x1b[1;5C",
    b"\x1b[200~ab\x1b[A\x1b[201~",
]
REPORTS = [
    b"\x1b[12;40R",
    b"\x1b[?1;2c",
    b"\x1b[0n",
    b"\x1b[?2026;2$y",
    b"\x1b[8;24;80t",
    b"\x1b]11;rgb:0/0/0\x1b\\",
    b"\x1bP>|x\x1b\\",
    b"\x1b[I",
    b"\x1b[?1u",
]
OUTPUT = [
    b"text",
    b"\x1b[31m",
    b"\x1b[?1049h",
    b"\x1b[?1049l",
    b"\x1b[?25l",
    b"\x1b[?1002;1006h",
    b"\x1b[?1004h",
    b"\x1b[2;9r",
    b"\x1b]0;t\x07",
    b"\x1bc",
    "€".encode(),
    b"\x1b(B",
]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in parts."""
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(marks)]


@given(st.lists(st.sampled_from(TOKENS + REPORTS)), st.lists(st.integers(0, 1000), max_size=8))
def test_keys_and_reports_are_told_apart_however_they_arrive(tokens: list[bytes], places: list[int]) -> None:
    """Each key is one, answers of the terminal go to the program, pastes are nobody's."""
    keys, found, reports = Keys(), [], b""
    for part in cut(b"".join(tokens), places):
        more, answers = keys.feed(part)
        found += more
        reports += answers
    assert found == [t for t in tokens if t in TOKENS[:-1]]
    assert reports == b"".join(t for t in tokens if t in REPORTS)
    assert not keys.waiting


@given(st.binary(max_size=200), st.lists(st.integers(0, 1000), max_size=8))
def test_no_bytes_break_it(data: bytes, places: list[int]) -> None:
    """Any input gives keys and reports that are made of it, in order, and nothing twice."""
    keys, total = Keys(), 0
    for part in cut(data, places):
        found, reports = keys.feed(part)
        total += sum(map(len, found)) + len(reports)
    total += sum(map(len, keys.flush()))
    assert total <= len(data)
    if b"\x1b[200~" not in data:
        assert total == len(data)


@pytest.mark.parametrize("paste", [b"\x1b[200~aaa", b"\x1b[200~\x1b", b"\x1b[200~a\x1b[201"])
def test_a_paste_without_end_answers_nothing(paste: bytes) -> None:
    """Not even when it is looked at later."""
    keys = Keys()
    assert keys.feed(paste) == ([], b"")
    assert keys.flush() == []


def test_two_escapes_are_one_key_and_the_beginning_of_another() -> None:
    """Escape pressed twice is Escape at once."""
    keys = Keys()
    assert keys.feed(b"\x1b\x1b") == ([b"\x1b"], b"")
    assert keys.waiting
    assert keys.flush() == [b"\x1b"]


@given(st.lists(st.sampled_from(OUTPUT)), st.lists(st.integers(0, 1000), max_size=8))
def test_modes_are_the_same_however_output_arrives(tokens: list[bytes], places: list[int]) -> None:
    """Cut anywhere, the modes are those of the whole."""
    whole, parts = Modes(), Modes()
    whole.feed(b"".join(tokens))
    for part in cut(b"".join(tokens), places):
        parts.feed(part)
    assert (parts.alternate, parts.on, parts.region) == (whole.alternate, whole.on, whole.region)


@given(st.lists(st.sampled_from(OUTPUT)))
def test_leaving_restores_what_was_on(tokens: list[bytes]) -> None:
    """A terminal that is told to enter and leave has the modes it had."""
    program, terminal = Modes(), Modes()
    program.feed(b"".join(tokens))
    terminal.feed(b"".join(tokens) + program.enter())
    assert terminal.alternate
    assert terminal.on == {7, 2004}
    terminal.feed(program.leave())
    assert (terminal.alternate, terminal.on, terminal.region) == (program.alternate, program.on, program.region)


@pytest.mark.parametrize(
    "sequence", [b"\x1b[38;5;1m", b"\x1b]0;title\x07", b"\x1bPq..\x1b\\", b"\x1b(B", "😀".encode(), b"\x1b_G..\x1b\\"]
)
def test_an_unfinished_end_is_found_at_every_cut(sequence: bytes) -> None:
    """Each true beginning of a sequence is unfinished, the whole is not, and text around it changes nothing."""
    for length in range(1, len(sequence)):
        assert unfinished(b"text\x1b[0m" + sequence[:length]) == sequence[:length]
    assert unfinished(b"text" + sequence) == b""
    assert unfinished(sequence + b"text") == b""


@given(st.binary(max_size=100))
def test_what_is_unfinished_is_the_end(data: bytes) -> None:
    """Always a suffix; plain text has none."""
    assert data.endswith(unfinished(data))
    assert unfinished(data + b"\x1b[mplain") == b""
