"""`guard check`: what verdict an action would get, without doing it.

The edge of `guard.checking`: finds policy, model, places and programs, reads lines, prints verdicts. What never enters: the judging.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from guard.core.verdicts import Decision
from guard.core.visible import sanitise

if TYPE_CHECKING:
    from guard.checking import Checked, Judged, Score
    from guard.core.predict import Surroundings
    from guard.policy.match import Matcher

WRONG_USE: Final = 2
STATUS: Final = {Decision.ALLOW: 0, Decision.ASK: 3, Decision.BLOCK: 4}
KINDS: Final = ("shell", "python", "sql", "file", "network", "tool")
MAX_LINE: Final = 1 << 20
"""Characters of a line of `--jsonl`; a longer one is an error of its own, so that a broken pipe of bytes takes no memory."""
_SCRIPT = 65536  # bytes of a script that are read: what the reader of shell text takes
_MATCHES = 65  # files of a pattern that are listed: one more than are followed one by one
_EPILOG = """exit status: 0 allow, 3 ask, 4 block, 2 wrong use; with --jsonl 0 when every line was judged.

examples:
  guard check 'rm -rf build'
  guard check --kind file 'delete ~/.bashrc'
  guard check --kind network 'POST https://api.example/v1'
  guard check --json --kind python 'import shutil; shutil.rmtree("/srv")'
  guard check --jsonl < actions.jsonl
"""


class WrongUse(Exception):
    """The call, a policy or the model is wrong; the message is the line for the person."""


def add_parser(subparsers: Any) -> None:
    """Adds the parser of `guard check`."""
    parser = subparsers.add_parser(
        "check",
        help="what verdict an action would get",
        description="What verdict an action would get, without doing it.",
        epilog=_EPILOG,
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the action: shell text, or what --kind says")
    parser.add_argument("--kind", choices=KINDS, help="how TEXT is read (default: shell)")
    parser.add_argument(
        "--policy", action="append", default=[], metavar="PACK|FILE", help="judge by this policy; may be repeated"
    )
    parser.add_argument("--cwd", metavar="DIR", help="the folder in which the action would run (default: this one)")
    parser.add_argument("--workspace", metavar="DIR", help="the workspace (default: the current folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--jsonl", action="store_true", help="read one action a line on stdin, print one verdict a line"
    )
    parser.add_argument("--no-model", action="store_true", help="judge by rules alone, without the classifier")


def run(args: argparse.Namespace) -> int:
    """Judges, prints, and gives the exit status of the contract."""
    try:
        _consistent(args)
        bench = Bench.of(args)
        return _stream(bench) if args.jsonl else _one(args, bench)
    except WrongUse as problem:
        for line in str(problem).splitlines():
            print(f"guard check: {line}", file=sys.stderr)
        return WRONG_USE


def _consistent(args: argparse.Namespace) -> None:
    if args.jsonl and args.text is not None:
        raise WrongUse("`--jsonl` reads its actions on stdin: leave out TEXT")
    if args.jsonl and (args.kind or args.json):
        raise WrongUse(
            f"`{'--kind' if args.kind else '--json'}` has no effect with `--jsonl`: every line says its own kind"
        )
    if not args.jsonl and args.text is None:
        raise WrongUse("TEXT is missing: what action? See `guard check --help`")
    for option, folder in (("--cwd", args.cwd), ("--workspace", args.workspace)):
        if folder is not None and not os.path.isdir(folder):
            raise WrongUse(f"`{option} {folder}` is no folder")


def _one(args: argparse.Namespace, bench: Bench) -> int:
    from guard.checking import BadInput, answer, examine

    item = {"kind": args.kind or "shell", "text": args.text}
    try:
        checked = examine(item, matcher=bench.matcher, score=bench.score, around=bench.around)
    except BadInput as problem:
        raise WrongUse(str(problem)) from None
    if args.json:
        print(_line(answer(None, checked, policy=bench.policy, model=bench.model)))
    else:
        _show(checked)
    return STATUS[checked.verdict.decision]


def _stream(bench: Bench) -> int:
    """One verdict a line, in the order of the actions; 2 where a line was no action."""
    from guard.checking import check

    status = 0
    for line in _lines():
        found = _parsed(line)
        if "error" not in found:
            found = check(
                found["item"],
                matcher=bench.matcher,
                score=bench.score,
                around=bench.around,
                policy=bench.policy,
                model=bench.model,
            )
        status = WRONG_USE if "error" in found else status
        print(_line(found), flush=True)
    return status


def _lines() -> Iterator[bytes]:
    """The lines of stdin that are not empty; one that is too long is cut there and its rest left out."""
    stream = sys.stdin.buffer
    while line := stream.readline(MAX_LINE + 1):
        whole = line
        while len(whole) > MAX_LINE and not whole.endswith(b"\n") and (whole := stream.readline(MAX_LINE + 1)):
            pass
        if line.strip():
            yield line


def _parsed(line: bytes) -> dict[str, Any]:
    """`{"item": object}`, or the error line for what is no JSON object."""
    if len(line) > MAX_LINE:
        return {"id": None, "error": f"the line is longer than {MAX_LINE} bytes"}
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as problem:
        return {"id": None, "error": f"the line is no JSON: {problem}"}
    if not isinstance(item, dict):
        return {"id": None, "error": "the line is no JSON object"}
    return {"item": item}


def _line(found: dict[str, Any]) -> str:
    return json.dumps(found, ensure_ascii=True)  # ASCII: lone surrogates of odd input can be written too


# --- what judges


@dataclass(slots=True, kw_only=True)
class Bench:
    """Everything that judges, for one call: policy and model are loaded once, places once a workspace."""

    policies: tuple[str, ...]
    cwd: str
    workspace: str
    score: Score | None
    model: str | None
    thresholds: Mapping[str, float] | None
    policy: str | None = None
    tools: dict[str, str] = field(default_factory=dict)
    _matchers: dict[str, Matcher] = field(default_factory=dict)
    _endpoints: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, args: argparse.Namespace) -> Bench:
        """The bench that the options ask for. Raises WrongUse where a policy or the model is wrong."""
        score, model, threshold = (None, None, None) if args.no_model else _model()
        workspace = os.path.realpath(args.workspace or os.getcwd())
        bench = cls(
            policies=tuple(args.policy),
            cwd=os.path.realpath(args.cwd or (args.workspace or os.getcwd())),
            workspace=workspace,
            score=score,
            model=model,
            thresholds=None
            if threshold is None
            else {"model.ask_threshold": threshold, "model.block_threshold": threshold},
            tools=system_tools(os.environ.get("PATH", os.defpath)),
        )
        bench.matcher(workspace)
        return bench

    def matcher(self, workspace: str) -> Matcher:
        """The judge for a workspace. Raises WrongUse where the policy cannot be loaded."""
        found = self._matchers.get(workspace)
        return self._made(workspace) if found is None else found

    def _made(self, workspace: str) -> Matcher:
        from guard.audit import AuditError, state_folder
        from guard.policy.errors import PolicyError
        from guard.policy.load import load
        from guard.policy.machine import find_places
        from guard.policy.match import Matcher

        try:
            state = state_folder(os.environ)
            places = find_places(workspace=workspace, environ=os.environ, state_folder=state)
            program = load(self.policies, places=places, state_folder=state)
        except (PolicyError, AuditError) as problem:
            raise WrongUse(str(problem)) from None
        self.policy = program.policy_id
        self._endpoints[workspace] = frozenset(places.model_endpoints)
        matcher = Matcher(program, places, thresholds=self.thresholds, today=date.today().isoformat())
        if len(self._matchers) < _WORKSPACES:
            self._matchers[workspace] = matcher
        return matcher

    def around(self, cwd: str | None, workspace: str | None) -> Surroundings:
        """The surroundings of one action; folders that it does not name are the call's."""
        from guard.core.predict import Surroundings

        room = self.workspace if workspace is None else os.path.realpath(os.path.join(self.workspace, workspace))
        default = self.cwd if workspace is None else room
        self.matcher(room)
        return Surroundings(
            cwd=default if cwd is None else os.path.realpath(os.path.join(self.cwd, cwd)),
            workspace=room,
            home=os.environ.get("HOME") or os.path.expanduser("~"),
            tools=self.tools,
            matching=_matching,
            content=_script,
            resolved=_resolved,
            model_endpoints=self._endpoints.get(room, frozenset()),
        )


_WORKSPACES = 64  # workspaces of one stream whose judge is kept; each is a few hundred kB


def _model() -> tuple[Callable[[str, str], tuple[float, str] | None], str, float]:
    try:
        from guard.scoring.onnx import Scorer
        from guard.scoring.values import ModelError, Unscored, default_model_folder
    except ImportError as problem:
        raise WrongUse(f"the model cannot run here ({problem}): reinstall guardproxy, or use `--no-model`") from None
    try:
        scorer = Scorer.load(default_model_folder())
    except ModelError as problem:
        raise WrongUse(f"{problem}; `--no-model` judges by rules alone") from None

    def score(kind: str, text: str) -> tuple[float, str] | None:
        found = scorer.score(kind, text)
        return None if isinstance(found, Unscored) else (found.probability, found.label)

    return score, scorer.model_id, scorer.ask_threshold


def system_tools(path: str) -> dict[str, str]:
    """The programs that PATH finds in folders which no ordinary user writes: name -> canonical path, the first in PATH for each name."""
    found: dict[str, str] = {}
    for folder in path.split(os.pathsep):
        real = os.path.realpath(folder)
        if not folder.startswith("/") or not real.startswith(_SYSTEM_FOLDERS):
            continue
        try:
            with os.scandir(real) as entries:
                for entry in entries:
                    if entry.name not in found:
                        found[entry.name] = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
        except OSError:
            continue
    return found


_SYSTEM_FOLDERS = ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")


def _matching(pattern: str) -> list[str]:
    return sorted(islice(glob.iglob(pattern), _MATCHES))


def _script(path: str) -> str | None:
    """The text of a script, None for what is no text file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, _SCRIPT) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        data = None
    finally:
        os.close(descriptor)
    if data is None or data.startswith(b"\x7fELF") or b"\0" in data:
        return None
    return data.decode("utf-8", "replace")


def _resolved(path: str, follows: bool) -> str:
    if follows:
        return os.path.realpath(path)
    folder, _, name = path.rpartition("/")
    return os.path.join(os.path.realpath(folder or "/"), name) if name else "/"


# --- what a person sees


def _show(checked: Checked) -> None:
    """The verdict and, indented below it, every action with its own."""
    from guard_cli.render import styled

    verdict = checked.verdict
    print(f"{styled(verdict.decision.word, verdict.decision.word, sys.stdout)}: {sanitise(verdict.because)}")
    for fact in _facts(checked):
        print(f"  {styled(fact, 'dim', sys.stdout)}")
    for depth, word, what, why in _actions(checked):
        mark = styled(word.ljust(5), word, sys.stdout)
        print(f"  {'  ' * depth}{mark} {what}" + (styled(f"  ({why})", "dim", sys.stdout) if why else ""))


def _facts(checked: Checked) -> Iterator[str]:
    verdict = checked.verdict
    for rule in verdict.rules:
        where = checked.where.get(rule, "")
        yield f"rule {sanitise(rule)}" + (f"  {sanitise(where)}" if where else "")
    if verdict.instead:
        yield f"instead: {sanitise(verdict.instead)}"
    if verdict.unknown:
        yield f"unknown: {', '.join(map(sanitise, verdict.unknown))}"
    if checked.harm is not None:
        yield f"harm: {checked.harm.score:.3f} {checked.harm.label}"


def _actions(checked: Checked) -> Iterator[tuple[int, str, str, str]]:
    """(depth, decision, what, why) for every action in order: effects below their command, nested commands below theirs."""
    for part in checked.parts:
        base = 0 if part.command is None else _depth(checked, part.command)
        depth = base + (0 if part.action.kind == "exec" or part.command is None else 1)
        rule = "" if part.verdict.source == "default" else part.verdict.rules[0]
        yield depth, part.verdict.decision.word, _named(part), sanitise(rule)
    for item in checked.unresolved:
        yield 1, "ask", sanitise(f"{item.what} {item.source or '?'}"), f"{item.missing} is not known"


def _depth(checked: Checked, index: int) -> int:
    depth, at = 1, checked.reading.commands[index].parent
    while at is not None:
        depth, at = depth + 1, checked.reading.commands[at].parent
    return depth


def _named(part: Judged) -> str:
    """One action as one harmless line."""
    action = part.action
    match action.kind:
        case "exec":
            text = action.command if action.command is not None else f"{action.name or '?'} …"
        case "file":
            text = f"{action.op} {action.path}" + (f" -> {action.to}" if action.to else "")
        case "network":
            host = action.host[0] if action.host else "?"
            text = f"{action.method or action.protocol or 'connect'} {action.url or (host if action.port is None else f'{host}:{action.port}')}"
        case "python" | "sql":
            text = f"{action.kind}: {action.text}"
        case "tool":
            text = f"{action.server or ''} {action.name or '?'} {action.arguments or ''}".strip()
        case _:
            text = f"{action.op} {action.target or ''}"
    whole = sanitise(text)
    return whole if len(whole) <= _WIDTH else f"{whole[:_WIDTH]}… ({len(whole)} characters)"


_WIDTH = 160  # characters of an action in a list; the whole text is what was typed
