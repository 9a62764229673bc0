"""`guard show`: one session on one page: what ran, what was decided how often, what was blocked or asked.

What never enters: how evidence is kept (`guard.audit`) and how tables look (`render`).
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guard.audit import AuditError, Log, Row, describe, find_session, is_running, state_folder
from guard.core.visible import sanitise

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

STOPPED_SHOWN = 50  # blocked and asked actions listed; `guard log` has all


@dataclass(slots=True)
class _Process:
    pid: int
    ppid: int | None
    programs: list[str] = field(default_factory=list)
    status: int | None = None
    decisions: Counter[str] = field(default_factory=Counter)
    children: list[_Process] = field(default_factory=list)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "show",
        help="show one session: its processes, decisions and questions",
        description="Shows one session: how it began and ended, its tree of processes, counts of decisions, and what was blocked or asked.",
    )
    parser.add_argument("session", metavar="ID", help="a session, the beginning of its id, or `last`")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command: 0, or 2 where the call or the evidence is wrong."""
    try:
        state = state_folder(os.environ)
        session = find_session(state, args.session)
        log = Log(state)
        try:
            _show(log, state, session)
        finally:
            log.close()
    except AuditError as problem:
        print(f"guard show: {problem}", file=sys.stderr)
        return 2
    return 0


def _show(log: Log, state: Path, session: str) -> None:
    from guard_cli import render

    counts: Counter[tuple[str, str]] = Counter()
    stopped: list[Row] = []
    processes: dict[int, _Process] = {}
    roots: list[_Process] = []
    ends: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    damaged = 0
    for row in log.rows(session):
        plain = row.plain
        if "damaged" in plain:
            damaged += 1
        elif "event" in plain:
            _event(plain, ends, processes, roots, notes)
        else:
            counts[plain["kind"], plain["decision"]] += 1
            _process(plain["pid"], None, processes, roots).decisions[plain["decision"]] += 1
            if plain["decision"] != "allow":
                stopped.append(row)
    for text in _head(session, ends, running=is_running(state, session)):
        print(text)
    for text in notes:
        print(f"  note     {sanitise(text)}")
    if damaged:
        print(f"  damaged  {damaged} lines of the evidence could not be read (`guard log --json` shows them)")
    _print_tree(roots)
    if counts:
        print()
        kinds = sorted({kind for kind, _ in counts})
        render.table(
            ["kind", "allow", "ask", "block"],
            [[k, *(str(counts[k, d]) for d in ("allow", "ask", "block"))] for k in kinds],
            sys.stdout,
        )
    _print_stopped(stopped)


def _event(
    plain: dict[str, Any],
    ends: dict[str, dict[str, Any]],
    processes: dict[int, _Process],
    roots: list[_Process],
    notes: list[str],
) -> None:
    match plain["event"]:
        case "start" | "end":
            ends[plain["event"]] = plain
        case "exec":
            # A number that comes back after its process has ended is another process.
            if plain["pid"] in processes and processes[plain["pid"]].status is not None:
                del processes[plain["pid"]]
            program = " ".join(plain.get("command") or [str(plain.get("exe", "?"))])
            _process(plain["pid"], plain.get("ppid"), processes, roots).programs.append(program)
        case "exit":
            _process(plain["pid"], None, processes, roots).status = plain.get("status")
        case _:
            notes.append(str(plain.get("text", plain["event"])))


def _process(pid: int, ppid: int | None, processes: dict[int, _Process], roots: list[_Process]) -> _Process:
    if pid not in processes:
        processes[pid] = _Process(pid, ppid)
        parent = processes.get(ppid) if ppid is not None else None
        (roots if parent is None else parent.children).append(processes[pid])
    return processes[pid]


def _head(session: str, ends: dict[str, dict[str, Any]], *, running: bool) -> Iterator[str]:
    yield f"session {session}"
    start, end = ends.get("start", {}), ends.get("end")
    for name, label in (
        ("command", "command"),
        ("cwd", "folder"),
        ("workspace", "work in"),
        ("task", "task"),
        ("policy", "policy"),
        ("model", "model"),
    ):
        if name in start:
            value = start[name]
            yield f"  {label:<8} {sanitise(' '.join(value) if isinstance(value, list) else str(value))}"
    if start:
        yield f"  began    {_date(start)}"
    if end is not None:
        took = (end["time_ns"] - start["time_ns"]) / 1e9 if start else 0.0
        yield f"  ended    {_date(end)} with status {end.get('status', '?')} after {took:.1f} s"
    elif running:
        yield "  running  yes"
    else:
        yield "  ended    without a word: its guard was killed"


def _date(plain: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(plain["time_ns"] // 1_000_000_000))


def _print_tree(roots: list[_Process]) -> None:
    if roots:
        print()
    stack = [(process, 0) for process in reversed(roots)]
    while stack:
        process, depth = stack.pop()
        programs = " → ".join(process.programs) or "(started no program)"
        counts = ", ".join(f"{n} {word}" for word, n in sorted(process.decisions.items()))
        status = f", status {process.status}" if process.status else ""
        print(f"  {'  ' * depth}{process.pid} {sanitise(programs)}{f' [{counts}{status}]' if counts or status else ''}")
        stack += [(child, depth + 1) for child in reversed(process.children)]


def _print_stopped(stopped: list[Row]) -> None:
    from guard_cli import render
    from guard_cli.log import clock

    if not stopped:
        print("\nnothing was blocked or asked")
        return
    print(
        f"\nblocked or asked: {len(stopped)}"
        + (f", the last {STOPPED_SHOWN} of them:" if len(stopped) > STOPPED_SHOWN else "")
    )
    rows = [
        [
            clock(r.plain),
            str(r.plain["pid"]),
            r.plain["decision"],
            ", ".join(r.plain.get("rules", ())),
            describe(r),
            str(r.plain.get("because", "")),
        ]
        for r in stopped[-STOPPED_SHOWN:]
    ]
    render.table(["time", "pid", "decision", "rule", "what", "because"], rows, sys.stdout)
