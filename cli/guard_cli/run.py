"""`guard run`: reads its own line, checks it, and starts a session. Every failure of the guard's own ends with 125.

Nothing that a start does not need is imported: argparse alone costs more than a warm policy load.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from guard.runtime import Asker
    from guard.terminal import Terminal

OWN_FAILURE = 125

USAGE = """\
usage: guard run [options] [--] COMMAND [ARG…]

Runs COMMAND, and everything it starts, under the guard.

  --policy PACK|FILE      rules to apply; may be repeated (default: the pack `default` and your own guard.yaml)
  --workspace DIR         the folder that the agent works in (default: the current folder)
  --task TEXT             what the agent was asked to do; shown in questions and kept in the log
  --approver tty|deny     who answers questions: you in this terminal, or nobody (every ask is a block)
  --ask-timeout SECONDS   how long an asking call waits for an answer (default: 25)
  --shadow                judge and record everything, block nothing but attacks on the guard itself
  --no-network            refuse every connection and datagram that leaves the tree
  --no-model              run on rules alone, without the classifier
  --upstream-ca FILE      trust this certificate authority when connecting to servers (PEM)
  -h, --help

The exit status is COMMAND's own, 128+N where a signal ended it, 126 or 127 where it cannot be run, 125 where the guard failed.

example: guard run --task 'fix the failing test' -- claude -p 'fix the failing test'
"""

_WITH_VALUE = ("--policy", "--workspace", "--task", "--approver", "--ask-timeout", "--upstream-ca")
_FLAGS = ("--shadow", "--no-network", "--no-model")


class WrongLine(Exception):
    """The command line cannot be read; the text says where and what to do."""


def main(words: Sequence[str]) -> int:
    """Runs a session from the words after `guard run`."""
    if words and words[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0
    _open_standard()
    import gc

    gc.disable()  # until the session is up: what is made now stays
    from guard.runtime import CannotRun, Options, run

    try:
        values, flags, command = _read(list(words))
        options = Options(
            command=tuple(command),
            policies=tuple(values.get("--policy", ())),
            workspace=_last(values, "--workspace"),
            task=_last(values, "--task"),
            approver=_approver(_last(values, "--approver")),
            ask_timeout_s=_seconds(_last(values, "--ask-timeout")),
            shadow="--shadow" in flags,
            network="--no-network" not in flags,
            model="--no-model" not in flags,
            upstream_ca=_file(_last(values, "--upstream-ca")),
        )
        if options.shadow:
            print(
                "guard: --shadow: nothing is blocked but attacks on the guard itself; everything is recorded",
                file=sys.stderr,
            )
        return run(options, dict(os.environ), _asker)
    except WrongLine as problem:
        print(f"guard run: {problem}; see `guard run --help`", file=sys.stderr)
    except CannotRun as problem:
        print(f"guard run: {problem}", file=sys.stderr)
    return OWN_FAILURE


def _open_standard() -> None:
    """Standard descriptors that were closed become /dev/null for the guard, so that none of its own files takes their place; COMMAND finds them
    closed as they were (close-on-exec).
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # the lowest free number is this one
            if number:
                setattr(sys, name, open(number, "w", closefd=False))  # noqa: SIM115 - it lives as long as the process


def leave(status: int) -> NoReturn:
    """Ends this process without taking the interpreter apart, which would cost COMMAND's caller 15 ms."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _asker(terminal: Terminal) -> Asker:
    import time

    from guard_cli.prompt import Prompt

    return Prompt(terminal, time.monotonic)


def _read(words: list[str]) -> tuple[dict[str, list[str]], set[str], list[str]]:
    """Options with values, flags, and the command."""
    values: dict[str, list[str]] = {}
    flags: set[str] = set()
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            words.insert(0, word)
            break
        name, equals, value = word.partition("=")
        if name in _FLAGS and not equals:
            flags.add(name)
        elif name in _WITH_VALUE:
            if not equals:
                if not words or words[0] == "--":
                    raise WrongLine(f"`{name}` needs a value")
                value = words.pop(0)
            values.setdefault(name, []).append(value)
        else:
            raise WrongLine(f"`{word}` is not understood{_near(name)}")
    if not words:
        raise WrongLine("no command to run")
    return values, flags, words


def _near(name: str) -> str:
    from guard_cli.arguments import did_you_mean

    return did_you_mean(name, (*_WITH_VALUE, *_FLAGS, "--help"))


def _last(values: dict[str, list[str]], name: str) -> str | None:
    found = values.get(name, [])
    if len(found) > 1:
        raise WrongLine(f"`{name}` is given {len(found)} times")
    return found[0] if found else None


def _approver(value: str | None) -> str | None:
    if value not in (None, "tty", "deny"):
        raise WrongLine(f"--approver: `{value}` is neither `tty` nor `deny`")
    return value


def _seconds(value: str | None) -> float:
    if value is None:
        return 25.0
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86400:
        raise WrongLine(f"--ask-timeout: `{value}` is no number of seconds between 0 and 86400")
    return seconds


def _file(value: str | None) -> str | None:
    if value is not None and not os.path.isfile(value):
        raise WrongLine(f"--upstream-ca: `{value}` is no file")
    return None if value is None else os.path.abspath(value)
