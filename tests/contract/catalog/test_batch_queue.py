"""Batches are claimed tenant by tenant, and those of a suspended one wait."""

from pathlib import Path

from gateway.knowledge.catalog.administration import Administration, TenantSettings
from gateway.knowledge.catalog.catalog import Catalog
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock


async def test_whose_batch_is_next(catalog: Catalog, clock: Clock, tmp_path: Path) -> None:
    admin = Administration(catalog.database, tmp_path / "audit.jsonl").by("test")
    for name in ("a", "b"):
        await admin.create_tenant(name, TenantSettings())
    for number, name in enumerate("aaab"):
        batch = {"id": f"batch_{number}", "created_at": number, "status": "validating", "request_counts": {}}
        await catalog.of(Tenant(name)).batches.create(batch, "{}")
    queue = catalog.batches

    async def claimed() -> list[str]:
        return [job.body["id"] for job in await queue.claim("one", lease_s=10, limit=1)]

    assert await queue.waiting() == {"a", "b"}
    assert [await claimed() for _ in range(3)] == [["batch_0"], ["batch_3"], ["batch_1"]]
    await admin.suspend("a")
    await queue.release("one", ["batch_1"])
    assert await queue.waiting() == set()
    assert await claimed() == []
    await admin.resume("a")
    assert await claimed() == ["batch_1"]
    assert set(await queue.renew("one", ["batch_0", "batch_3"], lease_s=100)) == {"batch_0", "batch_3"}
    clock.now += 50
    assert await queue.waiting() == {"a"}
