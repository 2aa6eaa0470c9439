"""Stored answers and conversations: chains, retention, and what another tenant sees."""

from typing import Any

import pytest

from gateway.errors import Conflict, NotFound
from gateway.knowledge.catalog import responses
from gateway.knowledge.catalog.answer_types import ResponseRecord
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import PageQuery
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock

KEEP_S = 100


def _item(ident: str) -> dict[str, Any]:
    return {"id": ident, "type": "message", "role": "user", "content": "a \0 and 日本"}


def _record(number: int, *, before: int = 0, **fields: Any) -> ResponseRecord:
    body = {
        "id": f"resp_{number}",
        "created_at": 1,
        "status": fields.pop("status", "completed"),
        "output": [_item(f"out{number}")],
    }
    chain = [f"resp_{n}" for n in range(number - before, number)]
    return ResponseRecord(body=body, input=[_item(f"in{number}")], chain=chain, **fields)


async def test_a_chain_is_read_oldest_first_and_kept_as_long_as_its_end(catalog: Catalog, clock: Clock) -> None:
    mine = catalog.of(Tenant("mine")).responses
    for number in range(3):
        await mine.add(_record(number, before=number), keep_s=KEEP_S)
        clock.now += KEEP_S - 1
    ids, items = await mine.chain("resp_2")
    assert ids == ["resp_0", "resp_1", "resp_2"]
    assert [item["id"] for item in items] == ["in0", "out0", "in1", "out1", "in2", "out2"]
    assert await mine.get("resp_0") == _record(0).body
    clock.now += 2
    with pytest.raises(NotFound):
        await mine.get("resp_2")
    assert await mine.items(["in0", "out2"]) == {}
    await catalog.removals.expire()
    async with catalog.database.read() as connection:
        for table in ("responses", "response_items"):
            assert (await connection.exec_driver_sql(f"SELECT count(*) FROM {table}")).scalar_one() == 0


async def test_a_chain_is_bounded_and_whole(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_CHAIN", 8)
    mine = catalog.of(Tenant("mine")).responses
    for number in range(9):
        await mine.add(_record(number, before=min(number, 1)), keep_s=KEEP_S)
    assert len((await mine.chain("resp_7"))[0]) == 8
    with pytest.raises(Conflict) as long:
        await mine.chain("resp_8")
    assert long.value.code == "previous_response_chain_too_long"
    await mine.delete("resp_5")
    with pytest.raises(NotFound, match="resp_5"):
        await mine.chain("resp_7")
    await mine.add(_record(999, status="failed"), keep_s=KEEP_S)
    with pytest.raises(Conflict) as failed:
        await mine.chain("resp_999")
    assert failed.value.code == "previous_response_unfinished"


async def test_another_tenants_answer_is_nobodys(catalog: Catalog) -> None:
    mine, theirs = catalog.of(Tenant("mine")), catalog.of(Tenant("theirs"))
    await mine.responses.add(_record(1), keep_s=KEEP_S)
    for ident in ("resp_1", "resp_none"):
        for call in (
            theirs.responses.get(ident),
            theirs.responses.delete(ident),
            theirs.responses.input_items(ident, PageQuery()),
            theirs.responses.chain(ident),
        ):
            with pytest.raises(NotFound):
                await call
    assert await theirs.responses.items(["in1", "out1"]) == {}
    assert (await mine.responses.items(["in1", "out1", "none"])).keys() == {"in1", "out1"}


async def test_a_conversation_gets_what_is_asked_and_answered_in_it(catalog: Catalog, clock: Clock) -> None:
    mine, theirs = catalog.of(Tenant("mine")), catalog.of(Tenant("theirs"))
    made = await mine.conversations.create({"a": "b"}, [_item("first")], keep_s=KEEP_S)
    clock.now += KEEP_S - 1
    await mine.responses.add(_record(1, conversation_id=made.id), keep_s=KEEP_S)
    await mine.responses.add(_record(1 + 1, conversation_id=made.id), keep_s=KEEP_S)
    await mine.responses.delete("resp_1")
    assert [item["id"] for item in await mine.conversations.all_items(made.id)] == [
        *("first", "in1", "out1"),
        *("in2", "out2"),
    ]
    with pytest.raises(NotFound):
        await theirs.responses.add(_record(3, conversation_id=made.id), keep_s=KEEP_S)
    with pytest.raises(NotFound):
        await theirs.responses.get("resp_3")
    clock.now += KEEP_S - 1
    assert (await mine.conversations.get(made.id)).metadata == {"a": "b"}
    clock.now += 1
    with pytest.raises(NotFound):
        await mine.conversations.get(made.id)
