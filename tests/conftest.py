"""What every test gets: a state folder of its own, and hypothesis in one of two depths (HYPOTHESIS_PROFILE=fast|deep)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hypothesis
import pytest

# onnxruntime's builds send usage data unless told otherwise. The program tells it itself (tests/test_packaging.py); this is for tests
# that import it directly.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# No deadline in either: a slow machine is no wrong answer. `deep` is for before a release: it takes about twenty times as long.
hypothesis.settings.register_profile("fast", max_examples=100, deadline=None, derandomize=True)
hypothesis.settings.register_profile("deep", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GUARD_HOME for this test: no test reads or writes the state of the person who runs it."""
    folder = tmp_path_factory.mktemp("guard-home") / "state"
    monkeypatch.setenv("GUARD_HOME", str(folder))
    return folder


@pytest.fixture
def child_env(state_folder: Path) -> dict[str, str]:
    """An environment in which a child Python imports the modules that this one imports, installed or not."""
    return {**os.environ, "GUARD_HOME": str(state_folder), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
