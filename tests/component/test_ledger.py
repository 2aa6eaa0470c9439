"""What a request came to stands in the ledger before its client sees the end, and in `/v1/usage`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog import schema
from gateway.tenants import ledger
from gateway.triton.fake_answers import Script
from tests.support.running import EMBEDDING, Fleet


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is, an answer's end is held up for its row."""
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)


async def rows(fleet: Fleet) -> list[Any]:
    """As they are in the database now."""
    async with fleet.gateway.accounts.read() as connection:
        return list((await connection.execute(select(schema.ledger).order_by(schema.ledger.c.created_at))).all())


async def test_the_row_is_settled_when_the_client_sees_the_end(fleet: Fleet) -> None:
    for whole in (True, False):
        answer = await fleet.chat(headers={"x-request-id": "mine"}) if whole else None
        events = await fleet.stream(stream_options={"include_usage": True}) if not whole else None
        usage = answer.json["usage"] if answer else events.chunks[-1]["usage"]  # type: ignore[union-attr]
        row = (
            (await rows(fleet))[-1] if whole else next(each for each in await rows(fleet) if each.request_id != "mine")
        )
        assert (row.state, row.outcome) == ("settled", "completed")
        assert (row.prompt, row.completion) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert row.instances in ("triton-0", "triton-1")
        assert (row.tenant, row.model, row.route) == ("default", "tiny", "chat")


async def test_a_request_id_that_a_client_sends_twice_pays_twice(fleet: Fleet) -> None:
    for _ in range(2):
        await fleet.chat(headers={"x-request-id": "same"})
    assert [each.request_id for each in await rows(fleet)] == ["same", "same"]


async def test_several_answers_to_one_prompt_are_one_row(fleet: Fleet) -> None:
    usage = (await fleet.chat(n=3, max_tokens=20)).json["usage"]
    (row,) = await rows(fleet)
    assert (row.prompt, row.completion) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert row.reserved == usage["prompt_tokens"] + 3 * 20


async def test_who_leaves_pays_what_was_made_for_him(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(stall_after=5))
    asked = asyncio.ensure_future(fleet.stream())
    await fleet.until(lambda: any(call.sent == 5 for call in fleet.calls()))
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    await fleet.settled()
    await fleet.gateway.ledger.step()
    (row,) = await rows(fleet)
    assert (row.state, row.outcome) == ("settled", "client_left")
    assert 0 < row.completion <= 5
    assert row.prompt > 0


async def test_a_move_to_another_instance_is_charged_once(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reset_after=5))
    usage = (await fleet.chat()).json["usage"]
    (row,) = await rows(fleet)
    assert (row.prompt, row.completion) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert len(row.instances.split()) == 2


async def test_what_was_refused_or_failed_costs_nothing(fleet: Fleet) -> None:
    await fleet.chat(temperature=7)
    await fleet.chat(model="unknown")
    fleet.answers.script("llm", *[Script(status=500, error="broken")] * 8)
    assert (await fleet.chat()).status >= 500
    await fleet.gateway.ledger.step()
    (row,) = await rows(fleet)
    assert row.outcome not in ("", "completed")
    assert (row.prompt, row.completion) == (0, 0)


async def test_of_texts_to_embed_those_are_charged_that_were_computed(fleet: Fleet) -> None:
    """One row for each request, also where it failed, and after a client that left."""
    full = [Script(status=503, error="Exceeds maximum queue size")] * 4
    embed = {"model": EMBEDDING, "input": ["one two three"] * 64 + ["four five"] * 3}
    assert (await fleet.post(embed, path="/v1/embeddings")).status == 200
    fleet.answers.script("embedding", *full)
    assert (await fleet.post(embed, path="/v1/embeddings")).status == 503
    fleet.answers.script("embedding", Script(), *full)
    assert (await fleet.post(embed, path="/v1/embeddings")).status == 503
    fleet.answers.script("embedding", Script(), Script(stall_after=0))
    left = asyncio.ensure_future(fleet.post(embed, path="/v1/embeddings"))
    await fleet.until(lambda: any(not call.end for call in fleet.calls("embedding")))
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    await fleet.until(lambda: not fleet.gateway.retrieval_admission.held)
    await fleet.gateway.ledger.step()
    found = [(row.state, row.outcome, row.prompt) for row in await rows(fleet)]
    assert sorted(found) == [
        ("settled", "client_left", 192),
        ("settled", "completed", 198),
        ("settled", "overloaded", 0),
        ("settled", "overloaded", 192),
    ]


async def test_requests_are_served_while_the_database_is_away_and_written_when_it_is_back(fleet: Fleet) -> None:
    write = fleet.gateway.rows.write

    async def away(*_: object, **__: object) -> None:
        raise CatalogUnavailable("away")

    fleet.gateway.rows.write = away  # type: ignore[method-assign]
    await fleet.chat()
    await fleet.chat()
    assert fleet.gateway.ledger.waiting == 2
    fleet.gateway.rows.write = write  # type: ignore[method-assign]
    await fleet.gateway.ledger.step()
    assert fleet.gateway.ledger.waiting == 0
    assert [each.state for each in await rows(fleet)] == ["settled"] * 2


async def test_what_a_dead_gateway_left_is_settled_as_it_stood(fleet: Fleet) -> None:
    await fleet.chat()
    (row,) = await rows(fleet)
    async with fleet.gateway.accounts.write() as connection:
        left = {**row._mapping, "id": "left", "gateway": "dead", "state": "reserved", "outcome": "", "completion": 64}
        await connection.execute(schema.ledger.insert(), left)
    assert await fleet.gateway.rows.reap("other", dead_before=row.created_at + 1.0) == 1
    settled = next(each for each in await rows(fleet) if each.id == "left")
    assert (settled.state, settled.outcome, settled.completion) == ("settled", "lost", 64)


async def test_usage_is_what_the_answers_said(fleet: Fleet) -> None:
    used = [(await fleet.chat(max_tokens=n)).json["usage"] for n in (3, 5)]
    embedded = (await fleet.post({"model": EMBEDDING, "input": "three words here"}, path="/v1/embeddings")).json[
        "usage"
    ]
    page = (await fleet.get("/v1/usage?bucket_width=1h&group_by=model")).json
    results = [result for bucket in page["data"] for result in bucket["results"]]
    by_model = {each["model"]: each for each in results}
    assert page["object"] == "page"
    assert len(page["data"]) == 24
    assert by_model["tiny"]["object"] == "organization.usage.completions.result"
    assert by_model["tiny"]["input_tokens"] == sum(each["prompt_tokens"] for each in used)
    assert by_model["tiny"]["output_tokens"] == sum(each["completion_tokens"] for each in used)
    assert sum(each["num_model_requests"] for each in results) == 3
    assert by_model[EMBEDDING]["object"] == "organization.usage.embeddings.result"
    assert by_model[EMBEDDING]["input_tokens"] == embedded["prompt_tokens"]
    sheet = (await fleet.get("/v1/usage?format=csv&group_by=model")).raw.decode().splitlines()
    assert sheet[0].startswith("start_time,end_time,object,tenant")
    assert sum(int(line.split(",")[6]) for line in sheet[1:]) == 3


async def test_usage_has_amounts_by_a_price_list(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("{currency: eur, models: {tiny: {input: 1000, output: 3000}}}")
    fleet: Fleet = await start(api_key="secret", admin_key="admins", price_list=file)
    used = (await fleet.chat(max_tokens=3, headers={"authorization": "Bearer secret"})).json["usage"]
    cost = (used["prompt_tokens"] + 3 * used["completion_tokens"]) / 1000
    for path, key in (("/v1/usage", "secret"), ("/admin/usage", "admins")):
        for group in ("model", "api_key_id", "tenant"):
            url = f"{path}?bucket_width=1d&group_by={group}"
            async with fleet.http.get(url, headers={"authorization": f"Bearer {key}"}) as reply:
                page = await reply.json()
            (result,) = [result for bucket in page["data"] for result in bucket["results"]]
            assert result["amount"] == {"value": pytest.approx(cost), "currency": "eur"}, (path, group)


async def test_pages_of_usage_follow_each_other(fleet: Fleet) -> None:
    first = (await fleet.get("/v1/usage?start_time=600&end_time=1200&bucket_width=1m&limit=4")).json
    assert [each["start_time"] for each in first["data"]] == [600, 660, 720, 780]
    assert first["has_more"]
    query = f"start_time=600&end_time=1200&bucket_width=1m&limit=100&page={first['next_page']}"
    rest = (await fleet.get(f"/v1/usage?{query}")).json
    assert [each["start_time"] for each in rest["data"]] == list(range(840, 1200, 60))
    assert (rest["has_more"], rest["next_page"]) == (False, None)
