"""The prompt: which keys answer, which questions are open, when they end; and how a question is laid out."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyte
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
from guard.core.questions import Question, Scope
from guard.core.verdicts import Decision, Verdict
from guard_cli import render
from guard_cli.prompt import SETTLE_S, Prompt
from tests.terminal.stage import Stage

ASK = Verdict(decision=Decision.ASK, rules=("default/x",), because="a rule asks")


class Asking(Stage):
    """A stage with a prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_agent()
        self.prompt = Prompt(self.terminal, lambda: self.now)

    def open(self, name: str, *, deadline_s: float = 25, scopes: tuple[Scope, ...] = ("once", "session")) -> None:
        """Asks, and looks at the screen until it is drawn."""
        action = FileAction(op="write", path=f"/etc/{name}")
        self.prompt.open(Question(id=name, action=action, verdict=ASK, deadline_s=deadline_s, scopes=scopes))
        self.shown()
        self.turn()

    def press(self, keys: bytes) -> list[str]:
        """Types; what was answered, in words."""
        found = [self.prompt.on_key(key) for key in self.type(keys)]
        return [f"{a.question} {a.decision.word} {a.scope} {a.by}" for a in found if a is not None]

    def later(self, seconds: float) -> list[str]:
        """Time goes on; what was answered by that."""
        self.now += seconds
        return [f"{a.question} {a.decision.word} {a.by}" for a in self.prompt.on_timer()]


@pytest.fixture
def asking() -> Iterator[Asking]:
    """A prompt on a terminal."""
    asking = Asking()
    yield asking
    asking.terminal.close()
    os.close(asking.person)
    os.close(asking.line)


def test_the_settling_time_begins_on_the_screen(asking: Asking) -> None:
    """Keys before it are the agent's; a redraw for the countdown does not begin it again."""
    asking.open("a")
    assert asking.press(b"a") == []
    asking.now += SETTLE_S / 2
    assert asking.press(b"s") == []
    asking.now += SETTLE_S / 2
    assert asking.press(b"b") == []
    assert asking.got() == b"asb"
    asking.now += SETTLE_S
    asking.later(0)
    assert asking.press(b"a") == ["a allow once key a"]
    assert asking.press(b"a") == []
    assert asking.got() == b"a"


def test_a_question_that_is_not_drawn_cannot_be_answered(asking: Asking) -> None:
    """Where the terminal takes no output, nobody has read anything, however much time passes."""
    while asking.terminal.master in asking.terminal.readable_fds():
        os.write(asking.agent, b"y" * 500)
        asking.turn()
    asking.prompt.open(Question(id="a", action=FileAction(op="write", path="/etc/a"), verdict=ASK))
    for _ in range(2):
        asking.now += 10
        assert asking.press(b"a") == []
    asking.shown()
    asking.now += SETTLE_S / 2
    assert asking.press(b"a") == []
    asking.now += SETTLE_S
    assert asking.press(b"a") == ["a allow once key a"]


def test_each_question_has_its_own_deadline(asking: Asking) -> None:
    """Those behind the first one expire, too; the timer tells of the next, at most a second away."""
    asking.open("a", deadline_s=10)
    asking.open("b", deadline_s=3)
    asking.open("c", deadline_s=20)
    assert asking.prompt.timer() == asking.now + 1
    assert asking.later(3) == ["b block deadline"]
    assert asking.prompt.waiting == 2
    assert asking.later(6.75) == []
    assert asking.prompt.timer() == asking.now + 0.25
    assert asking.later(0.25) == ["a block deadline"]
    assert asking.prompt.current is not None
    assert asking.prompt.current.id == "c"
    assert asking.later(10) == ["c block deadline"]
    assert asking.prompt.timer() is None
    assert not asking.terminal.asking


def test_withdrawn_questions_disappear(asking: Asking) -> None:
    """The one on the screen, and one behind it; the next is settled anew."""
    asking.open("a")
    asking.open("b")
    asking.open("c")
    asking.now += 1
    assert asking.prompt.withdraw("a")
    assert asking.prompt.withdraw("c")
    assert not asking.prompt.withdraw("c")
    asking.shown()
    assert asking.press(b"a") == []
    asking.now += SETTLE_S
    assert asking.press(b"\r") == ["b block once Enter"]
    assert not asking.terminal.asking


def test_closing_blocks_everything(asking: Asking) -> None:
    """No question is left, none is allowed."""
    asking.open("a")
    asking.open("b")
    found = asking.prompt.close("the session ends")
    assert [(a.question, a.decision, a.by) for a in found] == [
        ("a", Decision.BLOCK, "the session ends"),
        ("b", Decision.BLOCK, "the session ends"),
    ]
    assert asking.prompt.waiting == 0
    assert asking.prompt.close() == []


def test_a_scope_that_is_not_offered_is_no_answer(asking: Asking) -> None:
    """`s` does nothing where the question is for once."""
    asking.open("a", scopes=("once",))
    asking.now += 1
    assert asking.press(b"s") == []
    assert asking.press(b"\x1b[97u") == ["a allow once key a"]


def test_kitty_keys_are_keys(asking: Asking) -> None:
    """Escape as the kitty protocol sends it blocks; a key with a modifier is another key."""
    asking.open("a")
    asking.now += 1
    assert asking.press(b"\x1b[97;5u") == []
    assert asking.press(b"\x1b[27u") == ["a block once Escape"]


ACTIONS: list[Action] = [
    FileAction(op="delete", path="/etc/x", folder=True, actor=Actor(name="sh", exe="/bin/sh")),
    FileAction(op="rename", path="/a", to="/b", sets=("core.hookspath",)),
    ExecAction(exe="/bin/rm", name="rm", args=("-rf", "x"), command="rm -rf x", script="one\ntwo", cwd="/p", user="u"),
    ExecAction(),
    NetworkAction(
        host=("a.example",),
        port=443,
        method="POST",
        url="https://a.example/p",
        protocol="https",
        listener="elsewhere",
        body="BODY",
        content=("private-key",),
    ),
    NetworkAction(address="192.0.2.1", port=22, protocol="tcp"),
    PythonAction(text="import os\nos.remove('x')"),
    SqlAction(text="drop table t"),
    ToolAction(server="files", name="delete", arguments='{"path": "/x"}'),
    SystemAction(op="mount", target="/mnt"),
]


def screen(
    action: Action, *, columns: int = 80, rows: int = 24, top: int = 0, pattern: str | None = "p"
) -> tuple[list[str], render.Drawn]:
    """The question as it is on a screen."""
    asked = Question(
        id="1",
        action=action,
        verdict=ASK,
        facts=(("leaves the workspace", "yes"),),
        lineage=("agent", "sh"),
        task="tidy up",
    )
    drawn = render.question(
        render.body(asked, columns), columns=columns, rows=rows, top=top, left_s=9, behind=0, pattern=pattern
    )
    emulator = pyte.Screen(columns, rows)
    pyte.ByteStream(emulator).feed(drawn.data)
    return list(emulator.display), drawn


@pytest.mark.parametrize("action", ACTIONS, ids=[f"{n}-{a.kind}" for n, a in enumerate(ACTIONS)])
def test_everything_known_is_shown(action: Action) -> None:
    """Every text of the action stands on the screen, whatever its kind."""
    text = "\n".join(screen(action, rows=40)[0])
    wanted = [
        getattr(action, n, None)
        for n in (
            "path",
            "to",
            "exe",
            "command",
            "cwd",
            "user",
            "url",
            "address",
            "server",
            "name",
            "arguments",
            "op",
            "target",
            "body",
        )
    ]
    for value in [v for v in wanted if v and v != "rm"]:
        assert value in text
    for line in (getattr(action, "script", None) or getattr(action, "text", None) or "").split("\n"):
        assert line in text
    for word in ("leaves the workspace", "a rule asks", "default/x", "agent ▸ sh", "tidy up", "blocks in 9 s"):
        assert word in text


@given(st.text(max_size=300), st.integers(1, 100), st.integers(1, 40))
def test_no_text_draws_anything(text: str, columns: int, rows: int) -> None:
    """On a screen of any size: title and answers are the guard's own, and every line of the agent's stands behind the gutter."""
    lines, _ = screen(ExecAction(command=text, script=text), columns=columns, rows=rows)
    assert len(lines) == rows
    if columns >= 40 and rows >= 12:
        assert lines[0].startswith(" guard asks")
        assert any(line.startswith(" b │ block") for line in lines[-2:])
        answers = [i for i, line in enumerate(lines) if line.startswith(" a │ allow this once")]
        assert len(answers) == 1
        middle = [line for line in lines[1 : answers[0] - 1] if line.strip()]
        assert all(line[12] == "│" for line in middle)


@pytest.mark.parametrize(
    "text", ["word " * 400, "x" * 3000, "line\n" * 60, "漢字" * 300, "\x1b[2J\u202e" * 200, ""], ids=range(6)
)
def test_scrolling_reaches_everything(text: str) -> None:
    """The lines of all pages, in order, are the whole text: nothing is left out and nothing is shown twice."""
    whole, drawn = screen(ExecAction(command="x", script=text), rows=200)
    assert drawn.total <= drawn.page
    seen: list[str] = []
    while len(seen) < drawn.total:
        lines, page = screen(ExecAction(command="x", script=text), rows=14, top=len(seen))
        assert page.total == drawn.total
        assert page.top <= len(seen) < page.top + page.page
        seen += lines[1 + len(seen) - page.top : 1 + page.page]
    assert [line.rstrip() for line in seen[: drawn.total]] == [line.rstrip() for line in whole[1 : 1 + drawn.total]]
