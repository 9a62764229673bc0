"""`guard doctor`: what it finds is tried. Machines that lack something are made here by a filter that refuses the call."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guard.intercept import probe, syscalls
from guard_cli import doctor
from guard_cli.doctor import PROMISES, Finding, Promise, examine, line, state_reason

ROOT = Path(__file__).resolve().parents[2]
REFUSING = str(Path(__file__).with_name("refusing.py"))
COLUMN = syscalls.ARCHES[platform.machine()][0]
SECCOMP = {"x86_64": 317, "aarch64": 277}[platform.machine()]


def number(name: str) -> int:
    """This machine's number of a system call."""
    found = syscalls.NUMBERS[name][COLUMN]
    assert found is not None
    return found


def tried(attempt: str, env: dict[str, str], *, without: list[int]) -> probe.Reasons:
    """An attempt, made on a machine that refuses these calls."""
    calls = ",".join(map(str, without))
    command = [sys.executable, "-c", f"from guard.intercept import probe; probe.child({attempt!r})"]
    done = subprocess.run(
        [sys.executable, REFUSING, calls, *command], env=env, capture_output=True, timeout=60, check=True
    )
    answer: probe.Reasons = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("attempt", probe.ATTEMPTS)
def test_this_machine_grants_what_the_tests_need(attempt: str) -> None:
    """Where this fails the other tests of interposition say nothing: run `guard doctor` for what to do."""
    found = probe.reasons(attempt)
    assert found
    assert [f"{key}: {why}" for key, why in found.items() if why] == []


def test_every_key_of_every_attempt_is_a_promise_and_has_words() -> None:
    promised = {(p.attempt, p.key) for p in PROMISES}
    for attempt in probe.ATTEMPTS:
        assert {(attempt, key) for key in probe.reasons(attempt)} <= promised
    assert all(p.says and p.follows and p.do for p in PROMISES)
    assert len({p.key for p in PROMISES}) == len(PROMISES)


def test_a_profile_without_seccomp_is_seen(child_env: dict[str, str]) -> None:
    found = tried("notification", child_env, without=[SECCOMP])
    assert found == {"notify": "EPERM (seccomp filter: Operation not permitted)"}


def test_a_profile_without_pidfd_getfd_is_seen(child_env: dict[str, str]) -> None:
    found = tried("descriptors", child_env, without=[number("pidfd_getfd")])
    assert found == {"getfd": "EPERM (pidfd_getfd: Operation not permitted)", "thread": None}


def test_a_machine_without_user_namespaces_is_seen(child_env: dict[str, str]) -> None:
    assert tried("namespaces", child_env, without=[number("unshare")]) == {"userns": "EPERM (Operation not permitted)"}


def test_a_guard_above_is_recognised_as_such(child_env: dict[str, str]) -> None:
    code = "from guard.intercept import kernel, probe, syscalls; import platform\n"
    code += "arch = syscalls.ARCHES[platform.machine()]; kernel.install_filter(probe.one_call_filter(arch[1], 9999), new_privileges=False)\n"
    code += "probe.child('notification')"
    done = subprocess.run([sys.executable, "-c", code], env=child_env, capture_output=True, timeout=60, check=True)
    assert json.loads(done.stdout)["notify"].startswith("another guard watches this process already: EBUSY")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="setarch changes only what an x86-64 machine calls itself")
def test_another_architecture_gets_one_clear_finding_and_no_further_attempt(child_env: dict[str, str]) -> None:
    command = ["setarch", "i686", sys.executable, "-m", "guard_cli", "doctor"]
    done = subprocess.run(command, env=child_env, capture_output=True, text=True, timeout=60)
    _machine, first, *rest = done.stdout.splitlines()
    assert first.startswith("NOT HELD  machine")
    assert "no table of system calls for `i686`, only for x86_64 and aarch64" in first
    assert (done.returncode, len(rest), done.stderr) == (1, 1, "")


def test_an_attempt_that_dies_is_a_reason_and_no_success() -> None:
    found = probe.reasons("no such attempt")
    assert list(found) == ["no such attempt"]
    assert "KeyError" in str(found["no such attempt"])


def test_a_promise_whose_attempt_ended_early_is_not_held() -> None:
    """An attempt that gives no entry for a promise has not shown that it holds."""
    promise = Promise(attempt="loopback", key="unheard", needed=True, says="s", follows="f", do="d")
    [finding] = examine([promise])
    assert (finding.held, finding.reason) == (False, "the attempt gave no answer")


def test_lines_are_shown_whole() -> None:
    held = Finding(name="pty", promise="a terminal", needed=False, held=True, reason=None, follows=None, do=None)
    lost = Finding(name="memory", promise="it reads", needed=True, held=False, reason="EPERM", follows="no run", do="x")
    less = Finding(name="sync", promise="fast", needed=False, held=False, reason="EINVAL", follows="slower", do="y")
    assert line(held) == "held      pty          a terminal"
    assert line(lost) == "NOT HELD  memory       it reads: EPERM. Then no run. To do: x."
    assert line(less) == "not held  sync         fast: EINVAL. Then slower. To do: y."


def test_the_command_says_that_run_can_work_here(child_env: dict[str, str], state_folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "guard_cli", "doctor"], env=child_env, capture_output=True, text=True, timeout=120
    )
    assert [text for text in done.stdout.splitlines() if text.startswith("NOT HELD")] == []
    assert done.stdout.endswith("\n`guard run` can work here\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert not state_folder.exists()  # looking changes nothing


def test_json_tells_every_promise_and_the_status_follows(child_env: dict[str, str]) -> None:
    command = [sys.executable, REFUSING, str(SECCOMP), sys.executable, "-m", "guard_cli", "doctor", "--json"]
    done = subprocess.run(command, env=child_env, capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    assert (done.returncode, report["able"]) == (1, False)
    assert [p["name"] for p in report["promises"]] == [p.key for p in PROMISES]
    assert {p["name"] for p in report["promises"] if not p["held"] and p["needed"]} == {
        "notify",
        "addfd",
        "no_new_privs",
        "run",
    }
    assert all((p["do"] is None) == p["held"] for p in report["promises"])


def test_a_state_folder_is_ours_or_can_be_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"
    assert state_reason({"GUARD_HOME": str(folder)}) is None
    assert not folder.parent.exists()
    folder.mkdir(parents=True)
    assert state_reason({"GUARD_HOME": str(folder)}) is None
    (folder / "file").touch()
    assert state_reason({"GUARD_HOME": str(folder / "file")}) == f"`{folder / 'file'}` is no folder"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert f"`{tmp_path}` belongs to user 65534" in str(state_reason({"GUARD_HOME": str(tmp_path)}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert state_reason({"GUARD_HOME": str(tmp_path / "state")}) == f"`{tmp_path}` cannot be written to"


@pytest.fixture
def copy_of_guard(tmp_path: Path) -> Path:
    """The program with its model and its rules, to be damaged."""
    for name in ("guard", "cli", "policies", "classifiers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("train", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def findings_of(copy: Path, env: dict[str, str], attempt: str) -> list[tuple[str, bool, str | None]]:
    """What the copy's doctor finds for one attempt."""
    code = "import json; from guard_cli.doctor import PROMISES, examine; print(json.dumps([(f.name, f.held, f.reason) for f in "
    code += f"examine([p for p in PROMISES if p.attempt == {attempt!r}])]))"
    path = os.pathsep.join((str(copy), str(copy / "cli"), env["PYTHONPATH"]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**env, "PYTHONPATH": path},
        cwd=copy,
        capture_output=True,
        timeout=60,
        check=True,
    )
    return [(name, held, reason) for name, held, reason in json.loads(done.stdout)]


def test_a_model_that_is_not_its_cards_is_found(copy_of_guard: Path, child_env: dict[str, str]) -> None:
    assert findings_of(copy_of_guard, child_env, "model") == [("model", True, None)]
    with open(copy_of_guard / "classifiers/harm/model.onnx", "ab") as model:
        model.write(b"x")
    [(_, held, reason)] = findings_of(copy_of_guard, child_env, "model")
    assert not held
    assert "model.onnx" in str(reason)


def test_a_pack_that_does_not_load_is_found(copy_of_guard: Path, child_env: dict[str, str]) -> None:
    assert findings_of(copy_of_guard, child_env, "policy") == [("policy", True, None)]
    with open(copy_of_guard / "policies/default.yaml", "a") as pack:
        pack.write("nonsense: 1\n")
    [(_, held, reason)] = findings_of(copy_of_guard, child_env, "policy")
    assert not held
    assert "default.yaml" in str(reason)


def test_bubblewrap_that_is_missing_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [finding] = examine([p for p in PROMISES if p.attempt == "bwrap"])
    assert (finding.held, finding.needed, finding.reason) == (False, False, "`bwrap` is not installed")
    assert shutil.which("bwrap") is None


def test_status_one_wherever_a_needed_promise_is_not_held(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GUARD_HOME", str(tmp_path / "file"))
    assert doctor.run(argparse.Namespace(json=False)) == doctor.UNABLE
    assert f"`{tmp_path / 'file'}` is no folder" in capsys.readouterr().out
