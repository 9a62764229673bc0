"""What the bytes between a program and its terminal mean, as far as a question in the middle of them needs to know.

Three small readers of byte streams: which modes the program has switched on (`Modes`), where its output may be interrupted
(`unfinished`), and what a person typed as opposed to what the terminal itself answered (`Keys`). Sequences are those of ECMA-48 and of
xterm's control sequences document. What never enters: descriptors, clocks, and what a screen looks like (no emulation is done here).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TAIL = 4096  # bytes kept of what was last sent: longer than any sequence but pictures, whose loss costs a picture

_MODE = re.compile(rb"\x1b\[\?([0-9;]{1,32})([hl])|\x1b\[([0-9]{0,5};?[0-9]{0,5})r|(\x1bc)")
_LONGEST_MODE = 40
# Private modes that change what keys send or what drawing does; a question switches those off that are on, and on again.
_SWITCHED = (7, 9, 25, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026)
_ON_AT_START = frozenset({7, 25})
_ALTERNATE = frozenset({47, 1047, 1049})

_CSI = rb"\x1b\[[0-?]*[ -/]*[@-~]"
_STRING = rb"\x1b[PX\]^_][^\x07\x1b]*(?:\x07|\x1b\\)"
_WHOLE = re.compile(rb"(?:" + _CSI + rb"|" + _STRING + rb"|\x1b[ -/]+[0-~]|\x1b[0-OQ-WYZ\\`-~])", re.DOTALL)
_OPEN = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[PX\]^_][^\x07\x1b]*\x1b?|[ -/]*)\Z")
_SS3 = re.compile(rb"\x1bO[ -~]")

# What a terminal answers on its own: positions, attributes, modes, sizes, colours, key protocols, focus.
_REPORT = re.compile(
    rb"\x1b\[(?:\??[0-9;]+R|[?>=]?[0-9;]*c|\??[0-9;]*n|\?[0-9;]+\$y|[0-9;]+t|\?[0-9]*u|[IO])|\x1b[P\]X^_].*", re.DOTALL
)
_PASTE_START, _PASTE_END = b"\x1b[200~", b"\x1b[201~"


@dataclass(slots=True)
class Modes:
    """What the program has switched on so far: `alternate` screen, private modes, scroll region."""

    alternate: bool = False
    region: bytes = b""
    on: set[int] = field(default_factory=lambda: set(_ON_AT_START))
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """Reads output in the order it is sent; sequences may be split anywhere."""
        data = self._rest + data
        last = data.rfind(b"\x1b", -_LONGEST_MODE)
        self._rest = b"" if last < 0 or _WHOLE.match(data, last) else data[last:]
        if b"\x1b[" not in data and b"\x1bc" not in data:
            return
        for found in _MODE.finditer(data):
            self._switch(found)

    def _switch(self, found: re.Match[bytes]) -> None:
        if found[4]:
            self.alternate, self.region, self.on = False, b"", set(_ON_AT_START)
        elif found[1] is None:
            self.region = found[3]
        else:
            for number in found[1].split(b";"):
                self._set(int(number or b"0"), found[2] == b"h")

    def _set(self, mode: int, on: bool) -> None:
        if mode in _ALTERNATE:
            self.alternate = on
        elif mode in _SWITCHED:
            (self.on.add if on else self.on.discard)(mode)

    def enter(self) -> bytes:
        """Output that gives a question an empty alternate screen with plain settings, whatever the program had set.

        Pastes stay marked, so that they are not taken for keys.
        """
        off = b"".join(b"\x1b[?%dl" % m for m in sorted(self.on - {7, 2004}))
        screen = b"\x1b7" if self.alternate else b"\x1b[?1049h"
        return screen + off + b"\x1b[?7h\x1b[?2004h\x1b[?25l\x1b[?6l\x1b[r\x1b[0m\x1b(B\x0f\x1b[H\x1b[2J"

    def leave(self) -> bytes:
        """Output that undoes `enter`. On the alternate screen the program has to repaint; the main screen comes back as it was."""
        region = b"\x1b[" + self.region + b"r" if self.region else b""
        screen = b"\x1b[0m\x1b[2J" + region + b"\x1b8" if self.alternate else region + b"\x1b[?1049l"
        off = b"".join(b"\x1b[?%dl" % m for m in (7, 25, 2004) if m not in self.on)
        return screen + off + b"".join(b"\x1b[?%dh" % m for m in sorted(self.on))


def unfinished(tail: bytes) -> bytes:
    """The end of `tail` that is the beginning of an escape sequence or of a UTF-8 character; empty where output may stop here."""
    found = _OPEN.search(tail)
    return found[0] if found else _partial_utf8(tail)


def _partial_utf8(tail: bytes) -> bytes:
    for back in range(1, min(3, len(tail)) + 1):
        byte = tail[-back]
        if byte < 0x80:
            return b""
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return tail[-back:] if wanted > back else b""
    return b""


class Keys:
    """Splits what arrives from a terminal into keys, and into what is the program's: the terminal's own answers to it.

    A key is one character or one escape sequence. Pastes (between their marks) are dropped: nobody answers by pasting. A lone ESC is a
    key only after `flush`, because it may be the beginning of a sequence.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._pasting = False

    @property
    def waiting(self) -> bool:
        """Whether a sequence has begun that may be a lone Escape: call `flush` a moment later."""
        return bool(self._rest)

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """The keys in these bytes, and the bytes for the program."""
        data, self._rest = self._rest + data, b""
        keys: list[bytes] = []
        reports = bytearray()
        at = 0
        while at < len(data):
            if self._pasting:
                at = self._skip_paste(data, at)
                continue
            size = _token(data, at)
            if size == 0:
                self._rest = data[at:]
                break
            token = data[at : at + size]
            at += size
            if token == _PASTE_START:
                self._pasting = True
            elif _REPORT.fullmatch(token):
                reports += token
            else:
                keys.append(token)
        return keys, bytes(reports)

    def flush(self) -> list[bytes]:
        """What was kept back, as a key: called when nothing has followed for a while. A paste without end stays a paste."""
        rest, self._rest = self._rest, b""
        return [] if self._pasting or not rest else [rest]

    def _skip_paste(self, data: bytes, at: int) -> int:
        end = data.find(_PASTE_END, at)
        if end >= 0:
            self._pasting = False
            return end + len(_PASTE_END)
        self._rest = data[max(at, len(data) - len(_PASTE_END) + 1) :]
        return len(data)


def _token(data: bytes, at: int) -> int:
    """The length of the key or sequence at this place; 0 where its end has not arrived."""
    if data[at] == 0x1B:
        found = _SS3.match(data, at) or _WHOLE.match(data, at)
        if found and (found[0] != b"\x1bO"):
            return found.end() - at
        return 1 if data[at + 1 : at + 2] == b"\x1b" or len(data) - at > TAIL else 0
    first = data[at]
    size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    return size if len(data) - at >= size else 0
