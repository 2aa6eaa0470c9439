"""`kill -9` of one of two gateways with streams and batches running: they go on at the other one, and are paid once.

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
BATCHES, LINES = 8, 40
"""More batches than one gateway works on at a time, so that each of the two has some."""


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


async def test_each_line_of_a_killed_gateways_batches_is_answered_and_paid_once(fleet: EmbeddedFleet) -> None:
    victim, other = Victim(fleet), fleet.gateway_urls[1]
    async with _session(fleet) as http:
        async with asyncio.timeout(120):
            while not await _is_up(http, fleet.gateway_urls[0]):  # after the test before
                await asyncio.sleep(0.1)
        made = [await _batch(http, fleet, other, number) for number in range(BATCHES)]
        async with asyncio.timeout(120):
            while not _is_shared(fleet):
                await asyncio.sleep(0.05)
        os.kill(victim.gateway_pid, signal.SIGKILL)
        killed, before = time.monotonic(), [await _get(http, f"{other}/v1/batches/{each}") for each in made]
        assert any(each["status"] != "completed" for each in before), "the kill met a running batch"
        async with asyncio.timeout(240):
            ended = [await _ended(http, f"{other}/v1/batches/{each}") for each in made]
        print(f"{BATCHES * LINES} lines, all ended {time.monotonic() - killed:.1f} s after the kill")
        answers = [await _answers(http, other, each["output_file_id"]) for each in ended]
    wanted = {"total": LINES, "completed": LINES, "failed": 0}
    assert [(each["status"], each["request_counts"]) for each in ended] == [("completed", wanted)] * BATCHES
    assert [sorted(line["custom_id"] for line in lines) for lines in answers] == [
        sorted(f"{number}-{n}" for n in range(LINES)) for number in range(BATCHES)
    ]
    told = {line["id"]: line["response"]["body"]["usage"]["completion_tokens"] for lines in answers for line in lines}
    async with asyncio.timeout(120):
        while (rows := _batch_rows(fleet)) and any(state != "settled" for _, state, _, _ in rows):
            await asyncio.sleep(0.2)
    assert sorted(rows) == sorted((ident, "settled", "completed", tokens) for ident, tokens in told.items())
    await victim.ready(1)


async def _batch(http: aiohttp.ClientSession, fleet: EmbeddedFleet, url: str, number: int) -> str:
    """A new one, of short answers."""
    bodies = ({**_body(fleet, n), "max_tokens": 40, "stream_options": None} for n in range(LINES))
    lines = [
        {"custom_id": f"{number}-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for n, body in enumerate(bodies)
    ]
    form = aiohttp.FormData()
    form.add_field("purpose", "batch")
    form.add_field("file", "\n".join(map(json.dumps, lines)).encode(), filename="requests.jsonl")
    async with http.post(f"{url}/v1/files", data=form) as reply:
        file = await reply.json()
    wanted = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with http.post(f"{url}/v1/batches", json=wanted) as reply:
        assert reply.status == 200, await reply.text()
        return str((await reply.json())["id"])


async def _is_up(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/v1/models") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


def _is_shared(fleet: EmbeddedFleet) -> bool:
    """Each gateway has batches of which some lines are answered."""
    with closing(sqlite3.connect(f"file:{fleet.home / 'catalog.db'}?mode=ro", uri=True)) as catalog:
        query = "SELECT COUNT(DISTINCT owner) FROM batch_jobs JOIN batch_lines ON batch_id = id WHERE ended_at IS NULL"
        return bool(catalog.execute(query).fetchone()[0] == 2)


async def _ended(http: aiohttp.ClientSession, url: str) -> Any:
    while (found := await _get(http, url))["status"] not in ("completed", "failed", "expired", "cancelled"):
        await asyncio.sleep(0.2)
    return found


async def _answers(http: aiohttp.ClientSession, url: str, file_id: str) -> list[Any]:
    async with http.get(f"{url}/v1/files/{file_id}/content") as reply:
        return [json.loads(line) for line in (await reply.read()).splitlines()]


async def _get(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url) as reply:
        assert reply.status == 200, await reply.text()
        return await reply.json()


def _batch_rows(fleet: EmbeddedFleet) -> list[tuple[str, str, str, int]]:
    """Request, state, outcome and answer tokens of what batches have in the ledger."""
    with closing(sqlite3.connect(f"file:{fleet.home / 'catalog.db'}?mode=ro", uri=True)) as catalog:
        query = "SELECT request_id, state, outcome, completion FROM ledger WHERE request_id LIKE 'batch_req_%'"
        return catalog.execute(query).fetchall()
