"""The ledger's rows on every database."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from gateway.errors import BadRequest
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.tenants.ledger import LedgerEntry
from gateway.tenants.usage import UsageQuery

ENTRY = LedgerEntry("r", "acme", "k", "chat", "tiny", 100, created_at=7_250.0)


async def outcomes(catalog: Catalog) -> dict[str, tuple[str, int]]:
    async with catalog.database.read() as connection:
        found = (await connection.execute(select(schema.ledger))).all()
    return {row.id: (row.outcome, row.completion) for row in found}


async def test_a_row_that_was_settled_stays_so(catalog: Catalog) -> None:
    ledger = SqlLedger(catalog.database)
    for each in (
        replace(ENTRY, id="a"),
        replace(ENTRY, id="a", completion=64),
        replace(ENTRY, id="a", completion=70, outcome="completed"),
        replace(ENTRY, id="a", completion=65),
        replace(ENTRY, id="b", completion=5),
    ):
        await ledger.write("one", [each], alive_at=None)
    assert await outcomes(catalog) == {"a": ("completed", 70), "b": ("", 5)}


async def test_only_what_dead_gateways_left_is_settled_and_one_that_lives_after_all_is_right(catalog: Catalog) -> None:
    ledger = SqlLedger(catalog.database)
    await ledger.write("dead", [replace(ENTRY, id="a", completion=64)], alive_at=7_250.0)
    await ledger.write("alive", [replace(ENTRY, id="b", completion=64)], alive_at=9_000.0)
    assert await ledger.reap("other", dead_before=8_990.0) == 1
    assert await outcomes(catalog) == {"a": ("lost", 64), "b": ("", 64)}
    await ledger.write("dead", [replace(ENTRY, id="a", completion=80, outcome="completed")], alive_at=9_001.0)
    assert await outcomes(catalog) == {"a": ("completed", 80), "b": ("", 64)}


async def test_rows_are_summed_by_bucket_and_forgotten_in_time(catalog: Catalog) -> None:
    ledger = SqlLedger(catalog.database)
    rows = [replace(ENTRY, id=str(n), created_at=7_200.0 + 1_800 * n, prompt=10, completion=n) for n in range(4)]
    rows.append(replace(ENTRY, id="other", tenant="other"))
    await ledger.write("one", rows, alive_at=None)
    query = UsageQuery(start=7_200, end=14_400, width=3_600, tenant="acme")
    found = [(row.bucket, row.requests, row.prompt, row.completion) for row in await ledger.usage(query)]
    assert found == [(7_200, 2, 20, 1), (10_800, 2, 20, 5)]
    await ledger.forget(10_000.0)
    assert [row.requests for row in await ledger.usage(query)] == [2]
    assert not [row for row in await ledger.usage(replace(query, tenant=None)) if row.tenant == "other"]


async def test_whose_row_it_is_when_another_gateway_goes_on_with_it(catalog: Catalog) -> None:
    """Else the first one's death would settle it in the middle, and its lease be charged with what the second one's is."""
    ledger = SqlLedger(catalog.database)
    await ledger.write("dead", [replace(ENTRY, id="a", completion=64)], alive_at=7_250.0)
    await ledger.write("alive", [replace(ENTRY, id="a", completion=10)], alive_at=9_000.0)
    assert await ledger.reap("other", dead_before=8_990.0) == 0
    await ledger.write("alive", [replace(ENTRY, id="a", completion=90, outcome="completed")], alive_at=None)
    assert await outcomes(catalog) == {"a": ("completed", 90)}
    async with catalog.database.read() as connection:
        assert list(await connection.scalars(select(schema.ledger.c.gateway))) == ["alive"]


@pytest.mark.parametrize("name", ["a\0b", "\0", "\ud800"])
async def test_a_name_that_no_row_can_have_is_nobodys(catalog: Catalog, name: str) -> None:
    """PostgreSQL refuses to be asked for it, SQLite for some: it is the client's fault, not a 500."""
    try:
        found = await SqlLedger(catalog.database).usage(UsageQuery(start=0, end=9, width=60, tenant=name))
    except BadRequest:
        found = []
    assert not found
