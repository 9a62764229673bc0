"""Real agents for the tests: where they are installed, and how each is started against a scripted model in a throw-away home.

Every agent comes from its own package by pip or npm, at the version named here, into a cache folder outside the repository. They are started as
a person would start them, with their own approval prompts off, so that nothing but the guard stands between them and the machine.

What never enters: anything of the guard, and any expectation of what a run does. An agent that cannot be installed is an error, never a skip.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TASK = "Fix the failing test of this small project and tidy up."

_MACHINE = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_RUST_MACHINE = f"{platform.machine()}-unknown-linux-musl"


class AgentMissingError(Exception):
    """An agent could not be installed; the text holds the command and the end of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSetup:
    """One agent, ready to be started in a workspace.

    `argv`: the whole command. `env`: the whole environment, nothing of the caller's is to be added but `PATH`-like basics already in it.
    `home`: the throw-away home that `env` names, with the agent's settings written.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    home: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """One agent that can be tested.

    `package`, `version`, `with_npm`: what is installed; `also`: packages it forgets to ask for. `prepare`: from (installed folder, home, model server's URL) to argv and extra environment; writes
    settings into the home. `needs`: programs its own sandbox calls, which no package of its own brings.
    """

    name: str
    package: str
    version: str
    with_npm: bool
    prepare: Callable[[Path, Path, str], tuple[list[str], dict[str, str]]]
    also: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where the package lies; shared by set-ups of the same package and version."""
        return cache_root() / f"{self.package.strip('@').replace('/', '-').partition('[')[0]}-{self.version}"

    def install(self) -> Path:
        """Install where it is missing, and return the folder. Raises AgentMissingError."""
        for program in self.needs:
            if shutil.which(program) is None:
                raise AgentMissingError(
                    f"`{program}` is missing: {self.name} cannot start its sandbox without it; install the system package"
                )
        cache_root().mkdir(parents=True, exist_ok=True)
        with open(f"{self.folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs must not fill one folder at once
            if not (self.folder / "complete").exists():
                self._fetch()
                (self.folder / "complete").touch()
        return self.folder

    def set_up(self, home: Path, model_url: str) -> AgentSetup:
        """Install if missing, write the agent's settings into `home`, and say how it is started."""
        argv, extra = self.prepare(self.install(), home, model_url)
        base = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        env = {**base, "HOME": str(home), "LANG": "C.UTF-8", "TERM": "xterm-256color", **extra}
        return AgentSetup(name=self.name, argv=tuple(argv), env=MappingProxyType(env), home=home)

    def _fetch(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        if self.with_npm:
            # No install scripts: they only link the platform package's program, which is started directly and needs no node.
            flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
            _run("npm", "install", "--prefix", str(self.folder), *flags, f"{self.package}@{self.version}")
        else:
            _run(sys.executable, "-m", "venv", str(self.folder))
            _run(
                str(self.folder / "bin/python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                f"{self.package}=={self.version}",
                *self.also,
            )


def cache_root() -> Path:
    """The folder of all installed agents: `$GUARD_AGENTS_DIR`, else below the user's cache folder."""
    if named := os.environ.get("GUARD_AGENTS_DIR"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or real_home() / ".cache") / "guard-tests" / "agents"


def real_home() -> Path:
    """The passwd home of whoever runs the tests, whatever `$HOME` says; `$HOME` for a user id that has no entry."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise AgentMissingError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-2000:]}")


# --- one function an agent -------------------------------------------------------------------------------------------


def _smolagents(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    driver = Path(__file__).with_name("smolagents_driver.py")
    return [str(folder / "bin/python"), "-P", str(driver), TASK], {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
    }


def _mini(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    argv = [str(folder / "bin/mini"), "--yolo", "--exit-immediately", "--model", "openai/scripted", "--task", TASK]
    return argv, {
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches a price list at start
        "MSWEA_COST_TRACKING": "ignore_errors",
        "MSWEA_CONFIGURED": "true",  # else it asks for a model in a dialogue
    }


def _claude(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    program = folder / f"node_modules/@anthropic-ai/claude-code-linux-{_MACHINE}/claude"
    return [str(program), "-p", TASK, "--dangerously-skip-permissions"], {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "IS_SANDBOX": "1",  # else it refuses to skip its prompts as root
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _claude_sandboxed(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    (home / ".claude").mkdir(exist_ok=True)
    (home / ".claude/settings.json").write_text(json.dumps({"sandbox": {"enabled": True, "failIfUnavailable": True}}))
    return _claude(folder, home, url)


def _codex(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    return _codex_exec(folder, home, url, "--dangerously-bypass-approvals-and-sandbox")


def _codex_sandboxed(folder: Path, home: Path, url: str) -> tuple[list[str], dict[str, str]]:
    return _codex_exec(folder, home, url, "--sandbox", "workspace-write")


def _codex_exec(folder: Path, home: Path, url: str, *sandbox: str) -> tuple[list[str], dict[str, str]]:
    program = folder / f"node_modules/@openai/codex-linux-{_MACHINE}/vendor/{_RUST_MACHINE}/bin/codex"
    (home / ".codex").mkdir(exist_ok=True)
    (home / ".codex/config.toml").write_text(_CODEX_CONFIG.format(url=url))
    return [str(program), "exec", "--skip-git-repo-check", *sandbox, TASK], {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
    }


_CODEX_CONFIG = """\
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
check_for_update_on_startup = false

[analytics]
enabled = false

[features]  # each of these would look for a public host, or start a daemon, by itself
plugins = false
remote_plugin = false
apps = false
daemon_auto_start = false

[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"""

AGENTS: tuple[Agent, ...] = (
    Agent(name="smolagents", package="smolagents[openai]", version="1.26.0", with_npm=False, prepare=_smolagents),
    Agent(name="claude", package="@anthropic-ai/claude-code", version="2.1.330", with_npm=True, prepare=_claude),
    Agent(name="mini", package="mini-swe-agent", version="2.4.6", with_npm=False, prepare=_mini, also=("mcp",)),
    Agent(name="codex", package="@openai/codex", version="0.169.0", with_npm=True, prepare=_codex),
    Agent(
        name="claude-sandboxed",
        package="@anthropic-ai/claude-code",
        version="2.1.330",
        with_npm=True,
        prepare=_claude_sandboxed,
        needs=("bwrap", "socat"),
    ),
    Agent(
        name="codex-sandboxed",
        package="@openai/codex",
        version="0.169.0",
        with_npm=True,
        prepare=_codex_sandboxed,
        needs=("bwrap",),
    ),
)
"""The first two are what continuous integration runs by default; all of them where `GUARD_ALL_AGENTS=1`."""
