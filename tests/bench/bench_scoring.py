"""What a score costs: `python -m tests.bench.bench_scoring` prints load time, latency by length, and memory of the shipped model.

Goals: import and load 200 ms; p99 1 ms up to 200 bytes, 3 ms up to 1 kB, canonicaliser included, one thread. Nothing is asserted.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import time
from pathlib import Path

from guard.scoring.values import default_model_folder
from tests.scoring.spellings import EVERYDAY, HARMFUL

ROOT = Path(__file__).resolve().parents[2]
LENGTHS = (50, 200, 1_000, 2_000, 8_000, 30_000, 900_000)


def start_up(runs: int = 5) -> list[float]:
    """Milliseconds from exec of the judge to its first message, sorted."""
    found = []
    for _ in range(runs):
        begin = time.perf_counter()
        command = [sys.executable, "-m", "guard.scoring.judge"]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as judge:
            assert judge.stdin is not None
            assert judge.stdout is not None
            judge.stdout.read(4)
            found.append((time.perf_counter() - begin) * 1000)
            judge.stdout.close()
            judge.stdin.close()
    return sorted(found)


def texts(length: int, count: int) -> list[str]:
    """`count` different texts of `length` characters, made of everyday and harmful lines in turning order."""
    lines = itertools.cycle([entry[-1] for entry in (*EVERYDAY, *HARMFUL)])
    made = []
    for number in range(count):
        text = f"echo {number}"
        while len(text) < length:
            text += "\n" + next(lines)
        made.append(text[:length])
    return made


def main() -> None:
    """Print the table."""
    begin = time.perf_counter()
    from guard.scoring.onnx import Scorer

    imported = time.perf_counter()
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loading = time.perf_counter()
    scorer = Scorer.load(default_model_folder())
    loaded = time.perf_counter()
    print(f"import {(imported - begin) * 1000:.0f} ms, load {(loaded - loading) * 1000:.0f} ms")
    starts = start_up()
    print(f"judge, exec to ready: min {starts[0]:.0f} ms, median {starts[len(starts) // 2]:.0f} ms")
    for length in LENGTHS:
        found = []
        for text in texts(length, 1_000 if length <= 2_000 else 100 if length <= 8_000 else 20):
            begin = time.perf_counter()
            scorer.score("shell", text)
            found.append((time.perf_counter() - begin) * 1000)
        found.sort()
        print(
            f"{length:>7} characters: p50 {found[len(found) // 2]:.2f} ms, p99 {found[int(len(found) * 0.99)]:.2f} ms"
        )
    print(f"memory over the import: {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
