"""What verdict an action would get: one object of the contract in, one out, the actions that it stands for judged in between.

A shell text is judged as the shell that is given it, each program that it would start, and each effect that is foreseen; the
strongest verdict is the answer, and labels that one action would put on the session count for those after it. What never
enters: files, processes, the model and the policy's files; the caller brings what knows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from guard.core.actions import FILE_OPS, Action, Context, FileAction, FileOp, Harm, NetworkAction, SqlAction, ToolAction
from guard.core.decide import decide, failed
from guard.core.places import lexical
from guard.core.predict import (
    Predicted,
    Prediction,
    Surroundings,
    Unresolved,
    predict_python_text,
    predict_shell,
    request_action,
)
from guard.core.predict_tools import Send, url_send
from guard.core.shell_values import Reading
from guard.core.verdicts import Decision, Opinion, Verdict
from guard.policy.match import Matcher

CHECK_KINDS: Final = ("shell", "python", "sql", "file", "network", "tool")
"""The kinds of the contract's input; `exec` and `system` are what a shell text becomes."""
MAX_SCORED: Final = 64
"""Texts of one input that the classifier sees. What is beyond is unknown, so that rules on the score ask."""

type Score = Callable[[str, str], tuple[float, str] | None]
"""(kind, text) -> (probability of harm in 0…1, label), None where it cannot be scored."""


class BadInput(Exception):
    """An input that is no action of the contract; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One of the actions behind an input, with the verdict on it alone; `command` is its command's index in the reading."""

    action: Action
    verdict: Verdict
    command: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The verdict on an input and everything it was folded from.

    `where` gives the `file:line` of each of its rules that has one. `harm` is None where nothing was scored.
    """

    verdict: Verdict
    parts: tuple[Judged, ...]
    unresolved: tuple[Unresolved, ...]
    reading: Reading
    where: Mapping[str, str]
    harm: Harm | None


def check(
    item: Mapping[str, Any],
    *,
    matcher: Callable[[str], Matcher],
    score: Score | None,
    around: Callable[[str | None, str | None], Surroundings],
    policy: str | None = None,
    model: str | None = None,
) -> dict[str, Any]:
    """The contract's output for one input object, `{"id", "error"}` for one that is no action.

    `matcher` gives the judge for a workspace, `around` the surroundings for a working folder and a workspace (None: the call's own).
    `score` is None where there is no model. `policy` and `model` are the `sha256:…` of what judged.
    """
    try:
        return answer(
            item.get("id"), examine(item, matcher=matcher, score=score, around=around), policy=policy, model=model
        )
    except BadInput as problem:
        return {"id": item.get("id"), "error": str(problem)}


def answer(id_: Any, checked: Checked, *, policy: str | None, model: str | None) -> dict[str, Any]:
    """The contract's object for what was found."""
    verdict, harm = checked.verdict, checked.harm
    return {
        "id": id_,
        "decision": verdict.decision.word,
        "score": None if harm is None else harm.score,
        "label": None if harm is None else harm.label,
        "rules": list(verdict.rules),
        "because": verdict.because,
        "instead": verdict.instead,
        "unknown": list(verdict.unknown),
        "model": model,
        "policy": policy,
    }


def examine(
    item: Mapping[str, Any],
    *,
    matcher: Callable[[str], Matcher],
    score: Score | None,
    around: Callable[[str | None, str | None], Surroundings],
) -> Checked:
    """The verdict on one input object with everything behind it; arguments as in `check`. Raises BadInput."""
    kind = item.get("kind", "shell")
    if kind not in CHECK_KINDS:
        raise BadInput(f"`kind` is `{_short(kind)}`; it must be one of {', '.join(CHECK_KINDS)}")
    where = around(_text(item, "cwd", None), _text(item, "workspace", None))
    prediction = _FORESEE[kind](item, where)
    harms = _Harms(prediction, score)
    parts, labels = [], frozenset[str]()
    judge = matcher(where.workspace)
    for predicted in prediction.actions:
        verdict = judge.judge(predicted.action, Context(harm=harms.of(predicted), labels=labels))
        labels |= frozenset(verdict.labels)
        parts.append(Judged(action=predicted.action, verdict=verdict, command=predicted.command))
    opinions = _opinions(parts, prediction)
    verdict = decide(opinions, opinions[0])
    return Checked(
        verdict=replace(verdict, unknown=()) if verdict.decision is Decision.BLOCK else verdict,
        parts=tuple(parts),
        unresolved=prediction.unresolved,
        reading=prediction.reading,
        where={opinion.rule: opinion.where for opinion in opinions if opinion.where},
        harm=harms.strongest,
    )


class _Harms:
    """The classifier's results: each text once; an action has the strongest of the whole text's and its own command's."""

    def __init__(self, prediction: Prediction, score: Score | None) -> None:
        self._found: dict[int | None, list[Harm]] = {}
        self._unknown: set[int | None] = set()
        self.strongest: Harm | None = None
        if score is None:
            return
        for number, (kind, text, command) in enumerate(prediction.scored):
            result = score(kind, text) if number < MAX_SCORED else None
            if result is None:
                self._unknown.add(command)
            else:
                self._found.setdefault(command, []).append(Harm(score=result[0], label=result[1]))
        self.strongest = _worst(harm for harms in self._found.values() for harm in harms)

    def of(self, predicted: Predicted) -> Harm | None:
        asked = {None, predicted.command}
        if asked & self._unknown:
            return None
        return _worst(harm for command in asked for harm in self._found.get(command, ()))


def _worst(harms: Iterable[Harm]) -> Harm | None:
    return max(harms, key=lambda harm: harm.score, default=None)


def _opinions(parts: list[Judged], prediction: Prediction) -> list[Opinion]:
    """What every action, every open effect and every unread part of the input says. What could not be read or known asks."""
    opinions = [opinion for part in parts for opinion in _opinions_of(part.verdict)]
    opinions += [failed("shell-reader", _PROBLEMS[problem]) for problem in sorted(prediction.reading.problems)]
    opinions += [_open(item) for item in prediction.unresolved]
    return opinions


def _opinions_of(verdict: Verdict) -> list[Opinion]:
    places = verdict.where if len(verdict.where) == len(verdict.rules) else ("",) * len(verdict.rules)
    return [
        Opinion(
            decision=verdict.decision,
            source=verdict.source,
            rule=rule,
            because=verdict.because,
            where=where,
            instead=verdict.instead,
            labels=verdict.labels,
            unknown=verdict.unknown,
        )
        for rule, where in zip(verdict.rules, places, strict=True)
    ]


def _open(item: Unresolved) -> Opinion:
    if item.missing == "python":
        return failed("python-reader", f"`{item.source}` is no Python that can be read")
    return Opinion(
        decision=Decision.ASK,
        source="default",
        rule="check/unresolved",
        because=f"only running it tells what `{item.source or item.what}` would {item.what}",
        unknown=(item.missing,),
    )


_PROBLEMS = {
    "unparsable": "the text is no complete shell program",
    "too-deep": "the text nests deeper than is followed",
    "too-long": "the text is longer than is read",
    "too-much": "the text holds more than is followed",
}


# --- inputs


def _shell(item: Mapping[str, Any], around: Surroundings) -> Prediction:
    return predict_shell(_required(item, "text"), around)


def _python(item: Mapping[str, Any], around: Surroundings) -> Prediction:
    return predict_python_text(_required(item, "text"), around)


def _sql(item: Mapping[str, Any], _: Surroundings) -> Prediction:
    text = _required(item, "text")
    return _single(SqlAction(text=text, dialect=_text(item, "dialect", None)), "sql", text)


def _tool(item: Mapping[str, Any], _: Surroundings) -> Prediction:
    server, name, arguments = _text(item, "server", None), _text(item, "name", None), item.get("arguments")
    if name is None:
        server, name, arguments = _tool_words(_required(item, "text", instead="name"), server)
    text = (
        arguments
        if isinstance(arguments, str)
        else json.dumps({} if arguments is None else arguments, ensure_ascii=False)
    )
    scored = " ".join(part for part in (server, name, text) if part)
    return _single(ToolAction(server=server, name=name, arguments=text), "tool", scored)


def _tool_words(text: str, server: str | None) -> tuple[str | None, str, str]:
    """`[SERVER/]NAME [JSON]`, as it is typed on a command line."""
    name, _, arguments = text.strip().partition(" ")
    before, slash, after = name.rpartition("/")
    return (before if slash else server), after, arguments or "{}"


def _file(item: Mapping[str, Any], around: Surroundings) -> Prediction:
    op, path, to = _text(item, "op", None), _text(item, "path", None), _text(item, "to", None)
    if op is None and path is None:
        words = _required(item, "text", instead="op` and `path").split()
        op, path, to = (*words[:3], None, None)[:3] if len(words) > 1 else (None, None, None)
    if op not in _FILE_OPS:
        raise BadInput(f"`op` is `{_short(op)}`; it must be one of {', '.join(FILE_OPS)}")
    if not path:
        raise BadInput("`path` is missing: which file?")
    if op in ("rename", "link") and not to:
        raise BadInput(f"`to` is missing: `{op}` has two paths")
    follows = op in ("read", "write", "chmod")
    action = FileAction(
        op=_FILE_OPS[op],
        path=_place(path, around, follows=follows),
        to=None if to is None else _place(to, around, follows=False),
        folder=True if path.endswith("/") else None,
    )
    return _single(action, "file", " ".join(part for part in (op, path, to) if part))


_FILE_OPS: dict[str | None, FileOp] = {op: op for op in FILE_OPS}


def _place(text: str, around: Surroundings, *, follows: bool) -> str:
    known = around.home + text[1:] if text == "~" or text.startswith("~/") else text
    path = lexical(known, around.cwd)
    return path if around.resolved is None else around.resolved(path, follows)


def _network(item: Mapping[str, Any], around: Surroundings) -> Prediction:
    url, host, method = _text(item, "url", None), _text(item, "host", None), _text(item, "method", None)
    body = _text(item, "body", "")
    if url is None and host is None:
        method, url, body = _network_words(_required(item, "text", instead="url` or `host"), method, body)
    action = request_action(_sent(url, host, _port(item), method, _headers(item), body), around)
    return _single(action, "network", _network_text(action))


def _network_words(text: str, method: str | None, body: str | None) -> tuple[str | None, str, str | None]:
    """`[METHOD] URL [body=…]`, as the classifier reads it."""
    words = text.split(None, 2)
    if len(words) > 1 and words[0].isalpha() and words[0].isupper():
        method, *words = words
    rest = " ".join(words[1:])
    return method, words[0], rest.removeprefix("body=") if rest else body


def _sent(
    url: str | None,
    host: str | None,
    port: int | None,
    method: str | None,
    headers: tuple[tuple[str, str], ...] | None,
    body: str | None,
) -> Send:
    if url is None:
        web = method is not None
        return Send(
            host=host,
            port=port,
            protocol="http" if web and port == 80 else "https" if web else "tcp",
            method=method,
            headers=headers,
            body=body,
        )
    send = url_send(url, method=(method or "GET").upper(), headers=headers, body=body)
    if send is None or not send.host:
        raise BadInput(f"`url` is `{_short(url)}`; it names no host")
    return replace(send, host=host or send.host, port=port or send.port)


def _network_text(action: NetworkAction) -> str:
    target = action.url or f"{(action.host or ('?',))[0]}:{action.port or ''}"
    body = f" body={action.body}" if action.body else ""
    return f"{action.method or 'CONNECT'} {target}{body}"


def _port(item: Mapping[str, Any]) -> int | None:
    port = item.get("port")
    if port is None:
        return None
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise BadInput(f"`port` is `{_short(port)}`; it must be a number from 1 to 65535")
    return port


def _headers(item: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    headers = item.get("headers")
    if headers is None:
        return None
    pairs = headers.items() if isinstance(headers, dict) else headers
    try:
        return tuple((str(name).lower(), str(value)) for name, value in pairs)
    except (TypeError, ValueError):
        raise BadInput("`headers` must be an object, or a list of pairs") from None


def _single(action: Action, kind: str, text: str) -> Prediction:
    return Prediction(
        reading=Reading(commands=()),
        actions=(Predicted(action=action),),
        unresolved=(),
        scored=((kind, text, None),),
    )


def _required(item: Mapping[str, Any], name: str, *, instead: str | None = None) -> str:
    text = _text(item, name, None)
    if text is None or not text.strip():
        raise BadInput(f"`{instead or name}` is missing")
    return text


def _text(item: Mapping[str, Any], name: str, default: str | None) -> str | None:
    value = item.get(name, default)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"`{name}` is `{_short(value)}`; it must be text")
    return value


def _short(value: object) -> str:
    return str(value)[:60]


_FORESEE: dict[str, Callable[[Mapping[str, Any], Surroundings], Prediction]] = {
    "shell": _shell,
    "python": _python,
    "sql": _sql,
    "file": _file,
    "network": _network,
    "tool": _tool,
}
