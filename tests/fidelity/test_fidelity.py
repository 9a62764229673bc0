"""Programs do the same with and without the guard: status, output, errors and the tree that they leave.

Everything is allowed by a policy, so that a difference is the guard's own. All programs run in one guarded session, one after the other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fidelity import python_programs, shell_programs

HERE = Path(__file__).parent
GUARD = (sys.executable, "-m", "guard_cli", "run", "--no-model", "--policy", str(HERE / "allow.yaml"), "--")
NAMES = (*shell_programs.PROGRAMS, *python_programs.PROGRAMS)

KNOWN = {
    "open_no_descriptors_left": "EMFILE comes after the file was created",
    "open_bad_pointers": "a path in a page without rights is read all the same",
    "chmod_all": "fchmod works on an O_PATH descriptor, natively EBADF",
    "chown_all": "fchownat with AT_EMPTY_PATH works on an O_PATH descriptor where fchown gives EBADF",
    "times_all": "which of two errors counts, and a bad address beside a missing path",
    "openat2_resolve": "openat2 with a mode but without O_CREAT opens, natively EINVAL",
    "open_flags": "F_GETFL does not show O_NOFOLLOW; ENOTDIR or EEXIST for EISDIR with a slash at the end",
    "open_path_limit": "ENAMETOOLONG for ENOENT where both hold",
    "rename_all": "ENOENT for EINVAL where both hold",
    "rename_across_devices": "ENOENT for EXDEV where both hold",
    "xattrs_all": "ENAMETOOLONG for ERANGE where a name is too long",
    "truncate_all": "ENOENT or ENOTDIR for EINVAL where both hold",
    "exec_failures": "EISDIR, ENAMETOOLONG and EACCES for errors of interpreters that cannot be",
    "exec_forms": "ENAMETOOLONG for E2BIG",
    "signals_to_tree": "EPERM for ESRCH where the process is gone",
    "sh_trailing_slash": "another error for touch of a file with a slash at its end, so another message",
}
"""Programs that differ under the guard, each with its reason; the list is exact: what no longer differs has to leave it."""

type Outcomes = dict[str, dict[str, Any]]


def batch(prefix: tuple[str, ...], folder: Path, result: Path, environment: dict[str, str]) -> tuple[Outcomes, str]:
    """All programs behind this prefix; what they did, and what the prefix itself said."""
    done = subprocess.run(
        [*prefix, sys.executable, str(HERE / "batch.py"), str(folder / "scratch"), str(result)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    outcomes: Outcomes = json.loads(result.read_text("ascii"))
    return outcomes, done.stderr + done.stdout


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcomes, Outcomes, str]:
    """Native, guarded, and the words of the guarded run."""
    folder = tmp_path_factory.mktemp("fidelity")
    python_path = os.pathsep.join(p for p in sys.path if p)
    environment = {
        **os.environ,
        "GUARD_HOME": str(tmp_path_factory.mktemp("home") / "state"),
        "PYTHONPATH": python_path,
    }
    native, _ = batch((), folder, folder / "native.json", environment)
    guarded, said = batch(GUARD, folder, folder / "guarded.json", environment)
    return native, guarded, said


@pytest.mark.timeout(600)
def test_the_guard_says_nothing(outcomes: tuple[Outcomes, Outcomes, str]) -> None:
    """Nothing is refused, and nothing failed inside the guard."""
    assert outcomes[2] == ""
    assert outcomes[0].keys() == outcomes[1].keys()
    assert len(outcomes[0]) >= 100


def differing(outcomes: tuple[Outcomes, Outcomes, str], name: str) -> dict[str, tuple[Any, Any]]:
    """What is not equal, natively and under the guard."""
    native, guarded, _ = outcomes
    both = ((what, native[name][what], guarded[name][what]) for what in ("late", "status", "out", "err", "tree"))
    return {what: (one, other) for what, one, other in both if one != other}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in KNOWN])
@pytest.mark.timeout(600)
def test_same(outcomes: tuple[Outcomes, Outcomes, str], name: str) -> None:
    """Equal in everything that is compared, with the limit far away."""
    if name not in outcomes[0]:
        pytest.skip(f"needs {shell_programs.NEEDS[name]}")
    assert not outcomes[0][name]["late"]
    assert differing(outcomes, name) == {}


@pytest.mark.timeout(600)
def test_known_differences_are_no_more_and_no_fewer(outcomes: tuple[Outcomes, Outcomes, str]) -> None:
    """A program that is repaired leaves `KNOWN`, so that it cannot break again unseen."""
    ran = set(outcomes[0])
    assert {name for name in ran if differing(outcomes, name)} == KNOWN.keys() & ran
