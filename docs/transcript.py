"""Writes what the example prints in a terminal into the README, so that the transcript there is a real one: `python docs/transcript.py`.

`--check` writes nothing; where the README shows something else than the example prints it shows the difference and ends with 1. Nobody is
there to be asked, so that every question is a block. What never enters: an edit by hand. What differs from run to run is left out or
replaced by `…`.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- transcript: .*? -->\n```text\n)(.*?)(```\n<!-- end of transcript -->)", re.DOTALL)
WIDTH = 500  # columns: no line of the example is wrapped

# What is different in every run, or in every version of Python: the scratch folder's name, ports, process numbers, and the file that
# an error names.
VARYING = (
    (re.compile(r"(\[Errno \d+\] [^:\n]+): (PosixPath\()?'[^'\n]*'\)?"), r"\1"),
    (re.compile(r"/\S*?/guard-example-\w+"), "…"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), r"\1:…"),
    (re.compile(r"\bpid \d+"), "pid …"),
)


def shown() -> str:
    """The transcript that the README shows."""
    found = BLOCK.search(README.read_text())
    if found is None:
        raise SystemExit(f"`{README}` has no transcript block: <!-- transcript: … --> to <!-- end of transcript -->")
    return found[2]


def told() -> str:
    """The agents' and the guard's words in the order of the terminal, without what differs from run to run."""
    status, text = in_a_terminal([sys.executable, str(ROOT / "examples/run.py"), "--approver", "deny"])
    if status:
        raise SystemExit(f"the example ended with {status}:\n{text}")
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines())


def in_a_terminal(command: list[str]) -> tuple[int, str]:
    """Runs a command with a terminal of its own: its exit status and what it wrote."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
        os.execv(command[0], command)
    written = b""
    try:
        while chunk := os.read(terminal, 65536):
            written += chunk
    except OSError:
        pass  # EIO: how Linux says that the last holder of the other end is gone
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), written.decode(errors="replace")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    check: bool = parser.parse_args().check
    new, old = told(), shown()
    if check:
        sys.stdout.writelines(
            difflib.unified_diff(old.splitlines(True), new.splitlines(True), "README.md", "the example")
        )
        return int(new != old)
    README.write_text(BLOCK.sub(lambda found: found[1] + new + found[3], README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
