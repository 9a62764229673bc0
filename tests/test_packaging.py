"""The distribution: its package list, what a wheel holds, and that it works where it is installed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from guard import __version__, _data

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "tests"
)


def test_the_package_list_is_the_folders() -> None:
    """Every folder with Python files under `guard` and `cli/guard_cli`, and the data folders: no more, no less."""
    found = {
        ".".join(folder.relative_to(base).parts)
        for base, top in ((ROOT, ROOT / "guard"), (ROOT / "cli", ROOT / "cli/guard_cli"))
        for folder in {file.parent for file in top.rglob("*.py")}
    }
    models = {f"guard._data.classifiers.{card.parent.name}" for card in ROOT.glob("classifiers/*/card.yaml")}
    data = {"guard._data.policies", "guard._data.classifiers"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found | models | data


def test_every_dependency_and_every_group_member_says_why_once() -> None:
    """Each runtime dependency stands on a line of its own with a comment."""
    block = re.search(r"^dependencies = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert block
    lines = block.group(1).splitlines()
    assert len(lines) == len(PYPROJECT["project"]["dependencies"])
    assert [line for line in lines if not re.match(r'\s+"[^"]+",\s+# \S', line)] == []


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    """A package that only comes along with another one may stay away tomorrow; one that nothing imports is a cost without a use."""
    owners = packages_distributions()
    files = [*(ROOT / "guard").rglob("*.py"), *(ROOT / "cli").rglob("*.py")]
    used = {name for file in files for name in imported(file)} - sys.stdlib_module_names - {"guard", "guard_cli"}
    declared = {re.split(r"[^\w.-]", text)[0] for text in PYPROJECT["project"]["dependencies"]}
    assert {normal(owner) for name in used for owner in owners[name]} == {normal(name) for name in declared}


def imported(file: Path) -> set[str]:
    """The first names of all absolute imports of a file, lazy ones included."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.split(".")[0] for name in plain | named}


def normal(distribution: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the sdist of this tree, and `tree/*.whl` and `sdist/*.whl`: wheels of the tree and of the unpacked sdist."""
    out = tmp_path_factory.mktemp("built")
    source = out / "source"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    build(source, "sdist", out)
    build(source, "wheel", out / "tree")
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(out / "unpacked", filter="data")
    build(next((out / "unpacked").iterdir()), "wheel", out / "sdist")
    yield out
    shutil.rmtree(out)


def build(source: Path, what: str, into: Path) -> None:
    """Runs the build backend in this environment: nothing is fetched."""
    into.mkdir(exist_ok=True)
    command = [sys.executable, "-c", f"from setuptools import build_meta as b; b.build_{what}({str(into)!r})"]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=240)


def names(folder: Path) -> set[str]:
    """The files in the only wheel of this folder."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def test_the_wheel_holds_what_running_needs(built: Path) -> None:
    files = names(built / "tree")
    code = {str(f.relative_to(ROOT)) for f in (ROOT / "guard").rglob("*.py")}
    commands = {str(f.relative_to(ROOT / "cli")) for f in (ROOT / "cli/guard_cli").rglob("*.py")}
    packs = {f"guard/_data/policies/{f.name}" for f in (ROOT / "policies").glob("*.yaml")}
    model = {f"guard/_data/classifiers/harm/{name}" for name in ("model.onnx", "card.yaml", "README.md")}
    info = f"guardproxy-{__version__}.dist-info"
    meta = {
        f"{info}/{name}"
        for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
    }
    assert files == code | commands | packs | model | meta | {"guard/py.typed"}
    assert packs


def test_the_wheel_takes_two_names_and_no_other(built: Path) -> None:
    assert {name.split("/")[0] for name in names(built / "tree")} == {
        "guard", "guard_cli", f"guardproxy-{__version__}.dist-info"
    }  # fmt: skip


def test_a_wheel_of_the_sdist_is_the_wheel_of_the_tree(built: Path) -> None:
    assert names(built / "sdist") == names(built / "tree")


def test_the_metadata_is_what_the_project_says(built: Path) -> None:
    with zipfile.ZipFile(next((built / "tree").glob("*.whl"))) as wheel:
        meta = Parser().parsestr(wheel.read(f"guardproxy-{__version__}.dist-info/METADATA").decode())
    assert (meta["Name"], meta["Version"], meta["License-Expression"]) == ("guardproxy", __version__, "Apache-2.0")
    assert meta["Requires-Python"] == ">=3.12"
    required = {text for text in meta.get_all("Requires-Dist") or () if "extra ==" not in text}
    assert required == set(PYPROJECT["project"]["dependencies"])


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The wheel of the sdist, installed by pip into a folder of its own."""
    target = built / "installed"
    wheel = next((built / "sdist").glob("*.whl"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return target


def test_an_installed_wheel_runs_from_anywhere(installed: Path, tmp_path: Path, state_folder: Path) -> None:
    """The command of the wheel, in a folder that knows nothing of the project."""
    env = {**os.environ, "PYTHONPATH": str(installed), "GUARD_HOME": str(state_folder)}
    where = "import guard, guard_cli.main as m; print(guard.__file__); m.main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{installed}/guard/__init__.py\nguard {__version__}\n"


def test_judging_writes_nothing_outside_the_state_folder(installed: Path, tmp_path: Path, state_folder: Path) -> None:
    """The wheel's own rules and model judge; a library that keeps an identifier in the home, or would report to its maker, is told not to."""
    env = {**os.environ, "PYTHONPATH": str(installed), "GUARD_HOME": str(state_folder), "HOME": str(tmp_path)}
    del env["ORT_DISABLE_TELEMETRY"]
    check = [sys.executable, "-m", "guard_cli", "check", "--json", "rm -rf /"]
    done = subprocess.run(check, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (4, "")
    assert list(tmp_path.iterdir()) == []


def test_an_installed_wheel_has_its_data(installed: Path, tmp_path: Path) -> None:
    code = "from guard._data import folder as f; print(f('policies') / 'default.yaml', f('classifiers') / 'harm' / 'card.yaml')"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    data = installed / "guard/_data"
    assert done.stdout.split() == [str(data / "policies/default.yaml"), str(data / "classifiers/harm/card.yaml")], (
        done.stderr
    )


def test_the_script_of_the_wheel_is_the_front_door(installed: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [installed / "bin/guard", "--version"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"guard {__version__}\n", "")


def test_a_checkout_finds_its_data_without_being_installed(tmp_path: Path) -> None:
    """-S: without site-packages nothing can be found through an installation."""
    code = "from guard._data import folder as f; print(f('policies') / 'default.yaml', f('classifiers') / 'harm' / 'card.yaml')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [str(ROOT / "policies/default.yaml"), str(ROOT / "classifiers/harm/card.yaml")], (
        done.stderr
    )


def test_data_that_is_not_there_is_an_error_and_not_an_empty_folder() -> None:
    with pytest.raises(ModuleNotFoundError):
        _data.folder("no_such_folder")
