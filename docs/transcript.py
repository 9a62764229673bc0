"""Writes what the example prints into the README, so that the transcript there is a real one: `python docs/transcript.py`.

`--check` writes nothing and ends with 1 where the README shows something else than the example prints. No terminal is attached, so
that every question is a block. What never enters: an edit by hand; what differs from run to run is left out or replaced by `…`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- transcript: .*? -->\n```text\n)(.*?)(```\n<!-- end of transcript -->)", re.DOTALL)

# What is different in every run, or in every version of Python: the scratch folder's name, ports, process numbers, and the file that
# an error names.
VARYING = (
    (re.compile(r"(\[Errno \d+\] [^:\n]+): (PosixPath\()?'[^'\n]*'\)?"), r"\1"),
    (re.compile(r"/\S*?/guard-example-\w+"), "…"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), r"\1:…"),
    (re.compile(r"\bpid \d+"), "pid …"),
)


def shown(text: str = "") -> str:
    """The transcript that the README shows."""
    found = BLOCK.search(text or README.read_text())
    if found is None:
        raise SystemExit(f"`{README}` has no transcript block: <!-- transcript: … --> to <!-- end of transcript -->")
    return found[2]


def told() -> str:
    """The example's own words and the guard's, in the order in which they appear, without what differs from run to run."""
    command = [sys.executable, str(ROOT / "examples/run.py"), "--approver", "deny"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"the example ended with {done.returncode}:\n{done.stdout}")
    text = done.stdout
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    new, old = told(), shown()
    if parser.parse_args().check:
        return int(new != old)
    README.write_text(BLOCK.sub(lambda found: found[1] + new + found[3], README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
