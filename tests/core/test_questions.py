"""What an answer is bound to: the same action always, another one never."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.actions import (
    Action,
    Actor,
    ExecAction,
    FileAction,
    NetworkAction,
    PythonAction,
    SqlAction,
    SystemAction,
    ToolAction,
)
from guard.core.questions import Answer, Question, answered, digest, memory
from guard.core.verdicts import Decision, Source, Verdict


def asks(*rules: str, source: Source = "rule") -> Verdict:
    """A verdict that asks by these rules."""
    return Verdict(decision=Decision.ASK, rules=rules or ("default/x",), because="because", source=source)


RUN = ExecAction(exe="/usr/bin/rm", name="rm", args=("-rf", "build"), command="rm -rf build", script="", cwd="/p")
ACTIONS: list[Action] = [
    RUN,
    FileAction(op="write", path="/etc/app/conf"),
    NetworkAction(host=("api.example",), port=443, method="POST", url="https://api.example/a", protocol="https"),
    PythonAction(text="print(1)"),
    SqlAction(text="drop table x"),
    ToolAction(server="files", name="delete", arguments="{}"),
    SystemAction(op="mount", target="/mnt"),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: a.kind)
def test_equal_actions_have_equal_digests(action: Action) -> None:
    """The digest is of the values, says its algorithm, and an unknown field is not an empty one."""
    assert digest(action) == digest(replace(action))
    assert digest(action).startswith("sha256:")
    assert len({digest(a) for a in ACTIONS}) == len(ACTIONS)


@pytest.mark.parametrize(
    "change",
    [
        {"exe": "/tmp/rm"},
        {"args": ("-rf", "src")},
        {"args": ("-rf build",)},
        {"script": "echo"},
        {"script": None},
        {"cwd": "/"},
        {"user": "root"},
        {"actor": Actor(name="sh", exe="/bin/sh")},
    ],
)
def test_whatever_matters_changes_the_digest(change: dict[str, object]) -> None:
    """Program, arguments and their boundaries, script, folder, user, actor."""
    assert digest(replace(RUN, **change)) != digest(RUN)  # type: ignore[arg-type]


def test_names_made_at_random_do_not() -> None:
    """A wrapper whose temporary names change with every call is the same command; a folder chosen by hand is not random."""

    def wrapped(name: str, folder: str = "build", script: str | None = "") -> ExecAction:
        text = f"cd /tmp/{folder} && eval ls && pwd >| /tmp/claude-{name}-cwd"
        return ExecAction(exe="/bin/bash", name="bash", args=("-c", text), command=f"bash -c '{text}'", script=script)

    assert digest(wrapped("3f9a2b")) == digest(wrapped("77c01d"))
    assert digest(wrapped("3f9a2b")) != digest(wrapped("3f9a2b", folder="other"))
    assert digest(wrapped("3f9a2b", script=None)) != digest(wrapped("77c01d", script=None)), (
        "unknown text: the name is all there is"
    )


def test_a_files_own_name_always_counts() -> None:
    """Below /tmp, too."""
    assert digest(FileAction(op="write", path="/tmp/a3f9a2b")) != digest(FileAction(op="write", path="/tmp/b77c01d"))


@pytest.mark.parametrize("action", ACTIONS, ids=lambda a: a.kind)
def test_a_memory_is_for_its_own_rules(action: Action) -> None:
    """What was allowed for one reason is asked again for another; the order of rules is no reason."""
    assert memory(action, asks("a", "b")) == memory(action, asks("b", "a"))
    assert memory(action, asks("a")).key != memory(action, asks("a", "b")).key
    assert memory(action, asks()).text


@pytest.mark.parametrize(
    ("first", "second", "source", "same"),
    [
        (FileAction(op="write", path="/opt/app/a"), FileAction(op="create", path="/opt/app/b"), "default", True),
        (FileAction(op="write", path="/opt/app/a"), FileAction(op="write", path="/opt/app/sub/b"), "default", False),
        (FileAction(op="write", path="/opt/app/a"), FileAction(op="delete", path="/opt/app/a"), "default", False),
        (FileAction(op="delete", path="/opt/app/a"), FileAction(op="delete", path="/opt/app/b"), "default", False),
        (FileAction(op="write", path="/etc/a"), FileAction(op="write", path="/etc/b"), "default", False),
        (FileAction(op="write", path="/home/u/.ssh/a"), FileAction(op="write", path="/home/u/.ssh/b"), "rule", False),
        (
            FileAction(op="rename", path="/o/p/a", to="/o/p/b"),
            FileAction(op="rename", path="/o/p/a", to="/o/p/c"),
            "default",
            False,
        ),
        (
            NetworkAction(host=("a.example",), port=443, method="GET", url_path="/x"),
            NetworkAction(host=("a.example",), port=443, method="GET", url_path="/y"),
            "rule",
            True,
        ),
        (
            NetworkAction(host=("a.example",), port=443, method="GET"),
            NetworkAction(host=("a.example",), port=443, method="POST"),
            "rule",
            False,
        ),
        (
            NetworkAction(host=("a.example",), port=443, method="GET"),
            NetworkAction(host=("a.example",), port=8443, method="GET"),
            "rule",
            False,
        ),
        (
            NetworkAction(host=("a.example",), port=443, method="GET"),
            NetworkAction(host=("b.example",), port=443, method="GET"),
            "rule",
            False,
        ),
        (
            NetworkAction(host=("a.example",), port=443, method="GET"),
            NetworkAction(host=("a.example", "b.example"), port=443, method="GET"),
            "rule",
            False,
        ),
        (NetworkAction(protocol="tcp", body="a"), NetworkAction(protocol="tcp", body="b"), "rule", False),
        (RUN, replace(RUN, args=("-rf", "src")), "rule", False),
        (
            ToolAction(server="s", name="t", arguments="1"),
            ToolAction(server="s", name="t", arguments="2"),
            "default",
            True,
        ),
        (ToolAction(server="s", name="t"), ToolAction(server="r", name="t"), "default", False),
        (SystemAction(op="mount", target="/a"), SystemAction(op="mount", target="/b"), "default", False),
    ],
)
def test_what_a_session_scope_covers(first: Action, second: Action, source: Source, same: bool) -> None:
    """The pattern that is shown, and nothing beyond it."""
    one, two = memory(first, asks(source=source)), memory(second, asks(source=source))
    assert (one.key == two.key) is same
    assert (one.text == two.text) or not same


def test_an_answer_makes_the_verdict() -> None:
    """The person's decision, the same rules, and a reason that names who answered and for how long."""
    verdict = answered(asks("a", "b"), Answer(question="1", decision=Decision.ALLOW, scope="session", by="key s"))
    assert (verdict.decision, verdict.rules, verdict.source) == (Decision.ALLOW, ("a", "b"), "person")
    assert verdict.because == "allowed for this session (key s): because"
    verdict = answered(asks("a"), Answer(question="1", decision=Decision.BLOCK, by="deadline"))
    assert (verdict.decision, verdict.because) == (Decision.BLOCK, "blocked (deadline): because")


@given(st.sampled_from([Decision.ALLOW, Decision.BLOCK]))
def test_only_an_ask_is_asked(decision: Decision) -> None:
    """What is blocked cannot become a question that a person could say yes to."""
    verdict = Verdict(decision=decision, rules=("r",), because="b")
    with pytest.raises(ValueError, match=decision.word):
        Question(id="1", action=RUN, verdict=verdict)
