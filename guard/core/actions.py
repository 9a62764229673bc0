"""What an agent proposes, as values.

One frozen class per kind of action. A field that is `None` is *unknown*, never "empty": the edges leave out what they have
not looked at yet, and `guard.policy.match` says which unknown fields a verdict would need. What never enters: the
system call, file descriptor or HTTP object that the action was read from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

FileOp = Literal["read", "write", "create", "delete", "rename", "chmod", "link"]
Kind = Literal["exec", "file", "network", "python", "sql", "tool", "system"]
HarmLabel = Literal[
    "destructive",
    "exfiltration",
    "credential_access",
    "privilege_escalation",
    "persistence",
    "remote_code_execution",
    "defense_evasion",
    "resource_abuse",
    "supply_chain",
    "none",
]
Listener = Literal["tree", "resolver", "model", "loopback", "metadata", "unix", "elsewhere"]

FILE_OPS: tuple[FileOp, ...] = get_args(FileOp)
KINDS: tuple[Kind, ...] = get_args(Kind)
HARM_LABELS: tuple[HarmLabel, ...] = get_args(HarmLabel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The program that acts, from the guard's own exec record, never from what the process says of itself.

    `name` is the file name of the executable, or of the script where `exe` is an interpreter; `exe` and `script` are
    canonical paths (`script` is None for a compiled program). `verified` is True only where neither file can be written by
    the tree and none of the variables that inject code (LD_PRELOAD, PYTHONPATH, NODE_OPTIONS, GIT_SSH_COMMAND, BASH_ENV …)
    was set at its exec; rules that name an actor look at verified ones alone.
    """

    name: str
    exe: str
    script: str | None = None
    verified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAction:
    """A file operation on canonical absolute paths, in the names of the guard's own mount namespace.

    `to` is the second path of rename, link and symlink (symlink: `path` is the link made, `to` what it points at, resolved).
    `folder` tells that `path` is a directory, so that everything below it is touched by delete and rename.
    `sets` are the configuration keys that the operation changes (`core.hookspath`, `hooks`), lower case; None while the content
    is not known.
    """

    op: FileOp
    path: str
    to: str | None = None
    folder: bool | None = None
    sets: tuple[str, ...] | None = None
    actor: Actor | None = None
    kind: Literal["file"] = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecAction:
    """A program about to run.

    `exe` is the canonical path of what is really executed, `name` its file name; `args` the arguments after argv[0];
    `command` the whole argv joined with shell quoting; `script` the text that an interpreter is given (`-c` text, the body of a
    script file, at most 64 KiB), None where it is not known, "" where there is none. `anonymous` tells an executable without a name in
    the file system (memfd, deleted file).
    """

    exe: str | None = None
    name: str | None = None
    args: tuple[str, ...] | None = None
    command: str | None = None
    script: str | None = None
    cwd: str | None = None
    user: str | None = None
    anonymous: bool | None = None
    actor: Actor | None = None
    kind: Literal["exec"] = "exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAction:
    """A connection, datagram, or request about to leave the process.

    `host` holds every name the destination goes by (DNS answer, SNI, Host header), lower case; the address itself where there is
    no name. `listener` classes the other end: inside the tree, a resolver, the agent's model endpoint, another loopback listener,
    a metadata service, a unix socket owned outside the tree, elsewhere. `protocol` is `http`, `https`, `tcp`, `udp`, `unix`, `dns`.
    `method`, `url_path`, `query`, `headers` (names lower case), `body_size` (bytes, None while streaming) are None for what is not HTTP.
    `content` names the secrets found in what is sent (`session-secret`, `private-key`); None while nothing was looked at.
    """

    host: tuple[str, ...] | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    listener: Listener | None = None
    method: str | None = None
    url: str | None = None
    url_path: str | None = None
    query: str | None = None
    headers: tuple[tuple[str, str], ...] | None = None
    body: str | None = None
    body_size: int | None = None
    content_type: str | None = None
    content: tuple[str, ...] | None = None
    actor: Actor | None = None
    kind: Literal["network"] = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonAction:
    """Python source about to run."""

    text: str
    actor: Actor | None = None
    kind: Literal["python"] = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlAction:
    """SQL about to run; `dialect` is the database's name where known."""

    text: str
    dialect: str | None = None
    actor: Actor | None = None
    kind: Literal["sql"] = "sql"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolAction:
    """A call of an agent's tool: `server`, tool `name`, and its arguments as JSON text."""

    server: str | None = None
    name: str | None = None
    arguments: str | None = None
    actor: Actor | None = None
    kind: Literal["tool"] = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemAction:
    """What changes the machine rather than a file: `op` is mount, unshare, setns, ptrace, signal, keyctl, module, quota …

    `target` says on what: a path, or `guard`, `outside` (a process that is not of the tree), `tree`.
    """

    op: str
    target: str | None = None
    actor: Actor | None = None
    kind: Literal["system"] = "system"


type Action = FileAction | ExecAction | NetworkAction | PythonAction | SqlAction | ToolAction | SystemAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What the classifier says: calibrated probability of harm in 0…1 and the harm label it belongs to."""

    score: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is known beside the action: the classifier's result and the labels that the session has gathered.

    None is unknown, as everywhere: `harm=None` means nothing was scored yet, `labels=None` that they were not asked for.
    """

    harm: Harm | None = None
    labels: frozenset[str] | None = None


NOTHING_KNOWN = Context()
