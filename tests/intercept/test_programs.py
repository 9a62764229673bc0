"""What the kernel edge takes an exec for: inline code, scripts, launchers, injected variables, secrets of a labelled file."""

from __future__ import annotations

import os

import pytest

from guard.intercept.helpers import secret_values
from guard.intercept.lineage import Lineage, origin_of
from guard.intercept.programs import Program, Programs, carries_code, inline_code


def program(*argv: str, runs: str | None = None, script: str | None = None, injected: bool | None = False) -> Program:
    """A record of this command line; `runs` is what the kernel loads."""
    exe = script or runs or f"/usr/bin/{os.path.basename(argv[0])}"
    return Program(
        exe=exe,
        runs=runs or exe,
        identity=(1, 2),
        argv=argv,
        cmdline=None,
        dynamic=True,
        anonymous=False,
        script_path=script,
        injected=injected,
    )


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("sh", "-c", "rm x"), "rm x"),
        (("bash", "-lc", "rm x"), "rm x"),
        (("bash", "-l", "-c", "rm x", "name"), "rm x"),
        (("bash", "--norc", "-ec", "rm x"), "rm x"),
        (("bash", "-c", "-e", "rm x"), "rm x"),
        (("bash", "script.sh", "-c", "rm x"), None),
        (("bash", "+x", "-c", "rm x"), "rm x"),
        (("python3", "-c", "print(1)"), "print(1)"),
        (("python3.13", "-cprint(1)"), "print(1)"),
        (("python3", "-I", "-c", "print(1)"), "print(1)"),
        (("python3", "-Bc", "print(1)"), "print(1)"),
        (("python3", "-Bcprint(1)"), "print(1)"),
        (("python3", "-m", "x", "-c", "print(1)"), None),
        (("python3", "-W", "ignore", "-c", "print(1)"), "print(1)"),
        (("perl", "-ne", "unlink"), "unlink"),
        (("python3", "file.py", "-x"), None),
        (("perl", "-e", "unlink 'x'"), "unlink 'x'"),
        (("node", "--eval", "1"), "1"),
        (("busybox", "sh", "-c", "rm x"), "rm x"),
        (("ls", "-c", "x"), None),
        ((), None),
    ],
)
def test_inline_code_is_found_where_interpreters_take_it(argv: tuple[str, ...], code: str | None) -> None:
    """`-c`, in bundles, behind other options; never behind a script's name, never for other programs."""
    runs = "/usr/bin/busybox" if argv and argv[0] == "busybox" else None
    assert inline_code(program(*(argv or ("true",)), runs=runs)) == code


@pytest.mark.parametrize(
    ("argv", "carries"),
    [
        (("python3", "x.py"), True),
        (("python3", "-m", "pytest"), False),
        (("python3", "-W", "ignore", "x.py"), True),
        (("bash", "x.sh"), True),
        (("bash",), False),
        (("ls", "x.sh"), False),
    ],
)
def test_a_script_argument_is_code_that_the_exec_brings(argv: tuple[str, ...], carries: bool) -> None:
    """The first operand of an interpreter; modules and bare interpreters bring none."""
    assert carries_code(program(*argv)) is carries


def test_an_actor_is_verified_only_where_nobody_could_have_put_code_into_it() -> None:
    """Not with injected variables, not where the tree may write the file, not as inline code, not before it was looked at."""
    assert Programs.actor(program("ssh", "host"), writable=False).verified  # type: ignore[union-attr]
    assert not Programs.actor(program("ssh", "host"), writable=True).verified  # type: ignore[union-attr]
    assert not Programs.actor(program("ssh", "host", injected=True), writable=False).verified  # type: ignore[union-attr]
    assert not Programs.actor(program("ssh", "host", injected=None), writable=False).verified  # type: ignore[union-attr]
    assert not Programs.actor(program("bash", "-c", "exec -a ssh x"), writable=False).verified  # type: ignore[union-attr]
    assert Programs.actor(None, writable=False) is None


def test_a_script_acts_under_its_own_name() -> None:
    """`aws` is a Python script: the actor is named for the script, and both files count."""
    actor = Programs.actor(program("aws", "s3", "ls", runs="/usr/bin/python3", script="/usr/bin/aws"), writable=False)
    assert actor is not None
    assert (actor.name, actor.exe, actor.script) == ("aws", "/usr/bin/python3", "/usr/bin/aws")


def test_secrets_are_the_values_of_a_labelled_file() -> None:
    """Values of assignments and lines of keys; comments, PEM borders and short words are none."""
    text = b"# TOKEN=not-this-one\nAPI_TOKEN=abcdefgh1234\nexport B='quoted value here'\nshort=abc\n-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n"
    assert secret_values(text) == [b"abcdefgh1234", b"quoted value here", b"MIIEvQIBADANBgkq"]


def test_a_process_is_known_by_number_and_start_together() -> None:
    """A record is inherited by children, and never by a later process of the same number."""
    own = os.getpid()
    lineage = Lineage(top=os.getppid())
    assert lineage.program(own) is None
    lineage.record(own, program("make", "all"))
    child = os.fork()
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    try:
        found = lineage.program(child)
        assert found is not None
        assert found.argv == ("make", "all")
        assert lineage.contains(child)
        assert lineage.trail(child) == ("make all",)
        assert child in lineage.members()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert lineage.program(child) is None
    assert not lineage.contains(child)
    assert origin_of(child) is None
