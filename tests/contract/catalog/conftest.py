"""The catalog on SQLite and on a real PostgreSQL, where the machine has its binaries."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.database import Database
from gateway.tenants import account, quota_client
from tests.support.postgres import emptied, postgres_server

PATIENCE_S = 60.0
"""SQLite's writers of several processes do not queue: on a busy machine one can be passed over for long."""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a step of the quotas' store comes to its end."""
    for module in (account, quota_client):
        monkeypatch.setattr(module, "STEP_S", PATIENCE_S)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    return emptied(request.getfixturevalue("postgres"))


@pytest.fixture
async def catalog(url: str, clock: Clock) -> AsyncIterator[Catalog]:
    made = Catalog(url, clock=clock, timeout_s=PATIENCE_S)
    yield made
    await made.close()


async def waiting(database: Database, number: int, *, unless: asyncio.Task[Any] | None = None) -> None:
    """Until so many connections wait for a lock, or the task has come to its end without."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(PATIENCE_S):
        while unless is None or not unless.done():
            async with database.read() as connection:
                if await connection.scalar(query) == number:
                    return
            await asyncio.sleep(0.02)
