"""Runs every row's program one after the other inside one session: the first argument is the folder with `rows.json`. System Python, no guard."""

# ruff: noqa: T201 (a program of its own for the system Python, not a module of the tests)

import json
import os
import signal
import subprocess
import sys

LIMIT_S = 8  # the longest race takes three seconds


def start(place, environ, out):
    return subprocess.Popen(
        ["/usr/bin/python3", "-I", "-B", os.path.join(place, "program.py")],
        cwd=os.path.join(place, "ws"),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: os.setpgid(0, 0),
    )


def main(folder: str) -> None:
    with open(os.path.join(folder, "rows.json")) as file:
        rows = json.load(file)
    for name, outside in rows.items():
        place = os.path.join(folder, "rows", name)
        environ = {**os.environ, "ROW": name, "OUTSIDE": json.dumps(outside)}
        with open(os.path.join(place, "out"), "wb") as out:
            try:
                process = start(place, environ, out)
            except OSError as problem:
                os.rename(out.name, os.path.join(place, "unstarted"))
                print(name, problem)
                continue
            try:
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                with open(os.path.join(place, "late"), "w"):
                    pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


if __name__ == "__main__":
    main(sys.argv[1])
    print("driver: done")
