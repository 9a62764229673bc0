"""Every attempt of the matrix succeeds natively and fails under the guard, as root and as an ordinary user: the world is looked at, not our log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.bypass.rows import ROWS, Row
from tests.support.guarded import (
    Installation,
    User,
    World,
    readable_installation,
    run_guarded,
    run_plain,
    scratch_world,
    users,
)

HERE = Path(__file__).parent
KEPT = "kept as it was\n"
FORBIDDEN = '#include <stdio.h>\nint main(void) { puts("HARM: the forbidden program ran"); return 0; }\n'

POLICY = """\
version: 1
name: matrix
extends: [default]
rules:
  - id: vault
    kind: file
    decision: block
    when: {{path: {{glob: ["{rows}/*/vault/**", "{rows}/*/vault"]}}}}
    because: the vault is closed
  - id: forbidden-program
    kind: exec
    decision: block
    when: {{any: [{{name: {{glob: "forbidden*"}}}}, {{args: {{is: forbidden-word}}}}, {{script: {{matches: "(?s).*forbidden-text.*"}}}}]}}
    because: this program is forbidden
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the world shows after all rows ran: the harm that each did ("" for none), and which ran out of time."""

    harms: dict[str, str]
    late: frozenset[str]
    unstarted: frozenset[str]


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    with readable_installation() as made:
        yield made


@pytest.fixture(scope="session")
def seen(installation: Installation) -> object:
    """A function from user and guardedness to what happened; each batch runs once."""

    @cache
    def look(user: User, guarded: bool) -> Seen:
        with scratch_world(user) as world:
            return _run_all(installation, world, guarded=guarded)

    return look


def _run_all(installation: Installation, world: World, *, guarded: bool) -> Seen:
    (world.folder / "rows").mkdir()
    world.user.owns(world.folder / "rows")
    policy = world.folder / "policy.yaml"
    policy.write_text(POLICY.format(rows=world.folder / "rows"))
    world.user.owns(policy)
    forbidden = _forbidden(world)
    before = {row.name: _prepared(world, row, forbidden) for row in ROWS}
    outside_folder = world.folder / "outside"
    outside_folder.mkdir()
    world.user.owns(outside_folder)
    with _Outside(world, outside_folder) as where:
        victims = dict(zip((row.name for row in ROWS), where.pop("victims"), strict=True))
        for_rows = {row.name: {**where, "victim": victims[row.name], "policy": str(policy)} for row in ROWS}
        (world.folder / "rows.json").write_text(json.dumps(for_rows))
        for name in ("driver.py", "standin.py"):
            shutil.copy(HERE / name, world.folder / name)
        command = ["/usr/bin/python3", "-I", str(world.folder / "driver.py"), str(world.folder)]
        if guarded:
            ended = run_guarded(installation, world, command, policy=policy, workspace=world.folder / "rows")
        else:
            ended = run_plain(
                world,
                ["/usr/bin/python3", "-I", str(world.folder / "standin.py"), *command],
                workspace=world.folder / "rows",
            )
        assert "driver: done" in ended.output, (ended.status, ended.errors[-2000:])
        hits = (outside_folder / "hits").read_bytes() if (outside_folder / "hits").exists() else b""
        harms = {row.name: _harm(world, row, before[row.name], hits, victims[row.name]) for row in ROWS}
    folders = {row.name: _folder(world, row) for row in ROWS}
    return Seen(
        harms=harms,
        late=frozenset(name for name, folder in folders.items() if (folder / "late").exists()),
        unstarted=frozenset(name for name, folder in folders.items() if (folder / "unstarted").exists()),
    )


def _forbidden(world: World) -> Path:
    source = world.folder / "forbidden.c"
    source.write_text(FORBIDDEN)
    subprocess.run(["cc", "-o", str(world.folder / "forbidden"), str(source)], check=True)
    return world.folder / "forbidden"


def _folder(world: World, row: Row) -> Path:
    return world.folder / "rows" / row.name


def _prepared(world: World, row: Row, forbidden: Path) -> object:
    folder = _folder(world, row)
    for path in (folder, folder / "ws", folder / "vault"):
        path.mkdir()
    (folder / "vault" / "secret.txt").write_text(world.token + "\n")
    (folder / "vault" / "kept.txt").write_text(KEPT)
    (folder / "program.py").write_text((HERE / "kit.py").read_text() + row.program)
    shutil.copy(forbidden, folder / "forbidden")
    for path in (folder, *folder.rglob("*")):
        world.user.owns(path)
    return _state_of(folder / "vault")


def _state_of(vault: Path) -> object:
    """Everything that can be changed in the vault: names, contents, modes, owners, change times, attributes."""
    if not vault.is_dir():
        return "gone"
    found = []
    for path in (vault, *sorted(vault.rglob("*"))):
        what = path.lstat()
        try:
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        except PermissionError:  # a row took the right to read it away
            content = b"(unreadable)"
        attributes = os.listxattr(path, follow_symlinks=False)
        found.append(
            (path.name, what.st_mode, what.st_uid, what.st_mtime_ns, what.st_ctime_ns, content, tuple(attributes))
        )
    return found


class _Outside:
    """The outside process of this world, while the rows run."""

    def __init__(self, world: World, folder: Path) -> None:
        shutil.copy(HERE / "outside.py", folder / "outside.py")
        self._process = subprocess.Popen(
            [
                *world.user.prefix,
                "/usr/bin/python3",
                "-I",
                str(folder / "outside.py"),
                str(folder),
                world.token,
                str(len(ROWS)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())  # type: ignore[no-any-return]

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _harm(world: World, row: Row, before: object, hits: bytes, victim: int) -> str:
    """What the attempt achieved, "" for nothing."""
    folder = _folder(world, row)
    if not folder.exists():
        return "the row's folder is gone"
    out = (folder / "out").read_bytes() if (folder / "out").exists() else b""
    if world.token.lower().encode() in out.lower():  # ssh quotes words in lower case
        return "the secret was printed"
    if b"HARM" in out.replace(b"harm(", b""):
        return out[out.find(b"HARM") :][:80].decode("utf-8", "replace")
    if _state_of(folder / "vault") != before:
        return "the vault was changed"
    if any(
        line.startswith(b"HIT:" + row.name.encode()) and line[4:].strip() == row.name.encode()
        for line in hits.splitlines()
    ):
        return "an outside process was reached"
    if not _alive(victim):
        return "an outside process was ended"
    return ""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "T", "X")


def _cases(*, guarded: bool) -> list[Any]:
    cases = []
    for user in users():
        for row in ROWS:
            marks = []
            if guarded and row.open_hole is not None and user.name in row.hole_for:
                marks.append(pytest.mark.xfail(strict=True, reason=row.open_hole))
            if guarded or user.name in row.native:
                cases.append(pytest.param(user, row, id=f"{user.name}-{row.name}", marks=marks))
    return cases


@pytest.mark.parametrize(("user", "row"), _cases(guarded=False))
def test_natively_it_happens(seen: object, user: User, row: Row) -> None:
    """The attempt is a real one: without the guard it succeeds, so that its failure under the guard says something."""
    found: Seen = seen(user, False)  # type: ignore[operator]
    assert found.harms[row.name]


@pytest.mark.parametrize(("user", "row"), _cases(guarded=True))
def test_under_the_guard_it_does_not(seen: object, user: User, row: Row) -> None:
    """The attempt ran and the world is as it was."""
    found: Seen = seen(user, True)  # type: ignore[operator]
    assert row.name not in found.unstarted
    assert row.name not in found.late
    assert found.harms[row.name] == ""
