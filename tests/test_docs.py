"""The documentation says what is so: commands, statuses, fields, operators, links and the transcript are compared with the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from guard import __version__
from guard.core.actions import FILE_OPS, HARM_LABELS, KINDS
from guard.policy import fields, schema
from guard_cli import doctor, main, run

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("classifiers/*/*.md")]
)
README = (ROOT / "README.md").read_text()
POLICIES = (ROOT / "docs/policies.md").read_text()


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def table(text: str, after: str) -> list[list[str]]:
    """The cells of the first table after this text, its two head rows left out, backticks removed."""
    rows = []
    for line in text.split(after, 1)[1].splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()) if "://" not in t]
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_guard_command_in_a_page_exists(page: Path) -> None:
    text = page.read_text()
    typed = [line for block in code_blocks(text, "sh") for line in block.splitlines()] + re.findall(
        r"`([^`\n]+)`", text
    )
    assert {words[1] for line in typed if (words := line.split())[:1] == ["guard"] and len(words) > 1} <= set(
        main.COMMANDS
    )


def test_the_readme_shows_every_command() -> None:
    shown = set(re.findall(r"\bguard ([a-z]+)\b", README))
    assert set(main.COMMANDS) <= shown


@pytest.mark.parametrize("name", [name for name in main.COMMANDS if name != "run"])
def test_the_commands_of_the_readme_are_understood(name: str) -> None:
    from importlib import import_module

    from guard_cli.arguments import Parser

    subparsers = Parser(prog="guard").add_subparsers(parser_class=Parser)
    import_module(f"guard_cli.{name}").add_parser(subparsers)
    lines = [
        shlex.split(line.split("<")[0], comments=True)
        for block in code_blocks(README, "sh")
        for line in block.splitlines()
    ]
    mine = [words[2:] for words in lines if words[:2] == ["guard", name]]
    assert [left for words in mine for left in subparsers.choices[name].parse_known_args(words)[1]] == []


def test_the_options_of_run_in_the_readme_are_in_its_help() -> None:
    lines = [line for block in code_blocks(README, "sh") for line in block.splitlines() if line.startswith("guard run")]
    options = {
        word for line in lines for word in shlex.split(line.split(" -- ")[0], comments=True) if word.startswith("--")
    }
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", run.USAGE))


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile() -> None:
    block = next(b for b in code_blocks(README, "sh") if "make" in b)
    assert re.findall(r"^make (\w+)", block, re.MULTILINE) == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in ("demo", "test"))


def test_statuses_are_those_of_the_code() -> None:
    text = (ROOT / "docs/exit-status.md").read_text()
    others = {row[0] for row in table(text, "## All other commands")}
    assert others == {"0", "1", "2", "3", "4", str(main.INTERRUPTED), str(main.BROKEN_PIPE)}
    assert (main.GUARD_FAILED, main.WRONG_USE) == (125, 2)
    assert (doctor.ABLE, doctor.UNABLE) == (0, 1)
    run = {row[0] for row in table(text, "## `guard run`")}
    assert run == {"COMMAND's own", "128+N", "126", "127", str(main.GUARD_FAILED)}


def test_the_page_on_policies_has_every_operator_on_every_type() -> None:
    rows = table(POLICIES, "## Operators")
    operators = {row[0]: set(row[1].split(", ")) for row in rows}
    wanted = {
        op: {t for t, ops in fields.OPERATORS.items() if op in ops} for ops in fields.OPERATORS.values() for op in ops
    }
    assert operators == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_on_policies_has_every_field_of_every_kind(kind: str) -> None:
    rows = table(POLICIES, f"\n`{kind}`: ")
    shown = {row[0]: row[1] for row in rows}
    wanted = {name: described(field) for name, field in fields.FIELDS[kind].items()}
    if kind == "network":
        wanted["headers.NAME"] = described(fields.field(kind, "headers.x"))
    assert shown == wanted
    assert all(row[2] for row in rows)


def test_the_page_on_policies_has_the_fields_of_all_kinds() -> None:
    rows = table(POLICIES, "Every kind has these as well:")
    assert {row[0]: row[1] for row in rows} == {name: described(field) for name, field in fields.COMMON.items()}


def described(field: fields.Field | None) -> str:
    assert field is not None
    return f"{field.type}, several" if field.many else field.type


@pytest.mark.parametrize(
    ("start", "words"), [("Kinds: ", KINDS), ("Operations: ", FILE_OPS), ("Harm labels: ", HARM_LABELS)]
)
def test_closed_vocabularies_are_shown_whole(start: str, words: tuple[str, ...]) -> None:
    line = next(text for text in POLICIES.splitlines() if text.startswith(start))
    assert re.findall(r"`(\w+)`", line.split(".")[0]) == list(words)


def test_the_page_on_policies_has_every_list() -> None:
    assert {row[0] for row in table(POLICIES, "## Lists")} == {*fields.PLACE_LISTS, *fields.HOST_LISTS}
    assert all(f"`{symbol}`" in POLICIES for symbol in fields.SYMBOLS)


def test_the_page_on_architecture_names_every_room() -> None:
    shown = {
        name for row in table((ROOT / "docs/architecture.md").read_text(), "## Rooms") for name in row[0].split(", ")
    }
    guard = {f"guard/{entry.name}" for entry in (ROOT / "guard").iterdir() if not entry.name.startswith(("_", "py."))}
    assert shown == guard | {"cli/guard_cli", "policies/", "classifiers/"}


def test_the_page_on_policies_has_every_key_and_every_pack() -> None:
    assert {row[0] for row in table(POLICIES, "A file has")} == set(schema.PolicyFile.model_fields)
    assert {row[0] for row in table(POLICIES, "`rule`, `actor`, `target`, `expires`, `reason` |\n")} == set(
        schema.RuleEntry.model_fields
    )
    assert {row[0] for row in table(POLICIES, "## Packs")} == {pack.stem for pack in (ROOT / "policies").glob("*.yaml")}


def test_the_changelog_tells_this_version() -> None:
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_transcript_of_the_readme_is_what_the_example_prints(child_env: dict[str, str]) -> None:
    command = [sys.executable, str(ROOT / "docs/transcript.py"), "--check"]
    done = subprocess.run(command, env=child_env, capture_output=True, text=True, timeout=240)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
