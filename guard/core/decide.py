"""The fold of opinions into one verdict: block > ask > allow > the kind's default.

The order of opinions never matters, and one more opinion never loosens a verdict that another opinion gave. Only a default
gives way: it speaks where nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterable

from guard.core.actions import Harm
from guard.core.verdicts import Decision, Opinion, Verdict


def decide(
    opinions: Iterable[Opinion], default: Opinion, *, harm: Harm | None = None, unread: Iterable[str] = ()
) -> Verdict:
    """The verdict over these opinions.

    `default` is the kind's own word; it counts only where `opinions` is empty. `unread` names fields that some rule wanted and
    did not have although it gave no opinion. The reason shown is that of the strongest opinion, the first by name where several
    are equally strong; all equally strong ones are listed.
    """
    given = sorted(opinions, key=lambda o: (-o.decision, o.rule)) or [default]
    strongest = given[0]
    same = [o for o in given if o.decision == strongest.decision]
    labels = sorted({label for o in given for label in o.labels})
    unknown = sorted({name for o in given for name in o.unknown} | set(unread))
    return Verdict(
        decision=strongest.decision,
        rules=tuple(dict.fromkeys(o.rule for o in same)),
        because=strongest.because,
        instead=next((o.instead for o in same if o.instead), None),
        labels=tuple(labels),
        unknown=tuple(unknown),
        where=tuple(dict.fromkeys(o.where for o in same if o.where)),
        source=strongest.source,
        score=None if harm is None else harm.score,
        label=None if harm is None else harm.label,
    )


def failed(judge: str, problem: str) -> Opinion:
    """The opinion of a judge that could not finish: at least ask (DESIGN: an error never loosens)."""
    return Opinion(decision=Decision.ASK, source="error", rule=f"error/{judge}", because=f"{judge} failed: {problem}")


def blocked(edge: str, problem: str) -> Verdict:
    """The verdict of an edge that could not read, resolve or finish an action: block."""
    return Verdict(decision=Decision.BLOCK, rules=(f"error/{edge}",), because=f"{edge}: {problem}", source="error")


def no_one_to_ask(verdict: Verdict) -> Verdict:
    """The verdict where an ask can be answered by nobody (`--approver deny`, no terminal, deadline): a block, with the same reasons."""
    if verdict.decision is not Decision.ASK:
        return verdict
    return Verdict(
        decision=Decision.BLOCK,
        rules=verdict.rules,
        because=verdict.because,
        instead=verdict.instead,
        unknown=verdict.unknown,
        where=verdict.where,
        source=verdict.source,
        score=verdict.score,
        label=verdict.label,
    )
