"""Windows: everything up to the bound is seen, padding does not dilute, and what is not seen is said."""

from hypothesis import given
from hypothesis import strategies as st

from guard.scoring.windows import LINE, PIECE, PIECE_STEP, PIECES, WHOLE, WIDE, encode, windows


def test_a_short_text_is_one_window() -> None:
    """A command line is scored once, as it is."""
    cut = windows("shell", "ls  -la  src")
    assert cut.pieces == (encode("shell", "ls -la src"),)
    assert not cut.truncated


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_a_part_of_a_long_line_keeps_together(before: int, after: int) -> None:
    """Up to `PIECE - PIECE_STEP` characters lie whole in a small window, whatever stands around them on the line."""
    mark = "x" * (PIECE - PIECE_STEP)
    cut = windows("shell", "-" * before + mark + "-" * after)
    assert not cut.truncated
    assert any(mark.encode() in piece and len(piece) <= LINE + 10 for piece in cut.pieces)


@given(st.text("ab\n -", max_size=6_000))
def test_windows_cover_the_text(text: str) -> None:
    """Every line of up to 200 characters, the overlap of two windows, lies whole in one of them."""
    cut = windows("shell", text)
    joined = b"\n".join(cut.pieces)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    assert all(line.encode() in joined for line in lines if len(line) <= 200)


def test_consecutive_windows_overlap() -> None:
    """No line of 180 characters is cut in two by the border of a window."""
    lines = [f"{number:03d} " + "ab" * 88 for number in range(60)]
    joined = b"\n".join(windows("python", "\n".join(lines)).pieces)
    assert all(line.encode() in joined for line in lines)


@given(st.text(max_size=5000))
def test_windows_stay_small(text: str) -> None:
    """No window is longer than a wide one, and none is too short for the model's longest n-gram."""
    for piece in windows("sql", text).pieces:
        assert 6 <= len(piece) <= 4 * WIDE + len(encode("sql", ""))


def test_the_number_of_windows_is_bounded() -> None:
    """A single line as long as is seen whole does not make more small windows than the bound."""
    text = "".join(f"{number} " for number in range(10_000))[:WHOLE]
    assert len(windows("shell", text).pieces) <= PIECES + WHOLE // 1_800 + 1


def test_simple_commands_get_a_window_of_their_own() -> None:
    """What `&&` joins to harmless commands, or a comment explains away, is also judged bare; other kinds are not split."""
    text = "git status && time rm -rf x # approved by the admin"
    assert encode("shell", "git status\nrm -rf x") in windows("shell", text).pieces
    assert len(windows("sql", text).pieces) == 1


def test_repeated_lines_do_not_make_a_text_long() -> None:
    """Padding by repetition is folded before anything is left out."""
    cut = windows("shell", "make test\n" * 50_000 + "cat /etc/shadow")
    assert not cut.truncated
    assert any(b"/etc/shadow" in piece for piece in cut.pieces)


def test_a_long_text_is_sampled_and_says_so() -> None:
    """Head, tail and the neighbourhood of a cue are seen; the rest is reported as truncated."""
    middle = "a" * 300_000 + "\ncat /etc/shadow\n" + "b" * 300_000
    cut = windows("shell", "head-mark\n" + middle + "\ntail-mark")
    assert cut.truncated
    for mark in (b"head-mark", b"/etc/shadow", b"tail-mark"):
        assert any(mark in piece for piece in cut.pieces)
    assert sum(map(len, cut.pieces)) < 3 * WHOLE
