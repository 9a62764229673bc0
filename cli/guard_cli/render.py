"""How things look in a terminal: questions and tables. The one room that owns rich, which is imported on first use.

Everything that comes from an agent is made visible (`guard.core.visible`) and stands behind a gutter, so that no text can look like
the guard's own. What never enters: keys, queues, clocks, where the output goes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from guard.core.actions import (
    Action,
    ExecAction,
    FileAction,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.questions import Question
from guard.core.visible import pieces, sanitise

if TYPE_CHECKING:
    from rich.text import Text

LEAST_ROWS, LEAST_COLUMNS = 8, 20  # below this nothing can be read, and a question says only how to block
_LABEL = 12  # cells for the names at the left of a question
_TEXTS = ("run", "script", "body", "python", "sql", "arguments")  # names of values that have lines
_ESCAPE, _DIM, _STRONG, _TITLE = "reverse", "dim", "bold", "bold white on red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A drawn question: `data` for the terminal, the first line shown, lines shown and lines there are; whether `s` is offered."""

    data: bytes
    top: int
    page: int
    total: int
    offers_session: bool


def question(
    body: Sequence[Text], *, columns: int, rows: int, top: int, left_s: int, behind: int, pattern: str | None
) -> Drawn:
    """A question as a whole screen of `columns` × `rows`; `body` is what the function of that name gives for these columns.

    `top` is the first line of the middle part that is wanted, `left_s` the seconds until it blocks by itself, `behind` how many
    questions wait behind this one, `pattern` what `s` would remember (None where that is not offered).
    """
    foot = _foot(columns, left_s, pattern)
    offers = pattern is not None and len(foot) + 5 <= rows
    if not offers:
        foot = _foot(columns, left_s, None)
    page = max(rows - 1 - len(foot) - 1, 1)
    top = max(0, min(top, len(body) - page))
    shown = body[top : top + page]
    lines = [
        _title(columns, behind, left_s),
        *shown,
        *[_text("")] * (page - len(shown)),
        _rule(columns, top, page, len(body)),
        *foot,
    ]
    return Drawn(data=_screen(lines[:rows], columns), top=top, page=page, total=len(body), offers_session=offers)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO) -> None:
    """Rows under headings: with lines and colours on a terminal, plain aligned text elsewhere. Cells are made visible; none is cut."""
    cells = [[sanitise(cell) for cell in row] for row in rows]
    if out.isatty():
        _rich_table(headers, cells, out)
        return
    widths = [max(len(h), *(len(row[i]) for row in cells)) if cells else len(h) for i, h in enumerate(headers)]
    for row in [list(headers), *cells]:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def styled(text: str, style: str, out: TextIO) -> str:
    """This text, made visible, in a style where `out` is a terminal."""
    codes = {"block": "31", "ask": "33", "allow": "32", "dim": "2", "bold": "1"}
    clean = sanitise(text)
    return f"\x1b[{codes[style]}m{clean}\x1b[0m" if out.isatty() and style in codes else clean


def _rich_table(headers: Sequence[str], cells: list[list[str]], out: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, header in enumerate(headers):
        drawn.add_column(header, overflow="fold", no_wrap=i < len(headers) - 1)
    for row in cells:
        drawn.add_row(
            *(Text(cell, style={"block": "red", "ask": "yellow", "allow": "green"}.get(cell, "")) for cell in row)
        )
    Console(file=out, highlight=False, markup=False, emoji=False).print(drawn)


def _text(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _title(columns: int, behind: int, left_s: int) -> Text:
    left = " guard asks" + (f" · {behind} more waiting" if behind else "")
    right = f"blocks in {left_s} s "
    return _text((left + " " * max(1, columns - len(left) - len(right)) + right)[:columns], _TITLE)


def _rule(columns: int, top: int, page: int, total: int) -> Text:
    if total <= page:
        return _text("─" * columns, _DIM)
    more = f" lines {top + 1}–{min(top + page, total)} of {total} · ↑ ↓ to see the rest "
    return _text(more.center(columns, "─")[:columns], _STRONG)


def _foot(columns: int, left_s: int, pattern: str | None) -> list[Text]:
    found = _entry("a", "allow this once", columns, label=3)
    if pattern is not None:
        found += _entry("s", f"allow for this session: {pattern}", columns, label=3)
    return found + _entry("b", f"block (also Enter, Escape, end of input, and after {left_s} s)", columns, label=3)


def body(asked: Question, columns: int) -> list[Text]:
    """The middle part of a question, all its lines: the action, the facts, the reason, and last what may be long.

    Takes a fifth of a second for 64 KiB of script: to be kept for the next drawing.
    """
    return list(_body(asked, columns))


def _body(asked: Question, columns: int) -> Iterator[Text]:
    verdict = asked.verdict
    blocks: list[list[tuple[str, str | None]]] = [
        list(_described(asked.action)),
        [(answer, fact) for fact, answer in asked.facts],
        [
            ("because", verdict.because),
            ("asked by", " · ".join(verdict.rules)),
            ("harm", None if verdict.score is None else f"{verdict.score:.2f} {verdict.label or ''}".rstrip()),
            ("not known", ", ".join(verdict.unknown)),
            ("led here", " ▸ ".join(asked.lineage)),
            ("task", asked.task),
        ],
        list(_texts(asked.action)),
    ]
    for block in blocks:
        lines = [line for name, value in block if value for line in _entry(name, value, columns, breaks=name in _TEXTS)]
        if lines:
            yield _text("")
            yield from lines


def _described(action: Action) -> Iterator[tuple[str, str | None]]:
    match action:
        case FileAction():
            yield action.op, action.path + ("/ (a folder and all below it)" if action.folder else "")
            yield "to", action.to
            yield "sets", ", ".join(action.sets or ())
        case ExecAction():
            yield "run", action.command or action.exe or "a program that could not be read"
            yield from (("program", action.exe), ("folder", action.cwd), ("user", action.user))
        case NetworkAction():
            yield (
                "send" if action.body or action.method not in (None, "GET", "HEAD", "OPTIONS") else "connect",
                _destination(action),
            )
            yield from (
                ("address", action.address),
                ("request", _request(action)),
                ("secrets", ", ".join(action.content or ())),
            )
        case PythonAction() | SqlAction():
            yield "run", f"{action.kind} text, below"
        case ToolAction():
            yield "tool", f"{action.server or '?'} / {action.name or '?'}"
        case SystemAction():
            yield "system", f"{action.op} {action.target or ''}".rstrip()
    if action.actor is not None:
        program = action.actor.script or action.actor.exe
        yield "by", f"{program}{'' if action.actor.verified else ' (not verified)'}"


def _texts(action: Action) -> Iterator[tuple[str, str | None]]:
    match action:
        case ExecAction():
            yield "script", action.script
        case NetworkAction():
            yield "body", action.body
        case PythonAction() | SqlAction():
            yield action.kind, action.text
        case ToolAction():
            yield "arguments", action.arguments
        case FileAction() | SystemAction():
            return


def _destination(action: NetworkAction) -> str:
    host = ", ".join(action.host or ()) or action.address or "an unknown destination"
    port = "" if action.port is None else f" port {action.port}"
    return f"{host}{port} ({action.protocol or 'unknown protocol'}, {action.listener or 'unknown listener'})"


def _request(action: NetworkAction) -> str | None:
    return None if action.url is None and action.method is None else f"{action.method or ''} {action.url or ''}".strip()


def _entry(name: str, value: str, columns: int, *, label: int = _LABEL, breaks: bool = False) -> list[Text]:
    """A name and its value, folded at the right edge: every line of the value stands behind a gutter.

    `breaks`: line breaks of the value are line breaks here, as texts need it; in names of files and in sentences they are spelled out.
    """
    label = label if columns >= 2 * label else 1
    width = max(columns - label - 2, 4)
    found: list[Text] = []
    for line in _folded(value, width) if breaks else _fold(value, width):
        head = "" if found else sanitise(name)[: label - 1]
        text = _text("")
        text.append(f"{head:>{label - 1}} ", _STRONG)
        text.append("│ ", _DIM)
        for run, escaped in line:
            text.append(run, _ESCAPE if escaped else "")
        found.append(text)
    return found


def _folded(value: str, width: int) -> Iterator[list[tuple[str, bool]]]:
    for paragraph in value.removesuffix("\n").split("\n"):
        yield from _fold(paragraph.replace("\t", "    "), width)


def _fold(paragraph: str, width: int) -> Iterator[list[tuple[str, bool]]]:
    """Lines of at most `width` cells, nothing left out: what is not drawn as itself is spelled out, and never broken in two."""
    from rich.cells import cell_len

    line: list[tuple[str, bool]] = []
    used = 0
    for run, escaped in pieces(paragraph):
        for unit in [run[i : i + width] for i in range(0, len(run), width)] if escaped else run:
            size = cell_len(unit)
            if used + size > width:
                yield line
                line, used = [], 0
            line.append((unit, escaped))
            used += size
    yield line


def _screen(lines: list[Text], columns: int) -> bytes:
    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        width=columns + 1,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
    drawn = capture.get().split("\n")[: len(lines)]
    # Drawn over the old screen at once (2026: synchronised output), each line cleared to its end: no flicker at every second.
    return ("\x1b[?2026h\x1b[H" + "\x1b[K\r\n".join(drawn) + "\x1b[K\x1b[J\x1b[?2026l").encode(
        "utf-8", "backslashreplace"
    )
