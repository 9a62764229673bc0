"""Looks once, at the start, where things are on this machine: homes, git folders, caches, endpoints, resolvers.

Everything is read from files and the environment; no program is run and nothing is resolved over the network. What the workspace
says about itself is not believed, because the agent can write there; its `.git` counts only where it leads to a real git folder
that points back. What never enters: judging.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from guard.core.places import Places, endpoint_of_url, is_under, is_under_any
from guard.policy import registries

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 262_144  # bytes read of a configuration file; agents' own settings are a few kB

_NO_HOMES = frozenset({"bin", "boot", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"})
_ENDPOINT_VARIABLE = re.compile(r".*_(?:BASE_URL|API_BASE|API_BASE_URL|BASEURL)|(?:AZURE_)?OPENAI_ENDPOINT|OLLAMA_HOST")
_ENDPOINT_SETTING = re.compile(
    r"""(?i)\b(?:[a-z_]*base_?url|[a-z_-]*api[_-]?base|endpoint)["']?\s*[:=]\s*["']?(https?://[^\s"',}]+)"""
)
# Where agents keep the address of their model, below a home.
_AGENT_SETTINGS = (
    ".codex/config.toml",
    ".claude/settings.json",
    ".gemini/settings.json",
    ".qwen/settings.json",
    ".config/opencode/opencode.json",
    ".config/opencode/opencode.jsonc",
    ".cline/data/settings/providers.json",
    ".aider.conf.yml",
    ".config/mini-swe-agent/.env",
    ".openhands/settings.json",
    ".openhands/agent_settings.json",
)
# Caches of package managers and build tools below a home. Nothing in them is run by itself; folders with programs are left out.
_CACHES = (
    ".cache",
    ".npm",
    ".node-gyp",
    ".yarn/berry",
    ".yarn/cache",
    ".pnpm-store",
    ".local/share/pnpm/store",
    ".local/state/pnpm",
    ".bun/install/cache",
    ".cargo/registry",
    ".cargo/git",
    ".cargo/.package-cache",
    ".cargo/.package-cache-mutate",
    ".cargo/.global-cache",
    ".cargo/.global-cache-journal",
    ".rustup",
    "go/pkg",
    ".local/share/uv",
    ".local/share/virtualenvs",
    ".local/share/hatch",
    ".m2/repository",
    ".gradle/caches",
    ".gradle/daemon",
    ".gradle/native",
    ".gradle/wrapper/dists",
    ".gradle/.tmp",
    ".nuget/packages",
    ".local/share/NuGet",
    ".config/matplotlib",
    ".keras",
    ".config/go/telemetry",
)
_CACHE_VARIABLES = {
    "XDG_CACHE_HOME": ("",),
    "npm_config_cache": ("",),
    "NPM_CONFIG_CACHE": ("",),
    "YARN_CACHE_FOLDER": ("",),
    "PIP_CACHE_DIR": ("",),
    "UV_CACHE_DIR": ("",),
    "GOCACHE": ("",),
    "GOMODCACHE": ("",),
    "GOPATH": ("pkg",),
    "CARGO_HOME": (
        "registry",
        "git",
        ".package-cache",
        ".package-cache-mutate",
        ".global-cache",
        ".global-cache-journal",
    ),
    "RUSTUP_HOME": ("",),
    "CCACHE_DIR": ("",),
}


def find_places(
    *,
    workspace: str | Path,
    environ: Mapping[str, str],
    state_folder: str | Path,
    policy_files: Sequence[str | Path] = (),
) -> Places:
    """Where things are for a run in this workspace with this environment. Costs a few milliseconds; never raises for what is missing."""
    room = os.path.realpath(workspace)
    homes = _homes(environ)
    own = (room, *homes)
    temporary = _temporary(environ, own)
    caches = _caches(environ, homes, own)
    state = os.path.realpath(state_folder)
    code = _code_folders()
    path_folders = _path_folders(environ, own, (room, *temporary, *caches))
    return Places(
        workspace=room,
        home=homes[0] if homes else "/nonexistent",
        homes=homes,
        other_homes=_other_homes(homes),
        temporary=temporary,
        git_dirs=_git_dirs(room),
        guard=_distinct(
            [
                state,
                *_config_folders(environ, homes),
                *map(os.path.realpath, policy_files),
                *(c for c in code if not is_under(c, room)),
            ]
        ),
        guard_private=(state,),
        guard_public=(f"{state}/public",),
        guard_code=tuple(c for c in code if is_under(c, room)),
        path_folders=path_folders,
        programs=_programs(path_folders, own),
        caches=caches,
        model_endpoints=_model_endpoints(environ, homes),
        registries=registries.find(environ, homes, state),
        resolvers=_resolvers(),
    )


def _distinct(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _holds_any(folder: str, places: Iterable[str]) -> bool:
    """Whether one of the places is this folder or lies in it: such a folder is too wide for what it is said to be."""
    return any(is_under(place, folder) for place in places)


def _homes(environ: Mapping[str, str]) -> tuple[str, ...]:
    """$HOME and the home of the password database, without `/` and without doubles."""
    found = [environ.get("HOME", "")]
    try:
        import pwd

        found.append(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        pass  # containers run under numbers that have no entry
    return _distinct(home for h in found if h.startswith("/") and (home := os.path.realpath(h)) != "/")


def _other_homes(own: Sequence[str]) -> tuple[str, ...]:
    """Homes of people: root, everyone from uid 1000 on (login.defs UID_MIN), and what lies in /home; none that a service uses."""
    found = []
    for line in (_text("/etc/passwd") or "").splitlines():
        entry = line.split(":")
        if len(entry) >= 6 and entry[2].isdigit() and (entry[2] == "0" or 1000 <= int(entry[2]) < 65534):
            found.append(entry[5])
    try:
        found += [e.path for e in os.scandir("/home") if e.is_dir(follow_symlinks=False)][:256]
    except OSError:
        pass
    real = _distinct(os.path.realpath(h) for h in found if h.startswith("/") and os.path.isdir(h))
    return tuple(
        h for h in real if h not in own and h.split("/")[1] not in _NO_HOMES and h not in {"/", "/home", "/root/.."}
    )


def _temporary(environ: Mapping[str, str], own: Sequence[str]) -> tuple[str, ...]:
    names = [environ.get("TMPDIR", ""), "/tmp", "/var/tmp", "/dev/shm"]
    folders = _distinct(os.path.realpath(n) for n in names if n.startswith("/") and os.path.isdir(n))
    narrow = [f for f in folders if f in {"/tmp", "/var/tmp", "/dev/shm"} or not _holds_any(f, own)]
    return tuple(narrow)


def _caches(environ: Mapping[str, str], homes: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    named = [
        f"{base}/{part}"
        for name, parts in _CACHE_VARIABLES.items()
        if (base := environ.get(name, "")).startswith("/")
        for part in parts
    ]
    found = _distinct(os.path.realpath(p) for p in (*named, *(f"{h}/{c}" for h in homes for c in _CACHES)))
    return tuple(c for c in found if c != "/" and not _holds_any(c, own))


def _path_folders(environ: Mapping[str, str], own: Sequence[str], open_folders: Sequence[str]) -> tuple[str, ...]:
    """Folders that programs are found in by name, without those that the agent may write anyway."""
    found = _distinct(os.path.realpath(p) for p in environ.get("PATH", "").split(":") if p.startswith("/"))
    return tuple(f for f in found if not is_under_any(f, open_folders) and not _holds_any(f, own))


def _programs(path_folders: Sequence[str], own: Sequence[str]) -> tuple[str, ...]:
    """PATH folders and the installations they belong to (`…/bin` → `…`), and the guard's own interpreter."""
    homes = {*own, *_other_homes(())}
    found = [
        *path_folders,
        *(os.path.dirname(f) for f in path_folders if os.path.basename(f) in {"bin", "sbin", "shims", "condabin"}),
    ]
    found += [os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)]
    return tuple(f for f in _distinct(found) if f != "/" and not _holds_any(f, homes))


def _code_folders() -> tuple[str, ...]:
    """The guard's program: its packages, and the policies and models that belong to it."""
    import guard._data

    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    base = os.path.dirname(here)
    data = [os.path.join(os.path.realpath(p), n) for p in guard._data.__path__ for n in ("policies", "classifiers")]
    found = [here, *(p for p in (f"{base}/guard_cli", f"{base}/cli/guard_cli") if os.path.isdir(p)), *data]
    return _distinct(f for f in found if os.path.isdir(f))


def _config_folders(environ: Mapping[str, str], homes: Sequence[str]) -> list[str]:
    """Where the user's own policy is looked for, whether or not it exists yet."""
    base = environ.get("XDG_CONFIG_HOME", "")
    return [
        os.path.realpath(f"{b}/guard") for b in ([base] if base.startswith("/") else [f"{h}/.config" for h in homes])
    ]


# --- git --------------------------------------------------------------------------------------------------------------------


def _git_dirs(workspace: str) -> tuple[str, ...]:
    """The git folder of the repository that the workspace lies in, and the common one where it is a worktree (gitrepository-layout(5))."""
    here = workspace
    while True:
        dot_git = os.path.join(here, ".git")
        if os.path.isdir(dot_git):
            real = os.path.realpath(dot_git)
            return (real,) if _is_git_dir(real) else ()
        if os.path.isfile(dot_git):
            return _linked_git_dirs(dot_git)
        if here == "/":
            return ()
        here = os.path.dirname(here)


def _linked_git_dirs(dot_git: str) -> tuple[str, ...]:
    """Follows a `.git` file, but only where the other side knows of it: the agent could have written this file."""
    text = _text(dot_git) or ""
    if not text.startswith("gitdir:"):
        return ()
    git_dir = os.path.realpath(os.path.join(os.path.dirname(dot_git), text.removeprefix("gitdir:").strip()))
    common = _text(f"{git_dir}/commondir")
    if common is None:
        return (git_dir,) if _is_git_dir(git_dir) and "/.git/modules/" in f"{git_dir}/" else ()
    back = (_text(f"{git_dir}/gitdir") or "").strip()
    common_dir = os.path.realpath(os.path.join(git_dir, common.strip()))
    points_back = bool(back) and os.path.realpath(os.path.join(git_dir, back)) == os.path.realpath(dot_git)
    return (git_dir, common_dir) if points_back and _is_git_dir(common_dir) and is_under(git_dir, common_dir) else ()


def _is_git_dir(path: str) -> bool:
    return os.path.isfile(f"{path}/HEAD") and os.path.isdir(f"{path}/objects") and os.path.isdir(f"{path}/refs")


# --- endpoints --------------------------------------------------------------------------------------------------------------


def _model_endpoints(environ: Mapping[str, str], homes: Sequence[str]) -> tuple[str, ...]:
    """`host:port` of every model that the environment or an agent's own settings name."""
    urls = [
        value if "://" in value else f"http://{value}"
        for name, value in environ.items()
        if value and _ENDPOINT_VARIABLE.fullmatch(name)
    ]
    files = [f"{home}/{name}" for home in homes for name in _AGENT_SETTINGS]
    if environ.get("CODEX_HOME", "").startswith("/"):
        files.append(f"{environ['CODEX_HOME']}/config.toml")
    if environ.get("CLAUDE_CONFIG_DIR", "").startswith("/"):
        files.append(f"{environ['CLAUDE_CONFIG_DIR']}/settings.json")
    for file in files:
        text = _text(file)
        if text:
            urls += _ENDPOINT_SETTING.findall(text)
    return _distinct(place for url in urls if (place := endpoint_of_url(url)) is not None)


def _resolvers() -> tuple[str, ...]:
    lines = (_text("/etc/resolv.conf") or "").splitlines()
    return _distinct(words[1] for line in lines if len(words := line.split()) >= 2 and words[0] == "nameserver")


def _text(path: str) -> str | None:
    """The file's text, None where it is missing, too long or no regular file."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read(LARGEST + 1)
    except OSError:
        return None
    return text if len(text) <= LARGEST else None
