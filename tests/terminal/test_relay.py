"""The relay between two terminals, on real pseudo-terminals in this process: what reaches whom, and how much is kept."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.core.screen import Modes, unfinished
from guard.terminal import BUFFER, ESCAPE_S, HELD, NUDGE_S, Terminal
from tests.terminal.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage with an agent in raw mode."""
    stage = Stage()
    stage.raw_agent()
    yield stage
    stage.terminal.close()
    os.close(stage.person)
    os.close(stage.line)


def test_both_ways(stage: Stage) -> None:
    """Keys reach the agent as bytes, control characters too, and its output the person."""
    assert stage.type(b"x\x03\x1b[A") == []
    assert stage.got() == b"x\x03\x1b[A"
    os.write(stage.agent, b"hello\r\n\x1b[31m\xff")
    assert stage.shown() == b"hello\r\n\x1b[31m\xff"


def test_settings_and_size_are_the_terminals(stage: Stage) -> None:
    """The agent's terminal begins with the real one's settings and size; the real one is raw meanwhile, and restored at the end."""
    fresh = Stage()
    assert termios.tcgetattr(fresh.agent) == fresh.before
    assert termios.tcgetwinsize(fresh.agent) == (24, 80)
    assert not termios.tcgetattr(fresh.line)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    fresh.terminal.close()
    assert termios.tcgetattr(fresh.line) == fresh.before
    fresh.terminal.close()


def test_no_terminal_is_none(tmp_path: Path) -> None:
    """Pipes and files alone make no terminal."""
    with open(tmp_path / "file", "w+") as file:
        assert Terminal.open((file.fileno(), file.fileno(), file.fileno())) is None


def test_each_descriptor_for_itself(tmp_path: Path) -> None:
    """Only the descriptors that are the terminal get the slave; another terminal is inherited like a file."""
    stage, other = Stage(), os.openpty()
    with open(tmp_path / "file", "w+") as file:
        terminal = Terminal.open((file.fileno(), stage.line, other[1]))
        assert terminal is not None
        assert terminal.child_fds == (None, terminal.slave, None)
        terminal.close()
    stage.terminal.close()


def test_the_terminal_stays_cooked_where_only_stderr_is_one(tmp_path: Path) -> None:
    """In a pipeline the keys are somebody else's: they are read, and the terminal is raw, only while a question is open."""
    person, line = os.openpty()
    before = termios.tcgetattr(line)
    with open(tmp_path / "file", "w+") as file:
        terminal = Terminal.open((file.fileno(), file.fileno(), line))
        assert terminal is not None
        assert termios.tcgetattr(line) == before
        assert not termios.tcgetattr(terminal.slave)[1] & termios.OPOST, (
            "the real terminal adds its carriage returns, once"
        )
        assert terminal.readable_fds() == [terminal.master]
        terminal.begin_question()
        assert not termios.tcgetattr(line)[3] & termios.ICANON
        assert len(terminal.readable_fds()) == 2
        terminal.end_question()
        assert termios.tcgetattr(line) == before
        terminal.close()
    os.close(person)
    os.close(line)


def test_type_ahead_is_the_agents(stage: Stage) -> None:
    """What lies in the terminal when a question begins goes to the agent; what comes later are keys."""
    os.write(stage.person, b"typed before")
    stage.terminal.begin_question()
    assert stage.type(b"a") == [b"a"]
    assert stage.got() == b"typed before"


def test_output_waits_for_the_answer_and_comes_in_order(stage: Stage) -> None:
    """During a question nothing of the agent's reaches the screen; afterwards all of it does, in order, after the screen came back."""
    stage.turn()
    stage.terminal.begin_question()
    stage.terminal.draw(b"QUESTION", fresh=True)
    os.write(stage.agent, b"first ")
    stage.turn()
    os.write(stage.agent, b"second")
    stage.turn()
    shown = stage.shown()
    assert b"\x1b[?1049h" in shown
    assert shown.endswith(b"QUESTION")
    stage.terminal.end_question()
    after = stage.shown()
    assert after.index(b"\x1b[?1049l") < after.index(b"first second")
    assert b"\x1b[?1049l" not in after[after.index(b"first second") :]


@pytest.mark.parametrize("sequence", [b"\x1b[1;31mred", b"\x1b]0;a title\x07x", b"\x1bP+q544e\x1b\\x", "ä€😀".encode()])
def test_a_sequence_cut_by_a_question_is_sent_whole_afterwards(stage: Stage, sequence: bytes) -> None:
    """Wherever the agent's output is interrupted, a sequence that was begun is cancelled, and sent again from its beginning."""
    for cut in range(1, len(sequence)):
        os.write(stage.agent, b"|" + sequence[:cut])
        sent = stage.shown()
        assert sent == b"|" + sequence[:cut]
        begun = unfinished(sent)
        stage.terminal.begin_question()
        os.write(stage.agent, sequence[cut:])
        assert stage.shown().startswith(b"\x18") == bool(begun)
        stage.terminal.end_question()
        after = stage.shown()
        assert after.startswith(Modes().leave())
        assert sent.removesuffix(begun) + after.removeprefix(Modes().leave()) == b"|" + sequence


def test_the_agent_waits_when_it_floods_a_question(stage: Stage) -> None:
    """At most `HELD` and one read are kept; then the agent's terminal is no longer read, and nothing is lost."""
    stage.terminal.begin_question()
    written = 0
    block = b"x" * 1000
    for _ in range(3 * HELD // 1000):
        try:
            written += os.write(stage.agent, block)
        except BlockingIOError:
            if stage.terminal.master not in stage.terminal.readable_fds():
                break
            stage.turn()
    assert HELD <= written <= HELD + 2 * BUFFER
    stage.shown()
    stage.terminal.end_question()
    assert stage.shown().count(b"x") == written


def test_the_agent_waits_when_the_person_does_not_read(stage: Stage) -> None:
    """A terminal that takes nothing (Ctrl-S, a slow line) stops the agent, not the guard."""
    written = 0
    for _ in range(2000):
        try:
            written += os.write(stage.agent, b"y" * 1000)
        except BlockingIOError:
            if stage.terminal.master not in stage.terminal.readable_fds():
                break
            stage.turn()
    assert written < 4 * BUFFER
    stage.turn()
    assert stage.shown().count(b"y") == written


def test_keys_wait_when_the_agent_does_not_read(stage: Stage) -> None:
    """More keys than the agent takes are left in the terminal; they come when it reads."""
    sent = 0
    for _ in range(1000):
        try:
            sent += os.write(stage.person, b"k" * 1000)
        except BlockingIOError:
            pass
        before = len(stage.terminal.readable_fds())
        stage.turn()
        if before < 2:
            break
    assert sent <= 4 * BUFFER
    got = 0
    while data := stage.got():
        got += len(data)
    assert got == sent


def test_what_the_terminal_answers_is_no_key(stage: Stage) -> None:
    """Cursor positions, attributes, colours and focus reports belong to the agent that asked for them, also in pieces."""
    stage.terminal.begin_question()
    reports = [
        b"\x1b[12;40R",
        b"\x1b[?62;22c",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1b[I",
        b"\x1bP>|xterm(390)\x1b\\",
    ]
    for report in reports:
        assert stage.type(report[:3]) == []
        assert stage.type(report[3:]) == []
    assert stage.got() == b"".join(reports)
    assert stage.type(b"b\x1b[B") == [b"b", b"\x1b[B"]


def test_escape_is_a_key_when_nothing_follows(stage: Stage) -> None:
    """A lone ESC counts after a moment, not before."""
    stage.terminal.begin_question()
    assert stage.type(b"\x1b") == []
    assert stage.terminal.timer() == stage.now + ESCAPE_S
    assert stage.terminal.on_timer() == []
    stage.now += ESCAPE_S
    assert stage.terminal.on_timer() == [b"\x1b"]
    assert stage.terminal.timer() is None


def test_a_question_is_shown_when_the_terminal_took_it(stage: Stage) -> None:
    """`shown_at` says when the first drawing was out, and redraws do not move it."""
    stage.terminal.begin_question()
    stage.turn()
    stage.terminal.draw(b"q" * 100_000, fresh=True)
    assert stage.shown_at() is None
    stage.now += 5
    stage.shown()
    stage.turn()
    assert stage.shown_at() == 1005.0
    stage.now += 5
    stage.terminal.draw(b"again", fresh=False)
    stage.turn()
    assert stage.shown_at() == 1005.0


def test_modes_of_the_agent_come_back(stage: Stage) -> None:
    """Mouse, focus reports, cursor, and scroll region are plain during a question and the agent's again afterwards."""
    os.write(stage.agent, b"\x1b[?1002;1006h\x1b[?1004h\x1b[?25l\x1b[3;10r")
    stage.turn()
    stage.shown()
    stage.terminal.begin_question()
    during = stage.shown()
    for off in (b"\x1b[?1002l", b"\x1b[?1006l", b"\x1b[?1004l", b"\x1b[r"):
        assert off in during
    stage.terminal.end_question()
    after = stage.shown()
    for on in (b"\x1b[?1002h", b"\x1b[?1006h", b"\x1b[?1004h", b"\x1b[3;10r", b"\x1b[?25l", b"\x1b[?2004l"):
        assert on in after
    assert b"\x1b[?25h" not in after


def test_a_program_on_the_alternate_screen_is_made_to_repaint(stage: Stage) -> None:
    """Its width changes by one column, and a moment later back; a program that reads lines is left alone."""
    os.write(stage.agent, b"\x1b[?1049h")
    stage.turn()
    stage.terminal.begin_question()
    stage.terminal.end_question()
    assert termios.tcgetwinsize(stage.agent) == (24, 79)
    assert b"\x1b[?1049l" not in stage.shown()
    assert stage.terminal.timer() == stage.now + NUDGE_S
    stage.now += NUDGE_S
    stage.terminal.on_timer()
    assert termios.tcgetwinsize(stage.agent) == (24, 80)

    lines = Stage()
    lines.terminal.begin_question()
    lines.terminal.end_question()
    assert termios.tcgetwinsize(lines.agent) == (24, 80)
    lines.terminal.close()


def test_lines_of_the_guard_stand_between_the_agents(stage: Stage) -> None:
    """They are made visible, begin on a line of their own, and wait while the agent or a question has the whole screen."""
    os.write(stage.agent, b"half a line")
    stage.turn()
    stage.shown()
    stage.terminal.say("guard: blocked \x1b[2J")
    assert stage.shown() == b"\r\nguard: blocked \\x1b[2J\r\n"
    os.write(stage.agent, b"\x1b[?1049h")
    stage.turn()
    stage.shown()
    stage.terminal.say("guard: later")
    assert stage.shown() == b""
    os.write(stage.agent, b"\x1b[?1049l")
    stage.turn()
    assert stage.shown() == b"\x1b[?1049l\r\nguard: later\r\n"


def test_a_terminal_that_is_gone(stage: Stage) -> None:
    """Nothing raises, nothing spins: it is said, and what the agent writes goes nowhere."""
    fresh = Stage()
    fresh.terminal.begin_question()
    os.close(fresh.person)
    fresh.turn()
    assert fresh.terminal.hung_up
    assert not fresh.terminal.can_ask
    os.write(fresh.agent, b"to nobody")
    fresh.terminal.end_question()
    fresh.turn()
    fresh.terminal.close()
    assert stage.terminal.can_ask


def test_last_words_are_not_lost(stage: Stage) -> None:
    """What the agent wrote just before it ended is on the screen after `close`."""
    os.write(stage.agent, b"last words")
    person = stage.person
    stage.terminal.close()
    assert os.read(person, 1000).endswith(b"last words")


def test_settings_the_agent_leaves_are_kept_when_it_ended_by_itself() -> None:
    """`guard run -- stty -echo` does what `stty -echo` does."""
    stage = Stage()
    settings = termios.tcgetattr(stage.agent)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(stage.agent, termios.TCSANOW, settings)
    stage.terminal.keep_settings()
    stage.terminal.close()
    assert not termios.tcgetattr(stage.line)[3] & termios.ECHO
    assert termios.tcgetattr(stage.line)[3] & termios.ICANON


@pytest.mark.parametrize(
    "ending", ["raise ValueError", "sys.exit(3)", "terminal.begin_question()", "os.fork() or sys.exit(0); os.wait()"]
)
def test_the_terminal_is_restored_however_the_guard_ends(ending: str) -> None:
    """An exception, an exit without close, an open question, a forked child: the settings are the ones before."""
    person, line = os.openpty()
    before = termios.tcgetattr(line)
    code = f"import os, sys\nfrom guard.terminal import Terminal\nterminal = Terminal.open()\n{ending}"
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code], stdin=line, stdout=line, stderr=subprocess.DEVNULL, cwd=root
    )
    while child.poll() is None:
        if select.select([person], [], [], 0.05)[0]:
            os.read(person, 65536)
    assert termios.tcgetattr(line) == before
    os.close(person)
    os.close(line)


def test_a_forked_child_leaves_the_terminal_alone() -> None:
    """Its exit restores nothing: the guard still has the terminal raw."""
    person, line = os.openpty()
    code = """
import os, sys, termios
from guard.terminal import Terminal
terminal = Terminal.open()
if os.fork() == 0:
    sys.exit(0)
os.wait()
sys.exit(9 if termios.tcgetattr(0)[3] & termios.ICANON else 5)
"""
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], stdin=line, stdout=line, stderr=line, cwd=root, check=False
    )
    assert done.returncode == 5
    os.close(person)
    os.close(line)


def test_a_stop_during_a_question(stage: Stage) -> None:
    """The shell gets its screen and its settings; afterwards the question has the screen again, at the new size."""
    stage.terminal.begin_question()
    stage.terminal.draw(b"QUESTION", fresh=True)
    stage.shown()
    stage.terminal.suspend()
    assert b"\x1b[?1049l" in stage.shown()
    assert termios.tcgetattr(stage.line) == stage.before
    termios.tcsetwinsize(stage.line, (30, 100))
    stage.terminal.resume()
    assert not termios.tcgetattr(stage.line)[3] & termios.ICANON
    assert b"\x1b[?1049h" in stage.shown()
    assert termios.tcgetwinsize(stage.agent) == (30, 100)
    assert stage.type(b"b") == [b"b"]


def test_an_agent_whose_terminal_is_over(stage: Stage) -> None:
    """Reading and typing end without a word; nothing spins on a descriptor that is always ready."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), stage.terminal.slave)
        os.dup2(nothing.fileno(), stage.terminal._slave)
    stage.turn()
    assert stage.type(b"keys for nobody") == []
    assert stage.terminal.master not in stage.terminal.readable_fds()
    assert stage.terminal.master not in stage.terminal.writable_fds()
