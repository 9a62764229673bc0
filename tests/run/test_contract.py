"""What `guard run` promises around COMMAND: wrong use runs nothing, and streams, environment and folder are COMMAND's own."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.intercept.trust import VARIABLES
from tests.run.support import GUARD, guard_run

ROOT = Path(__file__).parents[2]
ALLOW = ROOT / "tests" / "fidelity" / "allow.yaml"
EVERY_BYTE = bytes(range(256)) * 2000  # more than a pipe holds


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and a home beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return folder


# ---- wrong use


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--polcy", "x"], "`--polcy` is not understood, did you mean `--policy`?"),
        (["--policy"], "`--policy` needs a value"),
        (["--shadow=1"], "`--shadow=1` is not understood"),
        (["--task", "a", "--task", "b"], "`--task` is given 2 times"),
        (["--approver", "somebody"], "`somebody`"),
        (["--approver", "tty"], "there is no terminal"),
        (["--ask-timeout", "0"], "`0` is no number of seconds"),
        (["--ask-timeout", "soon"], "`soon` is no number of seconds"),
        (["--ask-timeout", "nan"], "`nan` is no number of seconds"),
        (["--workspace", "nothing"], "`nothing` is no folder"),
        (["--workspace", "file"], "`file` is no folder"),
        (["--upstream-ca", "nothing"], "`nothing` is no file"),
        (["--policy", "defualt"], "no policy pack `defualt`"),
        (["--policy", "nothing.yaml"], "no policy file `nothing.yaml`"),
        (["--policy", "broken.yaml"], "broken.yaml:2:1: not YAML"),
        (["--policy", "wrong.yaml"], "wrong.yaml:3:"),
        (["--policy", "default", "--policy", "broken.yaml"], "broken.yaml:2:1: not YAML"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_runs_nothing(words: list[str], says: str, workspace: Path) -> None:
    """Status 125, one line that says what is wrong, and COMMAND has not run."""
    Path("file").touch()
    Path("broken.yaml").write_text("rules: [\n")
    Path("wrong.yaml").write_text("version: 1\nname: wrong\nruls: []\n")
    done = guard_run(*words, "--", "touch", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert says in done.stderr
    assert done.stderr.startswith("guard run: ")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("ran").exists()


def test_no_command(workspace: Path) -> None:
    for words in ([], ["--"], ["--shadow", "--"]):
        done = guard_run(*words)
        assert (done.returncode, done.stdout) == (125, "")
        assert done.stderr == "guard run: no command to run; see `guard run --help`\n"


def test_help_is_no_failure(workspace: Path) -> None:
    done = subprocess.run([*GUARD, "run", "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: guard run ")


def test_a_state_folder_that_cannot_be(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").touch()
    monkeypatch.setenv("GUARD_HOME", str(workspace / "file"))
    done = guard_run("--", "touch", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert "set GUARD_HOME to a folder you can write" in done.stderr
    assert not Path("ran").exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the product whose model may be spoilt, laid out as when it is installed."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "guard", folder / "guard", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "cli" / "guard_cli", folder / "guard_cli", ignore=shutil.ignore_patterns("__pycache__"))
    for data in ("policies", "classifiers"):
        shutil.copytree(
            ROOT / data, folder / "guard" / "_data" / data, ignore=shutil.ignore_patterns("__pycache__", "train")
        )
    return folder


def _spoil_byte(model: Path) -> None:
    data = bytearray((model / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (model / "model.onnx").write_bytes(data)


@pytest.mark.parametrize(
    "spoil",
    [
        _spoil_byte,
        lambda model: (model / "model.onnx").unlink(),
        lambda model: (model / "card.yaml").unlink(),
        lambda model: (model / "card.yaml").write_text("name: [\n"),
        lambda model: (model / "model.onnx").write_bytes(b""),
    ],
    ids=["one bit", "no model", "no card", "broken card", "empty model"],
)
def test_a_model_that_is_not_its_cards(spoil: Callable[[Path], object], installed: Path, workspace: Path) -> None:
    """Also where the same state folder has used a good one before."""
    model = installed / "guard" / "_data" / "classifiers" / "harm"
    kept = {file: file.read_bytes() for file in model.iterdir() if file.is_file()}
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*GUARD, "run", *words, "--", "touch", "ran"],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert (run().returncode, Path("ran").exists()) == (0, True)
    Path("ran").unlink()
    spoil(model)
    try:
        done = run()
        assert (done.returncode, done.stdout, Path("ran").exists()) == (125, "", False), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "--no-model" in done.stderr
        assert (run("--no-model").returncode, Path("ran").exists()) == (0, True)
    finally:
        for file, content in kept.items():
            file.write_bytes(content)


# ---- streams


def test_bytes_pass_as_they_are(workspace: Path) -> None:
    """A pipe at one end, a file at the other: every byte, and nothing of the guard's."""
    with open("out", "wb") as out:
        done = subprocess.run(
            [*GUARD, "run", "--no-model", "--", "cat"], input=EVERY_BYTE, stdout=out, stderr=subprocess.PIPE,
            timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert Path("out").read_bytes() == EVERY_BYTE


def test_output_comes_where_it_was_sent(workspace: Path) -> None:
    """Standard output and errors stay apart, and one file for both keeps the order."""
    done = guard_run("--", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    with open("both", "w") as both:
        guard_run(
            "--",
            "sh",
            "-c",
            "for i in 1 2 3; do echo o$i; echo e$i >&2; done",
            capture_output=False,
            stdout=both,
            stderr=both,
        )
    assert Path("both").read_text().split() == ["o1", "e1", "o2", "e2", "o3", "e3"]


def test_a_reader_that_leaves_ends_the_writer(workspace: Path) -> None:
    """`guard run -- yes | head -1`: SIGPIPE reaches COMMAND, not the guard."""
    with subprocess.Popen([*GUARD, "run", "--no-model", "--", "yes"], stdout=subprocess.PIPE) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == b"y\n"
        guard.stdout.close()
        assert guard.wait(60) == 128 + 13


def test_end_of_input_and_of_output_are_seen(workspace: Path) -> None:
    """Nothing of the guard keeps a pipe open that COMMAND has closed."""
    with subprocess.Popen(
        [*GUARD, "run", "--no-model", "--", "sh", "-c", "exec <&- >&-; while [ ! -e go ]; do sleep 0.05; done"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        assert guard.stdout.read() == b""  # COMMAND still runs
        assert guard.poll() is None
        with pytest.raises(BrokenPipeError):
            os.write(guard.stdin.fileno(), b"x")
        Path("go").touch()
        assert guard.wait(60) == 0


def test_further_descriptors_pass(workspace: Path) -> None:
    """Those that were inheritable, and no others: none of the guard's own."""
    code = "import os; held = [n for n in range(100) if os.path.exists(f'/proc/self/fd/{n}')]; print(held); os.write(9, b'through')"
    reading, writing = os.pipe()
    (Path("code")).write_text(code)
    shell = 'exec 9>&"$0"; exec "$@"'

    def listed(*prefix: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", shell, str(writing), *prefix, sys.executable, "code"],
            pass_fds=[writing], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert os.read(reading, 100) == b"through", done.stderr
        return done.stdout.splitlines()

    native = listed()
    assert native[0].startswith("[0, 1, 2, ")
    assert "9" in native[0]
    assert listed(*GUARD, "run", "--no-model", "--") == native
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_stay_closed(closed: str, workspace: Path) -> None:
    """No descriptor of the guard's gets their numbers, no word of the guard's goes to another stream, the status is COMMAND's."""
    look = "exec 9> seen; for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && echo $n >&9; done; exit 3"
    for prefix in ((), (*GUARD, "run", "--no-model", "--shadow", "--")):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", *prefix, "sh", "-c", look],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        open_ones = [number for number in "012" if f"{number}<&-" not in closed and f"{number}>&-" not in closed]
        assert (done.returncode, done.stdout) == (3, ""), done.stderr
        assert Path("seen").read_text().split() == open_ones


# ---- what COMMAND finds


def test_the_environment_is_the_same_but_for_the_authority(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Odd values too: line ends, bytes that are no text, empty ones, names that repeat PYTHON's own."""
    monkeypatch.setenv("LINES_IN", "a\nb=c")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("NO_TEXT", os.fsdecode(b"\xff\xfe"))
    native, guarded = (
        subprocess.run([*prefix, "env", "-0"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)
        for prefix in ((), (*GUARD, "run", "--no-model", "--"))
    )
    before, after = (
        dict(pair.split(b"=", 1) for pair in done.stdout.split(b"\0") if pair) for done in (native, guarded)
    )
    authority = {name.encode() for name in VARIABLES}
    assert {name for name in before | after if before.get(name) != after.get(name)} <= authority
    assert authority & after.keys()
    assert after[b"NO_TEXT"] == b"\xff\xfe"


def test_folder_mask_limits_and_signals_are_the_same(workspace: Path) -> None:
    """What a process inherits beside its environment."""
    inherited = (
        "pwd; pwd -P; umask; ulimit -Sa; ulimit -Ha; id; nice; echo $0 $#;"
        "grep -E '^(Groups|Sig[BIC]|Umask|Cap(Inh|Prm|Eff|Bnd|Amb)|Cpus_allowed):' /proc/self/status; cat /proc/self/oom_score_adj"
    )

    def before_exec() -> None:
        os.umask(0o27)
        os.nice(3)
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 400))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    native, guarded = (
        subprocess.run(
            [*prefix, "bash", "-c", inherited, "name", "a b", ""],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            preexec_fn=before_exec,
        )
        for prefix in ((), (*GUARD, "run", "--no-model", "--"))
    )
    assert guarded.stdout.splitlines() == native.stdout.splitlines()
    assert guarded.stderr == native.stderr


@pytest.mark.parametrize("mask", [0o22, 0o27, 0o77, 0])
def test_what_the_command_makes_has_its_mask(mask: int, workspace: Path) -> None:
    """From the first file on, whatever mask the guard itself was started with."""
    done = guard_run("--", "sh", "-c", "echo x > file; mkdir folder", preexec_fn=lambda: os.umask(mask))
    assert done.returncode == 0, done.stderr
    assert oct(Path("file").stat().st_mode & 0o777) == oct(0o666 & ~mask)
    assert oct(Path("folder").stat().st_mode & 0o777) == oct(0o777 & ~mask)


def test_arguments_pass_as_they_are(workspace: Path) -> None:
    """Options of COMMAND are COMMAND's; bytes that are no text; none is lost."""
    words = ["--policy", "x", "", "--", os.fsdecode(b"\xff"), "a\nb", "-h"]
    done = subprocess.run(
        [*GUARD, "run", "--no-model", "printf", "<%s>", *words], stdin=subprocess.DEVNULL, capture_output=True,
        timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == b"<--policy><x><><--><\xff><a\nb><-h>"


def test_a_guard_in_a_guard_adds_nothing(workspace: Path) -> None:
    """It says so once, and is out of the way."""
    done = guard_run("--", *GUARD, "run", "--", "sh", "-c", "echo out; touch made; exit 6")
    assert (done.returncode, done.stdout) == (6, "out\n")
    assert done.stderr == "guard: already under a guard, which decides; this one adds nothing\n"
    assert Path("made").exists()


# ---- what options do


def test_without_a_terminal_an_ask_is_a_block(workspace: Path) -> None:
    """The program sees an ordinary error, and one line says what happened."""
    (startup := workspace.parent / "home" / ".bashrc").write_text("before\n")
    done = guard_run("--", "sh", "-c", "echo harm >> ~/.bashrc; echo $? > status; touch after")
    assert startup.read_text() == "before\n"
    assert Path("status").read_text() == "2\n"
    assert Path("after").exists()
    assert (done.returncode, done.stdout) == (0, "")
    assert "blocked by default/shell-startup" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("guard:")]) == 1


def test_shadow_blocks_nothing_but_attacks_on_the_guard(workspace: Path, state_folder: Path) -> None:
    """It says so; the guard's own files stay."""
    (startup := workspace.parent / "home" / ".bashrc").write_text("before\n")
    done = guard_run("--shadow", "--", "sh", "-c", 'echo more >> ~/.bashrc; echo x > "$GUARD_HOME/own"; exit 0')
    assert done.returncode == 0
    assert done.stderr.startswith("guard: --shadow: nothing is blocked but attacks on the guard itself")
    assert startup.read_text() == "before\nmore\n"
    assert not (state_folder / "own").exists()
    assert "blocked by default/guard-files" in done.stderr


def test_no_network_refuses_what_leaves_the_tree(workspace: Path) -> None:
    """Although every rule allows it: streams and datagrams to a listener outside; one inside the tree is reached."""
    code = """
import socket, sys
outside, datagrams = map(int, sys.argv[1:])
for kind, port in ((socket.SOCK_STREAM, outside), (socket.SOCK_DGRAM, datagrams)):
    for send in (lambda s: s.connect(("127.0.0.1", port)) or s.send(b"x"), lambda s: s.sendto(b"x", ("127.0.0.1", port))):
        try:
            with socket.socket(socket.AF_INET, kind) as out:
                send(out)
                print("sent")
        except OSError:
            print("refused")
with socket.create_server(("127.0.0.1", 0)) as own, socket.create_connection(own.getsockname()) as near:
    near.send(b"inside")
    print(own.accept()[0].recv(10))
"""
    with (
        socket.create_server(("127.0.0.1", 0)) as streams,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        datagrams.bind(("127.0.0.1", 0))
        ports = [str(server.getsockname()[1]) for server in (streams, datagrams)]
        streams.setblocking(False)
        datagrams.setblocking(False)
        done = guard_run("--no-network", "--policy", str(ALLOW), "--", sys.executable, "-c", code, *ports)
        assert done.stdout.splitlines() == ["refused"] * 4 + ["b'inside'"], done.stderr
        for server in (streams, datagrams):
            with pytest.raises(BlockingIOError):
                server.accept() if server is streams else server.recv(10)


def test_the_workspace_is_where_it_is_said(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--workspace` moves what may be written; COMMAND's folder stays."""
    monkeypatch.setenv("TMPDIR", str(workspace / "tmp"))
    other = workspace.parent / "other"
    other.mkdir()
    done = guard_run("--workspace", str(other), "--", "sh", "-c", "pwd; echo x > ../other/made")
    assert done.stdout == f"{workspace}\n"
    assert (other / "made").read_text() == "x\n"
