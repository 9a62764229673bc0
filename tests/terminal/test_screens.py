"""A person at a real terminal: whole screens, keys, stops, sizes. The driver is the guard's terminal and prompt without the guard."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.terminal.screen import Seen, answer, ask, driven

SETTLED_S = 0.4  # seconds after which a key is an answer

QUESTION = """\
 guard asks                                              blocks in NN s

      write │ /etc/hosts

        yes │ leaves the workspace
         no │ can be undone

    because │ this is outside of the workspace
   asked by │ default/write-elsewhere
   led here │ agent ▸ sh






────────────────────────────────────────────────────────────────────────
 a │ allow this once
 s │ allow for this session: write exactly /etc/hosts
 b │ block (also Enter, Escape, end of input, and after NN s)"""

# A full-screen program: takes the alternate screen, draws its size and what was typed, and draws again at SIGWINCH.
FULL_SCREEN = """
import os, signal, sys, termios, tty
typed = ""
def draw(*_):
    size = os.get_terminal_size()
    os.write(1, b"\\x1b[H\\x1b[2J" + f"size {size.columns}x{size.lines}\\r\\ntyped {typed!r}\\r\\n".encode() + b"\\x1b[31mred\\x1b[0m")
signal.signal(signal.SIGWINCH, draw)
tty.setraw(0)
os.write(1, b"\\x1b[?1049h\\x1b[?1000h\\x1b[?25l")
draw()
while True:
    key = os.read(0, 1).decode()
    if key == "q":
        break
    typed += key
    draw()
os.write(1, b"\\x1b[?1049l\\x1b[?1000l\\x1b[?25h")
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Seen]:
    """A shell behind the driver, at its first prompt."""
    seen = Seen(driven(tmp_path, "sh"), tmp_path)
    try:
        seen.until_text("$")
        yield seen
    finally:
        seen.stop()


def settle(seen: Seen) -> None:
    """Waits as long as a person needs at least to read a question."""
    end = time.monotonic() + SETTLED_S
    while time.monotonic() < end:
        seen.read()


def plain(screen: str) -> str:
    """The screen without the countdown's numbers."""
    return re.sub(r"\d+ s\b", "NN s", screen)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a", "allow once key a"),
        ("s", "allow session key s"),
        ("b", "block once key b"),
        ("\r", "block once Enter"),
        ("\x1b", "block once Escape"),
        ("\x03", "block once Ctrl-C"),
        ("\x04", "block once end of input"),
    ],
)
def test_every_key_answers_and_the_screen_comes_back(shell: Seen, tmp_path: Path, key: str, expected: str) -> None:
    """The whole question is on the screen, the key is its answer, and afterwards the screen is what it was."""
    shell.type("echo one; echo two\n")
    shell.until_text("two\n$")
    before = shell.lines
    ask(tmp_path, 1, "/etc/hosts")
    shell.until_text("after 60 s)")
    assert plain(shell.text) == QUESTION
    settle(shell)
    shell.type(key)
    shell.until(lambda: answer(tmp_path, 1) is not None)
    assert answer(tmp_path, 1) == expected
    shell.until(lambda: shell.lines == before)
    shell.type("echo three\n")
    shell.until_text("three\n$")


def test_other_keys_answer_nothing_and_the_deadline_blocks(shell: Seen, tmp_path: Path) -> None:
    """Unknown keys, arrows and pasted text are no answers; nobody's answer is a block."""
    ask(tmp_path, 1, "/etc/hosts", deadline_s=2)
    shell.until_text("guard asks")
    settle(shell)
    shell.type("x \x1b[A\x1b[200~aaa\x1b[201~yA"[:-1])
    shell.until(lambda: answer(tmp_path, 1) is not None)
    assert answer(tmp_path, 1) == "block once deadline"


def test_what_was_typed_before_is_the_agents(shell: Seen, tmp_path: Path) -> None:
    """Keys typed before and just after a question appeared answer nothing and reach the program."""
    shell.type("sleep 1; read line; echo got $line.\n")
    shell.until_text("line.")
    shell.type("as")
    ask(tmp_path, 1, "/etc/hosts")
    shell.until_text("guard asks")
    shell.type("ba")
    settle(shell)
    assert answer(tmp_path, 1) is None
    shell.type("b")
    shell.until(lambda: answer(tmp_path, 1) is not None)
    assert answer(tmp_path, 1) == "block once key b"
    shell.type("\n")
    shell.until_text("got asba.")


def test_typing_without_a_pause_never_answers(shell: Seen, tmp_path: Path) -> None:
    """Somebody in the middle of a sentence for the agent does not answer with it, however long it is."""
    shell.type("cat\n")
    ask(tmp_path, 1, "/etc/hosts")
    shell.until_text("guard asks")
    for _ in range(12):
        shell.type("a")
        shell.read(0.1)
    assert answer(tmp_path, 1) is None
    settle(shell)
    shell.type("\r")
    shell.until_text("aaaaaaaaaaaa")
    assert answer(tmp_path, 1) == "block once Enter"


def test_questions_wait_for_one_another(shell: Seen, tmp_path: Path) -> None:
    """Three at once are shown one by one; a key pressed twice answers one of them; the shell sees none of the keys."""
    for number in (1, 2, 3):
        ask(tmp_path, number, f"/etc/file-{number}")
    shell.until_text("2 more waiting")
    settle(shell)
    shell.type("aa")
    shell.until_text("/etc/file-2")
    settle(shell)
    assert (answer(tmp_path, 1), answer(tmp_path, 2)) == ("allow once key a", None)
    shell.type("b")
    shell.until_text("/etc/file-3")
    settle(shell)
    shell.type("s")
    shell.until(lambda: answer(tmp_path, 3) is not None)
    assert (answer(tmp_path, 2), answer(tmp_path, 3)) == ("block once key b", "allow session key s")
    shell.until(lambda: shell.text == "$")


def test_a_name_cannot_draw(shell: Seen, tmp_path: Path) -> None:
    """Escape sequences, line breaks, bidi controls and raw bytes in a name are spelled out behind the gutter."""
    ask(tmp_path, 1, "/x/\x1b[2J\x1b[H guard asks\\n a │ allow this once\u202e\u2066\x07\udcff\x9b3m")
    shell.until_text("after 60 s)")
    assert (
        plain(shell.text)
        == """\
 guard asks                                              blocks in NN s

      write │ /x/\\x1b[2J\\x1b[H guard asks\\n a │ allow this once\\u202e
            │ \\u2066\\x07\\xff\\x9b3m

        yes │ leaves the workspace
         no │ can be undone

    because │ this is outside of the workspace
   asked by │ default/write-elsewhere
   led here │ agent ▸ sh




────────────────────────────────────────────────────────────────────────
 a │ allow this once
 s │ allow for this session: write exactly /x/\\x1b[2J\\x1b[H guard asks\\n
   │  a │ allow this once\\u202e\\u2066\\x07\\xff\\x9b3m
 b │ block (also Enter, Escape, end of input, and after NN s)"""
    )


def test_long_text_scrolls_and_says_so(shell: Seen, tmp_path: Path) -> None:
    """A name longer than the screen is there in whole: by page keys to its end and back."""
    ask(tmp_path, 1, "/" + "0123456789" * 120)
    shell.until_text("guard asks")
    settle(shell)
    first = shell.text
    seen = set(re.findall(r"│ (\S+)", first))
    assert "allow for this session" not in first, "a pattern that does not fit is not offered"
    assert re.search(r"lines 1–\d+ of \d+", first)
    for _ in range(6):
        shell.type("\x1b[6~")
        settle(shell)
        seen |= set(re.findall(r"│ (\S+)", shell.text))
    assert "asked by" in shell.text
    for _ in range(6):
        shell.type("\x1b[5~")
    shell.until(lambda: plain(shell.text) == plain(first))
    shell.type("s")
    settle(shell)
    assert answer(tmp_path, 1) is None
    shell.type("a")
    shell.until(lambda: answer(tmp_path, 1) is not None)


def test_output_during_a_question_comes_after_it(shell: Seen, tmp_path: Path) -> None:
    """What the agent writes meanwhile does not touch the question and is not lost."""
    shell.type("sleep 1; echo meanwhile; seq 30 33\n")
    ask(tmp_path, 1, "/etc/hosts")
    shell.until_text("guard asks")
    for _ in range(5):
        settle(shell)
    assert "meanwhile" not in shell.text
    shell.type("b")
    shell.until_text("meanwhile\n30\n31\n32\n33\n$")


def test_a_full_screen_program_is_as_before(tmp_path: Path) -> None:
    """It repaints its alternate screen, has its mouse and cursor modes again, and the size it had."""
    seen = Seen(driven(tmp_path, sys.executable, "-c", FULL_SCREEN), tmp_path)
    try:
        seen.until_text("size 72x20")
        seen.type("hello")
        seen.until_text("typed 'hello'")
        before = seen.lines
        ask(tmp_path, 1, "/etc/hosts")
        seen.until_text("after 60 s)")
        assert plain(seen.text) == QUESTION
        settle(seen)
        seen.raw = b""
        seen.type("b")
        seen.until_text("size 71x20")
        seen.until(lambda: seen.lines == before)
        assert b"\x1b[?1000h" in seen.raw, "the mouse is the program's again"
        assert b"\x1b[?1049l" not in seen.raw, "it keeps the alternate screen"
        seen.type("q")
        assert seen.end() == 0
    finally:
        seen.stop()


@pytest.mark.parametrize("program", ["less", "vim"])
def test_real_programs_are_as_before(tmp_path: Path, program: str) -> None:
    """less and vim show the same screen before and after a question, and go on working."""
    text = tmp_path / "text"
    text.write_text("".join(f"line {n}\n" for n in range(1, 100)))
    command = ["less", str(text)] if program == "less" else ["vim", "-u", "NONE", "-N", "+set nomore", str(text)]
    seen = Seen(driven(tmp_path, *command), tmp_path)
    try:
        seen.until_text("line 15")
        seen.type("jk" if program == "less" else ":echo\r")  # both greet with the file's name, and never show it again
        settle(seen)
        before = seen.lines
        ask(tmp_path, 1, "/etc/hosts")
        seen.until_text("guard asks")
        settle(seen)
        seen.type("b")
        seen.until(lambda: answer(tmp_path, 1) is not None)
        settle(seen)
        assert seen.lines == before
        seen.type("q" if program == "less" else ":q!\r")
        assert seen.end() == 0
    finally:
        seen.stop()


def test_resize_during_a_question(shell: Seen, tmp_path: Path) -> None:
    """The question is drawn at the new size, and the agent knows the size afterwards."""
    ask(tmp_path, 1, "/etc/hosts")
    shell.until_text("guard asks")
    shell.resize(60, 16)
    shell.until(lambda: "─" * 60 in shell.lines and shell.lines[0].startswith(" guard asks"))
    assert shell.lines[0].rstrip().endswith(" s")
    settle(shell)
    shell.type("b")
    shell.until(lambda: answer(tmp_path, 1) is not None)
    shell.type("stty size\n")
    shell.until_text("16 60")


def test_signals_from_the_keyboard_reach_the_agent(shell: Seen) -> None:
    """Ctrl-C interrupts what runs in the foreground, Ctrl-\\ quits it, and the shell and the guard live on."""
    shell.type("sleep 100\n")
    settle(shell)
    shell.type("\x03")
    shell.until_text("^C")
    shell.type("\necho status $?\n")
    shell.until_text("status 130")
    shell.type("exit 7\n")
    assert shell.end() == 7


def test_stop_and_continue(tmp_path: Path) -> None:
    """Ctrl-Z stops the agent and the guard, gives the shell a terminal that echoes; fg brings everything back, an open question too."""
    seen = Seen(["bash", "--norc", "-i"], tmp_path)
    try:
        seen.until_text("$")
        seen.type(" ".join(driven(tmp_path, "cat")) + "\n")
        settle(seen)
        settle(seen)
        seen.type("one\n")
        seen.until_text("one\none")
        seen.type("\x1a")
        seen.until_text("Stopped")
        seen.type("stty -a | grep -o ' -\\?icanon' ; stty -a | grep -o ' -\\?echo '\n")
        seen.until_text(" icanon\n echo")
        seen.type("clear; fg\n")
        settle(seen)
        seen.type("two\n")
        seen.until_text("two\ntwo")
        seen.type("\x04")
        settle(seen)
        seen.type("echo ended $?\n")
        seen.until_text("ended 0")
    finally:
        seen.stop()


def test_the_terminal_hangs_up(tmp_path: Path) -> None:
    """A terminal that is closed during a question blocks, and the guard ends."""
    seen = Seen(
        ["sh", "-c", 'trap "" HUP; ' + " ".join(driven(tmp_path, "cat")) + f"; echo $? > {tmp_path}/status"], tmp_path
    )
    try:
        settle(seen)
        ask(tmp_path, 1, "/etc/hosts")
        seen.until_text("guard asks")
        settle(seen)
    finally:
        seen.program.ptyproc.fileobj.close()
    end = time.monotonic() + 20
    while not (tmp_path / "status").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert answer(tmp_path, 1) == "block once end of input"
    assert (tmp_path / "status").read_text() == "129\n"


@pytest.mark.parametrize(
    ("redirection", "expected"),
    [
        ("</dev/null", "no yes yes"),
        ("| cat", "yes no yes"),
        ("2>/dev/null", "yes yes no"),
        ("</dev/null 2>/dev/null | cat", "no no no"),
    ],
)
def test_only_descriptors_that_are_the_terminal_become_it(tmp_path: Path, redirection: str, expected: str) -> None:
    """The others are the files and pipes they were: nothing is copied through the guard."""
    script = tmp_path / "which.sh"
    words = " ".join(f"$([ -t {n} ] && echo yes || echo no)" for n in (0, 3, 2))
    script.write_text(f"exec 3>&1\necho {words}\n")
    seen = Seen(["sh", "-c", " ".join(driven(tmp_path, "sh", str(script))) + f" {redirection}"], tmp_path)
    try:
        assert seen.end() == 0
        seen.until_text(expected)
        assert seen.text == expected
    finally:
        seen.stop()


def test_much_output_arrives_whole(tmp_path: Path) -> None:
    """Every byte of 2 MB passes, in order."""
    seen = Seen(driven(tmp_path, "sh", "-c", "stty -opost; seq 1 300000; echo end"), tmp_path)
    seen._stream = type("Quiet", (), {"feed": staticmethod(lambda data: None)})()
    try:
        seen.until(lambda: b"end" in seen.raw)
        assert seen.end() == 0
        assert seen.raw == b"".join(b"%d\n" % n for n in range(1, 300001)) + b"end\n"
    finally:
        seen.stop()
