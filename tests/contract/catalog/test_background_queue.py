"""Answers in the making: one owner at a time, a journal that only the owner adds to, and what is left when it dies."""

from typing import Any

import pytest

from gateway.errors import Conflict, NotFound, Overloaded
from gateway.knowledge.catalog.answer_types import AnswerKind, BackgroundJob, JournalEntry, ResponseRecord
from gateway.knowledge.catalog.catalog import Catalog
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock

LEASE_S = 3.0


def _body(status: str = "queued", output: Any = ()) -> dict[str, Any]:
    return {"id": "resp_1", "created_at": 1, "status": status, "background": True, "output": list(output)}


def _entry(position: int, **fields: Any) -> JournalEntry:
    return JournalEntry(
        answer_id="resp_1",
        position=position,
        last_event=position,
        events=b"event %d\n\n" % position,
        parts={"0": ([[position], []], 1)},
        **fields,
    )


async def _begin(catalog: Catalog, clock: Clock, *, limit: int = 1, unread_s: float = 0.0) -> None:
    job = BackgroundJob(
        answer_id="resp_1",
        kind=AnswerKind.BACKGROUND,
        unread_s=unread_s,
        caller="{}",
        request_id="r",
        request={"input": "a \0"},
        response=_body(),
        created_at=clock.now,
    )
    record = ResponseRecord(body=_body(), input=[{"id": "in", "type": "message"}])
    await catalog.of(Tenant("mine")).responses.begin(record, job, owner="one", lease_s=LEASE_S, keep_s=100, limit=limit)


async def test_the_journal_of_a_dead_owner_is_gone_on_with(catalog: Catalog, clock: Clock) -> None:
    await _begin(catalog, clock)
    queue, mine = catalog.background, catalog.of(Tenant("mine")).responses
    with pytest.raises(Overloaded):
        await _begin(catalog, clock)
    assert await queue.append("one", [_entry(0, prompt={"ids": [1]})]) == {"resp_1"}
    assert await queue.append("one", [_entry(0), _entry(1)]) == {"resp_1"}, "said twice, it is there once"
    assert (await mine.get("resp_1"))["status"] == "in_progress"
    assert await queue.renew("one", lease_s=LEASE_S) == {"resp_1"}
    assert await queue.claim("two", lease_s=LEASE_S, limit=9) == []
    clock.now += LEASE_S
    (job,) = await queue.claim("two", lease_s=LEASE_S, limit=9)
    assert (job.prompt, job.last_event, job.position) == ({"ids": [1]}, 1, 1)
    assert job.parts == [{"0": [[[0], []], 1]}, {"0": [[[1], []], 1]}]
    assert (job.request, job.attempts) == ({"input": "a \0"}, 2)
    assert await queue.append("one", [_entry(2)]) == set(), "what was lost is not written to"
    assert await queue.renew("one", lease_s=LEASE_S) == set()
    assert await queue.append("two", [_entry(2)]) == {"resp_1"}
    rows, ended = await mine.events("resp_1", 0)
    assert ([row.events for row in rows], ended) == ([b"event 1\n\n", b"event 2\n\n"], False)
    await mine.finish(_body("completed", [{"id": "out"}]), keep_s=100)
    await mine.finish(_body("completed", [{"id": "out"}]), keep_s=100)
    assert await queue.append("two", [_entry(3, ended=True)]) == {"resp_1"}
    assert await queue.append("two", [_entry(4)]) == set(), "it has ended"
    assert await mine.get("resp_1") == _body("completed", [{"id": "out"}])
    assert (await mine.events("resp_1", 3)) == ([], True)
    clock.now += 10
    await queue.forget(ended_s=5)
    with pytest.raises(Conflict) as gone:
        await mine.events("resp_1", 2)
    assert gone.value.code == "stream_cursor_expired"


async def test_what_is_cancelled_is_nobodys_and_is_not_finished(catalog: Catalog, clock: Clock) -> None:
    await _begin(catalog, clock)
    mine, theirs = catalog.of(Tenant("mine")).responses, catalog.of(Tenant("theirs")).responses
    for call in (theirs.cancel("resp_1"), theirs.events("resp_1", 0), theirs.finish(_body("failed"), keep_s=1)):
        with pytest.raises(NotFound):
            await call
    assert (await mine.cancel("resp_1"))["status"] == "cancelled"
    assert await catalog.background.append("one", [_entry(0)]) == set()
    with pytest.raises(Conflict):
        await mine.finish(_body("completed"), keep_s=100)
    clock.now += LEASE_S
    assert await catalog.background.claim("two", lease_s=LEASE_S, limit=9) == []


async def test_what_is_released_or_unread_is_not_held(catalog: Catalog, clock: Clock) -> None:
    await _begin(catalog, clock, unread_s=9)
    await catalog.background.release("one")
    (job,) = await catalog.background.claim("two", lease_s=LEASE_S, limit=9)
    assert job.answer_id == "resp_1"
    clock.now += 10
    assert await catalog.background.renew("two", lease_s=LEASE_S, read={"resp_1"}) == {"resp_1"}
    clock.now += 10
    assert await catalog.background.renew("two", lease_s=LEASE_S) == set()
    assert (await catalog.of(Tenant("mine")).responses.get("resp_1"))["status"] == "cancelled"
