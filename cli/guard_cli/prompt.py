"""Questions in the terminal: one at a time, keys to answers. Whatever is not a clear yes is a block.

What is typed before a question can have been read belongs to the agent and goes to it: keys in the first 300 ms after the question
stood on the screen, and those that follow them without a pause. Where it follows another question they are dropped: they may have been
meant for that one. What never enters: drawing (`render`), the terminal's modes and
buffers (`guard.terminal`), what an answer does.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from guard.core.questions import DEADLINE, Answer, Question, Scope, memory
from guard.core.verdicts import Decision

if TYPE_CHECKING:
    from rich.text import Text

    from guard.terminal import Terminal
    from guard_cli.render import Drawn

SETTLE_S = 0.3  # seconds; people cannot read and answer faster, and the gap between keys of a fast typist is shorter
_CSI_U = re.compile(
    rb"\x1b\[([0-9]+)(?:;1?(?::1)?)?u"
)  # a key as the kitty keyboard protocol sends it, without modifiers
_BLOCK = {
    b"b": "key b",
    b"B": "key b",
    b"\r": "Enter",
    b"\n": "Enter",
    b"\x1b": "Escape",
    b"\x03": "Ctrl-C",
    b"\x04": "end of input",
}
_SCROLL = {b"\x1b[A": -1, b"\x1bOA": -1, b"k": -1, b"\x1b[B": 1, b"\x1bOB": 1, b"j": 1}
_PAGES = {b"\x1b[5~": -1, b"\x1b[6~": 1, b" ": 1}


@dataclass(slots=True)
class _Asked:
    question: Question
    due: float
    typing: bool
    top: int = 0
    typed_at: float = 0.0
    settled: bool = False
    drawn: Drawn | None = field(default=None, repr=False)
    body: tuple[int, list[Text]] = field(default=(0, []), repr=False)


class Prompt:
    """Asks on a terminal. Every question that is opened gets exactly one answer, or is withdrawn.

    The owner passes on each key of `Terminal.on_readable` and `on_timer`, calls `on_timer` when `timer` is due, `redraw` after a change
    of size and after `Terminal.resume`, and `close` where the terminal hung up.
    """

    def __init__(self, terminal: Terminal, clock: Callable[[], float]) -> None:
        self._terminal = terminal
        self._clock = clock
        self._queue: deque[_Asked] = deque()

    @property
    def current(self) -> Question | None:
        """The question on the screen; None where there is none."""
        return self._queue[0].question if self._queue else None

    @property
    def waiting(self) -> int:
        """How many questions are open, the one on the screen included."""
        return len(self._queue)

    def open(self, question: Question) -> None:
        """Asks this after all that are open; its deadline runs from now."""
        self._queue.append(_Asked(question, self._clock() + question.deadline_s, typing=not self._queue))
        if len(self._queue) == 1:
            self._terminal.begin_question()
        self.redraw()

    def on_key(self, key: bytes) -> Answer | None:
        """What this key answers; None where it answers nothing (scrolling, typed before, unknown)."""
        if not self._queue:
            self._terminal.type(key)
            return None
        asked = self._queue[0]
        if not self._settled(asked):
            if asked.typing:
                self._terminal.type(key)
            return None
        key = _plain(key)
        if key in _BLOCK:
            return self._answered(asked, Decision.BLOCK, _BLOCK[key])
        if key in (b"a", b"A"):
            return self._answered(asked, Decision.ALLOW, "key a")
        if key in (b"s", b"S") and asked.drawn is not None and asked.drawn.offers_session:
            return self._answered(asked, Decision.ALLOW, "key s", "session")
        self._scroll(asked, key)
        return None

    def timer(self) -> float | None:
        """When `on_timer` has to be called: at the next deadline, and every second for the countdown; None without a question."""
        if not self._queue:
            return None
        now = self._clock()
        left = self._queue[0].due - now
        return min([now + (left % 1.0 or 1.0), *(asked.due for asked in self._queue)])

    def on_timer(self) -> list[Answer]:
        """Blocks every question whose deadline is over."""
        now = self._clock()
        over = [asked for asked in self._queue if now >= asked.due]
        answers = [self._answered(asked, Decision.BLOCK, DEADLINE) for asked in over]
        self.redraw()
        return answers

    def withdraw(self, question: str) -> bool:
        """Takes back the question of this id: nobody waits for its answer any more. False where it is not open."""
        asked = next((a for a in self._queue if a.question.id == question), None)
        if asked is not None:
            self._remove(asked)
        return asked is not None

    def close(self, by: str = "end of input") -> list[Answer]:
        """Blocks everything that is open: the terminal is gone, or the session ends."""
        return [self._answered(asked, Decision.BLOCK, by) for asked in list(self._queue)]

    def redraw(self) -> None:
        """Draws the question again, at the terminal's present size."""
        if not self._queue:
            return
        from guard_cli import render

        asked = self._queue[0]
        columns, rows = self._terminal.size
        scopes = asked.question.scopes
        fresh = asked.drawn is None
        asked.drawn = render.question(
            self._body(asked, columns),
            columns=columns,
            rows=rows,
            top=asked.top,
            left_s=max(0, round(asked.due - self._clock())),
            behind=len(self._queue) - 1,
            pattern=memory(asked.question.action, asked.question.verdict).text if "session" in scopes else None,
        )
        asked.top = asked.drawn.top
        self._terminal.draw(asked.drawn.data, fresh=fresh)

    def _body(self, asked: _Asked, columns: int) -> list[Text]:
        from guard_cli import render

        if asked.body[0] != columns:
            asked.body = (columns, render.body(asked.question, columns))
        return asked.body[1]

    def _settled(self, asked: _Asked) -> bool:
        """Whether a key now is an answer: the question has been on the screen, and no typing was going on, for `SETTLE_S`."""
        if asked.settled:
            return True
        now, shown = self._clock(), self._terminal.shown_at
        asked.settled = shown is not None and now >= max(shown, asked.typed_at) + SETTLE_S
        asked.typed_at = now
        return asked.settled

    def _scroll(self, asked: _Asked, key: bytes) -> None:
        page = 1 if asked.drawn is None else asked.drawn.page
        step = _SCROLL.get(key, 0) + _PAGES.get(key, 0) * page
        if step:
            asked.top = max(0, asked.top + step)
            self.redraw()

    def _answered(
        self, asked: _Asked, decision: Literal[Decision.ALLOW, Decision.BLOCK], by: str, scope: Scope = "once"
    ) -> Answer:
        self._remove(asked)
        return Answer(question=asked.question.id, decision=decision, scope=scope, by=by)

    def _remove(self, asked: _Asked) -> None:
        self._queue.remove(asked)
        if self._queue:
            self.redraw()
        else:
            self._terminal.end_question()


def _plain(key: bytes) -> bytes:
    found = _CSI_U.fullmatch(key)
    return chr(int(found[1])).encode() if found and int(found[1]) < 128 else key
