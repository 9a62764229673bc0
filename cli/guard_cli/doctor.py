"""`guard doctor`: tries every promise of `guard run` on this machine, in child processes, and says what does not hold.

A line per promise; where one is not held, what follows and what to do. What never enters: a conclusion from a version number.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from guard import wire
from guard.audit import AuditError, state_folder
from guard.intercept import probe
from guard.intercept.probe import Reasons

ABLE, UNABLE = 0, 1
LIMIT_S = 60  # for one command of ours: a cold start on a loaded machine takes a few seconds; this bounds a hang

_ORDERLY = (0, 3, 4)  # `guard check` judged: allow, ask, block
_BWRAP = ("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-user", "--unshare-pid", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One thing that `guard run` rests on, and the words for the case that it does not hold.

    `needed` tells that nothing can be guarded without it. `attempt` is the attempt that tries it, `key` its entry there.
    """

    attempt: str
    key: str
    says: str
    needed: bool
    follows: str
    do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one promise here: `reason` is None where it holds."""

    name: str
    promise: str
    needed: bool
    held: bool
    reason: str | None
    follows: str | None
    do: str | None


_NO_RUN = "`guard run` ends with 125"
_KERNEL = "use Linux 5.19 or newer; in a container, let its seccomp profile pass `seccomp`"

PROMISES: tuple[Promise, ...] = (
    Promise(
        attempt="machine", key="machine", needed=True, says="Linux on a machine whose system calls are known",
        follows="`guard run` ends with 125; `guard check` works", do="run the agent on x86-64 or 64-bit Arm Linux",
    ),
    Promise(
        attempt="notification", key="notify", needed=True, says="a trapped call waits for the guard's answer (WAIT_KILLABLE_RECV)",
        follows=_NO_RUN, do=_KERNEL,
    ),
    Promise(
        attempt="notification", key="addfd", needed=True, says="a performed open gives its descriptor in one step (ADDFD, SEND)",
        follows=_NO_RUN, do=_KERNEL,
    ),
    Promise(
        attempt="notification", key="sync", needed=False, says="the answer wakes the caller on the same processor",
        follows="each trapped call costs some microseconds more", do="nothing is unsafe; Linux 6.6 or newer is faster",
    ),
    Promise(
        attempt="notification", key="no_new_privs", needed=True, says="an ordinary user's agent gains no privilege by an exec",
        follows=_NO_RUN, do=_KERNEL,
    ),
    Promise(
        attempt="notification", key="nested", needed=False, says="a guard inside a guard is recognised (a second listener is busy)",
        follows="a nested `guard run` may fail with 125", do="start the agent under one guard only",
    ),
    Promise(
        attempt="memory", key="memory", needed=True, says="the arguments of a descendant's calls can be read (Yama, ptrace)",
        follows=_NO_RUN, do="set kernel.yama.ptrace_scope to 0 or 1, or allow CAP_SYS_PTRACE",
    ),
    Promise(
        attempt="memory", key="proc", needed=True, says="/proc tells who a descendant is",
        follows=_NO_RUN, do="mount /proc without hidepid, and let the container see its own processes there",
    ),
    Promise(
        attempt="descriptors", key="getfd", needed=True, says="a descendant's socket can be copied (pidfd_getfd)",
        follows=_NO_RUN, do="in a container, let its seccomp profile pass `pidfd_getfd` and `pidfd_open`, or add CAP_SYS_PTRACE",
    ),
    Promise(
        attempt="descriptors", key="thread", needed=False, says="a single thread's descriptors can be named (PIDFD_THREAD)",
        follows="a thread with a descriptor table of its own is served from its process's table",
        do="use Linux 6.9 or newer where agents split tables between threads",
    ),
    Promise(
        attempt="terminal", key="pty", needed=False, says="the agent can be given a terminal of its own",
        follows="an agent with a screen does not start under `guard run`", do="mount devpts at /dev/pts with /dev/ptmx",
    ),
    Promise(
        attempt="namespaces", key="userns", needed=False, says="an agent's own sandbox can make user namespaces",
        follows="such a sandbox fails with or without the guard",
        do="set kernel.unprivileged_userns_clone=1 or the distribution's AppArmor switch",
    ),
    Promise(
        attempt="bwrap", key="bwrap", needed=False, says="bubblewrap starts",
        follows="agents that bring a bubblewrap sandbox do not get it", do="install `bubblewrap`, and allow user namespaces",
    ),
    Promise(
        attempt="loopback", key="loopback4", needed=True, says="the proxy can listen on 127.0.0.1",
        follows=_NO_RUN, do="bring the loopback interface up: `ip link set lo up`",
    ),
    Promise(
        attempt="loopback", key="loopback6", needed=False, says="the proxy can listen on ::1",
        follows="IPv6 connections that would be inspected are refused", do="enable IPv6 on the loopback interface",
    ),
    Promise(
        attempt="mitmproxy", key="mitmproxy", needed=True, says="mitmproxy can be imported",
        follows="no connection can be inspected", do="install guardproxy again, with its dependencies",
    ),
    Promise(
        attempt="state", key="state", needed=True, says="the state folder is the user's own",
        follows=_NO_RUN, do="make the folder yours, or name another in GUARD_HOME",
    ),
    Promise(
        attempt="model", key="model", needed=True, says="the harm model loads and is the one of its card",
        follows="`guard run` ends with 125 unless `--no-model` is given", do="install guardproxy again",
    ),
    Promise(
        attempt="policy", key="policy", needed=True, says="the default policy loads and judges",
        follows=_NO_RUN, do="mend the file that the message names, or install guardproxy again",
    ),
    Promise(
        attempt="run", key="run", needed=True, says="`guard run -- true` works",
        follows=_NO_RUN, do="mend what is not held above; if all is held, report this line",
    ),
    Promise(
        attempt="nested run", key="nested run", needed=False, says="`guard run` inside `guard run` leaves the word to the outer one",
        follows="a command that starts a guard itself fails", do="start the agent under one guard only",
    ),
)  # fmt: skip


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `doctor` to the front door's parser."""
    parser = subparsers.add_parser(
        "doctor",
        help="what can really be enforced on this machine",
        description="Tries every promise of `guard run` on this machine. Exit status: 0 `guard run` can work here, 1 it cannot.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Prints the findings; 0 where everything that `guard run` needs is held, else 1."""
    findings: list[Finding] = []
    if not args.json:
        print(f"on {', '.join(f'{name} {value}' for name, value in machine().items())}:", flush=True)
    for finding in examine():
        findings.append(finding)
        if not args.json:
            print(line(finding), flush=True)
    able = all(f.held for f in findings if f.needed)
    if args.json:
        print(json.dumps({"able": able, "machine": machine(), "promises": [asdict(f) for f in findings]}, indent=1))
    else:
        print("`guard run` can work here" if able else "`guard run` cannot work here: see the lines marked NOT HELD")
    return ABLE if able else UNABLE


def examine(promises: Sequence[Promise] = PROMISES) -> Iterator[Finding]:
    """A finding per promise, in order; every attempt is made once, and none after one that the machine itself failed."""
    made: dict[str, Reasons] = {}
    for promise in promises:
        if promise.attempt not in made:
            made[promise.attempt] = _attempt(promise.attempt)
        found = made[promise.attempt]
        unheard = "; ".join(filter(None, found.values())) or "the attempt gave no answer"
        yield _finding(promise, found.get(promise.key, unheard))
        if promise.attempt == "machine" and found != {"machine": None}:
            return


def line(finding: Finding) -> str:
    """The finding for a person, in one line."""
    if finding.held:
        return f"held      {finding.name:12} {finding.promise}"
    mark = "NOT HELD" if finding.needed else "not held"
    return (
        f"{mark}  {finding.name:12} {finding.promise}: {finding.reason}. Then {finding.follows}. To do: {finding.do}."
    )


def machine() -> dict[str, str]:
    """What this machine says of itself; nothing is concluded from it."""
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "user": str(os.geteuid()),
        "started by": ancestors(),
    }


def ancestors() -> str:
    """The programs above this process, the nearest first: a sandbox, a terminal or another guard may explain a finding."""
    import psutil

    try:
        return " < ".join(parent.name() for parent in psutil.Process().parents()) or "nobody that can be seen"
    except psutil.Error:
        return "somebody that cannot be seen"


def state_reason(environ: Mapping[str, str]) -> str | None:
    """None where the state folder is ours, or can be made; else what is wrong with it. Nothing is made or changed."""
    try:
        folder = state_folder(environ, make=False)
    except AuditError as problem:
        return str(problem)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        return f"`{nearest}` is no folder"
    if not os.access(nearest, os.W_OK | os.X_OK):
        return f"`{nearest}` cannot be written to"
    return None


def _finding(promise: Promise, reason: str | None) -> Finding:
    held = reason is None
    return Finding(
        name=promise.key,
        promise=promise.says,
        needed=promise.needed,
        held=held,
        reason=reason,
        follows=None if held else promise.follows,
        do=None if held else promise.do,
    )


def _attempt(name: str) -> Reasons:
    return {name: _OURS[name]()} if name in _OURS else probe.reasons(name)


def _state() -> str | None:
    return state_reason(os.environ)


def _bwrap() -> str | None:
    if shutil.which("bwrap") is None:
        return "`bwrap` is not installed"
    return _status_reason(_BWRAP, (0,))


def _mitmproxy() -> str | None:
    return _status_reason((sys.executable, "-c", "import mitmproxy.addons.proxyserver, mitmproxy.options"), (0,))


def _model() -> str | None:
    """Starts the judging process as `guard run` does; it checks the model against its card before it says that it is ready."""
    done = _ours("-m", "guard.scoring.judge")
    first = next(iter(wire.Reader().feed(done.stdout)), {})
    if first.get("ready"):
        return None
    return str(first.get("error") or _last_line(done))


def _policy() -> str | None:
    done = _ours("-m", "guard_cli", "check", "--json", "true")
    return None if done.returncode in _ORDERLY else _last_line(done)


def _run() -> str | None:
    done = _ours("-m", "guard_cli", "run", "--approver", "deny", "--", "true")
    return None if done.returncode == 0 else _last_line(done)


def _nested_run() -> str | None:
    inner = (sys.executable, "-m", "guard_cli", "run", "--approver", "deny", "--", "true")
    done = _ours("-m", "guard_cli", "run", "--approver", "deny", "--", *inner)
    return None if done.returncode == 0 else _last_line(done)


_OURS: Mapping[str, Callable[[], str | None]] = {
    "bwrap": _bwrap,
    "mitmproxy": _mitmproxy,
    "state": _state,
    "model": _model,
    "policy": _policy,
    "run": _run,
    "nested run": _nested_run,
}


def _ours(*words: str) -> subprocess.CompletedProcess[bytes]:
    """One of our own commands, with a state folder that goes away, so that looking changes nothing."""
    with tempfile.TemporaryDirectory(prefix="guard-doctor-") as scratch:
        home = os.path.join(scratch, "state")
        return _done((sys.executable, *words), {**os.environ, "GUARD_HOME": home, "PYTHONPATH": probe.import_path()})


def _status_reason(command: Sequence[str], good: Sequence[int]) -> str | None:
    done = _done(command, os.environ)
    return None if done.returncode in good else _last_line(done)


def _done(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, UNABLE, b"", f"no end within {LIMIT_S} s".encode())
    except OSError as problem:
        return subprocess.CompletedProcess(command, UNABLE, b"", f"{command[0]}: {probe.words(problem)}".encode())


def _last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return said[-1] if said else f"ended with status {done.returncode} and said nothing"
