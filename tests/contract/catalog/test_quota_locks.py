"""Who locks counters at several gateways waits for nobody who waits for him: on PostgreSQL, for SQLite's writers take turns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
from gateway.tenants.budgets import Resource
from gateway.tenants.key import Key
from gateway.tenants.limits import TenantLimits
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, waiting
from tests.support.postgres import emptied

ONE = {Resource.REQUESTS: 1}


@pytest.fixture
async def databases(postgres: str) -> AsyncIterator[list[Database]]:
    """Four, with connections of their own."""
    url = emptied(postgres)
    async with AsyncExitStack() as stack:
        made = [Database(url, timeout_s=PATIENCE_S) for _ in range(4)]
        for each in made:
            stack.push_async_callback(each.close)
            await each.prepare()
        yield made


async def test_a_key_that_is_new_at_two_gateways_while_its_tenant_is_busy(databases: list[Database]) -> None:
    """The first found no counter of the key and waits for the tenant's; meanwhile another made the key's, and a second gateway
    has locked it before it waits for the tenant's, too."""
    holder, maker, *others = databases
    first, second = (Quotas(QuotaClient(SqlQuotaStore(each))) for each in others)
    tenant = Tenant("a", limits=TenantLimits(requests_per_minute=100))
    (await first.reserve(tenant, ONE)).settle(ONE)
    await first.close()
    new = replace(tenant, key=Key("new", limits=TenantLimits(requests_per_minute=50)))
    row = {"subject": "key/new", "resource": "requests/minute", "begin": 0, "used": 0}
    async with asyncio.TaskGroup() as group, holder.write() as connection:
        (name,) = (await connection.execute(select(schema.quotas.c.subject).with_for_update())).scalars()
        assert name == "tenant/a"
        asked = [group.create_task(first.reserve(new, ONE))]
        await waiting(maker, 1)
        async with maker.write() as making:
            await making.execute(maker.insert(schema.quotas), row)
        asked.append(group.create_task(second.reserve(new, ONE)))
        await waiting(maker, 2)
    for each in asked:
        each.result().settle(ONE)
    async with maker.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(schema.quotas)) == 2
    await first.close()
    await second.close()
