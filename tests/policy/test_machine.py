"""Looking at the machine: what is found, what is not believed, and that the second look is cached."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from guard.core.places import Places
from guard.policy import registries
from guard.policy.machine import find_places


def looked(tmp_path: Path, workspace: Path | None = None, **environ: str) -> Places:
    """What is found for a workspace below `tmp_path` in an environment of these variables alone."""
    room = workspace or tmp_path / "ws"
    home = tmp_path / "home"
    for folder in (room, home):
        folder.mkdir(parents=True, exist_ok=True)
    return find_places(
        workspace=room, environ={"HOME": str(home), "PATH": "", **environ}, state_folder=tmp_path / "state"
    )


def test_home_is_where_the_environment_and_the_database_say(tmp_path: Path) -> None:
    """Secrets are protected in both; other people's homes are theirs, and `/` is nobody's."""
    places = looked(tmp_path)
    assert places.home == str(tmp_path / "home")
    assert set(places.homes).isdisjoint(places.other_homes)
    assert "/" not in (*places.homes, *places.other_homes)
    assert looked(tmp_path, HOME="/").home != "/"
    assert looked(tmp_path, HOME="").homes == places.homes[1:]


def test_paths_are_canonical(tmp_path: Path) -> None:
    """A workspace that is given through a symlink is the folder it leads to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert looked(tmp_path, tmp_path / "link").workspace == str(tmp_path / "real")


def test_a_temporary_folder_is_not_somebodys_home(tmp_path: Path) -> None:
    """TMPDIR counts unless it is so wide that the workspace or a home lies in it."""
    (tmp_path / "t").mkdir()
    assert str(tmp_path / "t") in looked(tmp_path, TMPDIR=str(tmp_path / "t")).temporary
    assert str(tmp_path) not in looked(tmp_path, TMPDIR=str(tmp_path)).temporary
    assert "/" not in looked(tmp_path, TMPDIR="/").temporary


def test_caches_are_found_and_never_too_wide(tmp_path: Path) -> None:
    """Variables move them; a variable that would open a home or everything is not followed."""
    places = looked(
        tmp_path,
        XDG_CACHE_HOME=str(tmp_path / "c"),
        CARGO_HOME=str(tmp_path / "cargo"),
        GOCACHE="/",
        UV_CACHE_DIR=str(tmp_path),
    )
    assert {str(tmp_path / "c"), str(tmp_path / "cargo/registry"), str(tmp_path / "home/.npm")} <= set(places.caches)
    assert {"/", str(tmp_path), str(tmp_path / "cargo")}.isdisjoint(places.caches)


def test_path_folders_are_those_the_agent_may_not_write_anyway(tmp_path: Path) -> None:
    """A virtual environment in the workspace is no folder of programs of the machine; relative entries are none at all."""
    bins = [tmp_path / "ws/.venv/bin", tmp_path / "home/bin", tmp_path / "home/.cache/bin"]
    for folder in bins:
        folder.mkdir(parents=True)
    path = ":".join([*map(str, bins), "node_modules/.bin", "/usr/bin"])
    found = looked(tmp_path, PATH=path, TMPDIR="").path_folders
    # pytest's folder lies below /tmp, so that even the home's own folder is open: only the system's is left
    inside_tmp = str(tmp_path).startswith(("/tmp/", "/var/tmp/"))
    assert found == (("/usr/bin",) if inside_tmp else (str(bins[1]), "/usr/bin"))


def test_the_guards_own(tmp_path: Path) -> None:
    """State, policies of the session and the place of the user's own policy; the certificate may be read."""
    (tmp_path / "ws").mkdir()
    policy = tmp_path / "p.yaml"
    places = find_places(
        workspace=tmp_path / "ws",
        environ={"HOME": str(tmp_path)},
        state_folder=tmp_path / "state",
        policy_files=[policy],
    )
    assert {str(tmp_path / "state"), str(policy), str(tmp_path / ".config/guard")} <= set(places.guard)
    assert places.guard_private == (str(tmp_path / "state"),)
    assert places.guard_public == (str(tmp_path / "state/public"),)
    code = Path(__file__).resolve().parents[2] / "guard"
    assert str(code) in places.guard
    at_home = find_places(workspace=code.parent, environ={"HOME": str(tmp_path)}, state_folder=tmp_path / "state")
    assert str(code) in at_home.guard_code
    assert str(code) not in at_home.guard


# --- git --------------------------------------------------------------------------------------------------------------------------


def git(*words: str, cwd: Path) -> None:
    """Runs git with an identity and without anybody's configuration."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
        cwd=cwd,
        env=environ,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git("init", "-q", cwd=folder)
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=folder)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to make repositories")
def test_git_folders_wherever_they_lie(tmp_path: Path, repository: Path) -> None:
    """The folder itself, a folder further in, and a worktree with its common folder."""
    assert looked(tmp_path, repository).git_dirs == (str(repository / ".git"),)
    (repository / "a/b").mkdir(parents=True)
    assert looked(tmp_path, repository / "a/b").git_dirs == (str(repository / ".git"),)
    git("worktree", "add", "-q", "../tree", cwd=repository)
    assert looked(tmp_path, tmp_path / "tree").git_dirs == (
        str(repository / ".git/worktrees/tree"),
        str(repository / ".git"),
    )


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git to make repositories")
def test_a_git_file_is_not_believed_on_its_own_word(tmp_path: Path, repository: Path) -> None:
    """The agent can write `.git`: it opens another folder only where that folder knows of it."""
    room = tmp_path / "ws"
    room.mkdir()
    for target in (tmp_path / "home", repository / ".git", repository / ".git/worktrees"):
        (room / ".git").write_text(f"gitdir: {target}\n")
        assert looked(tmp_path).git_dirs == ()
    git("worktree", "add", "-q", "../tree", cwd=repository)
    (room / ".git").write_text(f"gitdir: {repository}/.git/worktrees/tree\n")
    assert looked(tmp_path).git_dirs == ()
    (room / ".git").write_text("something else")
    assert looked(tmp_path).git_dirs == ()
    (room / ".git").unlink()
    (room / ".git").mkdir()
    assert looked(tmp_path).git_dirs == ()


# --- endpoints and registries -------------------------------------------------------------------------------------------------------


def test_models_are_named_by_environment_and_settings(tmp_path: Path) -> None:
    """Base addresses of the environment and of the agents' own settings in the home, never of the workspace."""
    (tmp_path / "home/.codex").mkdir(parents=True)
    (tmp_path / "home/.codex/config.toml").write_text('[model_providers.x]\nbase_url = "http://127.0.0.1:7001/v1"\n')
    (tmp_path / "home/.claude").mkdir()
    (tmp_path / "home/.claude/settings.json").write_text('{"env": {"ANTHROPIC_BASE_URL": "https://m.example"}}')
    (tmp_path / "ws/.codex").mkdir(parents=True)
    (tmp_path / "ws/.codex/config.toml").write_text('base_url = "http://127.0.0.1:7002/v1"\n')
    places = looked(
        tmp_path,
        OPENAI_BASE_URL="http://localhost:7003/v1",
        OPENAI_API_BASE="http://127.0.0.1:7004",
        OLLAMA_HOST="127.0.0.1:7005",
    )
    expected = {"127.0.0.1:7001", "m.example:443", "localhost:7003", "127.0.0.1:7004", "127.0.0.1:7005"}
    assert expected <= set(places.model_endpoints)
    assert "127.0.0.1:7002" not in places.model_endpoints


def tools(tmp_path: Path) -> str:
    """Made-up installations of pip, npm and Go, each with its built-in default; the PATH that leads to them."""
    base = tmp_path / "usr"
    (base / "bin").mkdir(parents=True)
    index = base / "lib/python3.12/site-packages/pip/_internal/models/index.py"
    index.parent.mkdir(parents=True)
    index.write_text(
        'PyPI = PackageIndex("https://index.example/", file_storage_domain="files.example")\n'
        'TestPyPI = PackageIndex("https://test.example/", file_storage_domain="test-files.example")\n'
    )
    definitions = base / "lib/npm/node_modules/@npmcli/config/lib/definitions/definitions.js"
    definitions.parent.mkdir(parents=True)
    definitions.write_text(
        "  'registry': new Definition('registry', {\n    default: 'https://npm.example/',\n    type: url,\n  }),\n"
    )
    (base / "lib/npm/bin").mkdir()
    (base / "lib/npm/bin/npm-cli.js").write_text("")
    (base / "bin/npm").symlink_to("../lib/npm/bin/npm-cli.js")
    (base / "go/bin").mkdir(parents=True)
    (base / "go/bin/go").write_text("")
    (base / "go/go.env").write_text("GOPROXY=https://proxy.example,direct\nGOSUMDB=sum.example\n")
    (base / "go/bin/cargo").write_bytes(b"\0" * 100 + b"sparse+https://crates.example/\0" + b"sparse+x")
    return f"{base}/bin:{base}/go/bin"


def test_registries_come_from_the_installed_tools(tmp_path: Path) -> None:
    """Built-in defaults are read out of the tools; a test index that a tool also knows is none."""
    hosts = looked(tmp_path, PATH=tools(tmp_path)).registries
    assert {"index.example", "files.example", "npm.example", "proxy.example", "sum.example", "crates.example"} <= set(
        hosts
    )
    assert "test.example" not in hosts


def test_registries_come_from_settings(tmp_path: Path) -> None:
    """Configuration of the user and of the environment counts; that of the workspace does not."""
    (tmp_path / "home/.config/pip").mkdir(parents=True)
    (tmp_path / "home/.config/pip/pip.conf").write_text(
        "[global]\nindex-url = https://user:x@a.example/simple\nextra-index-url =\n  https://b.example/s\n  https://c.example/s\n"
    )
    (tmp_path / "home/.npmrc").write_text(
        "@scope:registry=https://d.example/\n//d.example/:_authToken=x\n; registry=https://no.example\n"
    )
    (tmp_path / "home/.cargo").mkdir()
    (tmp_path / "home/.cargo/config.toml").write_text('[registries.x]\nindex = "sparse+https://f.example/"\n')
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/.npmrc").write_text("registry=https://evil.example/\n")
    hosts = set(looked(tmp_path, UV_INDEX_URL="https://e.example/simple").registries)
    assert {f"{letter}.example" for letter in "abcdef"} <= hosts
    assert {"evil.example", "no.example"}.isdisjoint(hosts)


def test_the_answer_is_kept_until_something_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm look computes nothing; a new, changed or removed file, or another variable, makes it look again."""
    path = tools(tmp_path)
    first = looked(tmp_path, PATH=path).registries
    looks: list[int] = []
    real = registries._urls

    def counted(*given: object) -> object:
        looks.append(1)
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(registries, "_urls", counted)
    assert looked(tmp_path, PATH=path).registries == first
    assert looks == []
    (tmp_path / "home/.npmrc").write_text("registry=https://new.example/\n")
    assert "new.example" in looked(tmp_path, PATH=path).registries
    (tmp_path / "home/.npmrc").unlink()
    assert looked(tmp_path, PATH=path).registries == first
    assert "var.example" in looked(tmp_path, PATH=path, PIP_INDEX_URL="https://var.example/").registries
    assert len(looks) == 3
    for kept in (tmp_path / "state/cache").iterdir():
        kept.write_text("[]")
    assert looked(tmp_path, PATH=path).registries == first
    assert len(looks) == 4


def test_nothing_to_find_is_no_failure(tmp_path: Path) -> None:
    """An empty environment and a state folder that cannot be written cost nothing but time."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "file").write_text("")
    places = find_places(workspace=tmp_path / "ws", environ={}, state_folder=tmp_path / "file")
    assert places.workspace == str(tmp_path / "ws")
    assert places.path_folders == ()
