"""Which parts of a text the model sees: overlapping windows over the canonical text, so that padding cannot dilute harm.

Pure: text in, encoded windows out. The same function feeds training, so that a model is judged on what it will meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guard.scoring.canonical import canonical

WIDE: Final = 2000
"""Characters of a wide window: the longest context one score may rest on."""
NARROW: Final = 500
"""Characters of a narrow window: a harmful line keeps its weight among harmless ones."""
NARROW_STEP: Final = 300
"""Distance of two narrow windows: any 200 characters lie whole inside one."""
WHOLE: Final = 32_000
"""Characters that are seen whole; about 130 windows and 25 ms. 95 % of agents' steps are below 8,000."""
REFUSED: Final = 1_000_000
"""Characters beyond which a text is refused: searching it would take longer than the 50 ms that a judge may take."""

_HEAD: Final = 12_000
_TAIL: Final = 8_000
_PIECE: Final = 1_000
_PIECES_PER_CUE: Final = 2
_CUES: Final = ("/dev/tcp/", "base64", "/etc/shadow", "/.ssh/", "| sh", "|sh", "|bash", "| bash", "rm -rf", "--post-file", " /dev/sd")
"""Where a text too long to be seen whole is looked at besides head, tail and even spacing; the first and the last of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Encoded windows of one text."""

    pieces: tuple[bytes, ...]
    """At least one; each the model's input bytes: mark, kind, newline, text, newline."""
    truncated: bool
    """True where parts of the text are in no window."""


def windows(kind: str, text: str) -> Windows:
    """Cut the canonical form of `text`; `kind` becomes part of every window. Total for texts up to `REFUSED` characters."""
    sample = text if len(text) <= WHOLE else _sample(text)
    form = canonical(sample)
    parts = [form[start : start + WIDE] for start in range(0, max(len(form) - WIDE // 4, 1), WIDE - WIDE // 4)]
    if len(form) > NARROW:
        parts += [form[start : start + NARROW] for start in range(0, len(form) - NARROW + NARROW_STEP, NARROW_STEP)]
    return Windows(pieces=tuple(encode(kind, part) for part in parts), truncated=sample is not text)


def encode(kind: str, form: str) -> bytes:
    """The model's input for one canonical text: never shorter than its longest n-gram; lone surrogates become `?`."""
    return b"\x02" + kind.encode("utf-8", "replace") + b"\n" + form.encode("utf-8", "replace") + b"\n"


def _sample(text: str) -> str:
    """Head, tail, neighbourhoods of cues, and evenly spaced pieces up to `WHOLE` characters, in the text's order."""
    starts: set[int] = set()
    for cue in _CUES:
        for found in (text.find(cue), text.rfind(cue))[:_PIECES_PER_CUE]:
            if found >= 0:
                starts.add(max(found - _PIECE // 2, 0))
    room = max((WHOLE - _HEAD - _TAIL) // _PIECE - len(starts), 0)
    gap = (len(text) - _HEAD - _TAIL) // (room + 1)
    starts.update(_HEAD + gap * (number + 1) for number in range(room))
    middle = "\n".join(text[start : start + _PIECE] for start in sorted(starts))
    return f"{text[:_HEAD]}\n{middle}\n{text[-_TAIL:]}"
