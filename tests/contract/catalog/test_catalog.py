"""One suite for every database that the catalog can stand on."""

import asyncio

import pytest

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.knowledge.catalog.catalog import Catalog, LeaseLost
from gateway.knowledge.catalog.sql import SqlCatalog
from gateway.knowledge.catalog.types import ChunkRecord, Counts, FileError, FileState, NewMember, PageQuery, Store
from tests.contract.catalog.conftest import Clock

CHUNKS = [ChunkRecord(index=i, text=f"words {i}\0", page=1, start=i, end=i + 1) for i in range(3)]


async def filled(catalog: Catalog, files: int = 1, tenant: str = "a") -> Store:
    await catalog.add_collection("c1", embedding_model="m", dimension=3)
    store = await catalog.create_store(tenant, name="books")
    names = [f"file-{tenant}{i}" for i in range(files)]
    for name in names:
        await catalog.add_file(tenant, file_id=name, filename="x.md", purpose="assistants", size=1, sha256="0")
    await catalog.attach(tenant, store.id, [NewMember(file_id=name) for name in names])
    return store


async def finish(catalog: Catalog) -> None:
    for job in await catalog.claim("w", limit=100, lease_s=60):
        await catalog.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.complete(job, "c1")


async def test_a_file_on_its_way_in(catalog: SqlCatalog) -> None:
    store = await filled(catalog)
    assert (await catalog.store("a", store.id)).counts == Counts(in_progress=1)
    assert await catalog.store_names("a") == []
    await finish(catalog)
    seen = await catalog.store("a", store.id)
    assert (seen.counts, seen.usage_bytes) == (Counts(completed=1), 9)
    assert await catalog.store_names("a") == ["books"]
    assert [each.text for each in await catalog.chunks("a", store.id, "file-a0")] == [
        f"words {i}\ufffd" for i in range(3)
    ]
    assert await catalog.behind("c1", limit=9) == []
    assert await catalog.claim("w", limit=9, lease_s=60) == []


async def test_no_two_workers_get_the_same_job(catalog: SqlCatalog) -> None:
    await filled(catalog, files=20)
    claims = await asyncio.gather(*(catalog.claim(f"w{i}", limit=3, lease_s=60) for i in range(10)))
    taken = [job.member.file_id for jobs in claims for job in jobs]
    assert len(taken) == len(set(taken))
    rest = await catalog.claim("last", limit=99, lease_s=60)
    assert len(taken) + len(rest) == 20


async def test_a_lease_that_ran_out_is_taken_over_and_its_first_holder_told(catalog: SqlCatalog, clock: Clock) -> None:
    store = await filled(catalog)
    (old,) = await catalog.claim("w1", limit=1, lease_s=10)
    assert await catalog.claim("w2", limit=1, lease_s=10) == []
    clock.now += 11
    (new,) = await catalog.claim("w2", limit=1, lease_s=10)
    assert new.attempts == 2
    assert await catalog.renew([old, new], lease_s=10) == [new]
    with pytest.raises(LeaseLost):
        await catalog.put_chunks(old, CHUNKS, usage_bytes=1)
    with pytest.raises(LeaseLost):
        await catalog.complete(old, "c1")
    await catalog.fail(old, FileError(code="server_error", message="x"))
    await catalog.complete(new, "c1")
    assert (await catalog.member("a", store.id, "file-a0")).state is FileState.COMPLETED


async def test_a_released_job_waits_until_its_time(catalog: SqlCatalog, clock: Clock) -> None:
    await filled(catalog)
    (job,) = await catalog.claim("w", limit=1, lease_s=10)
    await catalog.release(job, not_before=clock.now + 5)
    assert await catalog.claim("w", limit=1, lease_s=10) == []
    clock.now += 5
    assert len(await catalog.claim("w", limit=1, lease_s=10)) == 1


async def test_new_attributes_outdate_what_was_begun(catalog: SqlCatalog) -> None:
    store = await filled(catalog)
    (job,) = await catalog.claim("w", limit=1, lease_s=60)
    changed = await catalog.set_attributes("a", store.id, "file-a0", {"year": 2024.0, "new": True})
    assert changed.generation == 2
    with pytest.raises(LeaseLost):
        await catalog.complete(job, "c1")
    await finish(catalog)
    again = await catalog.set_attributes("a", store.id, "file-a0", {"year": 2025.0})
    assert (again.state, again.generation) == (FileState.COMPLETED, 3)
    assert [each.file_id for each in await catalog.behind("c1", limit=9)] == ["file-a0"]
    assert len(await catalog.claim("w", limit=1, lease_s=60)) == 1


async def test_a_failed_file_leaves_a_removal_and_comes_back_newer(catalog: SqlCatalog) -> None:
    store = await filled(catalog)
    (job,) = await catalog.claim("w", limit=1, lease_s=60)
    await catalog.fail(job, FileError(code="invalid_file", message="broken"))
    member = await catalog.member("a", store.id, "file-a0")
    assert (member.state, member.error) == (FileState.FAILED, FileError(code="invalid_file", message="broken"))
    left = await catalog.removals(limit=9)
    assert [(each.store_id, each.file_id, each.generation) for each in left] == [(store.id, "file-a0", 1)]
    (again,) = await catalog.attach("a", store.id, [NewMember(file_id="file-a0")])
    assert (again.state, again.generation, again.error) == (FileState.IN_PROGRESS, 2, None)
    assert await catalog.claim("w", limit=1, lease_s=60) == []
    await catalog.removed(left)
    assert len(await catalog.claim("w", limit=1, lease_s=60)) == 1


async def test_what_is_deleted_leaves_a_removal_for_each_trace(catalog: SqlCatalog) -> None:
    store = await filled(catalog, files=2)
    await finish(catalog)
    await catalog.detach("a", store.id, "file-a1")
    (back,) = await catalog.attach("a", store.id, [NewMember(file_id="file-a1")])
    assert back.generation == 2
    await catalog.delete_file("a", "file-a0")
    await catalog.delete_store("a", store.id)
    left = [(each.store_id, each.file_id) for each in await catalog.removals(limit=9)]
    assert left == [(store.id, "file-a1"), (None, "file-a0"), (store.id, "file-a0"), (store.id, None)]
    with pytest.raises(NotFound):
        await catalog.file("a", "file-a0")


async def test_a_cancelled_batch(catalog: SqlCatalog) -> None:
    store = await filled(catalog)
    await finish(catalog)
    await catalog.add_file("a", file_id="file-b", filename="y", purpose="assistants", size=1, sha256="0")
    batch = await catalog.attach_batch("a", store.id, [NewMember(file_id="file-a0"), NewMember(file_id="file-b")])
    assert batch.counts == Counts(in_progress=1, completed=1)
    (job,) = await catalog.claim("w", limit=9, lease_s=60)
    ended = await catalog.cancel_batch("a", store.id, batch.id)
    assert (ended.cancelled, ended.counts) == (True, Counts(cancelled=1, completed=1))
    assert await catalog.renew([job], lease_s=60) == []
    seen = await catalog.members("a", store.id, PageQuery(), batch_id=batch.id, state=FileState.CANCELLED)
    assert [each.file_id for each in seen.items] == ["file-b"]


async def test_tenants_see_nothing_of_each_other(catalog: SqlCatalog) -> None:
    store = await filled(catalog)
    other = await filled(catalog, tenant="b")
    for call in (
        catalog.file("b", "file-a0"),
        catalog.delete_file("b", "file-a0"),
        catalog.store("b", store.id),
        catalog.update_store("b", store.id, name="mine"),
        catalog.delete_store("b", store.id),
        catalog.attach("b", store.id, [NewMember(file_id="file-b0")]),
        catalog.attach("b", other.id, [NewMember(file_id="file-a0")]),
        catalog.member("b", store.id, "file-a0"),
        catalog.members("b", store.id, PageQuery()),
        catalog.set_attributes("b", store.id, "file-a0", {}),
        catalog.detach("b", store.id, "file-a0"),
        catalog.chunks("b", store.id, "file-a0"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await catalog.resolve("b", [store.id, "books", "none"]) == [None, await catalog.store("b", other.id), None]
    assert [each.id for each in (await catalog.files("b", PageQuery())).items] == ["file-b0"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_lists_page_through_equal_times_even_while_they_are_deleted(catalog: SqlCatalog, order: str) -> None:
    await filled(catalog, files=5)
    seen: list[str] = []
    page = await catalog.files("a", PageQuery(limit=2, order=order))
    back = await catalog.files("a", PageQuery(limit=1, order=order, before=page.items[1].id))
    assert (list(back.items), back.has_more) == ([page.items[0]], False)
    while True:
        seen += [each.id for each in page.items]
        for each in page.items:
            await catalog.delete_file("a", each.id)
        if not page.has_more:
            break
        page = await catalog.files("a", PageQuery(limit=2, order=order, after=seen[-1]))
    assert seen == sorted((f"file-a{i}" for i in range(5)), reverse=order == "desc")
    with pytest.raises(NotFound):
        await catalog.files("a", PageQuery(after="file-none"))


async def test_expiry(catalog: SqlCatalog, clock: Clock) -> None:
    store = await catalog.create_store("a", name="brief", expires_after_days=1)
    await catalog.add_file(
        "a", file_id="file-1", filename="x", purpose="p", size=1, sha256="0", expires_at=int(clock.now) + 10
    )
    clock.now += 86_400
    assert await catalog.resolve("a", ["brief"]) == [None]
    assert await catalog.expire() == 1
    assert (await catalog.store("a", store.id)).name == "brief"
    clock.now += 86_400
    assert await catalog.expire() == 1
    with pytest.raises(NotFound):
        await catalog.store("a", store.id)


async def test_another_model_is_switched_to_when_nothing_is_behind(catalog: SqlCatalog) -> None:
    await filled(catalog)
    await finish(catalog)
    await catalog.add_collection("c2", embedding_model="n", dimension=4)
    with pytest.raises(Conflict):
        await catalog.add_collection("c2", embedding_model="n", dimension=5)
    with pytest.raises(Conflict):
        await catalog.switch("c2")
    behind = await catalog.behind("c2", limit=9)
    await catalog.set_attributes("a", behind[0].store_id, "file-a0", {"x": 1.0})
    assert await catalog.indexed("c2", behind) == behind
    assert await catalog.indexed("c2", await catalog.behind("c2", limit=9)) == []
    await catalog.switch("c2")
    assert {each.name: each.state.value for each in await catalog.collections()} == {"c1": "previous", "c2": "active"}
    (job,) = await catalog.claim("w", limit=1, lease_s=60)
    with pytest.raises(LeaseLost):
        await catalog.complete(job, "c1")
    with pytest.raises(Conflict):
        await catalog.drop_collection("c2")
    await catalog.drop_collection("c1")


async def test_what_cannot_be_stored_is_refused(catalog: SqlCatalog) -> None:
    for call in (
        catalog.create_store("a", name="\0"),
        catalog.create_store("a", name="x", metadata={"k": "\0"}),
        catalog.resolve("a", ["\ud800"]),
    ):
        with pytest.raises(BadRequest):
            await call
