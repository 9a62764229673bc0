"""The authority is made once, the bundle follows its sources, and every client's variable points at it."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from guard.intercept.trust import VARIABLES, ca_environment, ensure_bundle, ensure_ca, trusted_files
from tests.network.servers import TestCa


def test_the_authority_is_made_once_and_kept(tmp_path: Path) -> None:
    first = ensure_ca(tmp_path / "deep" / "ca")
    key = Path(first.key).read_bytes()
    assert ensure_ca(tmp_path / "deep" / "ca") == first
    assert Path(first.key).read_bytes() == key
    assert (Path(first.folder).stat().st_mode & 0o777, Path(first.key).stat().st_mode & 0o777) == (0o700, 0o600)


def test_two_guards_that_start_at_once_make_one_authority(tmp_path: Path) -> None:
    keys: list[bytes] = []

    def make() -> None:
        keys.append(Path(ensure_ca(tmp_path / "ca").key).read_bytes())

    workers = [threading.Thread(target=make) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(keys) == 4
    assert len(set(keys)) == 1


def test_the_warm_way_imports_nothing_heavy(tmp_path: Path, child_env: dict[str, str]) -> None:
    ensure_bundle(ensure_ca(tmp_path / "ca"), {})
    code = (
        "import sys; from guard.intercept.trust import *; "
        f"ca_environment(ensure_bundle(ensure_ca({str(tmp_path / 'ca')!r}), {{}}), {{}}); "
        "sys.exit(bool({'cryptography', 'OpenSSL', 'asyncio', 'pathlib', 'ssl'} & set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"], check=False
        ).returncode
        == 0
    )


def test_the_bundle_holds_what_was_trusted_and_ours_once_each(tmp_path: Path, authority: TestCa) -> None:
    ca = ensure_ca(tmp_path / "ca")
    corporate = tmp_path / "corporate.pem"
    corporate.write_text("# our company\n" + authority.file.read_text() * 2)
    environ = {"SSL_CERT_FILE": str(corporate), "PIP_CERT": str(corporate), "CURL_CA_BUNDLE": "/nowhere"}
    bundle = Path(ensure_bundle(ca, environ))
    assert bundle.read_text().count("BEGIN CERTIFICATE") == 2
    names = {entry["subject"][0][0][1] for entry in ssl.create_default_context(cafile=bundle).get_ca_certs()}
    assert names == {"test authority", "Guard inspection CA (this machine only)"}


def test_the_bundle_is_rebuilt_when_a_source_changes_and_only_then(tmp_path: Path, authority: TestCa) -> None:
    ca = ensure_ca(tmp_path / "ca")
    source = tmp_path / "source.pem"
    source.write_bytes(authority.file.read_bytes())
    environ = {"SSL_CERT_FILE": str(source)}
    bundle = Path(ensure_bundle(ca, environ))
    first = bundle.stat()
    assert Path(ensure_bundle(ca, environ)).stat() == first
    source.write_bytes(b"")
    os.utime(source, (1, 1))
    assert ensure_bundle(ca, environ) == str(bundle)
    assert bundle.read_text().count("BEGIN CERTIFICATE") == 1
    assert Path(ensure_bundle(ca, {"SSL_CERT_FILE": str(authority.file)})).read_text().count("BEGIN CERTIFICATE") == 2


def test_every_variable_points_at_the_bundle(tmp_path: Path) -> None:
    assert ca_environment(tmp_path / "b.pem", {}) == dict.fromkeys(VARIABLES, str(tmp_path / "b.pem"))
    assert "SSL_CERT_FILE" in VARIABLES
    assert "NODE_EXTRA_CA_CERTS" in VARIABLES


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_that_the_environment_names_is_trusted(variable: str, authority: TestCa) -> None:
    assert str(authority.file) in trusted_files({variable: str(authority.file)})
