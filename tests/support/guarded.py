"""Runs programs under `guard run` in a scratch world, as root or as an ordinary user, and beside it natively.

The ordinary user (uid 65534) cannot read the tests' own interpreter where that lies in somebody's home, so the interpreter, its packages
and the guard are put once a session where everybody can read them (by hard links, else copies), and both users run that same installation.
What never enters: judging whether an attempt succeeded.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534
"""Uid and gid of the ordinary user: they exist everywhere and own nothing."""

LIMIT_S = 240
"""Seconds a guarded run may take; a whole batch of rows takes about thirty."""

_LEFT_OUT = frozenset(("test", "idlelib", "tkinter", "turtledemo", "ensurepip", "__pycache__", "mypy", "mypyc", "ruff"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A readable interpreter that has the guard: `python` is its path."""

    folder: Path

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(self.folder / "bin" / "python3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a run left: its status as the shell would say it, what it printed."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who runs: `root` or an ordinary user."""

    name: str
    uid: int

    @property
    def prefix(self) -> list[str]:
        """The words that make a command run as this user."""
        if self.uid == os.getuid():
            return []
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]

    def owns(self, path: Path) -> None:
        """Gives a file or folder to this user."""
        if self.uid != os.getuid():
            os.chown(path, self.uid, self.uid, follow_symlinks=False)


def users() -> tuple[User, ...]:
    """Root and the ordinary user; the ordinary user alone where the tests themselves do not run as root."""
    if os.getuid() == 0:
        return (User(name="root", uid=0), User(name="user", uid=NOBODY))
    return (User(name="user", uid=os.getuid()),)


@contextmanager
def readable_installation() -> Iterator[Installation]:
    """Makes the installation and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="guard-installation-"))
    try:
        folder.chmod(0o755)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        (folder / "bin").mkdir()
        _interpreter_into(folder / "bin" / version)
        (folder / "bin" / "python3").symlink_to(version)
        library = folder / "lib" / version
        _linked(Path(sysconfig.get_path("stdlib")), library, {*_LEFT_OUT, "site-packages"})
        for shared in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
            _link_or_copy(str(shared), str(folder / "lib" / shared.name))
        packages = library / "site-packages"
        _linked(Path(sysconfig.get_path("purelib")), packages, _LEFT_OUT)
        for editable in packages.glob("__editable__*"):
            editable.unlink()
        _guard_into(packages)
        yield Installation(folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _interpreter_into(target: Path) -> None:
    """A copy that finds its shared library beside itself: the search path in it names the folder it was built for."""
    shutil.copy2(os.path.realpath(sys.executable), target)
    built_for = os.fsencode(os.path.join(sys.base_prefix, "lib")) + b"\0"
    beside = b"$ORIGIN/../lib\0"
    data = target.read_bytes()
    if built_for in data and len(beside) <= len(built_for):
        target.write_bytes(data.replace(built_for, beside.ljust(len(built_for), b"\0")))


def _guard_into(packages: Path) -> None:
    """The layout of the wheel: packages `guard` and `guard_cli`, rule packs and models below `guard/_data`."""
    skip = shutil.ignore_patterns("__pycache__", "train")
    shutil.rmtree(packages / "guard", ignore_errors=True)
    shutil.copytree(REPOSITORY / "guard", packages / "guard", ignore=skip)
    shutil.copytree(REPOSITORY / "cli" / "guard_cli", packages / "guard_cli", ignore=skip, dirs_exist_ok=True)
    for data in ("policies", "classifiers"):
        shutil.copytree(REPOSITORY / data, packages / "guard" / "_data" / data, ignore=skip)


def _linked(source: Path, target: Path, left_out: frozenset[str] | set[str]) -> None:
    shutil.copytree(
        source,
        target,
        ignore=lambda _, names: [name for name in names if name in left_out],
        copy_function=_link_or_copy,
        symlinks=True,
    )


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A scratch world of one user: a home with secrets, a workspace, a state folder for the guard. `token` stands in every secret."""

    folder: Path
    user: User
    token: str

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def workspace(self) -> Path:
        return self.folder / "ws"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of a run."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.home),
            "GUARD_HOME": str(self.state),
            "TMPDIR": str(self.folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **more,
        }


@contextmanager
def scratch_world(user: User) -> Iterator[World]:
    """Makes a world and removes it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="guard-world-"))
    world = World(folder=folder, user=user, token="TOKEN" + secrets.token_hex(8))
    try:
        folder.chmod(0o755)
        for path in (world.home, world.home / ".ssh", world.workspace, world.state, folder / "tmp"):
            path.mkdir(mode=0o700)
            user.owns(path)
        for path in (world.home / ".ssh" / "id_rsa", world.home / ".netrc"):
            path.write_text(world.token + "\n")
            path.chmod(0o600)
            user.owns(path)
        user.owns(folder)
        yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def guard_command(
    installation: Installation, workspace: Path, policy: Path | None, more: Sequence[str] = ()
) -> list[str]:
    """`guard run … --` for this installation."""
    words = [
        installation.python,
        "-m",
        "guard_cli",
        "run",
        "--approver",
        "deny",
        "--no-model",
        "--workspace",
        str(workspace),
    ]
    if policy is not None:
        words += ["--policy", str(policy)]
    return [*words, *more, "--"]


def run_guarded(
    installation: Installation,
    world: World,
    command: Sequence[str],
    *,
    policy: Path | None = None,
    workspace: Path | None = None,
    more: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> Ended:
    """Runs COMMAND under the guard; subprocess.TimeoutExpired past the limit."""
    where = workspace or world.workspace
    return run_plain(
        world,
        [*guard_command(installation, where, policy, more), *command],
        workspace=where,
        environ=environ,
        limit_s=limit_s,
    )


def run_plain(
    world: World,
    command: Sequence[str],
    *,
    workspace: Path | None = None,
    environ: Mapping[str, str] | None = None,
    limit_s: float = LIMIT_S,
) -> Ended:
    """Runs COMMAND as it is, as the world's user."""
    ended = subprocess.run(
        [*world.user.prefix, *command],
        cwd=workspace or world.workspace,
        env=world.environ(environ or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=limit_s,
        check=False,
        start_new_session=True,
    )
    return Ended(
        status=ended.returncode,
        output=ended.stdout.decode("utf-8", "replace"),
        errors=ended.stderr.decode("utf-8", "replace"),
    )
