"""Whoever changes several rows locks them in one order, so that nobody waits in a circle: on PostgreSQL, for SQLite's writers
take turns. Each test holds a row until the others have come as far as they can."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from sqlalchemy import select, update

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, JournalEntry, ResponseRecord
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.knowledge.catalog.types import FileState, NewMember
from gateway.tenants.ledger import LedgerEntry
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, Clock, waiting
from tests.support.postgres import emptied

TENANT = Tenant("a")


@pytest.fixture
async def gateways(postgres: str, clock: Clock) -> AsyncIterator[list[Catalog]]:
    """Four, with connections of their own."""
    url = emptied(postgres)
    async with AsyncExitStack() as stack:
        made = [Catalog(url, clock=clock, timeout_s=PATIENCE_S) for _ in range(4)]
        for each in made:
            stack.push_async_callback(each.close)
            await each.database.prepare()
        yield made


async def filled(catalog: Catalog, *names: str) -> str:
    """A store with files of these names."""
    mine = catalog.of(TENANT)
    for name in names:
        await mine.files.add(file_id=name, filename=f"{name}.md", purpose="assistants", size=1, sha256="0")
    store = await mine.stores.create(name="books")
    await mine.members.attach(store.id, [NewMember(file_id=name) for name in names])
    return store.id


async def test_attributes_and_groups_of_a_file_that_joins_its_store_anew(gateways: list[Catalog]) -> None:
    one, two, watcher, _ = gateways
    store = await filled(one, "f")
    async with asyncio.TaskGroup() as group, one.of(TENANT).transaction() as changing:
        await changing.members.set_attributes(store, "f", {"n": 1})
        joins = two.of(TENANT).members.attach(store, [NewMember(file_id="f", attributes={"n": 2}, allow=["sales"])])
        group.create_task(joins)
        await waiting(watcher.database, 1)
        await changing.members.set_allow(store, "f", ["hr"])
    member = await one.of(TENANT).members.get(store, "f")
    assert (member.attributes, member.allow) == ({"n": 2}, ["sales"])


@pytest.mark.parametrize("act", ["cancel", "delete"])
async def test_a_response_that_is_stopped_with_its_first_token(gateways: list[Catalog], clock: Clock, act: str) -> None:
    client, owner, holder, watcher = gateways
    body: dict[str, Any] = {"id": "r", "created_at": 1, "status": "queued", "background": True, "output": []}
    job = BackgroundJob(
        answer_id="r", kind=AnswerKind.BACKGROUND, caller="{}", request_id="r", request={}, response=body, created_at=1
    )
    responses = client.of(TENANT).responses
    await responses.begin(ResponseRecord(body=body, input=[]), job, owner="o", lease_s=9, keep_s=100, limit=9)
    first = JournalEntry(answer_id="r", position=0, last_event=0, events=b"", parts={"0": ([[1]], 1, 0)}, prompt={})
    async with asyncio.TaskGroup() as group, holder.database.write() as connection:
        await connection.execute(select(schema.responses.c.id).with_for_update())
        group.create_task(getattr(responses, act)("r"))
        await waiting(watcher.database, 1)
        group.create_task(owner.background.append("o", [first]))
        await waiting(watcher.database, 2)
    assert await owner.background.renew("o", lease_s=9) == set()


async def test_a_gateway_that_lives_after_all_writes_what_another_takes_for_left(
    gateways: list[Catalog], clock: Clock
) -> None:
    slow, other, holder, watcher = gateways
    ledger, reaper = SqlLedger(slow.database), SqlLedger(other.database)
    rows = [LedgerEntry("r", "a", "k", "chat", "m", 9, id=each, created_at=clock.now - 99) for each in "123"]
    await ledger.write("slow", rows, alive_at=None)
    async with asyncio.TaskGroup() as group, holder.database.write() as connection:
        await connection.execute(select(schema.ledger).where(schema.ledger.c.id == "2").with_for_update())
        reaped = group.create_task(reaper.reap("other", dead_before=clock.now - 10))
        await waiting(watcher.database, 1, unless=reaped)
        for each in rows:
            each.outcome, each.completion = "completed", 5
        written = group.create_task(ledger.write("slow", rows[::-1], alive_at=clock.now))
        await waiting(watcher.database, 2 - reaped.done(), unless=written)
    async with slow.database.read() as connection:
        found = (await connection.execute(select(schema.ledger.c.outcome, schema.ledger.c.completion))).all()
    assert [tuple(each) for each in found] == [("completed", 5)] * 3


async def test_a_collection_becomes_the_active_one_while_members_come_into_it_and_into_the_one_before(
    gateways: list[Catalog], clock: Clock
) -> None:
    ingestion, filler, operator, holder = gateways
    for name in ("c1", "c2"):
        await ingestion.collections.add(name, embedding_model="m", dimension=3)
    await ingestion.collections.switch("c2")
    await filled(ingestion, "f")
    (job,) = await ingestion.queue.claim("o", limit=1, lease_s=99)
    async with holder.database.write() as connection:  # taken up anew, while it stays searchable
        done = {"state": FileState.COMPLETED.value}
        await connection.execute(update(schema.members).values(done))
    (member,) = await ingestion.inventory.members(limit=1)
    async with asyncio.TaskGroup() as group, holder.database.write() as connection:
        await connection.execute(select(schema.members.c.file_id).with_for_update())
        group.create_task(filler.collections.indexed("c1", [member]))
        await waiting(ingestion.database, 1)
        group.create_task(ingestion.queue.complete(job, "c2"))
        await waiting(ingestion.database, 2)
        group.create_task(operator.collections.switch("c1"))
        await waiting(ingestion.database, 3)
    assert await ingestion.collections.behind("c1", limit=9) == []


async def test_a_collection_is_dropped_while_members_leave_it_in_another_order(gateways: list[Catalog]) -> None:
    """Whoever takes members out of the index holds entries of theirs that the drop comes to first, and those that it has."""
    client, operator, holder, watcher = gateways
    for name in ("c1", "c2"):
        await client.collections.add(name, embedding_model="m", dimension=3)
    await filled(client, "1", "2", "3")
    for job in await client.queue.claim("o", limit=3, lease_s=99):
        await client.queue.complete(job, "c1")
    members = await client.inventory.members(limit=9)
    await client.collections.indexed("c2", members)
    entries = schema.entries.c
    async with asyncio.TaskGroup() as group, holder.database.write() as connection:
        mine = entries.collection == "c2", entries.file_id == "3"
        await connection.execute(schema.entries.delete().where(*mine))
        dropped = group.create_task(operator.collections.drop("c2"))
        await waiting(watcher.database, 1, unless=group.create_task(_gone(client, "1")))
        mine = entries.collection == "c2", entries.file_id == "1"
        await connection.execute(schema.entries.delete().where(*mine))
    await dropped
    assert [each.name for each in await client.collections.all()] == ["c1"]


async def _gone(catalog: Catalog, file_id: str) -> None:
    """Until nobody sees the entry of this file in the second collection."""
    here = select(schema.entries.c.file_id).where(
        schema.entries.c.collection == "c2", schema.entries.c.file_id == file_id
    )
    async with asyncio.timeout(PATIENCE_S):
        while True:
            async with catalog.database.read() as connection:
                if await connection.scalar(here) is None:
                    return
            await asyncio.sleep(0.02)
