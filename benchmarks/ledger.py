"""What accounts cost the gateway: processor time for a ledger row and for a reservation. `python -m benchmarks.ledger`

No gateway runs: the requests do nothing but what is measured, many at a time, on SQLite in a temporary folder. All threads count.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.ledger import SqlLedger
from gateway.knowledge.catalog.quotas import SqlQuotaStore
from gateway.supervision import supervised
from gateway.tenants.budgets import Resource
from gateway.tenants.ledger import Ledger, LedgerEntry
from gateway.tenants.limits import Limits
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant

REQUESTS = 4_000
AT_ONCE = 64
LIMITED = Tenant(
    "limited", limits=Limits(requests_per_minute=10_000_000, tokens_per_day=10**12, concurrent_answers=10_000)
)


async def measured(request: Callable[[], Awaitable[None]]) -> float:
    """Milliseconds of processor time for each."""

    async def client() -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await request()

    begun = time.process_time()
    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return (time.process_time() - begun) / REQUESTS * 1000


async def main() -> None:
    """Print it."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'catalog.db'}")
        await database.prepare()
        ledger = Ledger(SqlLedger(database), "one", keep_s=86_400)
        quotas = Quotas(QuotaClient(SqlQuotaStore(database)))

        async def nothing() -> None:
            await asyncio.sleep(0)

        async def row() -> None:
            entry = LedgerEntry.of(Tenant("free"), request_id="r", route="chat", model="m", reserved=100)
            ledger.open(entry)
            await asyncio.sleep(0)
            entry.outcome = "completed"
            await ledger.settle(entry)

        async def reservation(tenant: Tenant) -> None:
            charge = {Resource.REQUESTS: 1, Resource.TOKENS: 1_000, Resource.ANSWERS: 1}
            with await quotas.reserve(tenant, charge) as reserved:
                await asyncio.sleep(0)
                reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: 300})

        async with supervised({"ledger": ledger.run}):
            empty = await measured(nothing)
            costs = {
                "a row of the ledger": await measured(row),
                "a reservation, a lease in hand": await measured(lambda: reservation(LIMITED)),
                "a reservation, nothing limited": await measured(lambda: reservation(Tenant("free"))),
            }
        for name, cost in costs.items():
            print(f"{name:34} {max(0.0, cost - empty):.4f} ms of processor time a request")
        await quotas.close()
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
