"""The state folder and the evidence in it: a write-ahead file per session, and the database that follows behind.

    STATE/sessions/ID/evidence.jsonl    lines appended before each reply; the truth
    STATE/sessions/ID/alive             locked by the guard of this session while it runs
    STATE/evidence.sqlite               made from the files: `Ingest` writes it, `Log` reads it, and it can be made anew

Rows carry a hash chain over the lines of their session: each hash covers the one before. What never enters: what a line means beyond
the columns that lists are filtered by (`guard.core.evidence` makes lines), and how rows are shown.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.evidence import is_record, target

if TYPE_CHECKING:
    import sqlite3

SCHEMA = 1
BATCH = 4 * 1024 * 1024  # bytes read in one transaction: ten thousand lines, a tenth of a second
LINE_LIMIT = 1024 * 1024  # bytes; longer lines cannot come from `evidence.line` and are counted as damaged
BUSY_S = 10.0  # seconds to wait for another guard's batch
_TORN: set[int] = set()  # descriptors whose last line is a part of one: the next line must not continue it

_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, position INTEGER NOT NULL, rows INTEGER NOT NULL, chain BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS evidence (
    session INTEGER NOT NULL, row INTEGER NOT NULL, time_ns INTEGER, pid INTEGER, event TEXT, kind TEXT, decision TEXT,
    line TEXT NOT NULL, chain BLOB NOT NULL, PRIMARY KEY (session, row)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stopped ON evidence (decision, session, row) WHERE decision IN ('ask', 'block');
CREATE INDEX IF NOT EXISTS events ON evidence (session, event, row) WHERE event IS NOT NULL;
"""


class AuditError(Exception):
    """Evidence cannot be kept or read. The text says where and what to do."""


class NoSuchSessionError(AuditError):
    """No session has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of evidence: `number` counts the session's lines from 1, `plain` is the parsed line; a damaged line has only `damaged`."""

    session: str
    number: int
    plain: dict[str, Any]


def state_folder(environ: Mapping[str, str], *, make: bool = True) -> Path:
    """`$GUARD_HOME`, else `$XDG_STATE_HOME/guard`, else `~/.local/state/guard`; made with mode 0700 where `make` and it is missing.

    Relative values of XDG_STATE_HOME are ignored, as its specification says. Raises AuditError where it is not ours alone.
    """
    folder = _named_folder(environ)
    try:
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except FileNotFoundError:
        return folder
    except OSError as problem:
        raise AuditError(
            f"cannot make the state folder `{folder}`: {problem.strerror}; set GUARD_HOME to a folder you can write"
        ) from problem
    if status.st_uid != os.geteuid():
        raise AuditError(
            f"the state folder `{folder}` belongs to user {status.st_uid}; set GUARD_HOME to a folder of your own"
        )
    if status.st_mode & 0o077 and make:
        folder.chmod(0o700)
    return folder


def _named_folder(environ: Mapping[str, str]) -> Path:
    if environ.get("GUARD_HOME"):
        return Path(environ["GUARD_HOME"]).absolute()
    xdg = environ.get("XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg) / "guard"
    home = environ.get("HOME") or os.path.expanduser(f"~{os.geteuid()}")
    if not home.startswith("/"):
        import pwd

        home = pwd.getpwuid(os.geteuid()).pw_dir
    return Path(home) / ".local/state/guard"


def new_session(state: Path, *, time_ns: int | None = None) -> tuple[str, int]:
    """A new session: its id and the descriptor of its lock, to be kept open by the guard as long as the session runs.

    Ids sort by their start (UTC): `20261121-113001-4c1f2e9b`. Making the folder is what makes them unique.
    """
    now = time.time_ns() if time_ns is None else time_ns
    while True:
        seconds, micros = divmod(now // 1000, 1_000_000)
        name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(seconds))}-{micros:05x}{os.urandom(2).hex()[:3]}"
        folder = state / "sessions" / name
        try:
            folder.parent.mkdir(mode=0o700, exist_ok=True)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as problem:
            raise AuditError(f"cannot write to the state folder `{state}`: {problem.strerror}") from problem
        alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return name, alive


def open_evidence(state: Path, session: str) -> int:
    """The descriptor that a session's lines are appended to, each by one `os.write` (several writers may have one)."""
    return os.open(_file(state, session), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def append(fd: int, line: bytes) -> None:
    """Appends one line; raises AuditError where it is not there whole (a full disk), and then the action must be blocked."""
    if fd in _TORN:
        line = b"\n" + line
    try:
        written = os.write(fd, line)
    except OSError as problem:
        raise AuditError(f"cannot record: {problem.strerror}") from problem
    if written != len(line):
        _TORN.add(fd)
        raise AuditError("cannot record: the disk is full")
    _TORN.discard(fd)


def is_running(state: Path, session: str) -> bool:
    """Whether the guard of this session still runs."""
    try:
        fd = os.open(state / "sessions" / session / "alive", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def sessions(state: Path) -> list[str]:
    """The ids of all sessions that left a folder, the oldest first."""
    try:
        return sorted(entry.name for entry in os.scandir(state / "sessions") if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []


def find_session(state: Path, name: str) -> str:
    """The session of this id, beginning of an id, or `last`; raises NoSuchSessionError with what there is instead."""
    known = sessions(state)
    if not known:
        raise NoSuchSessionError(f"there are no sessions in `{state}` yet; start one with `guard run -- COMMAND`")
    if name == "last":
        return known[-1]
    found = [s for s in known if s.startswith(name)] if name else []
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    if found:
        raise NoSuchSessionError(
            f"`{name}` begins {len(found)} sessions: {', '.join(found[:5])}{' …' if len(found) > 5 else ''}; give more of the id"
        )
    raise NoSuchSessionError(
        f"no session `{name}` in `{state}`; the last one is `{known[-1]}` (`guard log --session last`)"
    )


class Ingest:
    """Brings the database up to the files. Safe to run at any time, several at once: a batch and the place it ends are one transaction."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.db = _opened(state)

    def close(self) -> None:
        """Closes the database; what was committed stays."""
        self.db.close()

    def catch_up(self, session: str) -> int:
        """Takes in what this session's file has gained; the number of rows. A last line without its end is left for later."""
        total = 0
        while (rows := self._batch(session)) > 0:
            total += rows
        return total

    def catch_up_all(self) -> int:
        """`catch_up` for every session, those of killed guards included."""
        known = dict(self.db.execute("SELECT id, position FROM sessions"))
        return sum(self.catch_up(s) for s in sessions(self._state) if _size(self._state, s) > known.get(s, 0))

    def _batch(self, session: str) -> int:
        try:
            with open(_file(self._state, session), "rb") as file, _Transaction(self.db):
                number, position, rows, chain = self._place(session)
                file.seek(position)
                lines, used = _whole_lines(file.read(BATCH))
                found, chain = _chained(number, rows, chain, lines)
                self.db.executemany("INSERT INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", found)
                place = (position + used, rows + len(found), chain, number)
                self.db.execute("UPDATE sessions SET position = ?, rows = ?, chain = ? WHERE number = ?", place)
                return len(found)
        except FileNotFoundError:
            return 0
        except OSError as problem:
            raise AuditError(f"cannot read the evidence of session `{session}`: {problem.strerror}") from problem

    def _place(self, session: str) -> tuple[int, int, int, bytes]:
        start = hashlib.sha256(session.encode()).digest()
        self.db.execute(
            "INSERT OR IGNORE INTO sessions (id, position, rows, chain) VALUES (?, 0, 0, ?)", (session, start)
        )
        row = self.db.execute("SELECT number, position, rows, chain FROM sessions WHERE id = ?", (session,)).fetchone()
        return int(row[0]), int(row[1]), int(row[2]), bytes(row[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows: `event` gives those of this event, `decisions` those that are decisions; None and False filter nothing."""

    decision: str | None = None
    kind: str | None = None
    event: str | None = None
    decisions: bool = False

    def where(self) -> tuple[str, list[Any]]:
        """The condition and its values."""
        named = {"decision = ?": self.decision, "kind = ?": self.kind, "event = ?": self.event}
        parts = [part for part, value in named.items() if value is not None]
        if self.decision in ("ask", "block"):
            parts.append("decision IN ('ask', 'block')")  # as the partial index says it, so that it is used
        if self.decisions:
            parts.append("event IS NULL")
        return " AND ".join(["TRUE", *parts]), [value for value in named.values() if value is not None]


ALL = Filter()


class Log:
    """Reads rows. Takes in what is new first, so that a log is never behind its files."""

    def __init__(self, state: Path) -> None:
        import sqlite3

        self._ingest = Ingest(state)
        try:
            self._ingest.catch_up_all()
        except sqlite3.OperationalError as problem:
            raise AuditError(f"cannot write `{state / 'evidence.sqlite'}`: {problem}") from problem
        except sqlite3.DatabaseError:
            self._ingest.close()
            _put_aside(state)
            self._ingest = Ingest(state)
            self._ingest.catch_up_all()
        self._db = self._ingest.db

    def close(self) -> None:
        """Closes the database."""
        self._ingest.close()

    def rows(
        self, session: str | None = None, which: Filter = ALL, *, after: int = 0, limit: int | None = None
    ) -> Iterator[Row]:
        """Rows of one session or of all, in their order; the last `limit` of them where it is given, those numbered above `after`."""
        where, values = which.where()
        query = f"SELECT row, line FROM evidence WHERE session = ? AND row > ? AND {where} ORDER BY row"
        known = self._known(session)
        if limit is None:
            for number, name in known:
                for row, line in self._db.execute(query, (number, after, *values)):
                    yield _row(name, row, line)
            return
        found: list[Row] = []
        for number, name in reversed(known):
            if len(found) < limit:
                last = self._db.execute(f"{query} DESC LIMIT ?", (number, after, *values, limit - len(found)))
                found += [_row(name, row, line) for row, line in last]
        yield from reversed(found)

    def count(self, session: str | None = None, which: Filter = ALL) -> int:
        """How many rows `rows` would give without a limit."""
        where, values = which.where()
        query = f"SELECT count(*) FROM evidence WHERE session = ? AND {where}"
        return sum(int(self._db.execute(query, (number, *values)).fetchone()[0]) for number, _ in self._known(session))

    def _known(self, session: str | None) -> list[tuple[int, str]]:
        rows = self._db.execute("SELECT number, id FROM sessions WHERE ?1 IS NULL OR id = ?1 ORDER BY id", (session,))
        return [(int(number), str(name)) for number, name in rows]

    def refresh(self, session: str) -> int:
        """Takes in what this session's file has gained since; the number of rows."""
        return self._ingest.catch_up(session)

    def verify(self, session: str) -> int | None:
        """The number of the first row whose hash does not follow from the row before; None where all do."""
        chain = hashlib.sha256(session.encode()).digest()
        rows = self._db.execute(
            "SELECT row, line, chain FROM evidence WHERE session = (SELECT number FROM sessions WHERE id = ?) ORDER BY row",
            (session,),
        )
        expected = 1
        for number, line, kept in rows:
            chain = _linked(chain, line)
            if number != expected or chain != bytes(kept):
                return int(number)
            expected += 1
        end = self._db.execute("SELECT rows, chain FROM sessions WHERE id = ?", (session,)).fetchone()
        return None if end is None or (end[0] == expected - 1 and bytes(end[1]) == chain) else expected


class _Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK where anything went wrong."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def describe(row: Row) -> str:
    """What a row is about, in a few words, not sanitised."""
    return str(row.plain["damaged"]) if "damaged" in row.plain else target(row.plain)


def _file(state: Path, session: str) -> Path:
    return state / "sessions" / session / "evidence.jsonl"


def _size(state: Path, session: str) -> int:
    try:
        return _file(state, session).stat().st_size
    except OSError:
        return 0


def _whole_lines(data: bytes) -> tuple[list[bytes], int]:
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) > LINE_LIMIT:
        return [data], len(data)
    return data[: end - 1].split(b"\n") if end else [], end


def _chained(session: int, rows: int, chain: bytes, lines: list[bytes]) -> tuple[list[tuple[Any, ...]], bytes]:
    found = []
    for number, raw in enumerate(lines, rows + 1):
        line = raw.decode("ascii", "backslashreplace")
        chain = _linked(chain, line)
        plain = _parsed(line) or {"event": "damaged"}
        found.append(
            (
                session,
                number,
                plain.get("time_ns"),
                plain.get("pid"),
                plain.get("event"),
                plain.get("kind"),
                plain.get("decision"),
                line,
                chain,
            )
        )
    return found, chain


def _linked(chain: bytes, line: str) -> bytes:
    return hashlib.sha256(chain + line.encode("ascii")).digest()


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return plain if is_record(plain) else None


def _row(session: str, number: int, line: str) -> Row:
    return Row(session=session, number=number, plain=_parsed(line) or {"damaged": line})


def _opened(state: Path) -> sqlite3.Connection:
    import sqlite3

    path = state / "evidence.sqlite"
    try:
        return _connected(path)
    except sqlite3.OperationalError as problem:
        raise AuditError(
            f"cannot open `{path}`: {problem}; the evidence itself is in `{state / 'sessions'}`"
        ) from problem
    except sqlite3.DatabaseError:
        _put_aside(state)
        return _connected(path)


def _put_aside(state: Path) -> None:
    """The database is damaged. The files are the truth: it is kept under another name, and made anew from them."""
    for ending in ("", "-wal", "-shm"):
        part = state / f"evidence.sqlite{ending}"
        if part.exists():
            part.rename(part.with_name(f"{part.name}.damaged-{time.time_ns()}"))


def _connected(path: Path) -> sqlite3.Connection:
    import sqlite3

    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    try:
        # NORMAL: a power cut may lose the last batches, which the files still have.
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA):
            raise sqlite3.OperationalError(
                f"written by another version of guard (schema {version}, this one has {SCHEMA})"
            )
        db.executescript(f"{_TABLES}PRAGMA user_version = {SCHEMA};")
    except BaseException:
        db.close()
        raise
    path.chmod(0o600)
    return db
