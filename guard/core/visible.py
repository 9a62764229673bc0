"""Text that a person will read, made harmless: whatever could move a cursor, hide or reorder text is spelled out.

Every line the guard prints about an action goes through here, because the action's text is the agent's. What never enters: layout,
colours, the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator

# Letters and symbols that `str.isprintable` accepts and that are drawn as nothing: Hangul fillers, the blank Braille pattern, the
# combining grapheme joiner, and the variation selectors.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(c) for c in range(0xFE00, 0xFE10)}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def sanitise(text: str) -> str:
    r"""One line in which everything that is not drawn as itself is an escape: `\n`, `\x1b`, `\u202e`, `\U000e0041`.

    Bytes of a name that are no UTF-8 (surrogateescape) appear as the byte they are: `\xff`. Backslashes stay as they are: the text is
    for reading, not for parsing back.

    >>> sanitise("rm \x1b[2J\u202e\udcff")
    'rm \\x1b[2J\\u202e\\xff'
    """
    if text.isprintable() and (text.isascii() or _INVISIBLE.isdisjoint(text)):
        return text
    return "".join(_escape(c) if is_hidden(c) else c for c in text)


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The text in runs of what is drawn as itself, and single escapes, each with whether it is an escape made here.

    For renderers that mark escapes, so that nobody can imitate them, and do not break them in two.
    """
    run = ""
    for c in text:
        if not is_hidden(c):
            run += c
            continue
        if run:
            yield run, False
            run = ""
        yield _escape(c), True
    if run:
        yield run, False


def is_hidden(c: str) -> bool:
    """Whether this character is not drawn as itself: controls, format and bidi characters, odd spaces, unassigned and private ones."""
    return not c.isprintable() or c in _INVISIBLE


def _escape(c: str) -> str:
    code = ord(c)
    if c in _SHORT:
        return _SHORT[c]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
