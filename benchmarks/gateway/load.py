"""A lean load generator: `concurrency` clients, each sending one streamed request after the other."""

import asyncio
import statistics
import time
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the clients saw."""

    requests: int
    failed: int
    chunks: float
    """Content chunks per request, mean."""
    seconds: float
    ttft_p50_ms: float


async def run(
    port: int, *, model: str, key: str, concurrency: int, each: int, max_tokens: int = 64, head: str = ""
) -> Outcome:
    """Send `concurrency × each` requests to a gateway on loopback. head: further lines of the request's, each with its end."""
    body = orjson.dumps(
        {
            "model": model,
            "stream": True,
            "max_tokens": max_tokens,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Which way is the quickest one to the harbour?"}],
        }
    )
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\n{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    ttfts: list[float] = []
    counts: list[int] = []

    async def one() -> None:
        started = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        first = 0.0
        data = b""
        try:
            async with asyncio.timeout(60):
                while part := await reader.read(65536):
                    data += part
                    if not first and b'"content":"' in data.replace(b'"content":""', b""):
                        first = time.monotonic() - started
        finally:
            writer.close()
        # The first chunk of OpenAI's protocol has an empty content: the role.
        counts.append(data.count(b'"content":') - data.count(b'"content":""') if data.rstrip().endswith(b"0") else -1)
        ttfts.append(first)

    async def client() -> None:
        for _ in range(each):
            await one()

    started = time.monotonic()
    await asyncio.gather(*(client() for _ in range(concurrency)))
    good = [c for c in counts if c > 0]
    return Outcome(
        requests=len(counts),
        failed=len(counts) - len(good),
        chunks=statistics.fmean(good) if good else 0.0,
        seconds=time.monotonic() - started,
        ttft_p50_ms=statistics.median(ttfts) * 1000,
    )
