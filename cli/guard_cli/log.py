"""`guard log`: what was decided, and why. What never enters: how evidence is kept (`guard.audit`) and how tables look (`render`)."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from guard.audit import AuditError, Filter, Log, Row, describe, find_session, is_running, state_folder
from guard.core.actions import KINDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable
    from pathlib import Path

LIMIT = 200  # rows shown where nothing is said: a few screens; the rest is named, never silently left out
POLL_S = 0.2  # seconds between looks at a session that is followed


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "log",
        help="show what was decided, and why",
        description="Shows the decisions of the last session: what was proposed, what was decided, by which rule and for what reason.",
    )
    parser.add_argument(
        "--session", metavar="ID", default="last", help="a session, the beginning of its id, `last` (default) or `all`"
    )
    parser.add_argument("--decision", choices=("allow", "ask", "block"), help="only these")
    parser.add_argument("--kind", choices=KINDS, help="only actions of this kind")
    parser.add_argument(
        "--limit", metavar="N", type=int, help=f"the last N; 0 is all (default: {LIMIT}, with --json all)"
    )
    parser.add_argument("--follow", action="store_true", help="go on showing what comes until the session ends")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, everything that was recorded")
    parser.add_argument(
        "--verify", action="store_true", help="check that no row was changed, removed or moved, and say so"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command: 0, or 2 where the call or the evidence is wrong; with `--verify` 2 where a row does not fit."""
    try:
        state = state_folder(os.environ)
        session = None if args.session == "all" else find_session(state, args.session)
        if args.follow and session is None:
            raise AuditError("`--follow` follows one session: give `--session ID`")
        if args.limit is not None and args.limit < 0:
            raise AuditError(f"`--limit {args.limit}`: give a number of rows, or 0 for all")
        log = Log(state)
        try:
            return _verify(log, state, session) if args.verify else _show(args, log, state, session)
        finally:
            log.close()
    except AuditError as problem:
        print(f"guard log: {problem}", file=sys.stderr)
        return 2


def _show(args: argparse.Namespace, log: Log, state: Path, session: str | None) -> int:
    which = Filter(decision=args.decision, kind=args.kind, decisions=not args.json)
    limit = args.limit if args.limit is not None else (0 if args.json else LIMIT)
    rows = list(log.rows(session, which, limit=limit or None)) if limit else log.rows(session, which)
    if args.json:
        _print_json(rows)
    else:
        _print_table(rows, every_session=session is None)
        _say_left_out(log, session, which, limit)
    if args.follow and session is not None:
        _follow(args, log, state, session, which)
    return 0


def _say_left_out(log: Log, session: str | None, which: Filter, limit: int) -> None:
    count = log.count(session, which)
    if not count:
        print(
            "guard log: no decision matches"
            if which != Filter(decisions=True)
            else "guard log: nothing was decided yet",
            file=sys.stderr,
        )
    elif limit and count > limit:
        print(f"guard log: the last {limit} of {count} are shown; `--limit 0` shows all", file=sys.stderr)


def _follow(args: argparse.Namespace, log: Log, state: Path, session: str, which: Filter) -> None:
    last = max((row.number for row in log.rows(session, limit=1)), default=0)
    running = True
    while running:
        running = is_running(state, session)
        log.refresh(session)
        for row in log.rows(session, which, after=last):
            last = row.number
            _print_json([row]) if args.json else print(_line(row))
        sys.stdout.flush()
        if running:
            time.sleep(POLL_S)


def _verify(log: Log, state: Path, session: str | None) -> int:
    from guard.audit import sessions

    wrong = 0
    for name in sessions(state) if session is None else [session]:
        row = log.verify(name)
        wrong += row is not None
        print(
            f"{name}: "
            + ("every row follows from the one before" if row is None else f"row {row} was changed, removed or moved")
        )
    return 2 if wrong else 0


def _print_json(rows: Iterable[Row]) -> None:
    for row in rows:
        print(json.dumps({"session": row.session, "row": row.number, **row.plain}, separators=(",", ":")))


def _print_table(rows: Iterable[Row], *, every_session: bool) -> None:
    from guard_cli import render

    headers = [*(["session"] if every_session else []), "time", "pid", "decision", "by", "rule", "what", "because"]
    cells = [[*([row.session] if every_session else []), *_cells(row)] for row in rows]
    if cells:
        render.table(headers, cells, sys.stdout)


def _line(row: Row) -> str:
    from guard.core.visible import sanitise

    return "  ".join(sanitise(cell) for cell in _cells(row))


def _cells(row: Row) -> list[str]:
    plain: dict[str, Any] = row.plain
    if "damaged" in plain:
        return ["", "", "damaged", "", "", describe(row), "this line of the evidence could not be read"]
    rules = ", ".join(plain.get("rules", ()))
    return [
        clock(plain),
        str(plain["pid"]),
        plain["decision"],
        str(plain.get("by", "")),
        rules,
        describe(row),
        str(plain.get("because", "")),
    ]


def clock(plain: dict[str, Any]) -> str:
    """The time of day of a record, local, to the millisecond."""
    seconds, nanos = divmod(plain["time_ns"], 1_000_000_000)
    return f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{nanos // 1_000_000:03d}"
