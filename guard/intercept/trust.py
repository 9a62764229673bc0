"""Whom clients and the proxy trust: the guard's own certificate authority, and the bundle of certificates handed to the agent.

Standard library alone, and a few `stat` calls once everything exists, because this lies on the way of every start. What
never enters: certificates being minted (guard.intercept.tls), connections.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

KEY_FILE = "ca-key.pem"
CERTIFICATE_FILE = "ca.pem"
BUNDLE_FILE = "bundle.pem"

# Every variable by which a client that agents use can be pointed at a file of trusted certificates (PEM, many in one file).
# The first is OpenSSL's and with it Python's, Ruby's, Go's, curl's and Rust's; the others belong to programs that look
# elsewhere first. Java, wget with GnuTLS and programs with certificates of their own have no such variable.
VARIABLES = (
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "DENO_CERT",
    "NIX_SSL_CERT_FILE",
    "BUNDLE_SSL_CA_CERT",
    "PERL_LWP_SSL_CA_FILE",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HEX_CACERTS_PATH",
)

# Where distributions keep their bundle; the first that exists is the system's.
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # CentOS, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaPaths:
    """The files of the authority: `key` (mode 0600) and `certificate`, both PEM, in `folder` (mode 0700)."""

    folder: str
    key: str
    certificate: str


def ensure_ca(folder: str | os.PathLike[str]) -> CaPaths:
    """The authority in this folder, made on the first call (about 0.2 s) and only looked at afterwards.

    Two guards that start at once make one. Raises OSError where the folder cannot be used or belongs to somebody else.
    """
    paths = _paths(folder)
    if os.path.exists(paths.key) and os.path.exists(paths.certificate):
        return paths
    os.makedirs(paths.folder, mode=0o700, exist_ok=True)
    os.chmod(paths.folder, 0o700)
    with open(os.path.join(paths.folder, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (os.path.exists(paths.key) and os.path.exists(paths.certificate)):
            _create(paths)
    return paths


def ensure_bundle(ca: CaPaths, environ: dict[str, str], folder: str | os.PathLike[str] | None = None) -> str:
    """The file of certificates for the agent's clients: what this environment and the system trust already, and ours.

    Rebuilt where a source, or the list of sources, changed since (by name, size and time); otherwise a few `stat` calls.
    """
    bundle = os.path.join(ca.folder if folder is None else folder, BUNDLE_FILE)
    sources = [*trusted_files(environ), ca.certificate]
    stamp = _stamp(sources)
    if os.path.exists(bundle) and _read(bundle + ".from") == stamp:
        return bundle
    _write(bundle, b"".join(_merged(sources)), 0o644)
    _write(bundle + ".from", stamp, 0o600)
    return bundle


def ca_environment(ca_bundle: str | os.PathLike[str], environ: dict[str, str]) -> dict[str, str]:
    """The variables to set for the agent so that its clients trust the guard's authority beside what they trusted.

    Every file that `environ` names in one of them is already part of the bundle, so nothing loses its trust.
    """
    variables = dict.fromkeys(VARIABLES, os.fspath(ca_bundle))
    if environ.get("NODE_OPTIONS", "").find("--use-openssl-ca") >= 0:
        variables.pop("NODE_EXTRA_CA_CERTS")  # Node then reads SSL_CERT_FILE, and refuses nothing by reading it twice
    return variables


def trusted_files(environ: dict[str, str]) -> list[str]:
    """The files of certificates that this environment trusts without us: those it names, and the system's bundle.

    Also what the proxy verifies servers against. Empty where neither exists.
    """
    named = [environ[name] for name in VARIABLES if environ.get(name)]
    system = [path for path in SYSTEM_BUNDLES if os.path.exists(path)][:1]
    if environ.get("SSL_CERT_FILE"):
        system = []  # this variable replaces the system's bundle, for OpenSSL as for us
    return [path for path in dict.fromkeys([*named, *system]) if os.path.isfile(path)]


def _paths(folder: str | os.PathLike[str]) -> CaPaths:
    name = os.path.abspath(os.fspath(folder))
    return CaPaths(folder=name, key=os.path.join(name, KEY_FILE), certificate=os.path.join(name, CERTIFICATE_FILE))


def _create(paths: CaPaths) -> None:
    from guard.intercept.tls import new_authority  # 100 ms of imports, needed once a machine

    key, certificate = new_authority()
    _write(paths.key, key, 0o600)
    _write(paths.certificate, certificate, 0o644)


def _stamp(sources: list[str]) -> bytes:
    lines = []
    for path in sources:
        seen = os.stat(path)
        lines.append(f"{path}\t{seen.st_size}\t{seen.st_mtime_ns}\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


def _merged(sources: list[str]) -> list[bytes]:
    """Every certificate of the sources once, in their order; text around them is left out."""
    seen: dict[bytes, bytes] = {}
    for path in sources:
        for block in _read(path).split(_BEGIN)[1:]:
            body, end, _ = block.partition(_END)
            if end:
                seen.setdefault(b"".join(body.split()), _BEGIN + body + _END + b"\n")
    return list(seen.values())


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _write(path: str, data: bytes, mode: int) -> None:
    """Whole or not at all: another guard may be reading this file."""
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
    os.rename(temporary, path)
