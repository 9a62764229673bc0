"""The front door: which command is found, what a wrong line gets, and how little is imported on the way."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard import __version__
from guard_cli.arguments import Parser, did_you_mean
from guard_cli.main import COMMANDS, main

HEAVY = {"asyncio", "mitmproxy", "numpy", "onnxruntime", "psutil", "pydantic", "rich", "sqlite3", "tree_sitter", "yaml"}
HELP = (sys.executable, "-m", "guard_cli", "--help")


def test_version_names_the_command_and_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"guard {__version__}\n"


def test_help_shows_every_command_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (purpose, example) in COMMANDS.items():
        assert f"  {name:8} {purpose}\n           {example}\n" in text
        assert example.startswith(f"guard {name}")


def test_no_command_is_wrong_use_and_help_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: guard COMMAND")


def test_an_unknown_command_gets_one_line_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chek", "x"]) == 2
    assert capsys.readouterr() == ("", "guard: `chek` is no command, did you mean `check`?; see `guard --help`\n")


def test_an_unknown_option_gets_one_line_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--jsn"])
    assert ended.value.code == 2
    assert capsys.readouterr() == (
        "",
        "guard doctor: `--jsn` is not understood, did you mean `--json`?; see `guard doctor --help`\n",
    )


def test_options_are_not_guessed_from_abbreviations(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--js"])
    assert ended.value.code == 2


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_every_listed_command_can_be_asked_for_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert f"usage: guard {name}" in out
    assert out.endswith(f"\nexample: {COMMANDS[name][1]}\n")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "run"])
def test_the_example_of_every_command_is_understood_by_it(name: str) -> None:
    words = shlex.split(COMMANDS[name][1])
    subparsers = Parser(prog="guard").add_subparsers(parser_class=Parser)
    import_module(f"guard_cli.{name}").add_parser(subparsers)
    _, not_understood = subparsers.choices[name].parse_known_args(words[2:])
    assert not_understood == []


def test_only_the_chosen_command_is_imported(child_env: dict[str, str]) -> None:
    code = "import guard_cli.main as m\ntry: m.main(['doctor', '--help'])\nexcept SystemExit: pass"
    loaded = modules_after(code, child_env)
    ours = {name.removeprefix("guard_cli.") for name in loaded if name.startswith("guard_cli.")}
    assert ours == {"main", "arguments", "doctor"}


def test_the_front_door_itself_costs_no_third_party_import_and_no_argparse(child_env: dict[str, str]) -> None:
    loaded = modules_after("import guard_cli.main as m; m.main(['--version'])", child_env)
    assert "guard_cli.main" in loaded
    assert not loaded & {*HEAVY, "argparse", "typing"}


def test_the_way_to_run_imports_nothing_heavy(child_env: dict[str, str]) -> None:
    loaded = modules_after("import guard_cli.main, guard_cli.run", child_env)
    assert "guard_cli.run" in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_ends_the_command_quietly(unbuffered: str, child_env: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    env = {**child_env, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(HELP, env=env, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_told_and_is_no_success(unbuffered: str, child_env: dict[str, str]) -> None:
    env = {**child_env, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(HELP, env=env, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr


def test_python_dash_m_is_the_command(child_env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    done = subprocess.run(HELP, env=child_env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, capsys.readouterr().out, "")


@given(st.text(max_size=20))
def test_a_suggestion_is_always_a_known_word_or_nothing(word: str) -> None:
    said = did_you_mean(word, COMMANDS)
    assert said == "" or said in {f", did you mean `{name}`?" for name in COMMANDS}


def modules_after(code: str, env: dict[str, str]) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code, beyond those of its own start."""
    script = f"import sys\nbefore = set(sys.modules)\n{code}\nprint('\\nMODULES', *sorted(set(sys.modules) - before))"
    command = [sys.executable, "-S", "-c", script]  # -S: what an editable installation's finder imports is not ours
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.rsplit("MODULES", 1)[1].split())
