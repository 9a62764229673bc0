"""Runs every program in a folder of its own and writes down what each did.

    batch.py SCRATCH RESULT [NAME…]

SCRATCH is made and removed again: run it twice with the same name, and paths are the same. RESULT becomes a JSON file: by program `status` (as
waitpid gives it; `late` where it had to be ended), `out`, `err` and `tree`, everything as text with bytes that are no UTF-8 escaped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fidelity import python_programs, shell_programs

LIMIT_S = 30  # for one program; a good one needs a second


def main(scratch: str, result: str, chosen: list[str]) -> None:
    """All programs, or those that are named."""
    os.umask(0o22)
    os.environ |= {"LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": scratch + "/home", "PYTHONDONTWRITEBYTECODE": "1"}
    os.environ.pop("BASH_ENV", None)
    done = {}
    for name in chosen or [*shell_programs.PROGRAMS, *python_programs.PROGRAMS]:
        if all(shutil.which(tool) for tool in shell_programs.NEEDS.get(name, ())):
            done[name] = run(name, scratch)
    with open(result, "w", encoding="ascii") as file:
        json.dump(done, file)


def run(name: str, scratch: str) -> dict[str, Any]:
    """One program."""
    folder = os.path.join(scratch, "work", name)
    shutil.rmtree(scratch, ignore_errors=True)
    os.makedirs(folder)
    os.mkdir(scratch + "/home")
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        begin(name, folder, scratch)
    late = False
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        time.sleep(0.002)
        if time.monotonic() - start > LIMIT_S:
            late = True
            os.killpg(pid, signal.SIGKILL)
            ended = os.waitpid(pid, 0)
            break
    outcome = {
        "status": ended[1],
        "late": late,
        "out": text(Path(scratch, "out").read_bytes()),
        "err": text(Path(scratch, "err").read_bytes()),
        "tree": tree(folder),
        "seconds": round(time.monotonic() - start, 3),
    }
    os.chdir("/")
    for top, folders, _ in os.walk(folder):
        for inner in folders:
            path = os.path.join(top, inner)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(scratch)
    return outcome


def begin(name: str, folder: str, scratch: str) -> None:
    """In the program's own process."""
    os.setpgid(0, 0)
    os.chdir(folder)
    for number, (place, flags) in enumerate(
        (
            ("/dev/null", os.O_RDONLY),
            (scratch + "/out", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
            (scratch + "/err", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        )
    ):
        opened = os.open(place, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    if name in shell_programs.PROGRAMS:
        os.execvp("bash", ["bash", "-c", shell_programs.PROGRAMS[name]])
    status = 0
    try:
        python_programs.PROGRAMS[name]()
    except BaseException as problem:  # noqa: BLE001 - part of what is compared
        sys.stderr.write(f"{type(problem).__name__}: {problem}\n")
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def text(data: bytes) -> str:
    """Bytes as text, every one kept."""
    return data.decode("utf-8", "backslashreplace")


def tree(folder: str) -> list[str]:
    """Every name below: kind, mode, owner, links, size, time where a program set it, attributes, and a digest of what is in it."""
    found = []
    for top, folders, files in os.walk(os.fsencode(folder)):
        for name in (*folders, *files):
            path = os.path.join(top, name)
            info = os.lstat(path)
            facts = [text(path.removeprefix(os.fsencode(folder))), oct(info.st_mode), info.st_uid, info.st_gid]
            if not stat.S_ISDIR(info.st_mode):
                facts += [info.st_nlink, info.st_size]
            if info.st_mtime < 1_600_000_000:
                facts.append(info.st_mtime_ns)
            if stat.S_ISLNK(info.st_mode):
                facts.append(text(os.readlink(path)))
            elif stat.S_ISREG(info.st_mode):
                facts.append([f"{key}={os.getxattr(path, key)!r}" for key in sorted(os.listxattr(path))])
                facts.append(hashlib.sha256(_content(path)).hexdigest()[:16])
            found.append(" ".join(map(str, facts)))
    return sorted(found)


def _content(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as problem:
        return str(problem.errno).encode()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
