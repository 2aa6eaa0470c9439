"""Chunks become vectors on the fleet's instances, after everything that somebody waits for."""

import asyncio
import json
import struct
import time
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import aiohttp
import numpy as np
from numpy.typing import NDArray

from gateway.errors import KnowledgeUnavailable
from gateway.fleet.store import FleetStore
from gateway.fleet.view import Member
from gateway.knowledge.embedder import FakeEmbedder, Vectors, parse_answer

_LENGTH = "Inference-Header-Content-Length"


class ChunkEmbedder(Protocol):
    """Whatever turns chunks into vectors."""

    def models(self) -> list[str]:
        """Embedding models that some serving instance has, sorted."""
        ...

    async def embed(self, model: str, texts: Sequence[str]) -> Vectors:
        """float32 (len(texts), dimension), rows of length 1. Raises KnowledgeUnavailable where no instance can."""
        ...


class FleetEmbedder:
    """Embeds on every instance that serves the model.

    An instance on a host where nobody was answered for CALM_S gets two requests of BATCH texts: one at work, one that waits. On
    a host that answers somebody it gets small ones, one at a time, with pauses: embedding model and LLM share its cores, and
    the next question may come to this instance. In Triton's queue all of them stand behind questions (priority 2).

    deadline_s: how long one batch is tried, on all instances.
    """

    BATCH = 16
    BUSY_BATCH = 4
    BUSY_PAUSE = 4.0
    """Pause after a batch on a busy instance, in multiples of the time that it took. Raising it spares answers, and is slower."""
    CALM_S = 3.0
    SHUN_S = 2.0

    def __init__(self, store: FleetStore, http: aiohttp.ClientSession, *, deadline_s: float = 60.0) -> None:
        self._store = store
        self._http = http
        self._deadline_s = deadline_s
        self._in_flight: Counter[str] = Counter()
        self._shunned: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._freed = asyncio.Condition()

    def models(self) -> list[str]:
        """See ChunkEmbedder."""
        return sorted({m.instance.embedding_model for m in self._store.view.serving if m.instance.embedding_model})

    async def embed(self, model: str, texts: Sequence[str]) -> Vectors:
        """See ChunkEmbedder. Texts of like length go together: a pass pads its texts to the longest of them."""
        waiting = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors: dict[int, NDArray[np.float32]] = {}
        lanes = max(1, 2 * len(self._serving(model)))

        async def lane() -> None:
            while waiting:
                await self._one(model, texts, waiting, vectors)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(lane())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return np.stack([vectors[number] for number in range(len(texts))]) if texts else np.empty((0, 0), np.float32)

    async def _one(
        self, model: str, texts: Sequence[str], waiting: list[int], vectors: dict[int, NDArray[np.float32]]
    ) -> None:
        """The next batch, wherever there is room for it."""
        until = time.monotonic() + self._deadline_s
        fault = f"no instance with the embedding model '{model}' is ready"
        batch: list[int] = []
        while True:
            member = await self._place(model, until, fault)
            name = member.instance.name
            busy = self._busy(member)
            if not batch:
                size = self.BUSY_BATCH if busy else self.BATCH
                batch, waiting[-size:] = waiting[-size:], []
            started = time.monotonic()
            try:
                if not batch:
                    return
                found = await self._infer(member, [texts[number] for number in batch], until - started)
                vectors.update(zip(batch, found, strict=True))
                if busy:
                    await asyncio.sleep(self.BUSY_PAUSE * (time.monotonic() - started))
                return
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                fault = f"{name}: {error or type(error).__name__}"
                self._shunned[name] = time.monotonic() + self.SHUN_S
            finally:
                self._in_flight[name] -= 1
                async with self._freed:
                    self._freed.notify_all()

    def _serving(self, model: str) -> list[Member]:
        return [m for m in self._store.view.serving if m.instance.embedding_model == model]

    def _busy(self, member: Member) -> bool:
        """Whether the host of this instance answers somebody, or did a moment ago."""
        now = time.monotonic()
        for each in self._store.view.serving:
            if each.load is not None and (each.load.active or each.load.waiting):
                self._answered[each.instance.address] = now
        return now - self._answered.get(member.instance.address, -self.CALM_S) < self.CALM_S

    async def _place(self, model: str, until: float, fault: str) -> Member:
        """The least busy instance with room; it is charged with one request."""
        while True:
            now = time.monotonic()
            if now > until:
                raise KnowledgeUnavailable(f"No chunks can be embedded: {fault}.", retry_after_s=5)
            free = [
                member
                for member in self._serving(model)
                if self._shunned.get(member.instance.name, 0.0) < now
                and self._in_flight[member.instance.name] < (1 if self._busy(member) else 2)
            ]
            if free:
                best = min(free, key=lambda member: self._in_flight[member.instance.name])
                self._in_flight[best.instance.name] += 1
                return best
            async with self._freed:
                try:
                    await asyncio.wait_for(self._freed.wait(), 0.25)
                except TimeoutError:
                    continue  # somebody may have joined, or been forgiven

    async def _infer(self, member: Member, texts: Sequence[str], timeout_s: float) -> Vectors:
        url = f"http://{member.instance.address}:{member.instance.http_port}/v2/models/embedding/infer"
        head, payload = request(texts)
        headers = {_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        timeout = aiohttp.ClientTimeout(total=max(0.1, timeout_s))
        async with self._http.post(url, data=head + payload, headers=headers, timeout=timeout) as response:
            body = await response.read()
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {body[:200].decode(errors='replace')}")
            return parse_answer(body, int(response.headers.get(_LENGTH) or len(body)), len(texts))


def request(texts: Sequence[str]) -> tuple[bytes, bytes]:
    """Head and payload of one request with binary tensors, of low priority."""
    payload = b"".join(struct.pack("<I", len(raw)) + raw for raw in (text.encode() for text in texts))
    tensor = {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES"}
    head = {
        "parameters": {"priority": 2},
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(payload)}}],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
    }
    return json.dumps(head).encode(), payload


class LocalEmbedder:
    """For tests: the fake embedder behind this interface. `away` makes it fail as a fleet without instances does."""

    def __init__(self, *models: str, dimension: int = 384) -> None:
        self.fake = FakeEmbedder(dimension)
        self.served = list(models) or ["test-model"]
        self.away = False

    def models(self) -> list[str]:
        """See ChunkEmbedder."""
        return [] if self.away else sorted(self.served)

    async def embed(self, model: str, texts: Sequence[str]) -> Vectors:
        """See ChunkEmbedder."""
        if self.away or model not in self.served:
            raise KnowledgeUnavailable("no instance is ready")
        return self.fake.embed(texts)
