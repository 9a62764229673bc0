"""A proxy process and a scripted guard for each network test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.network.peer import Peer, Script, allow_all
from tests.network.servers import TestCa


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    return TestCa(tmp_path_factory.mktemp("test-ca"))


@pytest.fixture
def start(tmp_path: Path, authority: TestCa) -> Iterator[Callable[[Script], Peer]]:
    """Starts the test's proxy with a script; it must end cleanly, having said nothing on stdout."""
    made: list[Peer] = []

    def starter(script: Script = allow_all) -> Peer:
        made.append(Peer(folder=tmp_path, script=script, upstream_ca=authority.file))
        return made[-1]

    yield starter
    for peer in made:
        peer.close()
        errors = peer.errors.read_text()
        sys.stderr.write(errors)  # shown by pytest where the test failed
        assert bool(errors) is peer.complains
        assert (tmp_path / "stdout.txt").read_bytes() == b""
