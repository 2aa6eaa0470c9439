"""Files that are made to take for ever, in the real converter processes: they cost their own tenant's time, nobody else's."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.knowledge.catalog.types import FileState, NewMember
from gateway.knowledge.objects import content_key
from gateway.tenants.tenant import Tenant
from tests.component.test_ingestion_jobs import Setup
from tests.support.bombs import BOMBS


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path, deadline_s=120.0, slices_s=(5.0, 30.0))
    made.store = (await made.catalog.of(Tenant("acme")).stores.create(name="docs")).id
    yield made
    await made.jobs.close()
    await made.converters.close()
    await made.catalog.close()


async def test_24_bombs_of_one_tenant_hold_up_no_file_of_another(setup: Setup) -> None:
    kinds = list(BOMBS)
    made = {kind: bomb() for kind, bomb in BOMBS.items()}
    for number in range(24):
        await setup.upload(**{f"bomb{number}_{kinds[number % len(kinds)]}": made[kinds[number % len(kinds)]]})
    await setup.attach(*(f"bomb{number}" for number in range(24)))
    assert await setup.jobs.begin() == 16
    await asyncio.sleep(1)  # both converters are at bombs by now
    other = setup.catalog.of(Tenant("other"))
    await setup.objects.put(content_key("file-other"), b"The valve opens at 3 bar.")
    await other.files.add(file_id="file-other", filename="o.txt", purpose="assistants", size=25, sha256="0")
    store = (await other.stores.create(name="docs")).id
    begun = time.monotonic()
    await other.members.attach(store, [NewMember(file_id="file-other")])
    await setup.jobs.begin()
    async with asyncio.timeout(60):  # on a machine that does much else; it is 5 s on a calm one
        while (await other.members.get(store, "file-other")).state is not FileState.COMPLETED:
            await asyncio.sleep(0.05)
    print(f"searchable after {time.monotonic() - begun:.1f} s beside 24 bombs")
