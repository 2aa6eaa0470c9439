"""Chunks become vectors on the fleet's instances, after everything that somebody waits for."""

import asyncio
import contextlib
import json
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import aiohttp
import numpy as np
from numpy.typing import NDArray

from gateway.errors import KnowledgeUnavailable
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetMember
from gateway.ingestion.answer_watch import AnswerWatch
from gateway.ingestion.fair_turns import TenantTurns
from gateway.knowledge.embedder import FakeEmbedder, Vectors, parse_answer
from gateway.routing.types import Answering
from gateway.telemetry import traceparent

_LENGTH = "Inference-Header-Content-Length"
_NEVER = float("-inf")


class TextsRefused(Exception):
    """The embedding model answered, and does not take one of these texts: no instance will."""


class ChunkEmbedder(Protocol):
    """Whatever turns chunks into vectors."""

    def models(self) -> list[str]:
        """Embedding models that some serving instance has, sorted."""
        ...

    async def embed(self, model: str, texts: Sequence[str], *, tenant: str = "") -> Vectors:
        """float32 (len(texts), dimension), rows of length 1. Raises KnowledgeUnavailable where no instance can, TextsRefused.

        tenant: whose texts they are; tenants that embed at the same time take turns.
        """
        ...


class FleetEmbedder:
    """Embeds on every instance that serves the model.

    An instance on a host where nobody was answered for CALM_S gets two requests of BATCH texts (GPU_BATCH): one at work, one that
    waits. On a host that answers somebody it gets small ones, one at a time, with pauses: embedding model and LLM share its
    cores, and the next question may come to this instance. In Triton's queue all of them stand behind questions (priority 2).
    While somebody waits for a first token there, none is sent, for `yield_s` at the most.

    deadline_s: how long one batch is tried, on all instances. weights: of tenants (TenantTurns).
    answers: what our gateway knows of those whom it answers; None: only the instances' metrics tell. clock: monotonic seconds.
    """

    BATCH = 8
    """The model's pass on a CPU. More is not faster there, and a question that comes has to wait for the batch at work."""
    GPU_BATCH = 64
    """The model's pass on a GPU."""
    GPU_REQUESTS = 4
    """Two of `embedding` work there."""
    BUSY_BATCH = 4
    BUSY_PAUSE = 4.0
    """Pause after a batch on a busy instance, in multiples of the time that it took. Raising it spares answers, and is slower."""
    CALM_S = 3.0
    SHUN_S = 2.0
    LOOK_S = 0.02
    """From one look to the next whether somebody still waits."""

    def __init__(
        self,
        store: FleetState,
        http: aiohttp.ClientSession,
        *,
        tls: bool = False,
        deadline_s: float = 60.0,
        weights: Mapping[str, float] | None = None,
        answers: AnswerWatch | None = None,
        yield_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._answers = answers
        self._yield_s = yield_s
        self._clock = clock
        self._sleep = sleep
        self._store = store
        self._http = http
        self._scheme = "https" if tls else "http"
        self._deadline_s = deadline_s
        self._in_flight: Counter[str] = Counter()
        self._shunned: dict[str, float] = {}
        self._answered: dict[str, float] = {}
        self._freed = asyncio.Event()
        self._turns = TenantTurns(weights)

    @property
    def busy(self) -> bool:
        """Whether something is being embedded, or waits for a place."""
        return self._turns.busy or self._in_flight.total() > 0

    def models(self) -> list[str]:
        """See ChunkEmbedder."""
        return sorted({m.instance.embedding_model for m in self._store.view.serving if m.instance.embedding_model})

    async def embed(self, model: str, texts: Sequence[str], *, tenant: str = "") -> Vectors:
        """See ChunkEmbedder. Texts of like length go together: a pass pads its texts to the longest of them.

        A tenant's callers come one after the other: one's last batch is at work when the next one's first is sent. If all shared
        the instances alike they would end together, and the instances would have nothing to do while all of them write.
        """
        waiting = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        vectors: dict[int, NDArray[np.float32]] = {}
        try:
            async with asyncio.TaskGroup() as group, self._turns.among(tenant):
                await self._ask_gateway()
                while waiting:
                    await self._turns.next(tenant, self.BATCH)
                    seat = await self._place(model, self._clock() + self._deadline_s)
                    calm = self.GPU_BATCH if seat.member.instance.device == "gpu" else self.BATCH
                    size = self.BUSY_BATCH if self._busy(seat.member) else calm
                    batch, waiting[-size:] = waiting[-size:], []
                    task = group.create_task(self._batch(seat, model, texts, batch, vectors))
                    task.add_done_callback(seat.leave)  # one that is cancelled before it began leaves nothing itself
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return np.stack([vectors[number] for number in range(len(texts))]) if texts else np.empty((0, 0), np.float32)

    async def _batch(
        self, seat: "_Seat", model: str, texts: Sequence[str], batch: list[int], vectors: dict[int, NDArray[np.float32]]
    ) -> None:
        """One batch, at this place; or at another where that instance fails."""
        until = self._clock() + self._deadline_s
        while True:
            name = seat.member.instance.name
            try:
                await self._give_way(seat.member.instance.address)
                started, busy = self._clock(), self._busy(seat.member)
                found = await self._infer(seat.member, [texts[number] for number in batch], until - started)
                vectors.update(zip(batch, found, strict=True))
                if busy:
                    await self._sleep(self.BUSY_PAUSE * (self._clock() - started))
                return
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                fault = f"{name}: {error or type(error).__name__}"
                self._shunned[name] = self._clock() + self.SHUN_S
            finally:
                seat.leave()
            seat = await self._place(model, until, fault)

    async def _give_way(self, address: str) -> None:
        """Wait while somebody waits for a first token on this host, for `yield_s` at the most."""
        until = self._clock() + self._yield_s
        while await self._is_awaited(address) and (left := until - self._clock()) > 0:
            await self._sleep(min(self.LOOK_S, left))

    async def _is_awaited(self, address: str) -> bool:
        hosts = await self._ask_gateway()
        if hosts is None or (address in hosts and hosts[address].waits):
            return True
        here = (each.load for each in self._store.view.serving if each.instance.address == address)
        return any(load is not None and load.waiting for load in here)

    async def _ask_gateway(self) -> Mapping[str, Answering] | None:
        """Whom our gateway answers; None: it had no time to say."""
        if self._answers is None or not self._yield_s:
            return {}
        hosts = await self._answers.hosts()
        for address, each in (hosts or {}).items():
            self._answered[address] = max(self._answered.get(address, _NEVER), self._clock() - each.ago_s)
        return hosts

    def _serving(self, model: str) -> list[FleetMember]:
        return [m for m in self._store.view.serving if m.instance.embedding_model == model]

    def _room(self, member: FleetMember) -> int:
        """Requests that it may have at the same time."""
        if self._busy(member):
            return 1
        return self.GPU_REQUESTS if member.instance.device == "gpu" else 2

    def _busy(self, member: FleetMember) -> bool:
        """Whether the host of this instance answers somebody, or did a moment ago."""
        now = self._clock()
        for each in self._store.view.serving:
            if each.load is not None and (each.load.active or each.load.waiting):
                self._answered[each.instance.address] = now
        return now - self._answered.get(member.instance.address, _NEVER) < self.CALM_S

    async def _place(self, model: str, until: float, fault: str = "") -> "_Seat":
        """At the least busy instance with room. `fault`: why one is asked for again."""
        while True:
            now = self._clock()
            if now > until:
                reason = fault or f"no instance with the embedding model '{model}' is ready"
                raise KnowledgeUnavailable(f"No chunks can be embedded: {reason}.", retry_after_s=5)
            free = [
                member
                for member in self._serving(model)
                if self._shunned.get(member.instance.name, _NEVER) < now
                and self._in_flight[member.instance.name] < self._room(member)
            ]
            if free:
                return _Seat(min(free, key=lambda m: self._in_flight[m.instance.name]), self._in_flight, self._freed)
            self._freed.clear()
            with contextlib.suppress(TimeoutError):  # then somebody may have joined, or been forgiven
                async with asyncio.timeout(0.25):
                    await self._freed.wait()

    async def _infer(self, member: FleetMember, texts: Sequence[str], timeout_s: float) -> Vectors:
        url = f"{self._scheme}://{member.instance.address}:{member.instance.http_port}/v2/models/embedding/infer"
        head, payload = request(texts)
        headers = {_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        if parent := traceparent():
            headers["traceparent"] = parent
        timeout = aiohttp.ClientTimeout(total=max(0.1, timeout_s))
        async with self._http.post(url, data=head + payload, headers=headers, timeout=timeout) as response:
            body = await response.read()
            if response.status == 400:  # Triton's for what a model calls an invalid argument
                raise TextsRefused(f"the embedding model refuses a text: {body[:200].decode(errors='replace')}")
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {body[:200].decode(errors='replace')}")
            return parse_answer(body, int(response.headers.get(_LENGTH) or len(body)), len(texts))


class _Seat:
    """A place at an instance; it is charged with one request until `leave`, which may be called again."""

    def __init__(self, member: FleetMember, in_flight: Counter[str], freed: asyncio.Event) -> None:
        self.member = member
        self._in_flight = in_flight
        self._freed = freed
        self._left = False
        in_flight[member.instance.name] += 1

    def leave(self, _: object = None) -> None:
        """Give the place back."""
        if not self._left:
            self._left = True
            self._in_flight[self.member.instance.name] -= 1
            self._freed.set()


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
    """For tests: the fake embedder behind this interface. `away` makes it fail as a fleet without instances does; texts with
    `poison` in them are refused."""

    def __init__(self, *models: str, dimension: int = 384) -> None:
        self.fake = FakeEmbedder(dimension)
        self.served = list(models) or ["test-model"]
        self.away = False
        self.poison = ""

    def models(self) -> list[str]:
        """See ChunkEmbedder."""
        return [] if self.away else sorted(self.served)

    async def embed(self, model: str, texts: Sequence[str], *, tenant: str = "") -> Vectors:
        """See ChunkEmbedder."""
        if self.away or model not in self.served:
            raise KnowledgeUnavailable("no instance is ready")
        if self.poison and any(self.poison in text for text in texts):
            raise TextsRefused("a text is poison")
        return self.fake.embed(texts)
