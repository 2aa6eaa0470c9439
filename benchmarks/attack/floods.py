"""What a tenant may do, far too much of it: long streams, embeddings, searches, uploads."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.attack.tenant import RESULTS, Tenant, connected
from tests.support.attacks import Target

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"
STREAM_TOKENS = (8000, 3900)
"""Asked for; the second where the model's context has not the room for the first."""
BATCH = 64


async def _streams(tenant: Tenant, count: int) -> None:
    """Each asks for a long answer, and for another one after it."""

    def body(number: int, limit: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": f"Tell me all about the number {number}."}]
        more = {"max_tokens": limit, "ignore_eos": True, "stream": True}
        return {"model": tenant.target.model, "messages": messages, **more}

    limit, less = STREAM_TOKENS
    if not await tenant.takes(CHAT, body(0, limit)):
        limit = less
    await _together(count, lambda number: tenant.call("POST", CHAT, json=body(number, limit)))


async def _embeddings(tenant: Tenant, count: int) -> None:
    body = {"model": tenant.target.embedding_model, "input": [f"text {n} " * 30 for n in range(BATCH)]}
    await _together(count, lambda _: tenant.call("POST", EMBEDDINGS, json=body))


async def _searches(tenant: Tenant, count: int) -> None:
    valves = (f"# Valve {n}\n\nThe valve {n} opens at {n} bar.{' It closes again.' * 40}" for n in range(100))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "valves.md"
        file.write_text("\n\n".join(valves), encoding="utf-8")
        async with tenant.store() as store:
            await tenant.add(store, file)
            await tenant.searchable(store, "valve")
            await _together(count, lambda number: tenant.search(store, f"When does the valve {number} open?"))


async def _uploads(tenant: Tenant, count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.md"
        file.write_text("Everything about it. " * 10_000, encoding="utf-8")
        async with tenant.store() as store:
            await _together(count, lambda _: tenant.add(store, file))


async def _together(count: int, work: Callable[[int], Awaitable[object]]) -> None:
    """So many at a time, each again and again."""

    async def again(number: int) -> None:
        while True:
            with suppress(aiohttp.ClientError, RuntimeError):
                await work(number)

    await asyncio.gather(*(again(number) for number in range(count)))


@dataclass(frozen=True, slots=True)
class Flood:
    """`work` goes on, `count` times at once, until it is cancelled; then it clears up."""

    name: str
    work: Callable[[Tenant, int], Awaitable[None]]
    count: int


FLOODS: Sequence[Flood] = (
    Flood("60 long streams", _streams, 60),
    Flood("500 long streams", _streams, 500),
    Flood(f"20 × {BATCH} embeddings", _embeddings, 20),
    Flood(f"20 searches with {RESULTS} results", _searches, 20),
    Flood("8 upload loops", _uploads, 8),
)


def flooded(name: str, target: Target, seconds: float) -> None:
    """A flood from a process of its own, for a while."""
    (flood,) = (each for each in FLOODS if each.name == name)

    async def flooding() -> None:
        async with connected(target) as tenant:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await flood.work(tenant, flood.count)

    asyncio.run(flooding())
