"""A real Consul for this folder's tests, and doors that its checks knock at."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ragfleet.consul_binary import ConsulMissingError, obtain
from tests.contract.fleet.consul_agent import ConsulAgent
from tests.contract.fleet.door import Door


@pytest.fixture(scope="session")
def consul_binary() -> Path:
    try:
        return obtain(Path(".cache")).path
    except ConsulMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def consul(consul_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulAgent]:
    agent = ConsulAgent(consul_binary, tmp_path_factory.mktemp("consul"))
    agent.start()
    yield agent
    agent.kill()


@pytest.fixture
async def doors() -> AsyncIterator[list[Door]]:
    """Three of them."""
    made: list[Door] = []
    servers = []
    for _ in range(3):
        door = Door()
        server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
        door.port = server.sockets[0].getsockname()[1]
        made.append(door)
        servers.append(server)
    yield made
    for server in servers:
        server.close()
