"""Places travel as JSON and come back the same; paths and hosts have one spelling."""

from __future__ import annotations

import doctest
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core import places
from guard.core.places import (
    Places,
    canonical_host,
    endpoint,
    endpoint_of_url,
    host_of_endpoint,
    is_loopback,
    is_under,
    is_under_any,
    lexical,
)

NAMES = st.text("ab.", min_size=0, max_size=3)
PATHS = st.lists(NAMES, max_size=6).map(lambda parts: "/" + "/".join(parts))


def test_the_examples_in_the_docstrings_hold() -> None:
    """Documentation is tested."""
    assert doctest.testmod(places).failed == 0


def test_places_survive_json() -> None:
    """The runtime sends them to other processes as text."""
    here = Places(
        workspace="/w",
        home="/h",
        homes=("/h", "/root"),
        registries=("registry.example",),
        model_endpoints=("[::1]:80",),
    )
    assert Places.from_json(json.loads(json.dumps(here.to_json()))) == here


def test_unknown_places_are_refused() -> None:
    """A message of another version is no silent loss."""
    with pytest.raises(TypeError):
        Places.from_json({"workspace": "/w", "home": "/h", "elsewhere": []})


@given(PATHS, PATHS)
def test_lexical_is_clean_and_settled(path: str, folder: str) -> None:
    """A lexical path is absolute, has no empty, `.` or `..` part, and does not change when cleaned again."""
    found = lexical(path.lstrip("/"), folder)
    assert found.startswith("/")
    assert not {"", ".", ".."} & set(found[1:].split("/")) or found == "/"
    assert lexical(found) == found


@pytest.mark.parametrize(
    ("path", "folder", "under"),
    [
        ("/a", "/a", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
        ("/a", "/", True),
        ("/", "/a", False),
    ],
)
def test_under_respects_names(path: str, folder: str, under: bool) -> None:
    """`/ab` is not below `/a`, and everything is below `/`."""
    assert is_under(path, folder) is under
    assert is_under_any(path, ("/none", folder)) is under


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("API.Example.", "api.example"),
        (" [::1] ", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("a" * 70 + "ü.example", "a" * 70 + "ü.example"),
    ],
)
def test_hosts_have_one_spelling(written: str, found: str) -> None:
    """Case, root dot, brackets, zone and IDNA are taken away; what has no IDNA form stays."""
    assert canonical_host(written) == found


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a.example", "a.example:80"),
        ("https://a.example/v1?x=1", "a.example:443"),
        ("https://user:pass@a.example:8443/v1", "a.example:8443"),
        ("http://[::1]:8080/v1", "[::1]:8080"),
        ("http://a.example:99999", None),
        ("http://a.example:x", None),
        ("ftp://a.example", None),
        ("a.example", None),
        ("http://", None),
    ],
)
def test_endpoints_of_urls(url: str, place: str | None) -> None:
    """The port is the scheme's where none is written; what is no http URL has none."""
    assert endpoint_of_url(url) == place


def test_endpoint_and_host_belong_together() -> None:
    """The host of an endpoint is what it was made of, IPv6 included."""
    assert host_of_endpoint(endpoint("::1", 80)) == "::1"
    assert host_of_endpoint(endpoint("A.Example", 80)) == "a.example"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.1.2.3", True),
        ("localhost", True),
        ("x.localhost", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("api.example", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """A name that only begins like the loopback address is elsewhere."""
    assert is_loopback(host) is loopback
