"""Which parts of a text the model sees: overlapping windows over the canonical text, so that padding cannot dilute harm.

The model itself judges every window as a whole and by its lines; here long texts and long lines are cut, and the simple commands of
a shell line get lines of their own.

Pure: text in, encoded windows out. The same function feeds training, so that a model is judged on what it will meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from guard.scoring.canonical import canonical, simple_commands

WIDE: Final = 2000
"""Characters of a window: the longest context one score may rest on."""
WIDE_STEP: Final = 1800
"""Distance of two windows."""
LINE: Final = 400
"""Characters of a line that the model judges alone by itself; of a longer one, pieces are windows of their own."""
PIECE: Final = 160
PIECE_STEP: Final = 120
"""Length and distance of the pieces of a long line."""
PIECES: Final = 128
"""Most such pieces of one text, evenly chosen: 8 ms. A text of long lines is data more often than commands."""
WHOLE: Final = 32_000
"""Characters that are seen whole, repeated lines counted once; about 40 ms. 95 % of agents' steps are below 8,000."""
REFUSED: Final = 1_000_000
"""Characters beyond which a text is refused: searching it would take longer than the 50 ms that a judge may take."""

_HEAD: Final = 12_000
_TAIL: Final = 8_000
_SAMPLE: Final = 1_000
_CUES: Final = (
    "/dev/tcp/",
    "base64",
    "/etc/shadow",
    "/.ssh/",
    "| sh",
    "|sh",
    "|bash",
    "| bash",
    "rm -rf",
    "--post-file",
    " /dev/sd",
)
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
    once = text if len(text) <= WHOLE else "\n".join(dict.fromkeys(text.split("\n")))
    sample = once if len(once) <= WHOLE else _sample(once)
    form = canonical(sample)
    parts = _cut(form, WIDE, WIDE_STEP) + (_pieces(form) if len(form) > LINE else [])
    commands = simple_commands(form) if kind == "shell" else ""
    if commands:
        parts += _cut(commands, WIDE, WIDE_STEP)
    return Windows(pieces=tuple(encode(kind, part) for part in parts), truncated=sample is not once)


def _cut(form: str, size: int, step: int) -> list[str]:
    """Windows of `size` every `step` until the end is reached; one, perhaps empty, for a form that fits."""
    return [form[start : start + size] for start in range(0, max(len(form) - size + step, 1), step)]


def _pieces(form: str) -> list[str]:
    """Pieces of lines that are too long to be judged as one, equal ones once, at most `PIECES`."""
    long = (line for line in form.split("\n") if len(line) > LINE)
    parts = list(dict.fromkeys(part for line in long for part in _cut(line, PIECE, PIECE_STEP)))
    return parts if len(parts) <= PIECES else [parts[number * len(parts) // PIECES] for number in range(PIECES)]


def encode(kind: str, form: str) -> bytes:
    """The model's input for one canonical text: never shorter than its longest n-gram; lone surrogates become `?`."""
    return b"\x02" + kind.encode("utf-8", "replace") + b"\n" + form.encode("utf-8", "replace") + b"\n"


def _sample(text: str) -> str:
    """Head, tail, neighbourhoods of cues, and evenly spaced pieces up to `WHOLE` characters, in the text's order."""
    starts: set[int] = set()
    for cue in _CUES:
        for found in (text.find(cue), text.rfind(cue)):
            if found >= 0:
                starts.add(max(found - _SAMPLE // 2, 0))
    room = max((WHOLE - _HEAD - _TAIL) // _SAMPLE - len(starts), 0)
    gap = (len(text) - _HEAD - _TAIL) // (room + 1)
    starts.update(_HEAD + gap * (number + 1) for number in range(room))
    middle = "\n".join(text[start : start + _SAMPLE] for start in sorted(starts))
    return f"{text[:_HEAD]}\n{middle}\n{text[-_TAIL:]}"
