"""The front door: finds the file of the command that was typed, imports that file alone, and turns failures into exit statuses.

Every command file but `run` has `add_parser(subparsers)`, which adds the parser of its own name, and `run(args) -> int`. `run`
has `main(words) -> int` and reads its line itself: it starts agents, so nothing that it does not need is imported before it.
What never enters: what a command does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from guard import __version__

GUARD_FAILED = 125  # `guard run`: a failure of the guard's own, as env(1) has it for itself
WRONG_USE = 2  # every other command: the call, a policy or a file is wrong
BROKEN_PIPE = 128 + 13  # the reader of our output is gone: what a shell reports for SIGPIPE
INTERRUPTED = 128 + 2  # likewise for SIGINT

# name: (what it does, an example)
COMMANDS = {
    "run": (
        "run a command, and everything it starts, under the guard",
        "guard run --approver deny -- claude -p 'fix the tests'",
    ),
    "check": ("what verdict an action would get, without doing it", "guard check 'rm -rf build'"),
    "log": ("what was decided in a session", "guard log --session last --decision block"),
    "show": ("one session: its processes, and what was blocked or asked", "guard show last"),
    "doctor": ("what can really be enforced on this machine, each line tried", "guard doctor"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives the exit status that the contract names for it."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else ""
    try:
        if name == "run":
            from guard_cli import run

            status = run.main(words[1:])
            if argv is None:
                run.leave(status)
            return status
        status = _command(name, words)
        sys.stdout.flush()  # a closed pipe or a full disk is this command's failure, not the interpreter's at its end
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as problem:  # noqa: BLE001 - the border: whatever a command did not foresee ends here, and fails closed
        return _failed(name, problem)


def _command(name: str, words: list[str]) -> int:
    if name in COMMANDS:
        return _dispatch(name, words)
    if name in ("-V", "--version"):
        print(f"guard {__version__}")
        return 0
    if name in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if not name:
        print(_overview(), file=sys.stderr)
        return WRONG_USE
    from guard_cli.arguments import did_you_mean

    print(f"guard: `{name}` is no command{did_you_mean(name, COMMANDS)}; see `guard --help`", file=sys.stderr)
    return WRONG_USE


def _dispatch(name: str, words: list[str]) -> int:
    from importlib import import_module

    from guard_cli.arguments import Parser

    command = import_module(f"guard_cli.{name}")
    subparsers = Parser(prog="guard").add_subparsers(parser_class=Parser)
    command.add_parser(subparsers)
    parser = subparsers.choices[name]
    parser.epilog = f"example: {COMMANDS[name][1]}"
    return int(command.run(parser.parse_whole(words[1:])))


def _overview() -> str:
    lines = ["usage: guard COMMAND …", "", "A safety-monitoring proxy for autonomous agents.", ""]
    for name, (purpose, example) in COMMANDS.items():
        lines += [f"  {name:8} {purpose}", f"           {example}"]
    lines += ["", "  --version, --help; `guard COMMAND --help` tells a command's options."]
    return "\n".join(lines)


def _failed(name: str, problem: Exception) -> int:
    """The status of a failure. One line for the person; the traceback as well where GUARD_TRACEBACK is set."""
    if isinstance(problem, BrokenPipeError) and name != "run":
        _abandon_stdout()
        return BROKEN_PIPE
    what = "the system refused" if isinstance(problem, OSError) else f"internal error: {type(problem).__name__}"
    print(f"guard {name}: {what}: {problem} (GUARD_TRACEBACK=1 shows where)", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        _abandon_stdout()
    if os.environ.get("GUARD_TRACEBACK"):
        import traceback

        traceback.print_exception(problem)
    return GUARD_FAILED if name == "run" else WRONG_USE


def _abandon_stdout() -> None:
    """Lets what is still buffered go nowhere: the interpreter flushes once more at its end, and would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
