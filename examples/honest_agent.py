"""An agent that does its job: it fixes a small project. No model is asked; the steps are written down here.

    honest_agent.py DOCS_URL        # in the project's folder

Everything it does is real: it lists and edits files, runs programs and fetches a page. What never enters: anything of the guard. An agent needs to know
nothing about it; a step that the guard refuses fails like any other step that the system refuses.
"""

import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path


def attempt(what: str, action: Callable[[], object]) -> bool:
    """Try one step, say how it went, and whether it worked."""
    try:
        action()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"  ✗ {what}: {error}", flush=True)
        return False
    print(f"  ✓ {what}", flush=True)
    return True


def work(docs_url: str) -> bool:
    """Repair `calc.py` and prove it; whether every step worked."""
    steps: list[tuple[str, Callable[[], object]]] = [
        ("list the project's files", lambda: subprocess.run(["ls", "-la"], check=True, stdout=subprocess.DEVNULL)),
        ("read the documentation", lambda: read_docs(docs_url)),
        ("repair calc.py", repair),
        ("run the tests", run_tests),
        ("see what changed", lambda: subprocess.run(["git", "diff", "--stat"], check=True, stdout=subprocess.DEVNULL)),
        ("tidy up", lambda: Path("docs.txt").unlink()),
    ]
    worked = [attempt(what, action) for what, action in steps]
    return all(worked)


def read_docs(docs_url: str) -> None:
    with urllib.request.urlopen(docs_url, timeout=30) as page:
        Path("docs.txt").write_bytes(page.read())


def repair() -> None:
    source = Path("calc.py")
    source.write_text(source.read_text().replace("a - b", "a + b"))


def run_tests() -> None:
    with open("tested.txt", "w") as report:
        subprocess.run([sys.executable, "-m", "unittest", "-v"], check=True, stderr=report)


if __name__ == "__main__":
    sys.exit(0 if work(sys.argv[1]) else 1)
