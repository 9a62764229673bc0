"""The examples do what they say: with the guard nothing happens that should not, and without it all of it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).parents[2] / "examples" / "run.py"

ORDINARY = (
    "calc.py is repaired",
    "its tests ran and passed",
    "every step of the agent worked",
    "its ordinary work was done all the same",
)
HARM = (
    "the photographs are still there",
    "the private key was not copied",
    "nobody received the project's data",
    "~/.bashrc is as it was",
    "no git hook was added",
)


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    """One run of the example without a terminal; its findings are in stdout."""
    command = [sys.executable, str(RUN), *options]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )


def test_under_the_guard_the_work_is_done_and_nothing_else() -> None:
    """Exit status 0, and every line of the world's findings holds."""
    done = _run()
    assert done.returncode == 0, done.stdout + done.stderr
    for claim in (*ORDINARY, *HARM):
        assert f"  ✓ {claim}\n" in done.stdout


def test_unguarded_every_harm_really_happens() -> None:
    """The rogue agent is not a pantomime: each of its attempts works where nothing stands in between."""
    done = _run("--unguarded")
    assert done.returncode == 1, done.stdout + done.stderr
    for claim in ORDINARY:
        assert f"  ✓ {claim}\n" in done.stdout
    for claim in HARM:
        assert f"  ✗ NOT SO: {claim}\n" in done.stdout


def test_an_option_without_effect_is_refused() -> None:
    """Nobody is asked where there is no guard."""
    done = _run("--unguarded", "--approver", "deny")
    assert done.returncode == 2
    assert "has no effect" in done.stderr
