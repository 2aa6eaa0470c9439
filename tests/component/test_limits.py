"""A tenant's limits as its client meets them: what is let in, what is refused and how, and what it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.tenants.budgets import Resource
from gateway.triton.fake_answers import Script
from tests.support.replies import Reply
from tests.support.running import EMBEDDING, Fleet

Start = Callable[..., Any]
NOON = 1_700_049_600.0
"""Nothing begins anew while a test runs."""
Limited = Callable[..., Awaitable[Fleet]]


@pytest.fixture
def limited(start: Start, tmp_path: Path) -> Limited:
    """`fleet = await limited("requests_per_minute: 3")`: a fleet whose only tenant has these limits."""

    async def run(limits: str, **wishes: Any) -> Fleet:
        file = tmp_path / "tenants.yaml"
        file.write_text(f"tenants: [{{name: acme, keys: [acme], limits: {{{limits}}}}}, {{name: free, keys: [free]}}]")
        fleet: Fleet = await start(tenants_file=file, **wishes)
        fleet.gateway.quotas._client.now = lambda: NOON
        return fleet

    return run


KEY = {"authorization": "Bearer acme"}


def left(reply: Any, unit: str) -> int:
    """What the client is told that it has left."""
    return int(reply.headers[f"x-ratelimit-remaining-{unit}"])


async def test_requests_over_the_limit_are_refused_and_told_when_to_come_back(limited: Limited) -> None:
    fleet = await limited("requests_per_minute: 3")
    replies = await asyncio.gather(*(fleet.chat(headers=KEY) for _ in range(8)))
    assert sorted(each.status for each in replies) == [200] * 3 + [429] * 5
    refused = next(each for each in replies if each.status == 429)
    assert refused.error["code"] == "rate_limit_exceeded"
    assert refused.headers["retry-after"] == "60"
    assert refused.headers["retry-after-ms"] == "60000"
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    assert left(refused, "requests") == 0
    assert refused.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert (await fleet.chat(headers={"authorization": "Bearer free"})).status == 200


@pytest.mark.parametrize("period", ["day", "month"])
async def test_a_spent_budget_is_not_to_be_asked_again(limited: Limited, period: str) -> None:
    fleet = await limited(f"tokens_per_{period}: 60")
    while (reply := await fleet.chat(headers=KEY)).status == 200:
        pass
    assert reply.status == 429
    assert reply.error["code"] == reply.error["type"] == "insufficient_quota"
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers


async def test_every_answer_tells_what_is_left(limited: Limited) -> None:
    fleet = await limited("requests_per_minute: 9, tokens_per_minute: 1000, embedding_tokens_per_minute: 500")
    whole = await fleet.chat(headers=KEY)
    stream = await fleet.stream(headers=KEY)
    bad = await fleet.chat(headers=KEY, temperature=7)
    embedded = await fleet.post({"model": EMBEDDING, "input": "three"}, path="/v1/embeddings", headers=KEY)
    completion = await fleet.post({"model": "tiny", "prompt": "Once"}, path="/v1/completions", headers=KEY)
    assert [each.status for each in (whole, stream, bad, embedded, completion)] == [200, 200, 400, 200, 200]
    assert [left(each, "requests") for each in (whole, stream, bad, embedded, completion)] == [8, 7, 7, 6, 5]
    assert whole.headers["x-ratelimit-limit-tokens"] == "1000"
    assert embedded.headers["x-ratelimit-limit-tokens"] == "500"
    free = await fleet.chat(headers={"authorization": "Bearer free"})
    assert not [name for name in free.headers if name.startswith("x-ratelimit")]


async def test_what_was_reserved_and_not_used_is_given_back(limited: Limited) -> None:
    fleet = await limited("tokens_per_minute: 400")
    fleet.says("Yes.")
    used = 0
    for _ in range(10):
        reply = await fleet.chat(headers=KEY, max_tokens=200)
        assert reply.status == 200, reply.raw
        used += reply.json["usage"]["total_tokens"]
    assert left(await fleet.chat(headers=KEY, temperature=7), "tokens") == 400 - used


async def test_a_request_that_may_take_more_than_the_limit_is_told_to_ask_for_less(limited: Limited) -> None:
    fleet = await limited("tokens_per_minute: 100")
    reply = await fleet.chat(headers=KEY, max_tokens=101)
    assert reply.status == 429
    assert "max_tokens" in reply.error["message"]
    assert reply.headers["x-should-retry"] == "false"


async def test_what_fails_or_is_refused_costs_nothing(limited: Limited) -> None:
    fleet = await limited("requests_per_minute: 5, tokens_per_minute: 1000", attempts=1)

    async def refused(reply: Reply) -> None:
        assert reply.status >= 400
        assert left(reply, "requests") in (4, 5)  # while it runs, it has one

    await refused(await fleet.chat(headers=KEY, model="unknown"))
    await refused(await fleet.chat(headers=KEY, max_tokens=1001))
    fleet.answers.script("llm", Script(status=500, error="broken"))
    await refused(await fleet.chat(headers=KEY))
    fleet.members(out=fleet.tritons)
    await refused(await fleet.chat(headers=KEY))  # no place within the deadline
    fleet.members()
    assert left(await fleet.chat(headers=KEY, temperature=7), "requests") == 5
    assert left(await fleet.chat(headers=KEY, temperature=7), "tokens") == 1000


async def seats(fleet: Fleet) -> int:
    """That are held when all has come to rest."""
    await fleet.settled()
    (account,) = fleet.gateway.quotas._accounts.values()
    await account.close()
    return account.seats


async def test_seats_come_back_when_clients_leave(limited: Limited) -> None:
    fleet = await limited("concurrent_answers: 3")
    fleet.answers.script("llm", *[Script(stall_after=2)] * 3)
    asked = [asyncio.ensure_future(fleet.chat(headers=KEY)) for _ in range(3)]
    await fleet.until(lambda: sum(call.sent == 2 for call in fleet.calls()) == 3)
    refused = await fleet.chat(headers=KEY)
    assert refused.status == 429
    assert "3 answers at a time" in refused.error["message"]
    for each in asked:
        each.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert await seats(fleet) == 0


async def test_seats_come_back_when_deadlines_end(limited: Limited) -> None:
    fleet = await limited("concurrent_answers: 3", request_deadline_s=0.1)
    fleet.answers.script("llm", *[Script(stall_after=2)] * 3)
    replies = await asyncio.gather(*(fleet.chat(headers=KEY) for _ in range(3)))
    assert {each.status for each in replies} == {504}
    assert await seats(fleet) == 0


async def test_a_key_or_an_address_that_is_nobodys_is_told_nothing_of_limits(limited: Limited) -> None:
    fleet = await limited("requests_per_minute: 5")
    reply = await fleet.chat(headers={"authorization": "Bearer wrong"})
    assert reply.status == 401
    assert not [name for name in reply.headers if name.startswith("x-ratelimit")]


async def test_embeddings_have_a_budget_of_their_own(limited: Limited) -> None:
    fleet = await limited("embedding_tokens_per_minute: 20, tokens_per_minute: 1000")
    body = {"model": EMBEDDING, "input": "one two three four five six seven"}
    statuses = [(await fleet.post(body, path="/v1/embeddings", headers=KEY)).status for _ in range(4)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert (await fleet.chat(headers=KEY)).status == 200
    assert fleet.gateway.quotas.rate_limit(next(iter(fleet.gateway.tenants.tenants())), Resource.TOKENS) is not None


async def test_large_bodies_of_a_tenant_are_bounded_by_its_own_limit(limited: Limited) -> None:
    fleet = await limited("queued_bytes: 1000")
    reply = await fleet.chat("x" * 100_000, headers=KEY)
    assert reply.status == 429
    assert "1000 bytes" in reply.error["message"]
    assert (await fleet.chat(headers=KEY)).status == 200
