"""Path patterns: what one matches, what lies below a folder, and that the shared table says the same as each pattern alone."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.policy.paths import Glob, PathTable, glob_source, is_glob

PIECES = st.sampled_from(["a", "b", "ab", ".git", "hooks", "*", "**", "a*", "*b", "?", "[ab]", "*.x", "a**"])
PATTERNS = st.builds(
    lambda floating, parts: ("**/" if floating else "/") + "/".join(parts),
    st.booleans(),
    st.lists(PIECES, min_size=1, max_size=4),
)
NAMES = st.sampled_from(["a", "b", "ab", ".git", "hooks", "c", "a.x", "bb"])
PATHS = st.lists(NAMES, max_size=5).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("pattern", "path", "meets"),
    [
        ("/a/*.py", "/a/x.py", True),
        ("/a/*.py", "/a/b/x.py", False),
        ("/a/**", "/a/b/x.py", True),
        ("/a/**", "/a", False),
        ("/a/**/x", "/a/x", True),
        ("/a/**/x", "/a/b/c/x", True),
        ("**/.env", "/w/.env", True),
        ("**/.env", "/.env", True),
        ("**/.env", "/w/x.env", False),
        ("**/.env.*", "/w/.env.local", True),
        ("/a/?", "/a/b", True),
        ("/a/?", "/a/bb", False),
        ("/dev/sd[a-z]*", "/dev/sda1", True),
        ("/dev/sd[!a-z]*", "/dev/sda1", False),
        ("/a/[b", "/a/[b", True),
        ("/a/x.y", "/a/xzy", False),
        ("/a/*", "/a/new\nline", True),
    ],
)
def test_globs(pattern: str, path: str, meets: bool) -> None:
    """`*` stays inside a name, `**` crosses names, classes may be inverted, everything else is itself."""
    assert (re.fullmatch(glob_source(pattern), path, re.DOTALL) is not None) is meets
    table = PathTable()
    table.add(pattern, 1, below=False)
    assert table.meets(path) == int(meets)


def test_texts_have_no_separator() -> None:
    """For texts that are no paths `*` crosses everything."""
    assert re.fullmatch(glob_source("*.example", separator=False), "a/b.example")


@given(st.lists(st.tuples(PATTERNS, st.booleans()), min_size=1, max_size=6), PATHS)
def test_the_table_says_what_each_pattern_says(patterns: list[tuple[str, bool]], path: str) -> None:
    """Looking many patterns up at once gives the same as trying each."""
    table = PathTable()
    expected = 0
    for number, (pattern, below) in enumerate(patterns):
        table.add(pattern, 1 << number, below=below)
        source = glob_source(pattern) + ("(?:/.*)?" if below else "")
        expected |= (re.fullmatch(source, path, re.DOTALL) is not None) << number
    assert table.meets(path) == expected


@given(st.lists(PATTERNS.filter(lambda p: not p.startswith("**")), min_size=1, max_size=6), PATHS, PATHS)
def test_nothing_below_is_missed(patterns: list[str], folder: str, rest: str) -> None:
    """If a path below the folder meets an anchored pattern, the folder is said to hold it: moving it must count."""
    table = PathTable()
    for number, pattern in enumerate(patterns):
        table.add(pattern, 1 << number, below=False)
    path = (folder if folder != "/" else "") + rest
    if rest != "/":
        assert table.meets(path) & ~table.below(folder) == 0


@pytest.mark.parametrize(
    ("pattern", "folder", "holds"),
    [
        ("/a/b/c", "/a", True),
        ("/a/b/c", "/a/b", True),
        ("/a/b/c", "/a/b/c", False),
        ("/a/b/c", "/a/x", False),
        ("/a/b/c", "/", True),
        ("/a/*/c", "/a/x", True),
        ("/a/*/c", "/", True),
        ("/a/*/c", "/b", False),
        ("/a/**/c", "/a/x/y", True),
        ("**/.git/hooks/*", "/w/.git", True),
        ("**/.git/hooks/*", "/w/.git/hooks", True),
        ("**/.git/hooks/*", "/w", False),
        ("**/*.pem", "/w", False),
        ("**/*.git/hooks/*", "/w/x.git", False),
        ("**/*.git/hooks/*", "/w/x.git/hooks", True),
        ("/", "/", False),
        ("/a/**", "/a/b", True),
        ("/a/b**", "/a/bc/d", True),
        ("**/__pycache__/**", "/w/__pycache__/x", True),
        ("**/__pycache__/**", "/w", False),
    ],
)
def test_folders_on_the_way(pattern: str, folder: str, holds: bool) -> None:
    """A floating pattern lies below a folder only once a literal name of it has been met."""
    table = PathTable()
    table.add(pattern, 1, below=True)
    assert table.below(folder) == int(holds)
    if is_glob(pattern):
        assert Glob(pattern, 1, below=True).may_lie_below(folder) is holds


def test_below_a_floating_glob() -> None:
    """With everything below, a path counts although its own name does not look like the pattern."""
    table = PathTable()
    table.add("**/*.x", 1, below=True)
    assert table.meets("/w/a.x/b") == 1
    assert table.meets("/w/a/b") == 0


def test_exclusion_hides_what_is_further_up_only() -> None:
    """A home inside a temporary folder is no temporary folder, but a temporary folder inside that home is one."""
    table = PathTable()
    table.add("/tmp", 1, below=True)
    table.add("/tmp/home/cache", 1, below=True)
    table.exclude("/tmp/home", 1)
    assert table.meets("/tmp/x") == 1
    assert table.meets("/tmp/home") == 0
    assert table.meets("/tmp/home/x") == 0
    assert table.meets("/tmp/home/cache/x") == 1


def test_exclusion_concerns_its_own_atom() -> None:
    """Another condition on the same folder is not touched."""
    table = PathTable()
    table.add("/tmp", 3, below=True)
    table.exclude("/tmp/home", 1)
    assert table.meets("/tmp/home/x") == 2
