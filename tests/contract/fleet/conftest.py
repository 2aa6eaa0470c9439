"""A real Consul for this folder's tests, and HTTP servers that its checks ask."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ragfleet.consul_binary import ConsulMissingError, obtain
from tests.contract.fleet.consul_agent import ConsulAgent
from tests.contract.fleet.http_server import FakeHttpServer


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
async def servers() -> AsyncIterator[list[FakeHttpServer]]:
    """Three of them."""
    made = [FakeHttpServer() for _ in range(3)]
    listening = []
    for each in made:
        server = await asyncio.start_server(each.serve, "127.0.0.1", 0)
        each.port = server.sockets[0].getsockname()[1]
        listening.append(server)
    yield made
    for server in listening:
        server.close()
