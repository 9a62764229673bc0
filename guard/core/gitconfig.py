"""Reads the text of settings files far enough to say which keys a change sets, and which of them make a program run.

Git's configuration (git-config(1), "Syntax"), JSON with comments, and TOML. Reading is strict where git is strict: what git would
refuse is reported as the key `unreadable`, which rules treat like a key that runs programs. Keys are lower case except for the subsection, which git keeps as it
is written. What never enters: files.
"""

from __future__ import annotations

import json
import re
from typing import Any

UNREADABLE = "unreadable"
RUNS = "runs:"  # prefix of a key whose new value makes git run a program

# git-config(1): keys whose value is a command, a path of commands, or further configuration. `*` is the subsection.
_RUNNING = frozenset(
    {
        "core.hookspath",
        "core.sshcommand",
        "core.gitproxy",
        "core.editor",
        "core.pager",
        "core.askpass",
        "core.alternaterefscommand",
        "core.fsmonitor",
        "sequence.editor",
        "diff.external",
        "interactive.difffilter",
        "init.templatedir",
        "include.path",
        "includeif.*.path",
        "uploadpack.packobjectshook",
        "gpg.program",
        "gpg.*.program",
        "gpg.ssh.defaultkeycommand",
        "credential.helper",
        "credential.*.helper",
        "filter.*.clean",
        "filter.*.smudge",
        "filter.*.process",
        "diff.*.command",
        "diff.*.textconv",
        "merge.*.driver",
        "mergetool.*.cmd",
        "mergetool.*.path",
        "difftool.*.cmd",
        "difftool.*.path",
        "browser.*.cmd",
        "browser.*.path",
        "man.*.cmd",
        "man.*.path",
        "guitool.*.cmd",
        "pager.*",
        "remote.*.uploadpack",
        "remote.*.receivepack",
        "remote.*.vcs",
        "submodule.*.update",
        "trailer.*.command",
        "trailer.*.cmd",
        "tar.*.command",
        "sendemail.tocmd",
        "sendemail.cccmd",
        "sendemail.headercmd",
        "sendemail.sendmailcmd",
        "sendemail.smtpserver",
        "sendemail.*.smtpserver",
        "imap.tunnel",
        "instaweb.httpd",
        "instaweb.browser",
        "web.browser",
        "help.browser",
        "gui.editor",
        "protocol.ext.allow",
        "protocol.allow",
        "remote.*.url",
        "remote.*.pushurl",
        "url.*.insteadof",
        "url.*.pushinsteadof",
    }
)
# What these keys may be without running anything of the user's: git's own helpers, switches, plain programs.
_PLAIN_CREDENTIAL_HELPERS = frozenset({"", "cache", "store"})
_SWITCHES = frozenset({"", "true", "false", "yes", "no", "on", "off", "1", "0"})
_SUBMODULE_UPDATES = frozenset({"checkout", "rebase", "merge", "none"})
_QUIET_PAGERS = frozenset({"", "cat", "less", "more"})

_SECTION = re.compile(r"\[\s*([A-Za-z0-9.-]+)(?:\s+\"((?:[^\"\\\n]|\\.)*)\")?\s*\]")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*")


def keys(text: str) -> dict[str, tuple[str, ...]]:
    """Every key of a git configuration with its values in order; a key without `=` has the value `true`. ValueError where git would refuse it.

    >>> keys('[core]\\n\\tbare = false\\n[alias]\\n z = "!ls"')
    {'core.bare': ('false',), 'alias.z': ('!ls',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    section, at = "", 0
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    while at < len(text):
        c = text[at]
        if c in " \t\n":
            at += 1
        elif c in "#;":
            at = _line_end(text, at)
        elif c == "[":
            section, at = _section(text, at)
        else:
            name, value, at = _entry(text, at)
            if not section:
                raise ValueError(f"`{name}` stands before any section")
            key = f"{section}.{name}"
            found[key] = (*found.get(key, ()), value)
    return found


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _section(text: str, at: int) -> tuple[str, int]:
    match = _SECTION.match(text, at)
    if match is None:
        raise ValueError(f"no section in `{text[at : at + 40]}`")
    name, sub = match[1].lower(), match[2]
    if sub is not None:
        name = f"{name}.{re.sub(r'\\(.)', r'\1', sub)}"
    return name, match.end()


def _entry(text: str, at: int) -> tuple[str, str, int]:
    match = _KEY.match(text, at)
    if match is None:
        raise ValueError(f"no key in `{text[at : at + 40]}`")
    at, name = match.end(), match[1].lower()
    if at >= len(text) or text[at] in "\n#;":
        return name, "true", _line_end(text, at)
    if text[at] != "=":
        raise ValueError(f"no `=` after `{name}`")
    value, at = _value(text, at + 1)
    return name, value, at


def _value(text: str, at: int) -> tuple[str, int]:
    """A value up to the end of its line: quotes, the escapes of git-config(1), continued lines, comments outside quotes."""
    out: list[str] = []
    quoted, solid = False, 0  # `solid` is the length up to the last character that is no trailing blank
    while at < len(text) and (text[at] != "\n"):
        c = text[at]
        if c == "\\":
            following = text[at + 1 : at + 2]
            at += 2
            if following == "\n":
                continue
            if following not in {"n", "t", "b", '"', "\\"}:
                raise ValueError(f"no such escape `\\{following}`")
            out.append({"n": "\n", "t": "\t", "b": "\b"}.get(following, following))
            solid = len(out)
            continue
        at += 1
        if c == '"':
            quoted, solid = not quoted, len(out)
        elif c in "#;" and not quoted:
            at = _line_end(text, at)
        elif c in " \t" and not quoted and not out:
            continue
        else:
            out.append(c)
            solid = solid if c in " \t" and not quoted else len(out)
    if quoted:
        raise ValueError(f"a quote without its end in `{text[max(0, at - 40) : at]}`")
    return "".join(out[:solid]), at


def executes(key: str, value: str) -> bool:
    """Whether this git setting makes git run a program, or read settings, that the value names.

    >>> executes("alias.st", "status"), executes("alias.z", "!rm x"), executes("core.hookspath", "x")
    (False, True, True)
    """
    section, _, rest = key.partition(".")
    sub, _, name = rest.rpartition(".")
    general = f"{section}.*.{name}" if sub else key
    if section == "alias":
        return value.lstrip().startswith("!")
    if section == "pager":
        return value.strip().lower() not in _SWITCHES | _QUIET_PAGERS
    if general not in _RUNNING and key not in _RUNNING:
        return False
    return _names_a_program(general if general in _RUNNING else key, value.strip())


def _names_a_program(general: str, value: str) -> bool:
    match general:
        case "credential.helper" | "credential.*.helper":
            return value.split(" ", 1)[0] not in _PLAIN_CREDENTIAL_HELPERS
        case "core.fsmonitor":
            return value.lower() not in _SWITCHES
        case "core.pager":
            return value not in _QUIET_PAGERS
        case "submodule.*.update":
            return value not in _SUBMODULE_UPDATES
        case "protocol.allow" | "protocol.ext.allow":
            return value.lower() != "never" and (general != "protocol.allow" or value.lower() == "always")
        case "remote.*.url" | "remote.*.pushurl" | "url.*.insteadof" | "url.*.pushinsteadof":
            return value.startswith("ext::")
        case "sendemail.smtpserver" | "sendemail.*.smtpserver":
            return value.startswith("/")
        case _:
            return value != ""


def changed(old_text: str, new_text: str) -> tuple[str, ...]:
    """The keys whose values differ, sorted; a key whose new value runs a program appears a second time with `runs:` before it.

    Text that cannot be read counts as the key `unreadable` where it is new, and as empty where it is old.
    """
    try:
        new = keys(new_text)
    except ValueError:
        return (UNREADABLE,)
    try:
        old = keys(old_text)
    except ValueError:
        old = {}
    names = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    # All values of a changed key count: one that was there before may only now be the last, which is the one git takes.
    running = {RUNS + key.lower() for key in names if any(executes(key, value) for value in new.get(key, ()))}
    return tuple(sorted({*(key.lower() for key in names), *running}))


def changed_json(old_text: str, new_text: str) -> tuple[str, ...]:
    """The keys of a JSON settings file that the new text changes, lower case and sorted.

    Keys of the top level count whenever they differ. Keys further down count where they differ and are not empty, by their own name,
    so that `projects./p.mcpServers` is found as `mcpservers`. Comments and trailing commas are read; anything else gives `unreadable`.
    """
    return _changed_tree(_json(old_text), _json(new_text))


def changed_toml(old_text: str, new_text: str) -> tuple[str, ...]:
    """As `changed_json`, for TOML."""
    return _changed_tree(_toml(old_text), _toml(new_text))


def _toml(text: str) -> Any:
    import tomllib  # 3 ms, needed only where an agent changes its own settings

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def _json(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(_without_comments(text) or "{}")
    except (ValueError, RecursionError):
        return None


def _without_comments(text: str) -> str:
    bare = re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', lambda m: m[1] or " ", text, flags=re.DOTALL)
    return re.sub(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', lambda m: m[1] or "", bare, flags=re.DOTALL).strip()


def _changed_tree(old: Any, new: Any) -> tuple[str, ...]:
    if not isinstance(new, dict):
        return (UNREADABLE,)
    before = old if isinstance(old, dict) else {}
    found = {
        key.lower() for key in {*before, *new} if before.get(key) != new.get(key) or (key in before) != (key in new)
    }
    found |= _changed_below(before, new)
    return tuple(sorted(found))


def _changed_below(old: Any, new: Any) -> set[str]:
    found: set[str] = set()
    pairs: list[tuple[Any, Any]] = [(old, new)]
    while pairs:
        before, after = pairs.pop()
        if isinstance(after, dict):
            earlier = before if isinstance(before, dict) else {}
            for key, value in after.items():
                if earlier.get(key) != value:
                    if value not in ({}, [], "", None, False):
                        found.add(str(key).lower())
                    pairs.append((earlier.get(key), value))
        elif isinstance(after, list):
            earlier_items = before if isinstance(before, list) else []
            pairs += [(None, item) for item in after if item not in earlier_items]
    return found
