"""What the guard costs the tree that it watches: `python tests/bench/bench_run.py [--quick]`, every figure beside native in the same run.

The start is measured from outside, as the caller of `guard run` sees it; everything else inside one running session, without its start.
Native and guarded rounds alternate, and the table holds their medians. Rules, model and audit log are the ones of daily use, in a state
folder of its own. Prints a table; asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUARD = (sys.executable, "-m", "guard_cli", "run", "--approver", "deny", "--")
FILES = 2000  # that `rm` removes

# Prints `name nanoseconds` for one call of each kind. Times itself, so that no start of a process is in the figures.
PROBE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void need(int holds, const char *what) {
    if (!holds) { perror(what); exit(1); }
}

static void report(const char *name, double start, int times) {
    printf("%s\t%.0f\n", name, (now() - start) / times);
}

static void opens(const char *name, const char *path, int times) {
    double start = now();
    for (int i = 0; i < times; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        need(fd >= 0, path);
        close(fd);
    }
    report(name, start, times);
}

int main(int argc, char **argv) {
    (void)argc;
    int times = atoi(argv[1]);
    char name[32];
    struct stat info;
    double start = now();
    for (int i = 0; i < times * 4; i++) need(stat("probe.c", &info) == 0, "stat");
    report("stat, which is not trapped", start, times * 4);
    opens("open + close, system file", "/etc/passwd", times * 4);
    opens("open + close, workspace file", "probe.c", times * 4);
    start = now();
    for (int i = 0; i < times; i++) {
        snprintf(name, sizeof name, "made-%d", i);
        int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        need(fd >= 0 && write(fd, "x", 1) == 1, name);
        close(fd);
    }
    report("create + write + close", start, times);
    start = now();
    for (int i = 0; i < times; i++) {
        snprintf(name, sizeof name, "made-%d", i);
        need(unlink(name) == 0, name);
    }
    report("unlink", start, times);
    int runs = times / 4;
    start = now();
    for (int i = 0; i < runs; i++) {
        pid_t pid = vfork();
        if (pid == 0) {
            execl(argv[2], argv[2], (char *)NULL);
            _exit(127);
        }
        int status;
        need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "exec");
    }
    report("fork + exec + wait, `true`", start, runs);
    return 0;
}
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and calls: a look, not a measurement")
    parser.add_argument("--inside", nargs=2, metavar=("FOLDER", "TIMES"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.inside:
        print(json.dumps(inside(Path(wanted.inside[0]), int(wanted.inside[1]))))
        return
    rounds, times = (5, 200) if wanted.quick else (11, 1000)
    with tempfile.TemporaryDirectory(prefix="guard-bench-") as name:
        folder = Path(name)
        environ = _environ(folder)
        prepare(folder, environ)
        table = starts(folder, environ, rounds * 2) | sessions(folder, environ, rounds, times)
    show(table, rounds)


def _environ(folder: Path) -> dict[str, str]:
    """The same for both sides; modules are compiled once and kept, as they are for a user."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = os.pathsep.join((str(ROOT), str(ROOT / "cli")))
    return {**kept, "GUARD_HOME": str(folder / "state"), "PYTHONPATH": paths, "GIT_CONFIG_GLOBAL": os.devnull}


def prepare(folder: Path, environ: dict[str, str]) -> None:
    """The workspace: the probe, compiled where there is a compiler, and a repository to clone."""
    work = folder / "work"
    work.mkdir()
    (work / "probe.c").write_text(PROBE)
    if shutil.which("cc"):
        subprocess.run(["cc", "-O1", "-o", "probe", "probe.c"], cwd=work, check=True)
    if shutil.which("git"):
        for number in range(300):
            file = work / "repository" / f"folder{number % 20}" / f"file{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{number}\n" * 40)
        git = ("git", "-C", "repository", "-c", "user.name=a", "-c", "user.email=a@a.example")
        for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "all")):
            subprocess.run([*git, *words], cwd=work, env=environ, check=True)


def starts(folder: Path, environ: dict[str, str], rounds: int) -> dict[str, tuple[float, float]]:
    """`true` from the outside, first of all unmeasured: the first session ever makes the certificate authority and compiles the rules."""
    work = folder / "work"

    def once(prefix: tuple[str, ...]) -> float:
        start = time.perf_counter()
        subprocess.run([*prefix, "true"], cwd=work, env=environ, stdin=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start

    first = once(GUARD)
    once(())
    found = [(once(()), once(GUARD)) for _ in range(rounds)]
    native = statistics.median(n for n, _ in found)
    return {
        "start: `true`": (native, statistics.median(g for _, g in found)),
        "start: `true`, the first session ever": (native, first),
    }


def sessions(folder: Path, environ: dict[str, str], rounds: int, times: int) -> dict[str, tuple[float, float]]:
    """What one process measures inside a session, and the same without one."""
    work = folder / "work"
    found: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    for number in range(rounds + 1):
        for side, prefix in zip(found, ((), GUARD), strict=True):
            done = subprocess.run(
                [*prefix, sys.executable, __file__, "--inside", str(work), str(times)],
                cwd=work,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            if number:  # the first of each side warms caches
                side.append(json.loads(done.stdout))
    native, guarded = found
    return {name: (_median(native, name), _median(guarded, name)) for name in native[0]}


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in found)


def inside(work: Path, times: int) -> dict[str, float]:
    """Everything that is timed inside a session: seconds a call, or seconds a command."""
    os.chdir(work)
    found: dict[str, float] = {}
    if Path("probe").exists():
        said = subprocess.run(["./probe", str(times), _true()], stdout=subprocess.PIPE, text=True, check=True).stdout
        found |= {name: float(value) / 1e9 for name, value in (line.split("\t") for line in said.splitlines())}
    else:
        found |= loops(times)
    if Path("repository").exists():
        found["`git clone`, local, 300 files"] = timed(["git", "clone", "-q", "--no-hardlinks", "repository", "clone"])
        shutil.rmtree("clone")
    os.mkdir("many")
    for number in range(FILES):
        os.close(os.open(f"many/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
    found[f"`rm -r`, {FILES:,} files"] = timed(["rm", "-r", "many"])
    found["`python -c pass`"] = timed([sys.executable, "-c", "pass"])
    return found


def loops(times: int) -> dict[str, float]:
    """The probe's figures where there is no compiler: Python's own share is in both sides."""

    def each(count: int, call: Callable[[int], object]) -> float:
        start = time.perf_counter()
        for number in range(count):
            call(number)
        return (time.perf_counter() - start) / count

    def create(number: int) -> None:
        opened = os.open(f"made-{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(opened, b"x")
        os.close(opened)

    true = _true()
    return {
        "stat, which is not trapped": each(times * 4, lambda _: os.stat("probe.c")),
        "open + close, system file": each(times * 4, lambda _: os.close(os.open("/etc/passwd", os.O_RDONLY))),
        "open + close, workspace file": each(times * 4, lambda _: os.close(os.open("probe.c", os.O_RDONLY))),
        "create + write + close": each(times, create),
        "unlink": each(times, lambda number: os.unlink(f"made-{number}")),
        "fork + exec + wait, `true`": each(
            times // 4, lambda _: os.waitpid(os.posix_spawn(true, [true], os.environ), 0)
        ),
    }


def timed(command: list[str]) -> float:
    """Seconds that this takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start


def _true() -> str:
    return shutil.which("true") or "/bin/true"


def show(table: dict[str, tuple[float, float]], rounds: int) -> None:
    """A table in Markdown."""
    print(
        f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}, medians of {rounds}\n"
    )
    print("| | native | guarded | added | times |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, (native, guarded) in table.items():
        added = _time(guarded - native) if guarded >= native else "-" + _time(native - guarded)
        print(f"| {name} | {_time(native)} | {_time(guarded)} | {added} | {guarded / native:.1f} |")


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e6:.2f} µs"


if __name__ == "__main__":
    main()
