"""What is wrong with a policy: where, what was found, what was expected, and what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable


class PolicyError(Exception):
    """A policy that cannot be used. `problems` holds one line each, `file:line:column: what`; the text is all of them."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean `x`?` for the nearest known word, or an empty string where none is near."""
    from difflib import get_close_matches  # only a broken policy pays for it

    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def one_of(words: Iterable[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{w}`" for w in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
