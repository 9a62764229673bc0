"""Every shipped pack: its examples hold, every rule has them, and a rule that is changed fails its own examples."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from guard.core.actions import Action, ExecAction
from guard.policy.examples import SAMPLE, action_of, count_examples, run_examples
from guard.policy.load import load, pack_names
from guard.policy.program import Program, Rule


def plain(command: str) -> list[Action]:
    """A stand-in for the shell reader that splits simple commands at blanks: enough for the examples of the packs."""
    words = command.split()
    return [
        ExecAction(
            exe=f"/usr/bin/{words[0]}",
            name=words[0],
            args=tuple(words[1:]),
            command=command,
            script="",
            anonymous=False,
        )
    ]


@pytest.mark.parametrize("pack", pack_names())
def test_examples_hold(pack: str) -> None:
    """What a rule says that it holds for, it holds for, and nothing that it says it does not."""
    program = load([pack], places=SAMPLE, state_folder=None)
    assert run_examples(program, plain) == []


@pytest.mark.parametrize("pack", pack_names())
def test_every_rule_has_examples_of_both_sides(pack: str) -> None:
    """A rule without examples is a rule that nobody can check."""
    program = load([pack], places=SAMPLE, state_folder=None)
    assert [r.id for r in program.rules if not r.match or not r.miss] == []
    assert count_examples(program, commands=True) > 2 * len(program.rules)


@pytest.mark.parametrize("pack", pack_names())
def test_rules_that_hold_say_how_grave_it_is(pack: str) -> None:
    """Every block and ask has a severity, for the log and for the order of questions."""
    program = load([pack], places=SAMPLE, state_folder=None)
    assert [r.id for r in program.rules if r.decision in ("block", "ask") and r.severity is None] == []


def test_no_registry_is_named() -> None:
    """Where packages come from is read from the machine; the packs and the code name no such host."""
    folder = Path(__file__).resolve().parents[2]
    files = [
        *(folder / "policies").glob("*.yaml"),
        *(folder / "guard/policy").glob("*.py"),
        folder / "guard/core/places.py",
    ]
    hosts = re.compile(
        r"\b(?:pypi|npmjs|pythonhosted|crates|rubygems|debian|ubuntu|yarnpkg|maven|golang)\.(?:org|io|com)\b"
    )
    assert [(f.name, found) for f in files if (found := hosts.findall(f.read_text()))] == []


def changed(rule: Rule) -> list[Rule]:
    """The rule with its condition turned around, and without it."""
    return [replace(rule, when=["not", rule.when]), replace(rule, when=["all", []]), replace(rule, when=["any", []])]


@pytest.mark.parametrize("pack", pack_names())
def test_examples_notice_a_changed_rule(pack: str) -> None:
    """A rule that holds for everything, for nothing, or for the opposite fails an example of its own."""
    program = load([pack], places=SAMPLE, state_folder=None)
    unnoticed = []
    for rule in program.rules:
        for mutant in changed(rule):
            if not run_examples(Program(policy_id="", rules=(mutant,)), plain):
                unnoticed.append((rule.id, mutant.when[0]))
    assert unnoticed == []


def test_failures_say_what_happened() -> None:
    """A failed example names its rule, side and place; a command that gives no action of the kind says so."""
    program = load(["default"], places=SAMPLE, state_folder=None)
    rule = next(r for r in program.rules if r.id == "default/remove-everything")
    broken = replace(rule, match=({"name": "ls", "args": ["-l"]}, {"command": "x"}), miss=({"command": "rm -rf /"},))
    told = [
        (f.rule, f.side, f.found)
        for f in run_examples(Program(policy_id="", rules=(broken,)), lambda c: plain(c) if " " in c else [])
    ]
    assert told == [
        ("default/remove-everything", "match", "the rule does not hold"),
        ("default/remove-everything", "match", "the command makes no action of kind `exec`"),
        ("default/remove-everything", "miss", "the rule holds"),
    ]
    assert run_examples(Program(policy_id="", rules=(replace(broken, match=()),))) == []


def test_an_example_with_an_unknown_field_is_refused() -> None:
    """Tests build actions this way too; a typing error must not become an unknown field."""
    with pytest.raises(ValueError, match="no action of kind `file`"):
        action_of("file", {"op": "read", "pth": "./x"})
