"""The judge over rules: a program compiled once, then one action at a time. Pure: the standard library, and nothing of the world.

Each rule is true, false or open for an action. True rules give their opinion. An open block or ask gives an ask, an open allow
gives nothing; both name the fields that were missing, but only while these could still change the decision or the labels. So a
verdict whose `unknown` is empty may be remembered for the fields it was asked with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from guard.core.actions import FILE_OPS, KINDS, NOTHING_KNOWN, Action, Context, FileAction, NetworkAction
from guard.core.decide import decide
from guard.core.places import Places
from guard.core.verdicts import Decision, Opinion, Verdict
from guard.policy.conditions import Compiler, Facts, Test
from guard.policy.program import Condition, Program, Rule, Waiver

type Inspection = Literal["always", "never", "passthrough"]

REMEMBERED = (
    4096  # combinations of rules whose verdict is kept; a run meets a few dozen, hostile ones cannot grow it further
)

_DEFAULTS: dict[str, tuple[Decision, str]] = {
    "exec": (Decision.ALLOW, "running a program is allowed where no rule speaks; what it does is judged"),
    "read": (Decision.ALLOW, "reading is allowed where no rule speaks"),
    "file": (Decision.ASK, "this changes a file outside the folders that are open to the agent"),
    "network": (Decision.ASK, "no rule knows this destination"),
    "python": (Decision.ALLOW, "Python is allowed where no rule speaks; what it does is judged"),
    "sql": (Decision.ALLOW, "SQL is allowed where no rule speaks"),
    "tool": (Decision.ASK, "no rule knows this tool"),
    "system": (Decision.ASK, "this changes the machine rather than a file, and no rule knows it"),
}


class _Entry:
    """One rule, ready to run. `need` is a set of path bits of which the action must have one; 0 asks nothing."""

    __slots__ = ("decision", "index", "labels", "need", "opinion", "rule", "test", "waivers")

    def __init__(self, index: int, rule: Rule, test: Test, need: int, waivers: tuple[_Waived, ...]) -> None:
        self.index = index
        self.rule = rule
        self.test = test
        self.need = need
        self.waivers = waivers
        self.labels = rule.labels
        self.decision = None if rule.decision is None else Decision.of(rule.decision)
        self.opinion = None if self.decision is None else _opinion(rule, self.decision)


class _Waived:
    __slots__ = ("index", "opinion", "test")

    def __init__(self, index: int, waiver: Waiver, test: Test) -> None:
        self.index = index
        self.test = test
        self.opinion = Opinion(
            decision=Decision.ALLOW,
            source="exception",
            rule=waiver.id,
            because=waiver.because,
            where=waiver.where,
        )


type _Doubt = tuple[_Entry, frozenset[str]]


class Matcher:
    """Judges actions by the rules of a program on this machine.

    `thresholds` resolves `model.ask_threshold` and the like; None means that there is no classifier, and conditions on `harm.*` never
    hold. `today` is an ISO date; exceptions whose last day is before it are dead, and without a date all of them are.
    """

    def __init__(
        self,
        program: Program,
        places: Places,
        *,
        thresholds: Mapping[str, float] | None = None,
        today: str | None = None,
    ) -> None:
        self._compiler = Compiler(places, thresholds)
        self._remembered: dict[object, Verdict] = {}
        kinds = {rule.id: rule.kind for rule in program.rules}
        waivers: dict[str, list[_Waived]] = {}
        for number, waiver in enumerate(program.exceptions):
            if today is not None and today <= waiver.expires:
                test = self._compiler.test(waiver.when, kinds[waiver.rule], every=True)
                waivers.setdefault(waiver.rule, []).append(_Waived(number, waiver, test))
        entries = [self._entry(n, rule, tuple(waivers.get(rule.id, ()))) for n, rule in enumerate(program.rules)]
        self._by_kind: dict[str, tuple[_Entry, ...]] = {
            kind: tuple(e for e in entries if e.rule.kind == kind) for kind in KINDS
        }
        self._by_op = {op: tuple(e for e in self._by_kind["file"] if op in _ops(e.rule.when)) for op in FILE_OPS}
        self._ways = [
            (self._compiler.test(e.rule.when, "network", every=True), _way(e.rule))
            for e in self._by_kind["network"]
            if e.rule.inspect or e.rule.tls
        ]
        self._silence = {word: _default(word) for word in _DEFAULTS}

    def judge(self, action: Action, context: Context = NOTHING_KNOWN) -> Verdict:
        """The verdict of the rules on this action. Never raises for a well-formed action."""
        if isinstance(action, FileAction):
            facts = Facts.of_file(action, context, self._compiler.table)
            entries, word, maybe = self._by_op[action.op], "read" if action.op == "read" else "file", facts.maybe
        else:
            facts = Facts(action, context)
            entries, word, maybe = self._by_kind[action.kind], action.kind, 0
        sure: list[_Entry] = []
        doubts: list[_Doubt] = []
        for entry in entries:
            if entry.need and not entry.need & maybe:
                continue
            result = entry.test(facts)
            if result is True:
                sure.append(entry)
            elif result is not False:
                doubts.append((entry, result))
        if not sure and not doubts and context.harm is None:
            return self._silence[word]
        return self._fold(sure, doubts, facts, word)

    def inspect(self, action: NetworkAction) -> Inspection:
        """How the network edge treats this connection: looks into it, connects it directly, or passes its TLS through unopened.

        Only a rule that certainly holds can say anything but `always`; `passthrough` is the stricter of the other two.
        """
        facts = Facts(action, NOTHING_KNOWN)
        ways = {way for test, way in self._ways if test(facts) is True}
        return "passthrough" if "passthrough" in ways else "never" if ways else "always"

    def _entry(self, index: int, rule: Rule, waivers: tuple[_Waived, ...]) -> _Entry:
        every = rule.decision == "allow"
        test = self._compiler.test(rule.when, rule.kind, every=every)
        need = self._compiler.need(rule.when, rule.kind, every=every)
        return _Entry(index, rule, test, need or 0, waivers)

    def _fold(self, sure: list[_Entry], doubts: list[_Doubt], facts: Facts, word: str) -> Verdict:
        waived = _waived(sure, doubts, facts)
        key = (
            word,
            tuple([e.index for e in sure]),
            tuple([(e.index, fields) for e, fields in doubts]) if doubts else (),
            waived,
            facts.context.harm,
        )
        verdict = self._remembered.get(key)
        if verdict is None:
            verdict = _verdict(sure, doubts, waived, self._silence[word], facts.context)
            if len(self._remembered) < REMEMBERED and facts.context.harm is None:
                self._remembered[key] = verdict
        return verdict


type _Lifted = tuple[tuple[int, Opinion | None, frozenset[str]], ...]


def _waived(sure: Iterable[_Entry], doubts: Iterable[_Doubt], facts: Facts) -> _Lifted:
    """For each ask that an exception names: its index with the opinion that takes its place, or the fields that would tell."""
    found: list[tuple[int, Opinion | None, frozenset[str]]] = []
    for entry in (*sure, *(e for e, _ in doubts)):
        if not entry.waivers or entry.decision is not Decision.ASK:
            continue
        open_fields: frozenset[str] = frozenset()
        for waiver in entry.waivers:
            result = waiver.test(facts)
            if result is True:
                found.append((entry.index, waiver.opinion, frozenset[str]()))
                break
            if result is not False:
                open_fields |= result
        else:
            if open_fields:
                found.append((entry.index, None, open_fields))
    return tuple(found)


def _verdict(sure: list[_Entry], doubts: list[_Doubt], lifted: _Lifted, silence: Verdict, context: Context) -> Verdict:
    replaced = {index: opinion for index, opinion, _ in lifted if opinion is not None}
    liftable = {index: fields for index, _, fields in lifted if fields}
    opinions = [o for e in sure if (o := replaced.get(e.index, e.opinion)) is not None]
    labels = {label for e in sure for label in e.labels if e.opinion is None}
    strongest = max((o.decision for o in opinions), default=None)
    open_fields: set[str] = set()
    if strongest is not Decision.BLOCK:
        held = strongest is Decision.ASK
        for entry, fields in doubts:
            if entry.decision is None:
                labels.update(entry.labels)
                open_fields |= fields
            elif _could_tighten(entry, held) and entry.index not in replaced:
                opinions.append(_doubtful(entry, fields))
                open_fields |= fields | liftable.get(entry.index, frozenset())
        for entry in sure:
            open_fields |= liftable.get(entry.index, frozenset())
        if not open_fields:
            speechless = not opinions and silence.decision is not Decision.ALLOW
            for entry, fields in doubts:
                may_allow = entry.decision is Decision.ALLOW or entry.index in replaced
                if may_allow and (speechless or entry.labels):
                    open_fields |= fields
    if len(open_fields) > 1:
        open_fields.discard("harm.score")  # the dearest fact is asked for only where everything cheaper is known
    verdict = decide(opinions, _silent_opinion(silence), harm=context.harm)
    return replace(
        verdict,
        labels=tuple(sorted({*verdict.labels, *labels})),
        unknown=tuple(sorted(open_fields)),
    )


def _could_tighten(entry: _Entry, held: bool) -> bool:
    """Whether this open rule could change the verdict: beside a certain ask, another ask adds nothing but its labels."""
    return entry.decision is Decision.BLOCK or (entry.decision is Decision.ASK and (not held or bool(entry.labels)))


def _doubtful(entry: _Entry, fields: frozenset[str]) -> Opinion:
    opinion = entry.opinion
    assert opinion is not None, "only rules with a decision are doubted"
    return replace(opinion, decision=Decision.ASK, unknown=tuple(sorted(fields)))


def _opinion(rule: Rule, decision: Decision) -> Opinion:
    return Opinion(
        decision=decision,
        source="rule",
        rule=rule.id,
        because=rule.because,
        where=rule.where,
        instead=rule.instead,
        labels=rule.labels,
    )


def _default(word: str) -> Verdict:
    decision, because = _DEFAULTS[word]
    return Verdict(decision=decision, rules=(f"kind/{word}",), because=because, source="default")


def _silent_opinion(silence: Verdict) -> Opinion:
    return Opinion(decision=silence.decision, source="default", rule=silence.rules[0], because=silence.because)


def _way(rule: Rule) -> Inspection:
    return "passthrough" if rule.tls == "passthrough" else "never"


def _ops(when: Condition) -> frozenset[str]:
    """The file operations for which the condition can hold at all, as far as its top level says."""
    if when[0] == "all":
        found = frozenset(FILE_OPS)
        for part in when[1]:
            found &= _ops(part)
        return found
    if when[0] == "leaf" and when[1] == "op" and when[2] in {"is", "in"}:
        return frozenset(when[3])
    return frozenset(FILE_OPS)
