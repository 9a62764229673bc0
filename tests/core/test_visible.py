"""Text for people: nothing in it moves, hides or reorders anything."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.visible import is_hidden, pieces, sanitise

texts = st.text(st.characters(codec=None))  # every code point, lone surrogates too


@given(texts)
def test_only_characters_that_are_drawn_remain(text: str) -> None:
    """No control, format, bidi or invisible character is left, and doing it twice changes nothing."""
    clean = sanitise(text)
    assert not any(is_hidden(c) for c in clean)
    assert clean.isprintable()
    clean.encode("utf-8")
    assert sanitise(clean) == clean


@given(texts)
def test_pieces_are_the_same_text(text: str) -> None:
    """The runs join to the text, drawn ones are left as they are, and every escape stands alone."""
    runs = list(pieces(text))
    assert "".join(run for run, _ in runs) == sanitise(text)
    assert "".join(run for run, escaped in runs if not escaped) == "".join(c for c in text if not is_hidden(c))
    assert all(a[1] or b[1] for a, b in pairwise(runs))
    assert sum(escaped for _, escaped in runs) == sum(map(is_hidden, text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain äöü 漢字 😀", "plain äöü 漢字 😀"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[2J\x07\x9b", "\\x1b[2J\\x07\\x9b"),
        ("\u202ertl\u2066", "\\u202ertl\\u2066"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("fill\u3164er\u2800", "fill\\u3164er\\u2800"),
        (b"byte \xff\xfe".decode("utf-8", "surrogateescape"), "byte \\xff\\xfe"),
        ("line\u2028sep\u00a0nbsp", "line\\u2028sep\\xa0nbsp"),
    ],
)
def test_examples(text: str, expected: str) -> None:
    """Each kind of character that is not drawn as itself."""
    assert sanitise(text) == expected
