"""Reading a command line: argparse with one clear line for every wrong use, and a suggestion where one is near.

What never enters: `guard run`, which reads its own line, because its errors end with another status and because argparse costs
more to import than a start may take.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

WRONG_USE = 2


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line on stderr and exit status 2, and which takes no abbreviated options."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # argparse's own signature is checked where parsers are made

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}; see `{self.prog} --help`\n")
        raise SystemExit(WRONG_USE)

    def parse_whole(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments of this line; a word that nobody takes is an error that names the option it resembles."""
        found, extra = self.parse_known_args(words)
        if extra:
            self.error(f"`{extra[0]}` is not understood{did_you_mean(extra[0], self._option_string_actions)}")
        return found


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean …?` with the nearest known word, or an empty string where none is near.

    >>> did_you_mean("chek", ["run", "check"])
    ', did you mean `check`?'
    >>> did_you_mean("zzz", ["run", "check"])
    ''
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean `{near[0]}`?" if near else ""
