"""Two gateways over fake Tritons, on one PostgreSQL and one folder of objects."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.gateway_client import Client
from tests.support.postgres import emptied, postgres_server
from tests.support.running import Fleet, make_tokenizer, settings_for


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tokenizer that all tests share."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def gateways(postgres: str, tokenizer_dir: Path, tmp_path: Path) -> AsyncIterator[tuple[Client, Client]]:
    """Each with a home of its own."""
    url = emptied(postgres)
    async with AsyncExitStack() as stack:
        clients = [
            Client(
                await stack.enter_async_context(
                    Fleet(
                        settings_for(
                            tmp_path / name, tokenizer_dir, catalog_url=url, objects_url=f"file://{tmp_path}/objects"
                        ),
                        instances=1,
                    )
                )
            )
            for name in ("one", "two")
        ]
        yield clients[0], clients[1]
