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

type Outcomes = dict[str, dict[str, Any]]


def batch(
    prefix: tuple[str, ...], folder: Path, result: Path, environment: dict[str, str]
) -> tuple[Outcomes, str]:
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
    environment = {**os.environ, "GUARD_HOME": str(tmp_path_factory.mktemp("home") / "state"), "PYTHONPATH": python_path}
    native, _ = batch((), folder, folder / "native.json", environment)
    guarded, said = batch(GUARD, folder, folder / "guarded.json", environment)
    return native, guarded, said


@pytest.mark.timeout(600)
def test_the_guard_says_nothing(outcomes: tuple[Outcomes, Outcomes, str]) -> None:
    """Nothing is refused, and nothing failed inside the guard."""
    assert outcomes[2] == ""
    assert outcomes[0].keys() == outcomes[1].keys()
    assert len(outcomes[0]) >= 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(600)
def test_same(outcomes: tuple[Outcomes, Outcomes, str], name: str) -> None:
    """Equal in everything that is compared, with the limit far away."""
    native, guarded, _ = outcomes
    if name not in native:
        pytest.skip(f"needs {shell_programs.NEEDS[name]}")
    assert not native[name]["late"]
    for what in ("late", "status", "out", "err", "tree"):
        assert guarded[name][what] == native[name][what], what
