"""Evidence on disk: nothing lost, nothing twice, whoever is killed when; and a database that can be thrown away."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import audit
from guard.audit import AuditError, Filter, Ingest, Log, NoSuchSessionError
from guard.core.actions import ExecAction, FileAction
from guard.core.evidence import Record, SessionEvent, line
from guard.core.verdicts import Decision, Verdict

NO = Verdict(decision=Decision.BLOCK, rules=("p/no",), because="no")
YES = Verdict(decision=Decision.ALLOW, rules=("p/yes",), because="yes")


def decision(number: int, verdict: Verdict = YES) -> bytes:
    """A line about the file of this number."""
    return line(
        Record(seq=number, time_ns=number, pid=1, action=FileAction(op="read", path=f"/f/{number}"), verdict=verdict)
    )


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder."""
    return audit.state_folder({"GUARD_HOME": str(tmp_path / "state")})


@pytest.fixture
def session(state: Path) -> str:
    """A session whose guard is gone."""
    name, alive = audit.new_session(state)
    os.close(alive)
    return name


def write(state: Path, session: str, *lines: bytes) -> None:
    """Appends to the session's file."""
    fd = audit.open_evidence(state, session)
    for data in lines:
        os.write(fd, data)
    os.close(fd)


def numbers(state: Path, session: str | None = None, which: Filter = audit.ALL, limit: int | None = None) -> list[int]:
    """The `seq` of the rows that a log gives."""
    log = Log(state)
    try:
        return [row.plain.get("seq", -1) for row in log.rows(session, which, limit=limit)]
    finally:
        log.close()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"GUARD_HOME": "/t/a", "XDG_STATE_HOME": "/t/b", "HOME": "/t/c"}, "/t/a"),
        ({"GUARD_HOME": "", "XDG_STATE_HOME": "/t/b", "HOME": "/t/c"}, "/t/b/guard"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/t/c"}, "/t/c/.local/state/guard"),
        ({"HOME": "/t/c"}, "/t/c/.local/state/guard"),
    ],
)
def test_where_state_lies(environ: dict[str, str], expected: str) -> None:
    """GUARD_HOME, else XDG_STATE_HOME, else ~/.local/state; asking makes nothing."""
    assert str(audit.state_folder(environ, make=False)) == expected
    assert not Path(expected).exists()


def test_an_empty_home_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME missing or empty: the home of the user database."""
    import pwd

    monkeypatch.delenv("HOME", raising=False)
    expected = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local/state/guard"
    assert audit.state_folder({}, make=False) == expected
    assert audit.state_folder({"HOME": ""}, make=False) == expected


def test_state_is_the_owners_alone(tmp_path: Path) -> None:
    """Folders 0700, files 0600, also where they were open before."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    state = audit.state_folder({"GUARD_HOME": str(folder)})
    session, alive = audit.new_session(state)
    write(state, session, decision(1))
    Ingest(state).close()
    os.close(alive)
    for path in [state, *state.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """With the path and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditError, match=r"`.*/file/state`.*set GUARD_HOME"):
        audit.state_folder({"GUARD_HOME": str(tmp_path / "file/state")})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make another user's folder")
def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    """It may be a trap."""
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(AuditError, match="belongs to user 65534"):
        audit.state_folder({"GUARD_HOME": str(tmp_path)})


def test_ids_sort_by_time_and_are_unique(state: Path) -> None:
    """Also those of one instant."""
    start = 1_795_000_000_000_000_000
    found = [audit.new_session(state, time_ns=start + n * 1_000_000) for n in range(20)]
    names = [name for name, _ in found]
    assert names == sorted(names) == audit.sessions(state)
    same = [audit.new_session(state, time_ns=start)[0] for _ in range(50)]
    assert len({*same, *names}) == 70
    for _, fd in found:
        os.close(fd)


def test_sessions_are_found_by_beginnings(state: Path) -> None:
    """`last`, a whole id, an unambiguous beginning; otherwise it is said what there is."""
    with pytest.raises(NoSuchSessionError, match=r"no sessions in `.*` yet"):
        audit.find_session(state, "last")
    for name in ("20260101-000000-a", "20260101-000000-ab", "20260202-000000-c"):
        (state / "sessions" / name).mkdir(parents=True)
    assert audit.find_session(state, "last") == "20260202-000000-c"
    assert audit.find_session(state, "202602") == "20260202-000000-c"
    assert audit.find_session(state, "20260101-000000-a") == "20260101-000000-a"
    with pytest.raises(NoSuchSessionError, match="begins 2 sessions"):
        audit.find_session(state, "202601")
    for wrong in ("x", "", "../sessions"):
        with pytest.raises(NoSuchSessionError, match="the last one is `20260202-000000-c`"):
            audit.find_session(state, wrong)


def test_a_session_runs_as_long_as_its_guard(state: Path) -> None:
    """Also where the guard is killed."""
    code = "import os, sys; from pathlib import Path; from guard import audit; print(audit.new_session(Path(sys.argv[1]))[0], flush=True); sys.stdin.read()"
    guard = subprocess.Popen(
        [sys.executable, "-c", code, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert guard.stdout is not None
    name = guard.stdout.readline().strip()
    assert audit.is_running(state, name)
    guard.send_signal(signal.SIGKILL)
    guard.communicate()
    assert not audit.is_running(state, name)
    assert not audit.is_running(state, "never-was")


def test_lines_arrive_once_and_in_order(state: Path, session: str) -> None:
    """Taken in again and again, the rows are the lines; a half one waits for its end."""
    data = b"".join(decision(n) for n in range(1, 51))
    ingest = Ingest(state)
    for start in range(0, len(data), 1000):
        write(state, session, data[start : start + 1000])
        ingest.catch_up(session)
        assert ingest.catch_up(session) == 0
    ingest.close()
    assert numbers(state, session) == list(range(1, 51))


@given(st.lists(st.integers(1, 400), max_size=20))
def test_any_cut_gives_the_same_rows(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    """Wherever the file ends when it is looked at, the chain and the rows are those of the whole."""
    state = tmp_path_factory.mktemp("state")
    data = b"".join(decision(n) for n in range(1, 15)) + b"not json\n" + decision(15)
    (state / "sessions/s").mkdir(parents=True)
    ingest = Ingest(state)
    for cut in cuts:
        write(state, "s", data[:cut])
        data = data[cut:]
        ingest.catch_up("s")
    write(state, "s", data)
    ingest.catch_up("s")
    ingest.close()
    log = Log(state)
    rows = list(log.rows("s"))
    assert [row.plain.get("seq") for row in rows] == [*range(1, 15), None, 15]
    assert rows[14].plain == {"damaged": "not json"}
    assert log.verify("s") is None
    log.close()


def test_several_take_in_at_once(state: Path, session: str) -> None:
    """Two guards and a `guard log` share the database; every line is one row."""
    write(state, session, *(decision(n) for n in range(1, 2001)))
    problems: list[BaseException] = []

    def work() -> None:
        try:
            ingest = Ingest(state)
            ingest.catch_up_all()
            ingest.close()
        except BaseException as problem:  # noqa: BLE001 - a thread's failure is shown by the test
            problems.append(problem)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert numbers(state, session) == list(range(1, 2001))


def test_killed_while_taking_in(state: Path, session: str) -> None:
    """kill -9 at any moment: the next one goes on where the last transaction ended."""
    write(state, session, *(decision(n) for n in range(1, 20_001)))
    code = "import sys; from pathlib import Path; from guard import audit; audit.BATCH = 4096; print(1, flush=True); audit.Ingest(Path(sys.argv[1])).catch_up_all()"
    for _ in range(5):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(state)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.03)  # in the middle of its batches, somewhere
        child.kill()
        child.communicate()
    assert numbers(state, session) == list(range(1, 20_001))
    log = Log(state)
    assert log.verify(session) is None
    log.close()


def test_leftovers_of_killed_sessions_are_taken_in(state: Path) -> None:
    """By whoever looks next, all of them."""
    for n in range(3):
        name, alive = audit.new_session(state, time_ns=10**18 + n * 10**9)
        os.close(alive)
        write(state, name, decision(n), b'{"half a li')
    assert numbers(state) == [0, 1, 2]


@pytest.mark.parametrize("change", ["line = replace(line, 'f/2', 'f/9')", "chain = zeroblob(32)"])
def test_a_changed_row_is_found(state: Path, session: str, change: str) -> None:
    """By its number."""
    write(state, session, *(decision(n) for n in range(1, 6)))
    Log(state).close()
    edit(state, f"UPDATE evidence SET {change} WHERE row = 2")
    assert verified(state, session) == 2


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM evidence WHERE row = 3", 4),
        ("DELETE FROM evidence WHERE row = 5", 5),
        (
            "UPDATE evidence SET row = CASE row WHEN 2 THEN 103 ELSE 102 END WHERE row IN (2, 3); UPDATE evidence SET row = row - 100 WHERE row > 100",
            2,
        ),
    ],
)
def test_removed_and_moved_rows_are_found(state: Path, session: str, statement: str, found: int) -> None:
    """In the middle, at the end, and two that changed places."""
    write(state, session, *(decision(n) for n in range(1, 6)))
    Log(state).close()
    assert verified(state, session) is None
    edit(state, statement)
    assert verified(state, session) == found


def edit(state: Path, statement: str) -> None:
    """Somebody changes the database."""
    db = sqlite3.connect(state / "evidence.sqlite")
    db.executescript(statement)
    db.close()


def verified(state: Path, session: str) -> int | None:
    """What `verify` says."""
    log = Log(state)
    try:
        return log.verify(session)
    finally:
        log.close()


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_made_anew(state: Path, session: str, damage: bytes) -> None:
    """The files are the truth; what was there is put aside."""
    write(state, session, *(decision(n) for n in range(1, 6)))
    assert numbers(state) == [1, 2, 3, 4, 5]
    for part in state.glob("evidence.sqlite*"):
        part.unlink()
    (state / "evidence.sqlite").write_bytes(damage)
    assert numbers(state) == [1, 2, 3, 4, 5]
    assert [p.read_bytes() for p in state.glob("evidence.sqlite.damaged-*")] == [damage]


def test_a_database_of_another_version_is_left_alone(state: Path) -> None:
    """It is said, and nothing is overwritten."""
    edit(state, "PRAGMA user_version = 99")
    with pytest.raises(AuditError, match="schema 99"):
        Log(state)
    db = sqlite3.connect(state / "evidence.sqlite")
    assert db.execute("PRAGMA user_version").fetchone() == (99,)
    assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    db.close()


def test_a_full_disk_is_an_error(state: Path, session: str) -> None:
    """A line that is not there whole is no record; the next one is not glued to it."""
    fd = audit.open_evidence(state, session)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(decision(1)) + 20, hard))
        audit.append(fd, decision(1))
        with pytest.raises(AuditError, match="cannot record"):
            audit.append(fd, decision(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    audit.append(fd, decision(3))
    audit.append(fd, decision(4))
    os.close(fd)
    assert numbers(state, session) == [1, -1, 3, 4]


def test_filters_and_limits(state: Path) -> None:
    """Each filter by itself and together; a limit gives the last rows, over sessions, in their order."""
    names = []
    for n in range(2):
        name, alive = audit.new_session(state, time_ns=10**18 + n * 10**9)
        os.close(alive)
        names.append(name)
        base = 10 * n
        write(
            state, name, line(SessionEvent(seq=base, time_ns=1, pid=1, event="start")), decision(base + 1), decision(base + 2, NO),
            line(Record(seq=base + 3, time_ns=1, pid=1, action=ExecAction(exe="/x"), verdict=NO)),
        )  # fmt: skip
    assert numbers(state) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert numbers(state, names[1]) == [10, 11, 12, 13]
    assert numbers(state, which=Filter(decision="block")) == [2, 3, 12, 13]
    assert numbers(state, which=Filter(decision="allow")) == [1, 11]
    assert numbers(state, which=Filter(kind="exec", decision="block")) == [3, 13]
    assert numbers(state, which=Filter(event="start")) == [0, 10]
    assert numbers(state, which=Filter(decisions=True)) == [1, 2, 3, 11, 12, 13]
    assert numbers(state, which=Filter(decisions=True), limit=4) == [3, 11, 12, 13]
    assert numbers(state, names[0], limit=2) == [2, 3]
    log = Log(state)
    assert log.count(which=Filter(decision="block")) == 4
    assert log.count(names[0]) == 4
    plan = " ".join(
        str(r)
        for r in log._db.execute(
            "EXPLAIN QUERY PLAN SELECT row FROM evidence WHERE session = 1 AND row > 0 AND decision = 'block' AND decision IN ('ask', 'block')"
        )
    )
    assert "USING COVERING INDEX stopped" in plan or "USING INDEX stopped" in plan
    log.close()


def test_a_line_is_kept_as_it_is(state: Path, session: str) -> None:
    """Names that are no UTF-8 and lines of other bytes come out of the database."""
    path = os.fsdecode(b"/f/\xff\xfe\n")
    data = line(Record(seq=1, time_ns=1, pid=1, action=FileAction(op="read", path=path), verdict=YES))
    write(state, session, data, b"\xff\xfe\r{}\n", b"\n", b'{"seq":1}\n')
    log = Log(state)
    rows = list(log.rows(session))
    log.close()
    assert os.fsencode(rows[0].plain["action"]["path"]) == b"/f/\xff\xfe\n"
    assert rows[0].plain == json.loads(data)
    assert [r.plain for r in rows[1:]] == [{"damaged": "\\xff\\xfe\r{}"}, {"damaged": ""}, {"damaged": '{"seq":1}'}]
    assert audit.describe(rows[1]) == "\\xff\\xfe\r{}"
