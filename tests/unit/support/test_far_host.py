"""Hosts of network namespaces, where a process of the same number was killed before and left its names behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import far_host
from tests.support.hosts_network import HostsNetwork

SPACES = Path("/run/netns")


@pytest.fixture(autouse=True)
def _namespaces() -> Iterator[None]:
    if why := far_host.unavailable():
        pytest.skip(why)
    yield
    left = [each.name for each in SPACES.glob(f"rf{os.getpid()}*")]
    for name in left:
        far_host.remove("netns", name)
    assert not left


def _stale(name: str) -> None:
    (SPACES / f"rf{os.getpid()}{name}").touch()


def test_a_file_without_a_namespace_does_not_make_hosts_unavailable() -> None:
    _stale("t")
    assert far_host.unavailable() == ""


def test_hosts_are_made_over_what_was_left(tmp_path: Path) -> None:
    _stale("")
    with far_host.FarHost(tmp_path, consul_port=1) as host:
        assert host.address
    for name in ("sw", "h1", "h2"):
        _stale(name)
    with HostsNetwork(["h1", "h2"]) as network:
        assert network.address("h1")


def test_hosts_of_a_killed_process_are_made_anew() -> None:
    HostsNetwork(["h1", "h2"]).__enter__()  # and nobody leaves it
    with HostsNetwork(["h1", "h2"]) as network:
        assert network.address("h1")
