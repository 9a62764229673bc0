"""Totality of the reader and of the predictions: every text gives a value, and the value keeps its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.core.predict import Surroundings, predict_python_text, predict_shell
from guard.core.shell import MAX_COMMANDS, read
from guard.core.shell_syntax import MAX_DEPTH, parse
from guard.core.shell_values import Reading

AROUND = Surroundings(cwd="/w", workspace="/w", home="/home/u", tools={"rm": "/usr/bin/rm", "sh": "/usr/bin/dash"})

PIECES = [
    "rm", "-rf", "x", "/etc", "~", "$x", "${x:-y}", "${x", "$(", "`", ")", "'", '"', "$'", "\\", ";", "&&", "||", "|", "&", "\n", " ", "(", "{", "}",
    "[[", "]]", "((", "))", "if", "then", "fi", "for", "in", "do", "done", "while", "case", "esac", ";;", "function", "f()", "<<E", "\nE\n", "<<<",
    "<", ">", ">>", "2>&1", "<(", "{a,b}", "{1..9}", "*", "?", "[", "]", "!", "#", "=", "x=", "x=(", "sh -c", "eval", "xargs", "find . -exec", "\\;",
    "sudo", "env -S", "python3 -c", "base64 -d", "echo", "curl", "git", "tar", "ssh h", "dd of=", "sed -i", "\0", "\u202e", "\udcff", "é",
]  # fmt: skip

PROGRAMS = [
    'for f in a b; do rm -- "$f"; done | sort > out 2>&1',
    "if [[ -f x && $(cat y) == z ]]; then sh <<'E'\nrm $1\nE\nelse echo \"a ${b:-$(c)} d\"; fi",
    "f() { local x=$1; eval \"rm $x\"; }; f $'\\x41' && cat <<A <<B > o; ls\n1\nA\n2\nB\n",
    "case $x in a|b) (cd /q; tar cf - . | ssh h 'tar xf -') ;; *) env -S 'sudo rm x' ;; esac",
    "x=(1 2 {3..5}); echo \"${x[@]}\" `echo \\`rm\\`` $((1+2)) <(sort a) | xargs -I{} sh -c 'echo {}'",
    "while read -r l; do printf '%s\\n' \"${l%%.*}\"; done < <(find . -name '*.c' -exec grep -l x {} +)",
]


def kept(found: Reading) -> None:
    """The bounds of every reading, and that its parts refer to one another."""
    assert len(found.commands) <= MAX_COMMANDS
    for index, command in enumerate(found.commands):
        assert command.depth <= MAX_DEPTH + 1
        assert command.parent is None or command.parent < index
        assert command.fed_by is None or command.fed_by < index
        assert command.dynamic == (bool(command.words) and command.words[0].text in (None, ""))
        assert all(word.prefix == "" or word.text is None for word in command.words)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_texts_of_shell_pieces_are_read(text: str) -> None:
    """Any order of the shell's own tokens gives a reading, and predictions from it."""
    kept(read(text, cwd="/w"))
    predict_shell(text, AROUND)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join))
def test_spaced_pieces_are_read(text: str) -> None:
    """The same with blanks between, which makes reserved words and options of them."""
    kept(read(text, cwd="/w"))
    predict_shell(text, AROUND)


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    """Control characters, lone surrogates and everything else that a string can hold."""
    kept(read(text))
    predict_shell(text, AROUND)
    predict_python_text(text, AROUND)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(data: bytes) -> None:
    """Bytes that are no UTF-8 arrive as surrogates."""
    kept(read(data.decode("utf-8", "surrogateescape")))


@given(st.sampled_from(PROGRAMS), st.data())
def test_every_prefix_of_a_program_is_read(program: str, data: st.DataObject) -> None:
    """Cut anywhere, with anything in place of one character, a valid program still gives a reading."""
    cut = data.draw(st.integers(0, len(program)))
    kept(read(program[:cut], cwd="/w"))
    piece = data.draw(st.sampled_from(PIECES))
    kept(read(program[:cut] + piece + program[cut + 1 :], cwd="/w"))


def test_every_prefix_of_every_program() -> None:
    """The same, all of them."""
    for program in PROGRAMS:
        assert not read(program, cwd="/w").problems
        for cut in range(len(program)):
            kept(read(program[:cut], cwd="/w"))


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join))
def test_reading_is_a_function(text: str) -> None:
    """The same text gives the same value, and quoting it for `sh -c` hides nothing: its commands are read inside."""
    found = read(text, cwd="/w")
    assert found == read(text, cwd="/w")
    if found.problems or "\0" in text or "<<" in text or any(c.dynamic for c in found.commands):
        return
    quoted = "sh -c -- '" + text.replace("'", "'\\''") + "'"
    inner = [c.words for c in read(quoted, cwd="/w").commands if c.parent is not None or c.via]
    assert [c.words for c in found.commands] == inner


@given(st.text(alphabet="ab'\"$(){};|&<>\n ", max_size=60))
def test_parsing_says_what_it_did_not_understand(text: str) -> None:
    """A text whose quotes or brackets are not balanced never passes for a whole program."""
    naive = text.count("'") % 2 and not {'"', "<", "$"} & set(text)
    if naive:
        assert "unparsable" in parse(text).problems
