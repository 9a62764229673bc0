"""What the paths and hosts of this machine mean to its owner: the workspace, the homes, the caches, the registries.

The values are found at the start by `guard.policy.machine` and travel as plain strings. All paths are absolute, lexically clean
and free of symlinks; all hosts are lower case. What never enters: looking. Nothing here opens, stats or resolves anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

# Data sinks and sources, terminals, and what a process says about itself. `/proc/<number>` is how the edges name `/proc/self`;
# what is dangerous in another process's folder (mem, environ, …) reaches the judge as kind `system`.
DEVICES = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
    "/dev/fd",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/proc/[0-9]*/**",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are, for one run of the guard.

    `home` is $HOME, `homes` both $HOME and the home of the password database, `other_homes` those of other people.
    `git_dirs` are the git folders that serve the workspace, wherever they lie. `guard` is what the tree must not change: state,
    loaded policies and the guard's program; `guard_private` what it must not read either, `guard_public` the exception to that
    (the certificate); `guard_code` is the guard's program where it lies in the workspace, as it does for whoever works on the guard.
    `programs` are folders that hold installed programs, so that running one from another person's home is no look into it.
    `model_endpoints` are `host:port`; `registries` and `resolvers` are hosts and addresses.
    """

    workspace: str
    home: str
    homes: tuple[str, ...] = ()
    other_homes: tuple[str, ...] = ()
    temporary: tuple[str, ...] = ()
    git_dirs: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    guard_private: tuple[str, ...] = ()
    guard_public: tuple[str, ...] = ()
    guard_code: tuple[str, ...] = ()
    path_folders: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    model_endpoints: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}

    @classmethod
    def from_json(cls, message: dict[str, Any]) -> Places:
        """The value that `to_json` wrote; TypeError for anything else."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in message.items()}
        return cls(**values)


def lexical(path: str, folder: str = "/") -> str:
    """The absolute path without `.`, `..`, doubled or trailing slashes; a relative one is taken from `folder`.

    Symlinks are not looked at: `a/..` is the folder of `a`, which is right only for paths that have none.

    >>> lexical("./a/../b//c/", "/w")
    '/w/b/c'
    """
    whole = path if path.startswith("/") else f"{folder}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def is_under(path: str, folder: str) -> bool:
    """Whether `path` is the folder itself or anything below it."""
    return path == folder or path.startswith(folder if folder == "/" else folder + "/")


def is_under_any(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of the folders or below one."""
    return any(is_under(path, folder) for folder in folders)


def canonical_host(host: str) -> str:
    """The host as rules compare it: lower case, without a root dot, brackets or IPv6 zone; names outside ASCII in their IDNA form.

    A name that has no IDNA form is only lowered: it equals no host that anything can connect to.

    >>> canonical_host("API.Example.")
    'api.example'
    """
    bare = host.strip().strip("[]").split("%", 1)[0].lower().rstrip(".")
    if bare.isascii():
        return bare
    try:
        return bare.encode("idna").decode("ascii")
    except UnicodeError:
        return bare


def endpoint(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    name = canonical_host(host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def endpoint_of_url(url: str) -> str | None:
    """The `host:port` that an http or https URL points at; None for anything else.

    >>> endpoint_of_url("http://user@Localhost:8080/v1")
    'localhost:8080'
    """
    scheme, found, rest = url.strip().partition("://")
    default = {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme.lower())
    if not found or default is None:
        return None
    authority = rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]
    if authority.startswith("["):
        host, _, after = authority[1:].partition("]")
        port = after.removeprefix(":")
    else:
        host, _, port = authority.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit() and int(port) < 65536)):
        return None
    return endpoint(host, int(port) if port else default)


def host_of_endpoint(place: str) -> str:
    """The host of a `host:port`, without brackets."""
    return place.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine's own loopback, by name or address.

    >>> is_loopback("127.0.0.9"), is_loopback("localhost.example")
    (True, False)
    """
    name = canonical_host(host).removeprefix("::ffff:")
    return (
        name in {"localhost", "::1", "ip6-localhost", "ip6-loopback"}
        or name.endswith(".localhost")
        or name.startswith("127.")
    )
