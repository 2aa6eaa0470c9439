"""A gateway over fake Tritons for each test that asks for one."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from tests.support.running import Fleet, make_tokenizer, settings_for


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tokenizer that all tests share."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with its tables, made once: each gateway of these tests begins with a copy."""
    home = tmp_path_factory.mktemp("catalog")

    async def make() -> None:
        catalog = Catalog(catalog_url("", home))
        async with catalog.database.read():
            pass
        await catalog.close()

    asyncio.run(make())
    return home / "catalog.db"


@pytest.fixture
async def start(tokenizer_dir: Path, empty_catalog: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`fleet = await start(instances=3, token_deadline_s=0.1)`: a fleet with other settings; see Fleet and Settings."""
    async with AsyncExitStack() as stack:

        async def run(**wishes: Any) -> Fleet:
            shape = {name: wishes.pop(name) for name in ("instances", "slots", "max_context") if name in wishes}
            settings = settings_for(tmp_path, tokenizer_dir, **wishes)
            if not settings.catalog_url and not (catalog := settings.home / "catalog.db").exists():
                settings.home.mkdir(parents=True, exist_ok=True)
                shutil.copy(empty_catalog, catalog)
            fleet = Fleet(settings, **shape)
            return await stack.enter_async_context(fleet)

        yield run


@pytest.fixture
async def fleet(start: Callable[..., Any]) -> Fleet:
    """Two instances and the usual settings."""
    running: Fleet = await start()
    return running
