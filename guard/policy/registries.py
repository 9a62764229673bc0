"""Which hosts this machine's package managers take packages from: asked of their own files, built-in defaults included.

No host is written here. A built-in default is read out of the installed tool: pip's `models/index.py`, npm's `definitions.js`, Go's
`go.env`, RubyGems' `defaults.rb`, the constant inside cargo. The answer is kept in the state folder until one of the files that it came
from changes. What never enters: running a tool (npm alone takes 300 ms to answer), and configuration found in the workspace,
which the agent could have written.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from guard.core.places import endpoint_of_url, host_of_endpoint

FORM = 1  # of the cache; another number makes it be computed again

_URL = re.compile(r"https?://[^\s\"',|\]>]+")
_PIP_DEFAULT = re.compile(
    r"^PyPI\s*=\s*PackageIndex\(\s*\"([^\"]+)\",\s*file_storage_domain=\"([^\"]+)\"", re.MULTILINE
)
_PIP_SETTING = re.compile(r"^\s*(?:extra-)?index-url\s*=((?:.*\n?)(?:[ \t]+\S.*\n?)*)", re.MULTILINE)
_NPM_DEFAULT = re.compile(r"new Definition\('registry',\s*\{.{0,200}?default:\s*'([^']+)'", re.DOTALL)
_NPM_SETTING = re.compile(r"^\s*(?:@[^:\s]+:)?registry\s*=\s*(\S+)", re.MULTILINE)
_GO_SETTING = re.compile(r"^GO(?:PROXY|SUMDB)=(.*)$", re.MULTILINE)
_GEM_DEFAULT = re.compile(r"%w\[(https?://[^\]]+)\]")
_CARGO_DEFAULT = re.compile(rb"sparse\+(https://[a-z0-9.-]+)/")
_CARGO_SETTING = re.compile(r"^\s*(?:index|registry)\s*=\s*\"(?:sparse\+)?(https?://[^\"]+)\"", re.MULTILINE)
_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "npm_config_registry",
    "NPM_CONFIG_REGISTRY",
    "YARN_NPM_REGISTRY_SERVER",
    "GOPROXY",
    "PATH",
    "VIRTUAL_ENV",
    "PIP_CONFIG_FILE",
    "CARGO_HOME",
)
_MOST_CONSTANTS = 4  # the index address stands in the binary once or twice
_LARGEST_TEXT = 1_048_576  # bytes; npm's definitions.js, the longest of these files, has about 80 kB


def find(environ: Mapping[str, str], homes: Sequence[str], state_folder: str) -> tuple[str, ...]:
    """The hosts, sorted. From the cache in the state folder where nothing that it was made of changed."""
    named = {name: environ.get(name, "") for name in _VARIABLES} | {"homes": ":".join(homes)}
    cache = f"{state_folder}/cache/registries.json"
    known = _cached(cache, named)
    if known is not None:
        return known
    look = _Look()
    hosts = tuple(sorted({h for text in _urls(look, environ, homes) if (h := _host(text)) is not None}))
    _keep(cache, {"form": FORM, "environ": named, "files": look.seen, "hosts": list(hosts)})
    return hosts


def _host(text: str) -> str | None:
    place = endpoint_of_url(text if "://" in text else f"https://{text}")
    return None if place is None else host_of_endpoint(place)


class _Look:
    """Reads files and remembers what each looked like, those that are missing as well."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int] | None] = {}

    def text(self, path: str) -> str:
        self.seen[path] = _stamp(path)
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                return f.read(_LARGEST_TEXT)
        except OSError:
            return ""

    def found(self, path: str, start: bytes, pattern: re.Pattern[bytes]) -> list[str]:
        """What the pattern finds at the first few places of a large binary that begin like `start`; a plain search first, because it is 50 times faster."""
        self.seen[path] = _stamp(path)
        hits: list[str] = []
        try:
            with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as data:
                at = data.find(start)
                while at >= 0 and len(hits) < _MOST_CONSTANTS:
                    if match := pattern.match(data, at):
                        hits.append(match[1].decode("ascii"))
                    at = data.find(start, at + 1)
        except (OSError, ValueError):
            return hits  # missing, or empty and not to be mapped
        return hits

    def listed(self, folder: str) -> list[str]:
        self.seen[folder] = _stamp(folder)
        try:
            return sorted(f"{folder}/{name}" for name in os.listdir(folder))
        except OSError:
            return []


def _stamp(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _cached(file: str, named: Mapping[str, str]) -> tuple[str, ...] | None:
    try:
        with open(file, encoding="utf-8") as f:
            kept = json.load(f)
        if kept["form"] != FORM or kept["environ"] != named or any(_stamp(p) != s for p, s in kept["files"].items()):
            return None
        return tuple(kept["hosts"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _keep(file: str, kept: object) -> None:
    new = f"{file}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        with open(new, "w", encoding="utf-8") as f:
            json.dump(kept, f)
        os.replace(new, file)
    except OSError:
        pass  # only time is lost


def _urls(look: _Look, environ: Mapping[str, str], homes: Sequence[str]) -> Iterator[str]:
    folders = [p for p in environ.get("PATH", "").split(":") if p.startswith("/")]
    for name in _VARIABLES[:9]:
        yield from _URL.findall(environ.get(name, ""))
    yield from _pip(look, environ, folders, homes)
    yield from _npm(look, folders, homes)
    yield from _go(look, folders, homes)
    yield from _cargo(look, environ, folders, homes)
    yield from _gem(look, folders, homes)
    yield from _apt(look)


def _pip(look: _Look, environ: Mapping[str, str], folders: Sequence[str], homes: Sequence[str]) -> Iterator[str]:
    prefixes = [os.path.dirname(f) for f in folders if os.path.basename(f) == "bin"]
    prefixes += [environ["VIRTUAL_ENV"]] if environ.get("VIRTUAL_ENV") else []
    prefixes += [
        v for f in folders if f.endswith("/.pyenv/shims") for v in look.listed(f"{os.path.dirname(f)}/versions")
    ]
    libraries = [f"{p}/lib/python3/dist-packages" for p in prefixes]
    libraries += [
        f"{v}/site-packages"
        for p in prefixes
        for v in look.listed(f"{p}/lib")
        if os.path.basename(v).startswith("python3")
    ]
    for library in dict.fromkeys(libraries):
        for match in _PIP_DEFAULT.finditer(look.text(f"{library}/pip/_internal/models/index.py")):
            yield from match.groups()
    settings = ["/etc/pip.conf", "/etc/xdg/pip/pip.conf", environ.get("PIP_CONFIG_FILE", "")]
    settings += [f"{h}/{name}" for h in homes for name in (".config/pip/pip.conf", ".pip/pip.conf")]
    settings += [f"{environ['VIRTUAL_ENV']}/pip.conf"] if environ.get("VIRTUAL_ENV") else []
    for file in settings:
        if file.startswith("/"):
            for values in _PIP_SETTING.findall(look.text(file)):
                yield from _URL.findall(values)
    for home in homes:
        yield from _URL.findall(
            "\n".join(line for line in look.text(f"{home}/.config/uv/uv.toml").splitlines() if "url" in line)
        )


def _npm(look: _Look, folders: Sequence[str], homes: Sequence[str]) -> Iterator[str]:
    settings = ["/etc/npmrc", *(f"{h}/.npmrc" for h in homes)]
    for tool in _installed("npm", folders):
        base = os.path.dirname(os.path.dirname(tool))  # …/npm/bin/npm-cli.js
        yield from _NPM_DEFAULT.findall(look.text(f"{base}/node_modules/@npmcli/config/lib/definitions/definitions.js"))
        settings += [f"{base}/npmrc", os.path.normpath(f"{base}/../../../etc/npmrc")]
    for file in settings:
        yield from _NPM_SETTING.findall(look.text(file))


def _go(look: _Look, folders: Sequence[str], homes: Sequence[str]) -> Iterator[str]:
    files = [f"{os.path.dirname(os.path.dirname(tool))}/go.env" for tool in _installed("go", folders)]
    for file in (*files, *(f"{h}/.config/go/env" for h in homes)):
        for values in _GO_SETTING.findall(look.text(file)):
            yield from (v for v in re.split(r"[,| ]", values) if "." in v)


def _cargo(look: _Look, environ: Mapping[str, str], folders: Sequence[str], homes: Sequence[str]) -> Iterator[str]:
    tools = _installed("cargo", folders)
    tools += [f"{chain}/bin/cargo" for h in homes for chain in look.listed(f"{h}/.rustup/toolchains")]
    for tool in dict.fromkeys(tools):
        if os.path.basename(tool) == "cargo":  # a rustup proxy is called `rustup` once its link is followed
            yield from look.found(tool, b"sparse+https://", _CARGO_DEFAULT)
    for folder in (environ.get("CARGO_HOME", ""), *(f"{h}/.cargo" for h in homes)):
        if folder.startswith("/"):
            yield from _CARGO_SETTING.findall(look.text(f"{folder}/config.toml"))


def _gem(look: _Look, folders: Sequence[str], homes: Sequence[str]) -> Iterator[str]:
    for tool in _installed("gem", folders):
        lib = f"{os.path.dirname(os.path.dirname(tool))}/lib/ruby"
        versions = [*look.listed(lib), *look.listed(f"{lib}/vendor_ruby")]
        for folder in (f"{lib}/vendor_ruby", *versions):
            yield from _GEM_DEFAULT.findall(look.text(f"{folder}/rubygems/defaults.rb"))
    for home in homes:
        yield from _URL.findall(look.text(f"{home}/.gemrc"))


def _apt(look: _Look) -> Iterator[str]:
    for file in ("/etc/apt/sources.list", *look.listed("/etc/apt/sources.list.d")):
        if file.endswith((".list", ".sources")):
            lines = (line for line in look.text(file).splitlines() if not line.lstrip().startswith("#"))
            yield from _URL.findall("\n".join(lines))


def _installed(name: str, folders: Iterable[str]) -> list[str]:
    """The real files that this name is found under."""
    found = (os.path.realpath(f"{folder}/{name}") for folder in folders if os.path.isfile(f"{folder}/{name}"))
    return list(dict.fromkeys(found))
