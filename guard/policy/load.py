"""Policies from files: names → files → one checked program, kept in a cache so that a warm start reads no YAML at all.

`extends` is followed; every rule of every file counts, and because block > ask > allow, an extending file can only tighten. What never
enters: judging. pyyaml and pydantic are imported only where a file changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from guard import __version__
from guard.core.places import Places
from guard.policy.errors import PolicyError, did_you_mean
from guard.policy.program import Program, Rule, Waiver

if TYPE_CHECKING:
    from pathlib import Path

    from guard.policy.language import Language
    from guard.policy.read import Node
    from guard.policy.schema import ExceptionEntry, PolicyFile, RuleEntry, SequenceEntry

__all__ = ["PolicyError", "load", "pack_names", "user_file"]

FILES = 64  # files of one program: bounds a chain of `extends`


def load(names: Sequence[str], *, places: Places, state_folder: Path | None) -> Program:
    """The program of these packs (`strict`) and files (`./guard.yaml`, anything with a `/` or ending in `.yaml`).

    Without names: the pack `default`, and the user's own `guard.yaml` where there is one. With a state folder the result is cached there.
    Raises PolicyError, which says where and what to do; nothing is loaded then.
    """
    roots = [_root(name) for name in names] if names else [_root("default"), *user_file(places)]
    cache = None if state_folder is None else _cache_file(state_folder, roots)
    if cache is not None and (program := _cached(cache)) is not None:
        return program
    program, sources = _compiled(roots)
    if cache is not None:
        _keep(cache, program, sources)
    return program


def pack_names() -> tuple[str, ...]:
    """The packs of this installation, in order."""
    found = {
        entry.removesuffix(".yaml")
        for folder in _pack_folders()
        for entry in os.listdir(folder)
        if entry.endswith(".yaml")
    }
    return tuple(sorted(found))


def user_file(places: Places) -> list[str]:
    """The user's own policy, `guard.yaml` in the folder `guard` of $XDG_CONFIG_HOME or ~/.config; an empty list where there is none."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    folder = base if base.startswith("/") else f"{places.home}/.config"
    file = f"{folder}/guard/guard.yaml"
    return [os.path.realpath(file)] if os.path.isfile(file) else []


def _pack_folders() -> list[str]:
    import guard._data

    return [folder for base in guard._data.__path__ if os.path.isdir(folder := os.path.join(base, "policies"))]


def _root(name: str, folder: str | None = None) -> str:
    """The real path of the file of this name; relative file names are taken from `folder`, else from the current one."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = os.path.join(folder or os.getcwd(), os.path.expanduser(name))
        if not os.path.isfile(path):
            raise PolicyError([f"no policy file `{name}`: {path} is no file that can be read"])
        return os.path.realpath(path)
    for packs in _pack_folders():
        if os.path.isfile(path := os.path.join(packs, f"{name}.yaml")):
            return os.path.realpath(path)
    known = pack_names()
    raise PolicyError(
        [
            f"no policy pack `{name}`; there is {', '.join(f'`{k}`' for k in known)}, or give a file as `./{name}.yaml`{did_you_mean(name, known)}"
        ]
    )


# --- the cache --------------------------------------------------------------------------------------------------------------


def _cache_file(state_folder: Path, roots: Sequence[str]) -> str:
    """Named after the content of the files asked for; those they extend are checked inside."""
    digest = hashlib.sha256(__version__.encode())
    for root in roots:
        digest.update(f"\0{root}\0{_digest(root)}".encode("utf-8", "surrogateescape"))
    return os.path.join(state_folder, "cache", f"policy-{digest.hexdigest()}.json")


def _cached(file: str) -> Program | None:
    try:
        with open(file, encoding="utf-8") as f:
            message = json.load(f)
        if any(_digest(path) != digest for path, digest in message["sources"].items()):
            return None
        return Program.from_json(message["program"])
    except (OSError, ValueError, KeyError, TypeError, PolicyError):
        return None  # a missing or broken cache only costs time


def _keep(file: str, program: Program, sources: dict[str, str]) -> None:
    new = f"{file}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        with open(new, "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            json.dump({"sources": sources, "program": program.to_json()}, f)
        os.replace(new, file)
    except OSError:
        pass  # without a cache the next start is slower, nothing else


def _digest(path: str) -> str:
    return hashlib.sha256(_bytes(path)).hexdigest()


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as problem:
        raise PolicyError([f"{path}: cannot be read: {problem.strerror}"]) from None


# --- reading ----------------------------------------------------------------------------------------------------------------


class _File:
    """One file, read: its shape, its marked nodes, and the bases it extends."""

    def __init__(self, path: str) -> None:
        from guard.policy.read import LIMIT, read
        from guard.policy.schema import shape

        self.path = path
        content = _bytes(path)
        if len(content) > LIMIT:
            raise PolicyError([f"{path}:1:1: the file has more than {LIMIT} bytes; split it into several packs"])
        self.digest = hashlib.sha256(content).hexdigest()
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as problem:
            raise PolicyError(
                [f"{path}:1:1: not UTF-8: byte {problem.start} is 0x{content[problem.start]:02x}"]
            ) from None
        self.node: Node = read(text, path)
        self.shape: PolicyFile = shape(self.node, path)
        self.bases: list[_File] = []

    def where(self, *steps: int | str) -> str:
        """`file:line` of what lies at these keys."""
        return f"{self.path}:{self.node.find(steps).line}"

    def place(self, *steps: int | str, key: bool = False) -> str:
        """`file:line:column` of what lies at these keys."""
        node = self.node.find(steps, key=key)
        return f"{self.path}:{node.line}:{node.column}"


def _compiled(roots: Sequence[str]) -> tuple[Program, dict[str, str]]:
    files: dict[str, _File] = {}
    for root in roots:
        _follow(root, files, ())
    problems = _name_clashes(files.values())
    rules: list[Rule] = []
    waivers: list[Waiver] = []
    by_file: dict[str, list[Rule]] = {}
    for file in files.values():
        language = _language(file)
        by_file[file.path] = _rules(file, language)
        rules += by_file[file.path]
        problems += [f"{file.path}:{line}:{column}: {what}" for line, column, what in sorted(language.problems)]
    for file in files.values():
        problems += _overrides(file, by_file)
        problems += _waivers(file, rules, waivers)
    if problems:
        raise PolicyError(problems)
    sources = {file.path: file.digest for file in files.values()}
    policy_id = hashlib.sha256("\0".join(sorted(sources.values())).encode()).hexdigest()
    return Program(
        policy_id=f"sha256:{policy_id}", rules=tuple(rules), exceptions=tuple(waivers), files=tuple(sorted(sources))
    ), sources


def _follow(path: str, files: dict[str, _File], above: tuple[str, ...]) -> _File:
    if path in above:
        raise PolicyError([f"{above[-1]}:1:1: `extends` leads back to {path}"])
    if path in files:
        return files[path]
    if len(files) >= FILES:
        raise PolicyError([f"{path}:1:1: more than {FILES} files extend each other"])
    file = _File(path)
    for number, base in enumerate(file.shape.extends):
        try:
            root = _root(base, os.path.dirname(path))
        except PolicyError as problem:
            raise PolicyError([f"{file.place('extends', number)}: {problem}"]) from None
        file.bases.append(_follow(root, files, (*above, path)))
    files[path] = file
    return file


def _name_clashes(files: Any) -> list[str]:
    seen: dict[str, _File] = {}
    problems = []
    for file in files:
        other = seen.setdefault(file.shape.name, file)
        if other is not file:
            problems.append(
                f"{file.place('name')}: `{file.shape.name}` is also the name of {other.path}; rule names would clash"
            )
    return problems


def _language(file: _File) -> Language:
    """The conditions of this file may use its own lists and those of the files it extends."""
    from guard.policy.language import Language

    lists: dict[str, list[str]] = {}
    for base in _all_bases(file):
        lists |= base.shape.lists
    language = Language({**lists, **file.shape.lists})
    for name in file.shape.lists:
        node = file.node.find(("lists", name), key=True)
        if name in lists:
            language.problems.append(
                (
                    node.line,
                    node.column,
                    f"list `{name}` is already a list of a file that this one extends; choose another name",
                )
            )
        elif not name.replace("-", "").replace("_", "").isalnum() or not name[0].isalpha():
            language.problems.append(
                (node.line, node.column, f"`{name}` is no name of a list; expected letters, digits, `-` and `_`")
            )
    return language


def _all_bases(file: _File) -> list[_File]:
    found: list[_File] = []
    for base in file.bases:
        for one in (base, *_all_bases(base)):
            if one not in found:
                found.append(one)
    return found


def _rules(file: _File, language: Language) -> list[Rule]:
    found = [_rule(file, n, entry, language) for n, entry in enumerate(file.shape.rules or [])]
    for n, entry in enumerate(file.shape.sequences or []):
        found += _sequence(file, n, entry, language)
    seen: dict[str, Rule] = {}
    for rule in found:
        first = seen.setdefault(rule.id, rule)
        if first is not rule:
            line = int(rule.where.rpartition(":")[2])
            language.problems.append(
                (line, 1, f"`{rule.id.partition('/')[2]}` is already the id of a rule, {first.where}")
            )
    return found


def _rule(file: _File, n: int, entry: RuleEntry, language: Language) -> Rule:
    steps: tuple[int | str, ...] = ("rules", n)
    node = file.node.find(steps)
    if not (entry.decision or entry.label or entry.inspect or entry.tls):
        language.problems.append(
            (
                node.line,
                node.column,
                f"rule `{entry.id}` does nothing; expected `decision`, `label`, `inspect` or `tls`",
            )
        )
    if (entry.inspect or entry.tls) and entry.kind != "network":
        language.problems.append(
            (node.line, node.column, f"rule `{entry.id}`: only rules of kind `network` can say `inspect` or `tls`")
        )
    examples = entry.examples
    if examples is not None:
        _check_examples(file, (*steps, "examples"), entry.kind, language)
    labels = [entry.label] if isinstance(entry.label, str) else entry.label or []
    return Rule(
        id=f"{file.shape.name}/{entry.id}",
        kind=entry.kind,
        when=language.condition(file.node.find((*steps, "when")), entry.kind),
        because=entry.because,
        where=file.where(*steps),
        decision=entry.decision,
        instead=entry.instead,
        labels=tuple(labels),
        inspect=entry.inspect,
        tls=entry.tls,
        severity=entry.severity,
        attack=tuple(entry.attack or ()),
        match=tuple(examples.match) if examples else (),
        miss=tuple(examples.miss) if examples else (),
    )


def _check_examples(file: _File, steps: tuple[int | str, ...], kind: str, language: Language) -> None:
    from guard.policy.errors import one_of
    from guard.policy.fields import field, names

    for side, (_, items) in file.node.find(steps).value.items():
        for item in items.value:
            for name, (key, _) in item.value.items():
                if name not in {"command", "cwd"} and field(kind, name) is None:
                    words = (*names(kind), "command")
                    what = f"`{name}` in `{side}` is no field of kind `{kind}`; expected {one_of(words)}{did_you_mean(name, words)}"
                    language.problems.append((key.line, key.column, what))


def _sequence(file: _File, n: int, entry: SequenceEntry, language: Language) -> list[Rule]:
    label = f"seq:{file.shape.name}/{entry.id}"
    then = language.condition(file.node.find(("sequences", n, "then", "when")), entry.then.kind)
    after = Rule(
        id=f"{file.shape.name}/{entry.id}.after",
        kind=entry.after.kind,
        when=language.condition(file.node.find(("sequences", n, "after", "when")), entry.after.kind),
        because=f"first step of `{entry.id}`",
        where=file.where("sequences", n, "after"),
        labels=(label,),
    )
    return [
        after,
        Rule(
            id=f"{file.shape.name}/{entry.id}",
            kind=entry.then.kind,
            when=["all", [then, ["leaf", "session.labels", "in", [label], []]]],
            because=entry.because or f"this session did the first step of `{entry.id}` before",
            where=file.where("sequences", n),
            decision=entry.decision,
            instead=entry.instead,
        ),
    ]


def _overrides(file: _File, by_file: dict[str, list[Rule]]) -> list[str]:
    """A rule with the id of a base's rule looks like an override, and there is none: base rules stay."""
    base_rules = {rule.id.partition("/")[2]: rule for base in _all_bases(file) for rule in by_file[base.path]}
    problems = []
    for n, entry in enumerate(file.shape.rules or []):
        if base := base_rules.get(entry.id):
            problems.append(
                f"{file.place('rules', n, 'id')}: `{entry.id}` is already a rule of a file that this one extends, {base.where}; base rules cannot be replaced, choose another id"
            )
    return problems


def _waivers(file: _File, rules: Sequence[Rule], waivers: list[Waiver]) -> list[str]:
    language = _language(file)
    language.problems.clear()  # what is wrong with lists is told once, with the rules
    reach = {file.shape.name, *(base.shape.name for base in _all_bases(file))}
    problems = []
    for n, entry in enumerate(file.shape.exceptions or []):
        place = file.place("exceptions", n, "rule")
        named = [r for r in rules if entry.rule in (r.id, r.id.partition("/")[2]) and r.id.partition("/")[0] in reach]
        if len(named) != 1:
            words = [r.id.partition("/")[2] for r in rules]
            several = (
                f"; {', '.join(r.id for r in named)} are meant by it" if named else did_you_mean(entry.rule, words)
            )
            problems.append(f"{place}: no one rule is called `{entry.rule}`{several}")
        elif named[0].decision != "ask":
            problems.append(
                f"{place}: `{entry.rule}` is {_article(named[0])}; exceptions lift asks only, and nothing lifts a block"
            )
        elif entry.actor is None and entry.target is None:
            problems.append(f"{place}: the exception has neither `actor` nor `target`; it would switch the rule off")
        else:
            waivers.append(_waiver(file, n, entry, named[0], language))
    return problems + [f"{file.path}:{line}:{column}: {what}" for line, column, what in sorted(language.problems)]


def _article(rule: Rule) -> str:
    return (
        "a rule that only labels"
        if rule.decision is None
        else f"{'an' if rule.decision == 'allow' else 'a'} {rule.decision}"
    )


def _waiver(file: _File, n: int, entry: ExceptionEntry, rule: Rule, language: Language) -> Waiver:
    from guard.policy.read import Node

    parts = []
    if entry.actor is not None:
        written = file.node.find(("exceptions", n, "actor"))
        named = {f"actor.{key}": pair for key, pair in written.value.items()}
        parts.append(language.condition(Node(named, written.line, written.column), rule.kind))
    if entry.target is not None:
        parts.append(language.condition(file.node.find(("exceptions", n, "target")), rule.kind))
    return Waiver(
        id=f"{file.shape.name}/exception-{n + 1}",
        rule=rule.id,
        when=["all", parts],
        because=entry.reason,
        where=file.where("exceptions", n),
        expires=entry.expires,
    )
