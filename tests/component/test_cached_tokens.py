"""Prompt tokens that an engine had cached: in the answer's usage, in the ledger, through moves and other gateways."""

import asyncio
import json
import time
from typing import Any

import pytest

from gateway.fleet.view import LoadSample
from gateway.serving.background import BackgroundAnswers
from gateway.tenants import ledger
from gateway.triton.fake_answers import Script
from tests.component.test_ledger import rows
from tests.support.running import Fleet, ask

BLOCK = 2
USAGE = {"stream_options": {"include_usage": True}}


@pytest.fixture(autouse=True)
def block_size(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instances have told how large a block is; an answer's end is held up for its row, however slow the disk is."""
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)
    for triton in fleet.tritons:
        fleet.gateway.store.set_load(fleet.name(triton), LoadSample(at=time.monotonic(), kv_block_tokens=BLOCK))
    fleet.gateway.placer.update(fleet.gateway.store.view)


def cached(usage: Any) -> int:
    return int(usage.get("prompt_tokens_details", {}).get("cached_tokens", 0))


async def test_it_is_in_the_usage_and_in_the_ledger(fleet: Fleet) -> None:
    fleet.answers.script("llm", *[Script(reused_blocks=2)] * 4)
    whole = (await fleet.chat()).json["usage"]
    streamed = (await fleet.stream(**USAGE)).chunks[-1]["usage"]
    response = await fleet.post({"model": "tiny", "input": "Hello?"}, path="/v1/responses")
    completion = await fleet.post({"model": "tiny", "prompt": "Hello? Hello, hello?"}, path="/v1/completions")
    found = [cached(whole), cached(streamed), response.json["usage"]["input_tokens_details"]["cached_tokens"]]
    assert [*found, cached(completion.json["usage"])] == [2 * BLOCK] * 4
    assert [row.cached for row in await rows(fleet)] == [2 * BLOCK] * 4
    usage = (await fleet.get("/v1/usage?bucket_width=1d")).json
    sums = [result for bucket in usage["data"] for result in bucket["results"]]
    assert sum(result["input_cached_tokens"] for result in sums) == 4 * 2 * BLOCK


async def test_an_engine_that_tells_nothing_had_nothing(fleet: Fleet) -> None:
    usage = (await fleet.chat()).json["usage"]
    assert "prompt_tokens_details" not in usage


async def test_one_that_tells_it_with_its_last_token_is_heard(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reused_blocks=1, reuse_told_after=11))
    assert cached((await fleet.chat(max_tokens=12, ignore_eos=True)).json["usage"]) == BLOCK


async def test_it_is_never_more_than_the_prompt(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reused_blocks=1000))
    usage = (await fleet.chat()).json["usage"]
    assert cached(usage) == usage["prompt_tokens"]


async def test_of_a_moved_answer_it_is_what_the_first_instance_said(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reused_blocks=1, reset_after=5), Script(reused_blocks=3))
    assert cached((await fleet.chat(max_tokens=20)).json["usage"]) == BLOCK


async def test_an_instance_that_died_before_a_token_has_no_say(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reset_after=0), Script(reused_blocks=3))
    assert cached((await fleet.chat(max_tokens=20)).json["usage"]) == 3 * BLOCK


async def test_of_several_choices_it_is_what_the_first_one_found(fleet: Fleet) -> None:
    fleet.answers.script("llm", *[Script(reused_blocks=2)] * 3)
    usage = (await fleet.chat(n=3, max_tokens=8)).json["usage"]
    assert cached(usage) == 2 * BLOCK


async def test_a_gateway_that_takes_an_answer_over_knows_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackgroundAnswers, "RENEW_S", 0.02)
    fleet.answers.script("llm", Script(reused_blocks=2, stall_after=5), Script(reused_blocks=3))
    body = ask(stream=True, max_tokens=40, **USAGE)
    raw = b""
    headers = {"X-Ragfleet-Journal": "true"}
    async with fleet.http.post("/v1/chat/completions", json=body, headers=headers) as response:
        await fleet.until(lambda: any(call.sent == 5 for call in fleet.calls()))
        async with asyncio.timeout(60):
            while raw.count(b'"content":') < 3:
                raw += await response.content.readany()
        await fleet.gateway.background.close()  # as when it is killed, but for the waiting
        async with asyncio.timeout(60):
            while b"[DONE]" not in raw:
                raw += await response.content.readany()
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith(b"data: {")]
    assert cached(events[-1]["usage"]) == 2 * BLOCK
