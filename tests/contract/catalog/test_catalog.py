"""One suite for every database that the catalog can stand on."""

import asyncio

import pytest

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.ingestion_types import Pause
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import (
    Chunking,
    ChunkRecord,
    Counts,
    FileError,
    FileState,
    NewMember,
    PageQuery,
    Store,
)
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock

CHUNKS = [ChunkRecord(index=i, text=f"words {i}\0", page=1, start=i, end=i + 1) for i in range(3)]


async def filled(catalog: Catalog, files: int = 1, tenant: str = "a") -> Store:
    await catalog.collections.add("c1", embedding_model="m", dimension=3)
    store = await catalog.of(Tenant(tenant)).stores.create(name="books")
    names = [f"file-{tenant}{i}" for i in range(files)]
    for name in names:
        await catalog.of(Tenant(tenant)).files.add(
            file_id=name, filename="x.md", purpose="assistants", size=1, sha256="0"
        )
    await catalog.of(Tenant(tenant)).members.attach(store.id, [NewMember(file_id=name) for name in names])
    return store


async def finish(catalog: Catalog) -> None:
    for job in await catalog.queue.claim("w", limit=100, lease_s=60):
        await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9)
        await catalog.queue.complete(job, "c1")


async def test_a_file_on_its_way_in(catalog: Catalog, clock: Clock) -> None:
    store = await filled(catalog)
    assert (await catalog.of(Tenant("a")).stores.get(store.id)).counts == Counts(in_progress=1)
    assert await catalog.of(Tenant("a")).stores.names() == {}
    await finish(catalog)
    seen = await catalog.of(Tenant("a")).stores.get(store.id)
    assert (seen.counts, seen.usage_bytes) == (Counts(completed=1), 9)
    assert await catalog.of(Tenant("a")).stores.names() == {"books": int(clock.now)}
    assert [each.text for each in await catalog.of(Tenant("a")).members.chunks(store.id, "file-a0")] == [
        f"words {i}\ufffd" for i in range(3)
    ]
    assert await catalog.collections.behind("c1", limit=9) == []
    assert await catalog.queue.claim("w", limit=9, lease_s=60) == []


async def test_no_two_workers_get_the_same_job(catalog: Catalog) -> None:
    await filled(catalog, files=20)
    claims = await asyncio.gather(*(catalog.queue.claim(f"w{i}", limit=3, lease_s=60) for i in range(10)))
    taken = [job.member.file_id for jobs in claims for job in jobs]
    assert len(taken) == len(set(taken))
    rest = await catalog.queue.claim("last", limit=99, lease_s=60)
    assert len(taken) + len(rest) == 20


async def test_a_lease_that_ran_out_is_taken_over_and_its_first_holder_told(catalog: Catalog, clock: Clock) -> None:
    store = await filled(catalog)
    (old,) = await catalog.queue.claim("w1", limit=1, lease_s=10)
    assert await catalog.queue.claim("w2", limit=1, lease_s=10) == []
    clock.now += 11
    (new,) = await catalog.queue.claim("w2", limit=1, lease_s=10)
    assert new.attempts == 2
    assert await catalog.queue.renew([old, new], lease_s=10) == [new]
    with pytest.raises(LeaseLost):
        await catalog.queue.put_chunks(old, CHUNKS, usage_bytes=1)
    with pytest.raises(LeaseLost):
        await catalog.queue.complete(old, "c1")
    await catalog.queue.fail(old, FileError(code="server_error", message="x"))
    await catalog.queue.complete(new, "c1")
    assert (await catalog.of(Tenant("a")).members.get(store.id, "file-a0")).state is FileState.COMPLETED


async def test_a_released_job_waits_until_its_time(catalog: Catalog, clock: Clock) -> None:
    await filled(catalog)
    (job,) = await catalog.queue.claim("w", limit=1, lease_s=10)
    await catalog.queue.release(job, not_before=clock.now + 5)
    assert await catalog.queue.claim("w", limit=1, lease_s=10) == []
    clock.now += 5
    assert len(await catalog.queue.claim("w", limit=1, lease_s=10)) == 1


async def test_a_file_added_again_keeps_what_is_not_said_anew(catalog: Catalog) -> None:
    store = await filled(catalog)
    members = catalog.of(Tenant("a")).members
    has = NewMember(file_id="file-a0", attributes={"team": "red"}, chunking=Chunking(max_tokens=100, overlap_tokens=0))
    await members.attach(store.id, [has])
    await finish(catalog)
    await members.attach_batch(store.id, [NewMember(file_id="file-a0")])
    kept = await members.get(store.id, "file-a0")
    assert (kept.state, kept.attributes, kept.chunking) == (FileState.COMPLETED, {"team": "red"}, has.chunking)
    await members.attach(store.id, [NewMember(file_id="file-a0", attributes={})])
    wiped = await members.get(store.id, "file-a0")
    assert (wiped.attributes, wiped.chunking, wiped.generation) == ({}, has.chunking, kept.generation + 1)


async def test_a_receipt_is_of_the_last_reading(catalog: Catalog) -> None:
    store = await filled(catalog)
    members = catalog.of(Tenant("a")).members
    (job,) = await catalog.queue.claim("w", limit=9, lease_s=60)
    read = {"characters": 7, "pages": 2, "skipped": [{"part": "page 2", "reason": "it is a picture"}]}
    await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9, receipt=read)
    await catalog.queue.complete(job, "c1")
    assert (await members.get(store.id, "file-a0")).receipt == read
    await members.set_attributes(store.id, "file-a0", {"year": 2024.0})
    assert (await members.get(store.id, "file-a0")).receipt == read, "the text is as it was"
    await members.attach(store.id, [NewMember(file_id="file-a0", attributes={})])
    assert (await members.get(store.id, "file-a0")).receipt is None


async def test_only_attempts_that_are_no_excuse_count_against_a_file(catalog: Catalog, clock: Clock) -> None:
    store, queue = await filled(catalog), catalog.queue
    for excused, tries in ((True, 1), (False, 1), (True, 2), (True, 2)):
        (job,) = await queue.claim("w", limit=1, lease_s=10)
        assert job.tries == tries
        await queue.release(job, not_before=clock.now, excused=excused)
    (job,) = await queue.claim("w", limit=1, lease_s=10)
    assert (job.attempts, job.tries) == (5, 2)
    clock.now += 11  # nobody ended it: whoever held it may have died of it
    (job,) = await queue.claim("w", limit=1, lease_s=10)
    assert job.tries == 3
    await catalog.of(Tenant("a")).members.set_attributes(store.id, "file-a0", {"new": True})
    (job,) = await queue.claim("w", limit=1, lease_s=10)
    assert job.tries == 1


async def test_pauses_last_until_what_was_away_is_back(catalog: Catalog) -> None:
    pauses = catalog.pauses
    await pauses.add(Pause(cause="index", message="no answer", since=1.0))
    await pauses.add(Pause(cause="objects", message="no bucket", since=2.0))
    await pauses.add(Pause(cause="index", message="refuses the password", since=3.0))
    first, second = await catalog.of(Tenant("a")).pauses()
    assert (first.cause, first.message, first.since, second.cause) == ("index", "refuses the password", 1.0, "objects")
    await pauses.clear()
    assert await pauses.all() == []


async def test_new_attributes_outdate_what_was_begun(catalog: Catalog) -> None:
    store = await filled(catalog)
    (job,) = await catalog.queue.claim("w", limit=1, lease_s=60)
    changed = await catalog.of(Tenant("a")).members.set_attributes(store.id, "file-a0", {"year": 2024.0, "new": True})
    assert changed.generation == 2
    with pytest.raises(LeaseLost):
        await catalog.queue.complete(job, "c1")
    await finish(catalog)
    again = await catalog.of(Tenant("a")).members.set_attributes(store.id, "file-a0", {"year": 2025.0})
    assert (again.state, again.generation) == (FileState.COMPLETED, 3)
    assert [each.file_id for each in await catalog.collections.behind("c1", limit=9)] == ["file-a0"]
    assert len(await catalog.queue.claim("w", limit=1, lease_s=60)) == 1


async def test_a_failed_file_leaves_a_removal_and_comes_back_newer(catalog: Catalog) -> None:
    store = await filled(catalog)
    (job,) = await catalog.queue.claim("w", limit=1, lease_s=60)
    await catalog.queue.fail(job, FileError(code="invalid_file", message="broken"))
    member = await catalog.of(Tenant("a")).members.get(store.id, "file-a0")
    assert (member.state, member.error) == (FileState.FAILED, FileError(code="invalid_file", message="broken"))
    left = await catalog.removals.first(limit=9)
    assert [(each.store_id, each.file_id, each.generation) for each in left] == [(store.id, "file-a0", 1)]
    (again,) = await catalog.of(Tenant("a")).members.attach(store.id, [NewMember(file_id="file-a0")])
    assert (again.state, again.generation, again.error) == (FileState.IN_PROGRESS, 2, None)
    assert await catalog.queue.claim("w", limit=1, lease_s=60) == []
    await catalog.removals.done(left)
    assert len(await catalog.queue.claim("w", limit=1, lease_s=60)) == 1


async def test_what_is_deleted_leaves_a_removal_for_each_trace(catalog: Catalog) -> None:
    store = await filled(catalog, files=2)
    await finish(catalog)
    await catalog.of(Tenant("a")).members.detach(store.id, "file-a1")
    (back,) = await catalog.of(Tenant("a")).members.attach(store.id, [NewMember(file_id="file-a1")])
    assert back.generation == 2
    await catalog.of(Tenant("a")).files.delete("file-a0")
    await catalog.of(Tenant("a")).stores.delete(store.id)
    left = [(each.store_id, each.file_id) for each in await catalog.removals.first(limit=9)]
    assert left == [(store.id, "file-a1"), (None, "file-a0"), (store.id, "file-a0"), (store.id, None)]
    with pytest.raises(NotFound):
        await catalog.of(Tenant("a")).files.get("file-a0")


async def test_a_cancelled_batch(catalog: Catalog) -> None:
    store = await filled(catalog)
    await finish(catalog)
    await catalog.of(Tenant("a")).files.add(file_id="file-b", filename="y", purpose="assistants", size=1, sha256="0")
    batch = await catalog.of(Tenant("a")).members.attach_batch(
        store.id, [NewMember(file_id="file-a0"), NewMember(file_id="file-b")]
    )
    assert batch.counts == Counts(in_progress=1, completed=1)
    (job,) = await catalog.queue.claim("w", limit=9, lease_s=60)
    ended = await catalog.of(Tenant("a")).members.cancel_batch(store.id, batch.id)
    assert (ended.cancelled, ended.counts) == (True, Counts(cancelled=1, completed=1))
    assert await catalog.queue.renew([job], lease_s=60) == []
    seen = await catalog.of(Tenant("a")).members.page(
        store.id, PageQuery(), batch_id=batch.id, state=FileState.CANCELLED
    )
    assert [each.file_id for each in seen.items] == ["file-b"]


async def test_tenants_see_nothing_of_each_other(catalog: Catalog) -> None:
    store = await filled(catalog)
    other = await filled(catalog, tenant="b")
    for call in (
        catalog.of(Tenant("b")).files.get("file-a0"),
        catalog.of(Tenant("b")).files.delete("file-a0"),
        catalog.of(Tenant("b")).stores.get(store.id),
        catalog.of(Tenant("b")).stores.update(store.id, name="mine"),
        catalog.of(Tenant("b")).stores.delete(store.id),
        catalog.of(Tenant("b")).members.attach(store.id, [NewMember(file_id="file-b0")]),
        catalog.of(Tenant("b")).members.attach(other.id, [NewMember(file_id="file-a0")]),
        catalog.of(Tenant("b")).members.get(store.id, "file-a0"),
        catalog.of(Tenant("b")).members.page(store.id, PageQuery()),
        catalog.of(Tenant("b")).members.set_attributes(store.id, "file-a0", {}),
        catalog.of(Tenant("b")).members.detach(store.id, "file-a0"),
        catalog.of(Tenant("b")).members.chunks(store.id, "file-a0"),
    ):
        with pytest.raises(NotFound):
            await call
    assert await catalog.of(Tenant("b")).stores.resolve([store.id, "books", "none"]) == [
        None,
        await catalog.of(Tenant("b")).stores.get(other.id),
        None,
    ]
    assert [each.id for each in (await catalog.of(Tenant("b")).files.page(PageQuery())).items] == ["file-b0"]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_lists_page_through_equal_times_even_while_they_are_deleted(catalog: Catalog, order: str) -> None:
    await filled(catalog, files=5)
    seen: list[str] = []
    page = await catalog.of(Tenant("a")).files.page(PageQuery(limit=2, order=order))
    back = await catalog.of(Tenant("a")).files.page(PageQuery(limit=1, order=order, before=page.items[1].id))
    assert (list(back.items), back.has_more) == ([page.items[0]], False)
    while True:
        seen += [each.id for each in page.items]
        for each in page.items:
            await catalog.of(Tenant("a")).files.delete(each.id)
        if not page.has_more:
            break
        page = await catalog.of(Tenant("a")).files.page(PageQuery(limit=2, order=order, after=seen[-1]))
    assert seen == sorted((f"file-a{i}" for i in range(5)), reverse=order == "desc")
    with pytest.raises(NotFound):
        await catalog.of(Tenant("a")).files.page(PageQuery(after="file-none"))


async def test_expiry(catalog: Catalog, clock: Clock) -> None:
    store = await catalog.of(Tenant("a")).stores.create(name="brief", expires_after_days=1)
    await catalog.of(Tenant("a")).files.add(
        file_id="file-1", filename="x", purpose="p", size=1, sha256="0", expires_at=int(clock.now) + 10
    )
    clock.now += 86_400
    assert await catalog.of(Tenant("a")).stores.resolve(["brief"]) == [None]
    assert await catalog.removals.expire() == 1
    assert (await catalog.of(Tenant("a")).stores.get(store.id)).name == "brief"
    clock.now += 86_400
    assert await catalog.removals.expire() == 1
    with pytest.raises(NotFound):
        await catalog.of(Tenant("a")).stores.get(store.id)


async def test_another_model_is_switched_to_when_nothing_is_behind(catalog: Catalog) -> None:
    await filled(catalog)
    await finish(catalog)
    await catalog.collections.add("c2", embedding_model="n", dimension=4)
    with pytest.raises(Conflict):
        await catalog.collections.add("c2", embedding_model="n", dimension=5)
    with pytest.raises(Conflict):
        await catalog.collections.switch("c2")
    behind = await catalog.collections.behind("c2", limit=9)
    await catalog.of(Tenant("a")).members.set_attributes(behind[0].store_id, "file-a0", {"x": 1.0})
    assert await catalog.collections.indexed("c2", behind) == behind
    assert await catalog.collections.indexed("c2", await catalog.collections.behind("c2", limit=9)) == []
    await catalog.collections.switch("c2")
    assert {each.name: each.state.value for each in await catalog.collections.all()} == {
        "c1": "previous",
        "c2": "active",
    }
    (job,) = await catalog.queue.claim("w", limit=1, lease_s=60)
    with pytest.raises(LeaseLost):
        await catalog.queue.complete(job, "c1")
    with pytest.raises(Conflict):
        await catalog.collections.drop("c2")
    await catalog.collections.drop("c1")


async def test_what_cannot_be_stored_is_refused(catalog: Catalog) -> None:
    for call in (
        catalog.of(Tenant("a")).stores.create(name="\0"),
        catalog.of(Tenant("a")).stores.create(name="x", metadata={"k": "\0"}),
        catalog.of(Tenant("a")).stores.resolve(["\ud800"]),
    ):
        with pytest.raises(BadRequest):
            await call
