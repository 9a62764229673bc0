"""Settings files: which keys a change sets, and which of them run programs."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core import gitconfig
from guard.core.gitconfig import changed, changed_json, changed_toml, executes, keys

TEXT = """\
; a comment
[core]
\trepositoryformatversion = 0
\tbare = false # another
[remote "Origin"]
\turl = ../x.git
\tfetch = +refs/heads/*:refs/remotes/origin/*
\tfetch = +refs/tags/*:refs/tags/*
[alias] z = "!rm -rf \\"a b\\"; echo x"
\tst = status -s\\
 --branch
[filter.lfs]
\tclean = git-lfs clean -- %f
[Section] Flag
"""


def test_the_examples_in_the_docstrings_hold() -> None:
    """Documentation is tested."""
    assert doctest.testmod(gitconfig).failed == 0


def test_keys_of_a_whole_file() -> None:
    """Sections, subsections, quotes, escapes, comments, continued lines, several values and bare keys."""
    assert keys(TEXT) == {
        "core.repositoryformatversion": ("0",),
        "core.bare": ("false",),
        "remote.Origin.url": ("../x.git",),
        "remote.Origin.fetch": ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"),
        "alias.z": ('!rm -rf "a b"; echo x',),
        "alias.st": ("status -s --branch",),
        "filter.lfs.clean": ("git-lfs clean -- %f",),
        "section.flag": ("true",),
    }


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git itself")
@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        '[a "b.c"]\nd=1',
        "[a]b=  x  y  ",
        '[a]\nb = " x " ; y',
        "[a]\nb = x\\ty",
        '[a "q\\"r"]\nb',
        "\ufeff[a]\r\nb = 1\r\n",
        '[a]b="x"y"z"',
        "[a]\nb =\nc",
        '[a]\nb = "x # y" # z',
        "[a]\nb = x\\\n y",
        '[a]\nb = x ""',
        '[a]\nb = x "" ',
    ],
)
def test_git_reads_the_same(text: str, tmp_path: Path) -> None:
    """Git's own listing of the file has the same keys and values."""
    file = tmp_path / "config"
    file.write_bytes(text.encode())
    out = subprocess.run(
        ["git", "config", "--file", str(file), "--list", "-z"], capture_output=True, check=True
    ).stdout.decode()
    told: dict[str, tuple[str, ...]] = {}
    for entry in out.split("\0")[:-1]:
        key, found, value = entry.partition("\n")
        told[key] = (*told.get(key, ()), value if found else "true")
    assert keys(text) == told


@pytest.mark.parametrize(
    "text", ["x = 1", "[a", "[a]\n1x = 2", '[a]\nb = "x', "[a]\nb = \\q", "[a]\nb ! c", '[a "b]\nc']
)
def test_what_git_refuses_is_refused(text: str) -> None:
    """Such text is reported as `unreadable`, which rules treat like a key that runs programs."""
    with pytest.raises(ValueError, match="`"):
        keys(text)
    assert changed("", text) == ("unreadable",)


@given(st.text(st.sampled_from('[]"=\\ \n\t#;ab.!'), max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader run on or fail in another way."""
    try:
        found = keys(text)
    except ValueError:
        assert changed("", text) == ("unreadable",)
    else:
        assert all("." in key for key in found)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core.hookspath", ".husky"),
        ("core.sshcommand", "ssh -i x"),
        ("core.fsmonitor", "./watch"),
        ("core.pager", "sh -c x"),
        ("core.editor", "code --wait"),
        ("alias.z", "!sh"),
        ("alias.sub.command", "!sh"),
        ("filter.lfs.smudge", "x"),
        ("diff.external", "x"),
        ("diff.pdf.textconv", "x"),
        ("merge.ours.driver", "true"),
        ("credential.helper", "!echo password=x"),
        ("credential.https://x.example.helper", "/tmp/x"),
        ("include.path", "../evil"),
        ("includeif.gitdir:~/x/.path", "../evil"),
        ("gpg.ssh.program", "x"),
        ("pager.log", "sh x"),
        ("submodule.a.update", "!sh"),
        ("init.templatedir", "/tmp/t"),
        ("protocol.ext.allow", "always"),
        ("remote.origin.url", "ext::sh -c x"),
        ("remote.origin.uploadpack", "x"),
    ],
)
def test_keys_that_run_programs(key: str, value: str) -> None:
    """What git-config(1) says is run, or read as further configuration."""
    assert executes(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user.name", "zed"),
        ("remote.origin.url", "../x.git"),
        ("remote.origin.url", "https://x.example/a.git"),
        ("branch.main.remote", "origin"),
        ("alias.st", "status"),
        ("core.bare", "false"),
        ("core.fsmonitor", "true"),
        ("core.pager", "less"),
        ("pager.log", "false"),
        ("credential.helper", "cache --timeout=3600"),
        ("submodule.a.update", "rebase"),
        ("protocol.ext.allow", "never"),
        ("merge.conflictstyle", "diff3"),
        ("core.hookspath", ""),
    ],
)
def test_keys_that_run_nothing(key: str, value: str) -> None:
    """Ordinary settings pass without a question."""
    assert not executes(key, value)


def test_changed_names_keys_and_marks_those_that_run() -> None:
    """Only what differs is named; a removed key is named and runs nothing."""
    old = "[user]\nname = a\n[core]\nhooksPath = x\n[alias]\nst = status\n"
    assert changed(old, old) == ()
    assert changed(old, old.replace("name = a", "name = b")) == ("user.name",)
    assert changed(old, old.replace("hooksPath = x\n", "")) == ("core.hookspath",)
    assert changed(old, old + "z = !sh\n") == ("alias.z", "runs:alias.z")
    assert changed("", '[alias "Z"]\ncommand = !sh') == ("alias.z.command", "runs:alias.z.command")
    assert changed("[a", "[user]\nname = a") == ("user.name",)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", '{"hooks": {}}', ("hooks",)),
        ('{"hooks": {"a": 1}}', '{"hooks": {"a": 1}}', ()),
        ('{"hooks": {"a": 1}}', "{}", ("hooks",)),
        ('{"numStartups": 1}', '{"numStartups": 2}', ("numstartups",)),
        ("{}", '{"projects": {"/p": {"mcpServers": {}, "allowedTools": []}}}', ("/p", "projects")),
        (
            "{}",
            '{"projects": {"/p": {"mcpServers": {"x": {"command": "sh"}}}}}',
            ("/p", "command", "mcpservers", "projects", "x"),
        ),
        ('{"a": {"permissions": ["x"]}}', '{"a": {"permissions": ["x"], "b": 1}}', ("a", "b")),
        ("", "not json", ("unreadable",)),
        ("", "[]", ("unreadable",)),
        ("broken", '{"a": 1}', ("a",)),
        ("{}", '{ // why\n "a": 1, /* x */ "b": "//no", }', ("a", "b")),
        ("{}", '{"a": [{"hooks": [1]}]}', ("a", "hooks")),
    ],
)
def test_changed_json(old: str, new: str, found: tuple[str, ...]) -> None:
    """Keys of the top level whenever they differ, keys below where they are not empty."""
    assert changed_json(old, new) == found


def test_deep_json_is_unreadable() -> None:
    """Nesting that the parser gives up on is no reason to fail, and none to allow."""
    assert changed_json("", "[" * 100_000) == ("unreadable",)


def test_changed_toml() -> None:
    """The same for TOML."""
    assert changed_toml('model = "a"', 'model = "b"') == ("model",)
    assert "mcp_servers" in changed_toml("", '[mcp_servers.x]\ncommand = "sh"')
    assert changed_toml("", "= broken") == ("unreadable",)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(0, 2), max_size=3), st.data())
def test_changed_json_names_exactly_what_differs(old: dict[str, int], data: st.DataObject) -> None:
    """For flat files the answer is the set of keys whose values differ."""
    new = data.draw(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.integers(0, 2), max_size=3))
    expected = {k for k in {*old, *new} if old.get(k) != new.get(k)}
    assert set(changed_json(json.dumps(old), json.dumps(new))) == expected
