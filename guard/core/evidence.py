"""What the log keeps of a decision: one line of ASCII JSON, secrets taken out before it exists.

Lines are of two forms, told apart by their keys: decisions have `action`, everything else has `event`. Names of files that are no
UTF-8 stay exact as \\udcXX escapes. Redaction is by form (tokens of known issuers, `password=…`, `Authorization:`, what follows `--token`): it
lowers what a reader of the log can steal and cannot find a secret that looks like a word; names of files are never touched, they
are the evidence. What never enters: where lines are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Literal

from guard.core.actions import Action, Actor, FileAction, FileOp
from guard.core.verdicts import Decision, Verdict

TEXT_LIMIT = 4096  # characters kept of one text; scripts of 64 KiB would make the log larger than the work it describes
_MARGIN = 1024  # characters read beyond it, so that a secret is recognised whole although it lies across the limit

# Fields that name files and places: they are the evidence and are kept as they are.
_NAMES = frozenset(
    {
        "path",
        "to",
        "exe",
        "name",
        "cwd",
        "user",
        "host",
        "address",
        "op",
        "target",
        "kind",
        "listener",
        "protocol",
        "method",
    }
)

_SECRET_WORD = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|auth[_-]?key|credentials?|signature)"
_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token", "private-token", "x-amz-security-token",
     "x-goog-api-key", "x-vault-token", "x-csrf-token"}
)  # fmt: skip


def _value(form: str) -> str:
    """What follows `password=`: a quoted text up to its quote, or a word; not a reference to a variable, not a redaction."""
    return rf"""(?!["']?(?:\[redacted|\$))(?:"(?P<{form}_d>[^"\n]{{3,}})|'(?P<{form}_q>[^'\n]{{3,}})|(?P<{form}_v>[^\s"'&;|<>,(){{}}\\]{{3,}}))"""


@cache
def _secrets() -> re.Pattern[str]:
    """The forms of secrets, compiled when a text first hints at one: that takes 10 ms, which a start without secrets need not pay.

    Every alternative starts at a fixed word or a boundary and repeats one class without overlap, so that text made to be slow is not.
    """
    return re.compile(
        r"""
      (?P<key>-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY-----.*?(?:-----END\ [A-Z0-9 ]{0,40}-----|\Z))
    | (?P<userinfo>(?<=://)[^\s/:@'"]{0,64}:(?!\[redacted)(?P<userinfo_v>[^\s/@'"]{1,256})(?=@))
    | (?P<known>(?<![A-Za-z0-9])(?:
          gh[pousr]_[A-Za-z0-9]{16,} | github_pat_[A-Za-z0-9_]{20,} | glpat-[\w-]{16,} | sk-[\w-]{16,} | [sr]k_(?:live|test)_\w{10,}
        | xox[abeoprs]-[\w-]{10,} | A[KS]IA[A-Z0-9]{16} | AIza[\w-]{30,} | ya29\.[\w-]{20,} | npm_[A-Za-z0-9]{30,} | pypi-[\w-]{40,}
        | hf_[A-Za-z0-9]{20,} | SG\.[\w-]{16,}\.[\w-]{16,} | dop_v1_[a-f0-9]{32,} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32} | whsec_\w{16,}
        | key-[a-f0-9]{32} | AGE-SECRET-KEY-1[A-Z0-9]{50,}
      ))
    | (?P<jwt>(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?)
    | (?P<bearer>\b(?:bearer|basic|digest|negotiate|token)\s{1,4}(?P<bearer_v>(?!\[redacted)[A-Za-z0-9+/=._~-]{8,}))
    | (?P<named>WORDs?(?:["']\]?)?\s{0,4}(?::|=(?!=))\s{0,4}VALUE)
    | (?P<option>(?<![\w-])--?[\w-]{0,24}WORD(?:\s{1,4}|=)(?!-)OTHER)
    """.replace("WORD", _SECRET_WORD)
        .replace("VALUE", _value("named"))
        .replace("OTHER", _value("option")),
        re.VERBOSE | re.IGNORECASE | re.DOTALL,
    )


# No form matches a text that has none of these (lower case). Looking for them costs 1 µs on a command, the forms a third of one on every character.
_HINTS = (
    "://", "passw", "passphrase", "pwd", "secret", "token", "api", "access", "private", "auth", "credential", "signature", "bearer",
    "basic", "digest", "negotiate", "gh", "github_pat_", "glpat-", "sk-", "k_live", "k_test", "xox", "akia", "asia", "aiza", "ya29", "npm_",
    "pypi-", "hf_", "sg.", "dop_v1", "shp", "whsec", "key-", "eyj",
)  # fmt: skip
# Programs whose short options carry a password, by what they are called.
_SHORT_OPTIONS: dict[str, tuple[str, ...]] = {
    "curl": ("-u", "--user", "-U", "--proxy-user"),
    "sshpass": ("-p",),
    "mysql": ("-p",),
    "mysqldump": ("-p",),
    "mariadb": ("-p",),
    "redis-cli": ("-a",),
    "docker": ("-p",),
    "podman": ("-p",),
    "http": ("-a",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One decision: `seq` counts a writer's lines from 1, `time_ns` is the wall clock in nanoseconds, `pid` the acting process."""

    seq: int
    time_ns: int
    pid: int
    action: Action
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvent:
    """What is no decision: the session's start and end, a program that ran, a process that ended, words of the guard about itself.

    `start` has `command, cwd, workspace, task, policy, model, guard`; `exec` has `ppid, exe, command`; `exit` has `status`; `end`
    has `status`. A field that is None is left out.
    """

    seq: int
    time_ns: int
    pid: int
    event: Literal["start", "exec", "exit", "end", "note"]
    ppid: int | None = None
    exe: str | None = None
    command: tuple[str, ...] | None = None
    status: int | None = None
    cwd: str | None = None
    workspace: str | None = None
    task: str | None = None
    policy: str | None = None
    model: str | None = None
    guard: str | None = None
    text: str | None = None


def line(record: Record | SessionEvent) -> bytes:
    """The line of this record, newline included; secrets taken out, long texts shortened with their length and hash."""
    plain = _decision(record) if isinstance(record, Record) else _event(record)
    return (json.dumps(plain, separators=(",", ":")) + "\n").encode("ascii")


def fast_line(verdict: Verdict, op: FileOp, actor: Actor | None = None) -> Callable[[int, int, int, str], bytes]:
    """A formatter `(seq, time_ns, pid, path) -> line` for file operations that share all but these four.

    The lines equal, byte for byte, what `line` makes of `FileAction(op=op, path=path, actor=actor)`; only faster.
    """
    marker = "\0"
    whole = line(
        Record(seq=0, time_ns=0, pid=0, action=FileAction(op=op, path=marker, actor=actor), verdict=verdict)
    ).decode("ascii")
    start, _, end = whole.partition(_quoted(marker))
    middle = start.removeprefix('{"seq":0,"time_ns":0,"pid":0')

    def make(seq: int, time_ns: int, pid: int, path: str) -> bytes:
        return f'{{"seq":{seq},"time_ns":{time_ns},"pid":{pid}{middle}{_quoted(path)}{end}'.encode("ascii")

    return make


def redact(text: str) -> str:
    """The text with every secret of a known form replaced by `[redacted:FORM:LENGTH]`; doing it again changes nothing."""
    low = text.lower()
    if not any(hint in low for hint in _HINTS):
        return text
    return _secrets().sub(_replaced, text)


def target(record: dict[str, Any]) -> str:
    """What a record is about, in a few words, for lists: the path, the command, the destination. Not sanitised."""
    if "event" in record:
        return " ".join(record.get("command") or ()) or str(
            record.get("text") or record.get("exe") or record.get("status", "")
        )
    action = record["action"]
    match record["kind"]:
        case "file":
            to = f" → {action['to']}" if "to" in action else ""
            return f"{action['op']} {action['path']}{to}"
        case "exec":
            return str(action.get("command") or action.get("exe") or "?")
        case "network":
            return _destination(action)
        case "tool":
            return f"{action.get('server', '?')}/{action.get('name', '?')}"
        case "system":
            return f"{action.get('op')} {action.get('target', '')}".rstrip()
        case _:
            return str(action.get("text", ""))


def _destination(action: dict[str, Any]) -> str:
    if action.get("url"):
        return f"{action.get('method', '')} {action['url']}".lstrip()
    where = ", ".join(action.get("host", ())) or action.get("address", "?")
    port = f":{action['port']}" if "port" in action else ""
    return f"{action.get('protocol', '')} {where}{port}".lstrip()


def _decision(record: Record) -> dict[str, Any]:
    verdict = record.verdict
    secrets = _positional(getattr(record.action, "name", None), getattr(record.action, "args", None))
    return {
        "seq": record.seq,
        "time_ns": record.time_ns,
        "pid": record.pid,
        "kind": record.action.kind,
        "action": _known(record.action, secrets),
        "decision": verdict.decision.word,
        "rules": list(verdict.rules),
        "because": _text(verdict.because, secrets),
        "unknown": list(verdict.unknown),
        "score": verdict.score,
        "label": verdict.label,
        "by": verdict.source,
        "labels": list(verdict.labels),
    }


def _event(event: SessionEvent) -> dict[str, Any]:
    command = event.command or ()
    secrets = _positional(command[0].rpartition("/")[2], command[1:]) if command else {}
    plain: dict[str, Any] = {"seq": event.seq, "time_ns": event.time_ns, "pid": event.pid, "event": event.event}
    for name in ("ppid", "exe", "command", "status", "cwd", "workspace", "task", "policy", "model", "guard", "text"):
        value = getattr(event, name)
        if value is not None:
            plain[name] = _clean(name, value, secrets)
    return plain


def _known(action: Action, secrets: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in fields(action):
        value = getattr(action, field.name)
        if value is None or field.name == "kind":
            continue
        if isinstance(value, Actor):
            found["actor"] = {"name": value.name, "exe": value.exe, "script": value.script, "verified": value.verified}
        elif field.name == "headers":
            found["headers"] = [_header(header, text, secrets) for header, text in value]
        else:
            found[field.name] = _clean(field.name, value, secrets)
    return found


def _clean(name: str, value: Any, secrets: dict[str, str]) -> Any:
    if isinstance(value, tuple):
        return [_clean(name, v, secrets) for v in value]
    if isinstance(value, str) and name not in _NAMES:
        return _text(value, secrets)
    return value


def _header(name: str, value: str, secrets: dict[str, str]) -> list[str]:
    if name.lower() in _SECRET_HEADERS:
        scheme, space, rest = value.partition(" ")
        return [
            name,
            f"{scheme} [redacted:header:{len(rest)}]"
            if space and "=" not in scheme
            else f"[redacted:header:{len(value)}]",
        ]
    return [name, _text(value, secrets)]


def _text(value: str, secrets: dict[str, str]) -> str:
    length = len(value)
    value = value[: TEXT_LIMIT + _MARGIN]
    for secret, instead in secrets.items():
        value = value.replace(secret, instead)
    clean = redact(value)
    return clean if length <= TEXT_LIMIT else f"{clean[:TEXT_LIMIT]}… [shortened: {length} characters in all]"


def _positional(program: str | None, args: tuple[str, ...] | None) -> dict[str, str]:
    """Secrets that only their place among the arguments gives away (`--password X`, `curl -u name:X`), with their replacements."""
    found: dict[str, str] = {}
    short = _SHORT_OPTIONS.get(program or "", ())
    for option, value in zip(args or (), (args or ())[1:], strict=False):
        if (option in short or _is_secret_option(option)) and not value.startswith(("-", "$")):
            secret = value.partition(":")[2] or value
            if len(secret) >= 3:
                found[secret] = f"[redacted:argument:{len(secret)}]"
    for value in args or ():
        for option in short:
            if len(option) == 2 and value.startswith(option) and len(value) > 4 and not value.startswith("--"):
                found[value[2:]] = f"[redacted:argument:{len(value) - 2}]"
    return found


def _is_secret_option(option: str) -> bool:
    return (
        option.startswith("-")
        and any(hint in option.lower() for hint in _HINTS)
        and bool(_secret_option().fullmatch(option))
    )


@cache
def _secret_option() -> re.Pattern[str]:
    return re.compile(rf"--?[\w-]{{0,24}}{_SECRET_WORD}", re.IGNORECASE)


def _replaced(found: re.Match[str]) -> str:
    form = next(name for name, text in found.groupdict().items() if text is not None and "_" not in name)
    value = next((v for end in ("_v", "_d", "_q") if (v := found.groupdict().get(form + end)) is not None), found[form])
    head = found[form][: len(found[form]) - len(value)]
    return f"{head}[redacted:{form}:{len(value)}]"


def is_record(plain: object) -> bool:
    """Whether this parsed line has one of the two forms, with the fields that readers rely on."""
    if not isinstance(plain, dict) or not all(isinstance(plain.get(k), int) for k in ("seq", "time_ns", "pid")):
        return False
    if "event" in plain:
        return isinstance(plain["event"], str)
    decisions = [d.word for d in Decision]
    return (
        isinstance(plain.get("action"), dict)
        and isinstance(plain.get("kind"), str)
        and plain.get("decision") in decisions
    )
