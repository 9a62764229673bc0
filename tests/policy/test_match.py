"""The judge: three-valued conditions, two-path operations, exceptions, and the promises that hold for all policies and actions."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.actions import (
    NOTHING_KNOWN,
    Actor,
    Context,
    ExecAction,
    FileAction,
    FileOp,
    Harm,
    NetworkAction,
    PythonAction,
    SystemAction,
    ToolAction,
)
from guard.core.verdicts import Decision, Verdict
from guard.policy.conditions import WINDOW
from guard.policy.match import Matcher
from guard.policy.program import Condition, Program, Rule, Waiver
from tests.policy.support import PLACES, leaf, program, rule

BLOCK, ASK, ALLOW = Decision.BLOCK, Decision.ASK, Decision.ALLOW
SSH = Actor(name="ssh", exe="/usr/bin/ssh", verified=True)


def judged(
    action: Any, *rules: Rule, context: Context = NOTHING_KNOWN, thresholds: dict[str, float] | None = None
) -> Verdict:
    """The verdict of these rules alone."""
    return Matcher(program(*rules), PLACES, thresholds=thresholds).judge(action, context)


# --- what nobody spoke about --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "decision", "named"),
    [
        (FileAction(op="read", path="/etc/hosts"), ALLOW, "kind/read"),
        (FileAction(op="write", path="/w/a"), ASK, "kind/file"),
        (ExecAction(name="ls"), ALLOW, "kind/exec"),
        (NetworkAction(address="10.0.0.1"), ASK, "kind/network"),
        (ToolAction(name="x"), ASK, "kind/tool"),
        (SystemAction(op="mount"), ASK, "kind/system"),
        (PythonAction(text="1"), ALLOW, "kind/python"),
    ],
)
def test_every_kind_has_a_word_of_its_own(action: Any, decision: Decision, named: str) -> None:
    """Where no rule speaks, the kind's default does, with its reason, and nothing is unknown."""
    verdict = judged(action)
    assert (verdict.decision, verdict.rules, verdict.unknown, verdict.source) == (decision, (named,), (), "default")


# --- unknown fields -------------------------------------------------------------------------------------------------------------


def test_a_path_that_does_not_match_asks_for_no_fact() -> None:
    """Facts cost time: who acts is asked for only where the path is spoken about."""
    secret = rule(1, ["all", [leaf("path", "in", "/s"), ["not", leaf("actor.name", "in", "ssh")]]], "ask")
    assert judged(FileAction(op="read", path="/etc/hosts"), secret).unknown == ()
    assert judged(FileAction(op="read", path="/s/key"), secret).unknown == ("actor",)


def test_an_open_ask_or_block_asks_and_a_known_one_decides() -> None:
    """Unknown in a block gives ask; the fact then makes it block or nothing."""
    secret = rule(1, ["all", [leaf("path", "in", "/s"), ["not", leaf("actor.name", "in", "ssh")]]], "block")
    open_ = judged(FileAction(op="read", path="/s/key"), secret)
    assert (open_.decision, open_.unknown) == (ASK, ("actor",))
    assert judged(FileAction(op="read", path="/s/key", actor=SSH), secret).decision is ALLOW
    assert judged(FileAction(op="read", path="/s/key", actor=replace(SSH, name="cat")), secret).decision is BLOCK


def test_an_open_allow_gives_nothing_and_names_its_field() -> None:
    """An unknown never satisfies an allow, but the edge learns what to look for."""
    own = rule(1, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], "allow")
    open_ = judged(FileAction(op="write", path="/s/known"), own)
    assert (open_.decision, open_.rules, open_.unknown) == (ASK, ("kind/file",), ("actor",))
    assert judged(FileAction(op="write", path="/s/known", actor=SSH), own).decision is ALLOW


def test_an_actor_that_is_not_verified_stays_unknown_for_good() -> None:
    """It satisfies no allow, it makes a block ask, and no further fact is asked for."""
    shady = replace(SSH, verified=False)
    own = rule(1, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], "allow")
    others = rule(2, ["all", [leaf("path", "in", "/s"), ["not", leaf("actor.name", "in", "ssh")]]], "block")
    allowed = judged(FileAction(op="write", path="/s/x", actor=shady), own)
    blocked = judged(FileAction(op="write", path="/s/x", actor=shady), others)
    assert (allowed.decision, allowed.source, allowed.unknown) == (ASK, "default", ())
    assert (blocked.decision, blocked.rules, blocked.unknown) == (ASK, ("t/r2",), ())
    assert (
        judged(FileAction(op="read", path="/s/x", actor=shady), rule(3, leaf("actor.verified", "is", False))).decision
        is BLOCK
    )


def test_a_certain_block_asks_for_nothing_more() -> None:
    """What weaker or open rules would say does not matter beside it."""
    sure = rule(1, leaf("path", "in", "/s"), "block")
    open_ = rule(2, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], "ask")
    verdict = judged(FileAction(op="read", path="/s/x"), sure, open_)
    assert (verdict.decision, verdict.unknown, verdict.rules) == (BLOCK, (), ("t/r1",))


def test_beside_a_certain_ask_only_blocks_are_open() -> None:
    """A second ask would change nothing, a block would."""
    sure = rule(1, leaf("path", "in", "/s"), "ask")
    ask = rule(2, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], "ask")
    block = rule(3, ["all", [leaf("path", "in", "/s"), leaf("sets", "in", "hooks")]], "block")
    assert judged(FileAction(op="read", path="/s/x"), sure, ask).unknown == ()
    assert judged(FileAction(op="read", path="/s/x"), sure, ask, block).unknown == ("sets",)


def test_the_score_is_asked_for_last() -> None:
    """A model runs only where everything cheaper is known."""
    both = rule(
        1,
        ["all", [leaf("name", "in", "sh"), leaf("script", "matches", "x.*"), leaf("harm.score", "gt", 0.5)]],
        "ask",
        kind="exec",
    )
    other = rule(2, leaf("harm.score", "gt", "model.ask_threshold"), "ask", kind="exec")
    limits = {"model.ask_threshold": 0.9}
    assert judged(ExecAction(name="sh"), both, other, thresholds=limits).unknown == ("script",)
    assert judged(ExecAction(name="sh", script="xx"), both, other, thresholds=limits).unknown == ("harm.score",)
    known = judged(
        ExecAction(name="sh", script="xx"),
        both,
        other,
        thresholds=limits,
        context=Context(harm=Harm(score=0.7, label="none")),
    )
    assert (known.decision, known.rules, known.score) == (ASK, ("t/r1",), 0.7)
    assert (
        judged(
            ExecAction(name="ls"), other, thresholds=limits, context=Context(harm=Harm(score=0.9, label="none"))
        ).decision
        is ALLOW
    )


def test_without_a_model_no_score_is_missed() -> None:
    """`--no-model` runs on rules alone: conditions on the score never hold and are never open."""
    scored = rule(1, leaf("harm.score", "gt", "model.ask_threshold"), "ask", kind="exec")
    assert judged(ExecAction(name="sh"), scored).decision is ALLOW
    assert judged(ExecAction(name="sh"), scored).unknown == ()


# --- paths ----------------------------------------------------------------------------------------------------------------------


def test_two_paths_either_for_block_both_for_allow() -> None:
    """A rename is blocked if either end matches, and allowed only if both do."""
    out = FileAction(op="rename", path="/w/a", to="/etc/a", folder=False)
    assert judged(out, rule(1, leaf("path", "in", "./."), "allow")).decision is ASK
    assert judged(out, rule(1, leaf("path", "in", "/etc"), "block")).decision is BLOCK
    assert judged(replace(out, to="/w/b"), rule(1, leaf("path", "in", "./."), "allow")).decision is ALLOW


def test_negation_turns_either_into_both() -> None:
    """A block on what is not in a folder holds if either end is outside; an allow on it needs both ends outside."""
    out = FileAction(op="rename", path="/w/a", to="/etc/a", folder=False)
    assert judged(out, rule(1, ["not", leaf("path", "in", "/w")], "block")).decision is BLOCK
    assert judged(replace(out, to="/w/b"), rule(1, ["not", leaf("path", "in", "/w")], "block")).decision is ASK
    assert judged(out, rule(1, ["not", leaf("path", "in", "/w")], "allow")).decision is ASK


def test_at_and_to_are_one_end_each() -> None:
    """`at` is what is acted on, `to` the second path alone."""
    out = FileAction(op="rename", path="/w/a", to="/etc/a", folder=False)
    assert judged(out, rule(1, leaf("at", "in", "/w"), "allow")).decision is ALLOW
    assert judged(out, rule(1, leaf("to", "in", "/w"), "allow")).decision is ASK
    assert judged(out, rule(1, leaf("to", "in", "/etc"), "block")).decision is BLOCK
    assert judged(replace(out, to=None), rule(1, leaf("to", "exists", False), "block")).decision is BLOCK


@pytest.mark.parametrize(
    ("op", "folder", "decision", "unknown"),
    [
        ("rename", True, BLOCK, ()),
        ("rename", None, ASK, ("folder",)),
        ("rename", False, ALLOW, ()),
        ("delete", True, BLOCK, ()),
        ("write", True, ALLOW, ()),
    ],
)
def test_a_folder_touches_what_is_below(
    op: FileOp, folder: bool | None, decision: Decision, unknown: tuple[str, ...]
) -> None:
    """A rule on `./a/b` matches a rename of `./a`; whether it is a folder is asked for where it matters."""
    rules = rule(1, leaf("path", "in", "./a/b"), "block"), rule(2, leaf("path", "in", "./."), "allow")
    verdict = judged(FileAction(op=op, path="/w/a", to="/w/c" if op == "rename" else None, folder=folder), *rules)
    assert (verdict.decision, verdict.unknown) == (decision, unknown)


@pytest.mark.parametrize(
    ("operator", "pattern", "path", "holds"),
    [
        ("in", "./a", "/w/a/x", True),
        ("in", "./a*", "/w/ab", True),
        ("in", "./a*", "/w/ab/x", False),
        ("under", "./a*", "/w/ab/x", True),
        ("under", "./a", "/w/a", True),
        ("is", "./a", "/w/a", True),
        ("is", "./a", "/w/a/x", False),
        ("is", "**/b", "/w/a/b", True),
        ("glob", "./*.py", "/w/x.py", True),
        ("glob", "./a", "/w/a/x", False),
        ("in", "~/x", "/home/ann/x", True),
        ("in", "~", "/home/me/x", True),
        ("matches", "/w/[a-c]+", "/w/abc", True),
        ("matches", "/w/[a-c]+", "/w/abcd", False),
    ],
)
def test_path_operators(operator: str, pattern: str, path: str, holds: bool) -> None:
    """`in` takes plain entries with all below and globs as they are; `under` takes all below; `is` and `glob` take the path itself."""
    verdict = judged(FileAction(op="read", path=path), rule(1, leaf("path", operator, pattern), "block"))
    assert (verdict.decision is BLOCK) is holds


def test_home_is_everybodys_for_block_and_ones_own_for_allow() -> None:
    """Secrets are protected in every home; what is open is open in one's own."""
    theirs = FileAction(op="write", path="/home/ann/.cache/x")
    assert judged(theirs, rule(1, leaf("path", "in", "~/.cache"), "block")).decision is BLOCK
    assert judged(theirs, rule(1, leaf("path", "in", "~/.cache"), "allow")).decision is ASK
    assert (
        judged(replace(theirs, path="/home/me/.cache/x"), rule(1, leaf("path", "in", "~/.cache"), "allow")).decision
        is ALLOW
    )


@pytest.mark.parametrize(
    ("name", "path", "holds"),
    [
        ("places.workspace", "/w/x", True),
        ("places.git", "/w/.git/HEAD", True),
        ("places.temporary", "/tmp/x", True),
        ("places.guard", "/home/me/.local/state/guard/log", True),
        ("places.guard_private", "/home/me/.local/state/guard/log", True),
        ("places.guard_private", "/home/me/.local/state/guard/public/ca.pem", False),
        ("places.home", "/home/me", True),
        ("places.home", "/home/ann/x", False),
        ("places.other_homes", "/home/ann/x", True),
        ("places.path_folders", "/usr/bin/ls", True),
        ("places.devices", "/dev/null", True),
        ("places.devices", "/dev/sda", False),
        ("places.devices", "/proc/77/uid_map", True),
        ("places.devices", "/proc/sys/vm/x", False),
        ("machine.caches", "/home/me/.cache/pip", True),
        ("places.guard_code", "/w/x", False),
        ("places.programs", "/w/x", False),
    ],
)
def test_built_in_path_lists(name: str, path: str, holds: bool) -> None:
    """Every built-in list means the folders of this machine."""
    verdict = judged(FileAction(op="read", path=path), rule(1, leaf("path", "in", lists=(name,)), "block"))
    assert (verdict.decision is BLOCK) is holds


def test_a_home_in_a_temporary_folder_is_not_temporary() -> None:
    """Agents are given throw-away homes below /tmp; such a home is still a home."""
    places = replace(PLACES, home="/tmp/h", homes=("/tmp/h",))
    matcher = Matcher(program(rule(1, leaf("path", "in", lists=("places.temporary",)), "allow")), places)
    assert matcher.judge(FileAction(op="write", path="/tmp/x")).decision is ALLOW
    assert matcher.judge(FileAction(op="write", path="/tmp/h/x")).decision is ASK


# --- network and the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "operator", "values", "lists", "holds"),
    [
        ("host", "in", ("api.example",), (), True),
        ("host", "in", ("*.example",), (), True),
        ("host", "in", ("example",), (), False),
        ("host", "in", ("API.Example.",), (), True),
        ("host", "glob", ("api.*",), (), True),
        ("host", "in", (), ("machine.registries",), False),
        ("host", "in", (), ("machine.model_providers",), False),
        ("address", "cidr", ("10.0.0.0/8",), (), True),
        ("address", "cidr", ("192.168.0.0/16", "fd00::/8"), (), False),
        ("address", "in", ("10.1.2.3",), (), True),
        ("address", "is", ("10.1.2.4",), (), False),
        ("port", "gt", (1000,), (), True),
        ("port", "lt", (1000,), (), False),
        ("port", "in", (8080, 8443), (), True),
        ("method", "is", ("POST",), (), True),
        ("headers.x-a", "in", ("1",), (), True),
        ("headers.x-b", "exists", (True,), (), False),
        ("content", "in", ("private-key",), (), True),
        ("query", "exists", (False,), (), True),
    ],
)
def test_network_fields(
    field: str, operator: str, values: tuple[object, ...], lists: tuple[str, ...], holds: bool
) -> None:
    """Hosts are compared in their one spelling, addresses as addresses."""
    action = NetworkAction(
        host=("api.example",),
        address="::ffff:10.1.2.3",
        port=8080,
        method="POST",
        query="",
        headers=(("x-a", "1"), ("x-c", "2")),
        content=("private-key",),
    )
    verdict = judged(action, rule(1, leaf(field, operator, *values, lists=lists), "block", kind="network"))
    assert (verdict.decision is BLOCK) is holds
    assert verdict.unknown == ()


def test_every_name_of_a_host_counts() -> None:
    """An allow needs all names of the destination, a block one of them; without any name nothing is allowed."""
    two = NetworkAction(host=("registry.example", "evil.example"))
    allow = rule(1, leaf("host", "in", lists=("machine.registries",)), "allow", kind="network")
    assert judged(two, allow).decision is ASK
    assert judged(replace(two, host=("registry.example",)), allow).decision is ALLOW
    assert judged(replace(two, host=()), allow).decision is ASK
    assert judged(two, rule(1, leaf("host", "in", "evil.example"), "block", kind="network")).decision is BLOCK


def test_a_model_on_loopback_does_not_open_loopback() -> None:
    """Its endpoint is known by its port; other listeners on the same address are no models."""
    provider = rule(1, leaf("host", "in", lists=("machine.model_providers",)), "allow", kind="network")
    assert judged(NetworkAction(host=("127.0.0.1",), port=80), provider).decision is ASK
    assert judged(NetworkAction(host=("models.example",), port=443), provider).decision is ALLOW


def test_inspection() -> None:
    """Only a rule that certainly holds takes a connection out of the proxy."""
    direct = replace(rule(1, leaf("listener", "in", "tree"), "allow", kind="network"), inspect="never")
    pinned = replace(rule(2, leaf("host", "in", "pinned.example"), "allow", kind="network"), tls="passthrough")
    matcher = Matcher(program(direct, pinned), PLACES)
    assert matcher.inspect(NetworkAction(listener="tree")) == "never"
    assert matcher.inspect(NetworkAction(listener="elsewhere")) == "always"
    assert matcher.inspect(NetworkAction(listener="elsewhere", host=("pinned.example",))) == "passthrough"
    assert matcher.inspect(NetworkAction()) == "always"


def test_long_text_is_read_in_windows() -> None:
    """Padding does not hide what a block looks for, and an allow never holds on what is too long to be read at once."""
    hit = leaf("script", "matches", ".*needle.*")
    long = "x" * (3 * WINDOW) + "needle" + "y" * WINDOW
    assert judged(ExecAction(script=long), rule(1, hit, "block", kind="exec")).decision is BLOCK
    allow = rule(1, leaf("arguments", "matches", ".*"), "allow", kind="tool")
    assert judged(ToolAction(arguments="x" * WINDOW), allow).decision is ALLOW
    assert judged(ToolAction(arguments="x" * (WINDOW + 1)), allow).decision is ASK


# --- labels, sequences, exceptions ------------------------------------------------------------------------------------------------


def test_a_rule_may_only_label() -> None:
    """Its label joins the verdict without a word on it; while it is open the label counts and the field is asked for."""
    mark = rule(1, leaf("path", "in", "/s"), None, labels=("secret",))
    verdict = judged(FileAction(op="read", path="/s/x"), mark)
    assert (verdict.decision, verdict.source, verdict.labels) == (ALLOW, "default", ("secret",))
    open_ = rule(2, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], None, labels=("key",))
    assert (
        judged(FileAction(op="read", path="/s/x"), open_).labels,
        judged(FileAction(op="read", path="/s/x"), open_).unknown,
    ) == (
        ("key",),
        ("actor",),
    )


def test_an_open_allow_with_a_label_is_asked_about() -> None:
    """Beside a certain allow another one changes no decision, but its label would be put on the session."""
    sure = rule(1, leaf("path", "in", "/s"), "allow")
    open_ = rule(2, ["all", [leaf("path", "in", "/s"), leaf("actor.name", "in", "ssh")]], "allow")
    assert judged(FileAction(op="write", path="/s/x"), sure, open_).unknown == ()
    assert judged(FileAction(op="write", path="/s/x"), sure, replace(open_, labels=("key",))).unknown == ("actor",)
    assert judged(FileAction(op="write", path="/s/x", actor=SSH), sure, replace(open_, labels=("key",))).labels == (
        "key",
    )


def test_a_score_is_never_forgotten() -> None:
    """A verdict that is remembered for its rules still shows the score of this action."""
    matcher = Matcher(program(rule(1, leaf("name", "in", "sh"), "ask", kind="exec")), PLACES)
    assert matcher.judge(ExecAction(name="sh")).score is None
    for score in (0.1, 0.2):
        assert matcher.judge(ExecAction(name="sh"), Context(harm=Harm(score=score, label="none"))).score == score
    assert matcher.judge(ExecAction(name="sh")).score is None


def test_labels_of_the_session_are_a_field() -> None:
    """What happened before decides what may happen now."""
    after = rule(1, leaf("session.labels", "in", "secret"), "block", kind="network")
    to = NetworkAction(host=("api.example",))
    assert judged(to, after, context=Context(labels=frozenset({"secret"}))).decision is BLOCK
    assert judged(to, after, context=Context(labels=frozenset())).unknown == ()
    assert judged(to, after).unknown == ("session.labels",)


def waiver(when: Condition, expires: str = "2027-01-31") -> Waiver:
    """An exception to rule 1."""
    return Waiver(id="t/exception-1", rule="t/r1", when=when, because="deploy job", where="t.yaml:9", expires=expires)


def test_an_exception_stands_as_allow_in_place_of_the_ask() -> None:
    """Other rules' opinions stay; the day after its last day it is dead."""
    asks = rule(1, leaf("path", "in", "/s"), "ask")
    also = rule(2, leaf("path", "in", "/s/k"), "ask")
    lifted = program(asks, also, exceptions=(waiver(leaf("actor.name", "in", "ssh")),))
    action = FileAction(op="write", path="/s/x", actor=SSH)
    verdict = Matcher(lifted, PLACES, today="2027-01-31").judge(action)
    assert (verdict.decision, verdict.source, verdict.because) == (ALLOW, "exception", "deploy job")
    assert Matcher(lifted, PLACES, today="2027-02-01").judge(action).decision is ASK
    assert Matcher(lifted, PLACES).judge(action).decision is ASK
    assert Matcher(lifted, PLACES, today="2027-01-31").judge(replace(action, path="/s/k")).rules == ("t/r2",)
    assert Matcher(lifted, PLACES, today="2027-01-31").judge(replace(action, actor=None)).unknown == ("actor",)


def test_an_exception_lifts_no_block() -> None:
    """Even where a program names one: nothing lifts a block."""
    blocks = program(rule(1, leaf("path", "in", "/s"), "block"), exceptions=(waiver(leaf("op", "in", "write")),))
    assert Matcher(blocks, PLACES, today="2026-01-01").judge(FileAction(op="write", path="/s/x")).decision is BLOCK


# --- promises for all policies and actions ----------------------------------------------------------------------------------------

FOLDERS = ["/w", "/w/a", "/w/a/b", "/s", "/tmp/x", "/home/me", "/home/me/.cache", "**/b", "./a/*"]
OPS: list[FileOp] = ["read", "write", "delete", "rename"]
LEAVES: st.SearchStrategy[Condition] = st.one_of(
    st.builds(lambda v: leaf("op", "in", *v), st.lists(st.sampled_from(OPS), min_size=1, max_size=3)),
    st.builds(
        lambda n, o, v: leaf(n, o, *v),
        st.sampled_from(["path", "path", "path", "at", "to"]),
        st.sampled_from(["in", "under", "is", "glob"]),
        st.lists(st.sampled_from(FOLDERS), min_size=1, max_size=3),
    ),
    st.builds(lambda v: leaf("folder", "is", v), st.booleans()),
    st.builds(lambda v: leaf("sets", "in", v), st.sampled_from(["hooks", "user"])),
    st.builds(lambda v: leaf("actor.name", "in", v), st.sampled_from(["ssh", "cat"])),
    st.builds(lambda v: leaf("actor.verified", "is", v), st.booleans()),
    st.builds(lambda v: leaf("session.labels", "in", v), st.sampled_from(["secret", "x"])),
    st.builds(lambda v: leaf("harm.score", "gt", v), st.sampled_from([0.2, "model.ask_threshold"])),
    st.builds(lambda v: leaf("to", "exists", v), st.booleans()),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda cs: ["all", cs], st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda cs: ["any", cs], st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda c: ["not", c], inner),
    ),
    max_leaves=5,
)
RULES: st.SearchStrategy[list[Rule]] = st.lists(
    st.tuples(CONDITIONS, st.sampled_from(["block", "ask", "allow", None]), st.sampled_from([(), (), ("l",)])),
    max_size=5,
).map(
    lambda many: [
        rule(n, when, decision, labels=labels if decision else ("m",))
        for n, (when, decision, labels) in enumerate(many)
    ]
)
ACTORS = st.sampled_from([None, SSH, replace(SSH, name="cat"), replace(SSH, verified=False)])
PATHS = st.sampled_from(
    ["/", "/w", "/w/a", "/w/a/b", "/w/a/b/c", "/s", "/s/x", "/tmp/x/y", "/home/me/.cache/z", "/etc/x", "/w/ax"]
)
ACTIONS: st.SearchStrategy[FileAction] = st.builds(
    lambda op, path, to, folder, sets, actor: FileAction(
        op=op, path=path, to=to if op == "rename" else None, folder=folder, sets=sets, actor=actor
    ),
    st.sampled_from(OPS),
    PATHS,
    PATHS,
    st.sampled_from([None, True, False]),
    st.sampled_from([None, (), ("hooks",), ("user", "hooks")]),
    ACTORS,
)
CONTEXTS: st.SearchStrategy[Context] = st.builds(
    lambda harm, labels: Context(harm=harm, labels=labels),
    st.sampled_from(
        [None, Harm(score=0.1, label="none"), Harm(score=0.5, label="none"), Harm(score=0.95, label="none")]
    ),
    st.sampled_from([None, frozenset[str](), frozenset({"secret"})]),
)
LIMITS = {"model.ask_threshold": 0.9}


def completed(data: st.DataObject, action: FileAction, context: Context) -> tuple[FileAction, Context]:
    """The same action with some or all of its unknown fields filled in."""
    other, around = data.draw(ACTIONS), data.draw(CONTEXTS)
    return (
        replace(
            action,
            folder=other.folder if action.folder is None else action.folder,
            sets=other.sets if action.sets is None else action.sets,
            actor=other.actor if action.actor is None else action.actor,
        ),
        Context(harm=context.harm or around.harm, labels=around.labels if context.labels is None else context.labels),
    )


def matcher_of(rules: Sequence[Rule]) -> Matcher:
    """A matcher for generated rules."""
    return Matcher(program(*rules), PLACES, thresholds=LIMITS)


@given(RULES, ACTIONS, CONTEXTS, st.data())
def test_the_order_of_rules_never_matters(
    rules: list[Rule], action: FileAction, context: Context, data: st.DataObject
) -> None:
    """Any order of the same rules gives the same verdict, reasons included."""
    shuffled = data.draw(st.permutations(rules))
    assert matcher_of(rules).judge(action, context) == matcher_of(shuffled).judge(action, context)


@given(RULES, RULES, ACTIONS, CONTEXTS)
def test_more_rules_never_loosen(base: list[Rule], more: list[Rule], action: FileAction, context: Context) -> None:
    """Whatever an extending file adds, no rule's word of the base becomes weaker; only a default gives way."""
    added = [replace(r, id=r.id.replace("t/", "u/")) for r in more]
    before = matcher_of(base).judge(action, context)
    after = matcher_of([*base, *added]).judge(action, context)
    if before.source == "rule":
        assert after.decision >= before.decision


@given(RULES, ACTIONS, CONTEXTS, st.data())
def test_a_block_stays_a_block_when_more_is_known(
    rules: list[Rule], action: FileAction, context: Context, data: st.DataObject
) -> None:
    """No fact that is supplied later loosens a block."""
    matcher = matcher_of(rules)
    if matcher.judge(action, context).decision is BLOCK:
        assert matcher.judge(*completed(data, action, context)).decision is BLOCK


@given(RULES, ACTIONS, CONTEXTS, st.data())
def test_a_verdict_without_unknowns_is_final(
    rules: list[Rule], action: FileAction, context: Context, data: st.DataObject
) -> None:
    """What the edge remembers for a path must hold whoever acts and whatever else turns out."""
    matcher = matcher_of(rules)
    before = matcher.judge(action, context)
    after = matcher.judge(*completed(data, action, context))
    if not before.unknown:
        assert (after.decision, after.unknown) == (before.decision, ())
        assert after.labels == before.labels or before.decision is BLOCK


def reference(condition: Condition, action: FileAction, context: Context, every: bool) -> bool:
    """The meaning of a condition for an action of which everything is known, written as plainly as possible."""
    match condition:
        case ["all", parts]:
            return all(reference(c, action, context, every) for c in parts)
        case ["any", parts]:
            return any(reference(c, action, context, every) for c in parts)
        case ["not", part]:
            return not reference(part, action, context, not every)
        case ["leaf", "op", _, values, _]:
            return action.op in values
        case ["leaf", "to", "exists", values, _]:
            return (action.to is not None) is values[0]
        case ["leaf", "folder", _, values, _]:
            return action.folder is values[0]
        case ["leaf", "sets", _, values, _]:
            sets = action.sets or ()
            return (bool(sets) and all(s in values for s in sets)) if every else any(s in values for s in sets)
        case ["leaf", "session.labels", _, values, _]:
            labels = context.labels or frozenset()
            return (bool(labels) and all(s in values for s in labels)) if every else any(s in values for s in labels)
        case ["leaf", "actor.name", _, values, _]:
            assert action.actor is not None
            return action.actor.name in values
        case ["leaf", "actor.verified", _, values, _]:
            assert action.actor is not None
            return action.actor.verified is values[0]
        case ["leaf", "harm.score", _, values, _]:
            assert context.harm is not None
            return bool(context.harm.score > LIMITS.get(values[0], values[0]))
        case ["leaf", name, operator, _, _]:
            patterns: list[str] = condition[3]
            ends: dict[str, list[str | None]] = {
                "path": [action.path, action.to],
                "at": [action.path],
                "to": [action.to],
            }
            paths = ends[name]
            moved = action.folder and action.op in ("delete", "rename") and not every
            hits = [any(path_hit(p, operator, v, bool(moved)) for v in patterns) for p in paths if p is not None]
            return (bool(hits) and all(hits)) if every else any(hits)
    raise AssertionError(condition)


def path_hit(path: str, operator: str, value: str, moved: bool) -> bool:
    """Whether one path meets one pattern of `FOLDERS`."""
    floating = value.startswith("**/")
    pattern = value if value.startswith(("/", "**")) else "/w/" + value.removeprefix("./")
    glob = "*" in value
    shape = pattern.replace("**/", "*/") if floating else pattern
    chain = [path] + (
        [path[: i.start()] for i in re_slashes(path)] if operator == "under" or (operator == "in" and not glob) else []
    )
    hit = any(fnmatch.fnmatchcase(c, shape) and (floating or c.count("/") == shape.count("/")) for c in chain if c)
    if not moved:
        return hit
    start = path if path.endswith("/") else path + "/"
    return (
        hit
        or (not floating and ("/w/a/" if pattern == "/w/a/*" else pattern).startswith(start))
        or (pattern == "/w/a/*" and path == "/w/a")
    )


def re_slashes(path: str) -> Iterator[re.Match[str]]:
    """Where the names of a path begin."""
    return re.finditer("/", path)


@given(RULES, ACTIONS, CONTEXTS)
def test_the_compiled_rules_mean_what_they_say(rules: list[Rule], action: FileAction, context: Context) -> None:
    """For an action of which everything is known, the strongest rule that holds decides, and all of these are named."""
    action = replace(
        action,
        folder=bool(action.folder),
        sets=action.sets or (),
        actor=SSH if action.actor is None or not action.actor.verified else action.actor,
    )
    context = Context(harm=context.harm or Harm(score=0.1, label="none"), labels=context.labels or frozenset())
    verdict = matcher_of(rules).judge(action, context)
    holding = [r for r in rules if r.decision and reference(r.when, action, context, every=r.decision == "allow")]
    strongest = max((Decision.of(r.decision) for r in holding if r.decision), default=None)
    assert verdict.unknown == ()
    if strongest is None:
        assert verdict.source == "default"
    else:
        assert verdict.decision is strongest
        assert set(verdict.rules) == {r.id for r in holding if r.decision and Decision.of(r.decision) is strongest}


def test_programs_survive_json() -> None:
    """The cache and other processes get the same program back."""
    whole = program(rule(1, leaf("path", "in", "/s"), "ask"), exceptions=(waiver(leaf("op", "in", "write")),))
    assert Program.from_json(whole.to_json()) == whole
