"""Which process runs what, and who descends from whom: the guard's own exec records, inherited by children.

A process is known by its number and its start time together (proc_pid_stat(5), field 22), so that a reused number inherits nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from guard.intercept.programs import Program


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a process comes from: parent's number and its own start time in clock ticks."""

    parent: int
    started: int


def origin_of(pid: int) -> Origin | None:
    """Parent and start time of a process, None where it is gone."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    fields = text.rsplit(b")", 1)[1].split()
    return Origin(int(fields[1]), int(fields[19]))


class Lineage:
    """Exec records by process. `top` is the keeper: whoever has it as an ancestor is of the tree."""

    def __init__(self, top: int) -> None:
        self.top = top
        own = os.stat("/proc/self/exe")
        self.images = {
            (own.st_dev, own.st_ino)
        }  # device and inode of every image that may run: those judged, and the launcher's own
        self._records: dict[int, tuple[int, Program]] = {}

    def record(self, pid: int, program: Program) -> None:
        """The process has become this program."""
        origin = origin_of(pid)
        if origin is not None:
            if len(self._records) > 8192:
                self._forget_dead()
            self._records[pid] = (origin.started, program)

    def taint(self, pid: int) -> None:
        """Another process of the tree reached into this one: what it does is no longer its program's doing."""
        program = self.program(pid)
        if program is not None:
            self.record(pid, replace(program, injected=True))

    def program(self, pid: int) -> Program | None:
        """What the process runs: its own record, or the nearest ancestor's (a fork runs what its parent ran); None where nothing is known."""
        for _ in range(256):
            if pid in (0, 1, self.top):
                return None
            origin = origin_of(pid)
            if origin is None:
                return None
            known = self._records.get(pid)
            if known is not None and known[0] == origin.started:
                return known[1]
            pid = origin.parent
        return None

    def contains(self, pid: int) -> bool:
        """Whether this process descends from the keeper."""
        for _ in range(4096):
            origin = origin_of(pid)
            if origin is None or pid <= 1:
                return False
            if origin.parent == self.top:
                return True
            pid = origin.parent
        return False

    def trail(self, pid: int) -> tuple[str, ...]:
        """Command lines from the agent's root down to this process, each program once."""
        names: list[str] = []
        for _ in range(64):
            if pid in (0, 1, self.top):
                break
            origin = origin_of(pid)
            if origin is None:
                break
            known = self._records.get(pid)
            if known is not None and known[0] == origin.started:
                names.append(" ".join(known[1].argv) or known[1].exe)
            pid = origin.parent
        return tuple(dict.fromkeys(reversed(names)))

    def members(self) -> list[int]:
        """Every process of the tree, as procfs shows it now."""
        parents = {int(name): origin_of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
        inside: list[int] = []
        for pid in parents:
            step, seen = pid, 0
            while (origin := parents.get(step)) is not None and seen < 4096:
                if origin.parent == self.top:
                    inside.append(pid)
                    break
                step, seen = origin.parent, seen + 1
        return inside

    def _forget_dead(self) -> None:
        for pid, (started, _) in list(self._records.items()):
            origin = origin_of(pid)
            if origin is None or origin.started != started:
                del self._records[pid]
