"""`kill -9` of one of two gateways with streams running: those with a journal go on at the other one, and are paid once.

Real Consul, Triton and gateways on one SQLite catalog; the engine is the simulated one.
"""

import asyncio
import json
import os
import signal
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import aiohttp
import pytest

from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.observed_fleet import Victim
from tests.support.resuming_client import ResumedChat, ask_resuming

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

STREAMS, TOKENS = 64, 200


@pytest.fixture(scope="module")
def fleet(consul_program: object, ports: int) -> Iterator[EmbeddedFleet]:
    """Two gateways and one instance with a slot for each stream."""
    engine = {"decode_step_ms": 25, "decode_step_ms_per_sequence": 0, "slots": STREAMS, "kv_blocks": 4096}
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(engine)}
    models = ("llm", "prompt")
    with embedded(instances=1, gateways=2, flavour="simulated", port_base=ports, env=env, models=models) as running:
        yield running


@asynccontextmanager
async def _session(fleet: EmbeddedFleet) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {fleet.key}"}
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None, sock_read=120)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as http:
        yield http


def _body(fleet: EmbeddedFleet, number: int) -> dict[str, Any]:
    return {
        "model": fleet.model,
        "messages": [{"role": "user", "content": f"Tell the story of harbour number {number}."}],
        "max_tokens": TOKENS,
        "temperature": 0,
        "stream_options": {"include_usage": True},
    }


def _ledger(fleet: EmbeddedFleet, chats: list[ResumedChat]) -> list[tuple[str, str, int]]:
    """State, outcome and answer tokens of these chats' rows."""
    ids = [chat.answer_id for chat in chats]
    with closing(sqlite3.connect(f"file:{fleet.home / 'catalog.db'}?mode=ro", uri=True)) as catalog:
        marks = ", ".join("?" for _ in ids)
        query = f"SELECT id, state, outcome, completion FROM ledger WHERE id IN ({marks})"
        rows = {row[0]: row[1:] for row in catalog.execute(query, ids)}
    return [rows.get(each, ("none", "", 0)) for each in ids]


async def _ask(http: aiohttp.ClientSession, fleet: EmbeddedFleet, urls: list[str], chats: list[ResumedChat]) -> None:
    asked = (ask_resuming(http, urls, _body(fleet, number), chat) for number, chat in enumerate(chats))
    await asyncio.gather(*asked)


def _told_wrong(chats: list[ResumedChat]) -> list[str | None]:
    return [chat.seen.error for chat in chats if not chat.is_whole][:3]


async def test_streams_of_a_killed_gateway_go_on_at_the_other(fleet: EmbeddedFleet) -> None:
    calm, chats = ([ResumedChat() for _ in range(STREAMS)] for _ in range(2))
    async with _session(fleet) as http:
        await _ask(http, fleet, [fleet.gateway_urls[1]], calm)
        assert all(chat.is_whole for chat in calm), _told_wrong(calm)
        asked = asyncio.create_task(_ask(http, fleet, list(fleet.gateway_urls), chats))
        async with asyncio.timeout(120):
            while not all(chat.ids for chat in chats):  # whoever has no event has nothing to go on from
                await asyncio.sleep(0.01)
        os.kill(fleet.gateway_pid, signal.SIGKILL)
        killed = time.monotonic()
        await asked
    assert all(chat.is_whole for chat in chats), _told_wrong(chats)
    assert [chat.seen.text for chat in chats] == [chat.seen.text for chat in calm]
    assert [chat.seen.completion_tokens for chat in chats] == [chat.seen.completion_tokens for chat in calm]
    assert _ledger(fleet, chats) == [("settled", "completed", chat.seen.completion_tokens) for chat in chats]
    gaps = [chat.resumed_at - killed for chat in chats if chat.resumed_at]
    assert gaps, "the kill met a running stream"
    print(f"{len(gaps)} streams went on after {statistics.median(gaps):.2f} s (p50), {max(gaps):.2f} s (the last)")
    await Victim(fleet).ready(1)
