"""A person at a terminal with the whole guard: questions, answers, stops and signals, as they are seen on the screen."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run.support import until, written
from tests.terminal.screen import Seen

POLICY = Path(__file__).with_name("ask.yaml")
RUN = (sys.executable, "-m", "guard_cli", "run", "--no-model", "--policy", str(POLICY), "--ask-timeout", "120", "--")
PAUSE_S = 0.5  # more than the time in which a key is taken for typed before the question


class Session:
    """A guard on a terminal of its own, in a folder that is home and workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[Seen] = []

    def start(self, *command: str) -> Seen:
        """Runs this command line on a new terminal."""
        self.seen.append(Seen(list(command), self.folder))
        return self.seen[-1]

    def guarded(self, *command: str) -> Seen:
        """Runs this under the guard, with the policy that asks."""
        return self.start(*RUN, *command)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """Ends what a test has left running."""
    made = Session(tmp_path)
    yield made
    for seen in made.seen:
        seen.stop()


def press(seen: Seen, key: str, stands: Callable[[], bool] | None = None) -> None:
    """Answers the question on the screen: again where the key came too early to be an answer. `stands` tells it from the next one."""
    stands = stands or (lambda: asked(seen))
    while stands():
        time.sleep(PAUSE_S)
        seen.type(key)
        end = time.monotonic() + 2
        while stands() and time.monotonic() < end:
            seen.read()


def asked(seen: Seen) -> bool:
    """Whether a question is on the screen."""
    return "guard asks" in seen.text


def until_asked(seen: Seen) -> None:
    """Waits for a question that is drawn to its last line."""
    seen.until(lambda: asked(seen) and "b │ block" in seen.text)


WRITES = """
for n in 1 2 3; do
    while [ ! -e go$n ]; do sleep 0.05; done
    (echo x > doubtful) 2> /dev/null; echo "$?" > told$n
done
echo finished
"""


def test_a_allows_once_and_enter_blocks(session: Session, tmp_path: Path) -> None:
    """Nothing is written while a question stands, nor after a no. A yes is for one write; a no is for the same write in this session."""
    seen = session.guarded("sh", "-c", WRITES)
    (tmp_path / "go1").touch()
    until_asked(seen)
    assert not (tmp_path / "doubtful").exists()
    press(seen, "a")
    assert written(tmp_path / "told1") == "0\n"
    assert (tmp_path / "doubtful").read_text() == "x\n"
    (tmp_path / "doubtful").unlink()
    (tmp_path / "go2").touch()
    until_asked(seen)
    press(seen, "\r")
    assert written(tmp_path / "told2") == "2\n"
    (tmp_path / "go3").touch()
    seen.until(lambda: (tmp_path / "told3").exists() or asked(seen))
    assert not asked(seen)
    assert seen.end() == 0
    assert written(tmp_path / "told3") == "2\n"
    assert not (tmp_path / "doubtful").exists()


def test_s_allows_for_the_session(session: Session, tmp_path: Path) -> None:
    """The same write is not asked about again; the next session asks."""
    seen = session.guarded("sh", "-c", WRITES)
    (tmp_path / "go1").touch()
    until_asked(seen)
    press(seen, "s")
    assert written(tmp_path / "told1") == "0\n"
    for number in (2, 3):
        (tmp_path / "doubtful").unlink()
        (tmp_path / f"go{number}").touch()
        seen.until(lambda n=number: (tmp_path / f"told{n}").exists() or asked(seen))  # type: ignore[misc]
        assert not asked(seen)
        assert written(tmp_path / f"told{number}") == "0\n"
        assert (tmp_path / "doubtful").exists()
    assert seen.end() == 0
    (tmp_path / "doubtful").unlink()
    again = session.guarded("sh", "-c", "echo x > doubtful")
    until_asked(again)
    press(again, "\r")
    assert again.end() != 0
    assert not (tmp_path / "doubtful").exists()


SPAWNER = """
import pathlib, subprocess
started = subprocess.Popen(["./doubtful"])
pathlib.Path("went-on").write_text("yes")
pathlib.Path("status").write_text(str(started.wait()))
"""


@pytest.mark.parametrize(("key", "status"), [("a", "0"), ("\r", "-9")], ids=["allowed", "blocked"])
def test_who_starts_a_doubtful_program_goes_on(key: str, status: str, session: Session, tmp_path: Path) -> None:
    """The starter does not wait for the answer; the program itself has done nothing before it, and nothing at all after a no."""
    (tmp_path / "doubtful").write_text("#!/bin/sh\ntouch effect\n")
    (tmp_path / "doubtful").chmod(0o755)
    seen = session.guarded(sys.executable, "-c", SPAWNER)
    until_asked(seen)
    assert written(tmp_path / "went-on") == "yes"
    assert asked(seen)
    assert not (tmp_path / "effect").exists()
    press(seen, key)
    assert written(tmp_path / "status") == status
    assert (tmp_path / "effect").exists() == (key == "a")
    assert seen.end() == 0


def test_a_question_goes_when_nobody_waits_for_it(session: Session, tmp_path: Path) -> None:
    """Who asked was killed: the screen is as before, and the write has not happened."""
    script = "(echo x > doubtful) & asker=$!; while [ ! -e go ]; do sleep 0.05; done; kill -9 $asker; wait $asker; echo =$(($?+1))="
    seen = session.guarded("sh", "-c", script)
    until_asked(seen)
    (tmp_path / "go").touch()
    seen.until_text("=138=")
    assert not asked(seen)
    assert seen.end() == 0
    assert not (tmp_path / "doubtful").exists()


def test_questions_come_one_after_the_other(session: Session, tmp_path: Path) -> None:
    """Two ask at once; each gets its own answer."""
    seen = session.guarded("sh", "-c", "for n in 1 2; do (echo x > doubtful$n) & done; wait; echo =$((40+2))=")
    seen.until(lambda: "1 more waiting" in seen.text and "b │ block" in seen.text)
    first, other = ("doubtful1", "doubtful2") if "/doubtful1" in seen.text else ("doubtful2", "doubtful1")
    press(seen, "a", lambda: f"/{first}" in seen.text)
    until_asked(seen)
    assert f"/{other}" in seen.text
    press(seen, "\r")
    seen.until_text("=42=")
    assert seen.end() == 0
    assert (tmp_path / first).exists()
    assert not (tmp_path / other).exists()


def test_an_ended_deadline_blocks(session: Session, tmp_path: Path) -> None:
    """Nobody answers."""
    seen = session.start(*RUN[:-3], "--ask-timeout", "1", "--", "sh", "-c", "(echo x > doubtful); echo =$((40+$?))=")
    seen.until_text("=42=")
    assert not asked(seen)
    assert seen.end() == 0
    assert not (tmp_path / "doubtful").exists()


def test_interrupt_reaches_the_command(session: Session, tmp_path: Path) -> None:
    """Ctrl-C is COMMAND's to handle; where it does not, it ends by it."""
    seen = session.guarded("sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done")
    seen.until_text("ready")
    seen.type("\x03")
    seen.until_text("caught")
    assert seen.end() == 5
    seen = session.guarded("sh", "-c", "echo ready; exec sleep 100")
    seen.until_text("ready")
    seen.type("\x03")
    assert seen.end() == 130


def test_interrupt_at_a_question_is_a_no(session: Session, tmp_path: Path) -> None:
    """It answers the question; COMMAND goes on."""
    seen = session.guarded("sh", "-c", "(echo x > doubtful); echo =$((40+$?))=")
    until_asked(seen)
    time.sleep(PAUSE_S)
    seen.type("\x03")
    seen.until_text("=42=")
    assert seen.end() == 0
    assert not (tmp_path / "doubtful").exists()


def test_stop_and_go_on_from_a_shell(session: Session, tmp_path: Path) -> None:
    """Ctrl-Z gives the terminal back to the shell, `fg` gives it to COMMAND again, with its input."""
    seen = session.start("bash", "--norc", "--noprofile", "-i")
    seen.until_text("$")
    seen.type(" ".join(RUN) + " sh -c 'echo $((40+2)); read word; echo got:$word; exit 7'\r")
    seen.until_text("42")
    seen.type("\x1a")
    seen.until_text("Stopped")
    seen.type("echo in the $((1+1))nd shell\r")
    seen.until_text("in the 2nd shell")
    seen.type("fg\r")
    seen.until_text("$ fg")
    seen.type("hello\r")
    seen.until_text("got:hello")
    seen.type("echo =$?=\r")
    seen.until_text("=7=")
    seen.type("exit\r")
    assert seen.end() == 0


def test_the_terminal_is_the_commands(session: Session, tmp_path: Path) -> None:
    """All three streams are terminals of the same size, it controls its session, and its modes are as they were left."""
    script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size && echo direct > /dev/tty && stty -echo && echo finished"
    seen = session.guarded("sh", "-c", script)
    seen.until_text("finished")
    assert seen.end() == 0
    assert seen.text.split("\n") == ["20 72", "direct", "finished"]
    until(lambda: not seen.program.isalive())
