"""The faults: each begins and ends as a context. What the fleet looks like meanwhile is the alerts' business."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import aiohttp
import psutil

from tests.support.candidate_worker import CANDIDATE, VERSION, candidate_worker, rollout
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet
from tests.support.observed_fleet import Victim

QUEUE = 8
"""RAGFLEET_ADMISSION_QUEUE of the fleet: more at once are refused."""
KV_BLOCKS = 64
"""Of each simulated engine, 32 tokens each: two answers of LONG tokens fill them."""
LONG = 960
FAILING_FILES = 12
READY_S = 180.0


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, and the alerts that shall fire while it lasts and stop after it."""

    name: str
    alerts: Sequence[str]
    context: Callable[["Faults"], AbstractAsyncContextManager[None]]


class Faults:
    """Acts on one fleet."""

    def __init__(self, fleet: EmbeddedFleet) -> None:
        self._fleet = fleet
        self._victim = Victim(fleet)

    @asynccontextmanager
    async def instances_hang(self) -> AsyncIterator[None]:
        """All of them."""
        names = [each["name"] for each in self._fleet.instances]
        with _stopped([self._victim.pid(name) for name in names]):
            yield
        await self._victim.ready(len(names), seconds=READY_S)

    @asynccontextmanager
    async def consul_hangs(self) -> AsyncIterator[None]:
        """The agent."""
        found = self._victim.consul()
        assert found is not None
        with _stopped([found.pid]):
            yield

    @asynccontextmanager
    async def gateway_hangs(self) -> AsyncIterator[None]:
        """The only one."""
        with _stopped([self._victim.gateway_pid]):
            yield

    @asynccontextmanager
    async def too_many_ask(self) -> AsyncIterator[None]:
        """More than may wait."""
        async with self._clients(100, tokens=64, pause_s=0.5):
            yield

    @asynccontextmanager
    async def engines_fail(self) -> AsyncIterator[None]:
        """Now one, now the other, in the middle of its answers."""

        async def alternate() -> None:
            while True:
                for failing in self._fleet.instances:
                    for each in self._fleet.instances:
                        self._victim.fault(each["name"], {"error_at_token": 8} if each is failing else {})
                    await asyncio.sleep(3)

        async with self._clients(6, tokens=64), _running(alternate):
            yield
        await self._heal()

    @asynccontextmanager
    async def long_answers(self) -> AsyncIterator[None]:
        """As many as the engines' KV caches hold, and some that wait."""
        async with self._clients(8, tokens=LONG):
            yield

    @asynccontextmanager
    async def engine_stands(self) -> AsyncIterator[None]:
        """One engine makes no step, and its Triton is well."""
        async with self._clients(6, tokens=64):
            self._victim.fault("triton-0", {"stall": True})
            try:
                yield
            finally:
                await self._heal()

    @asynccontextmanager
    async def milvus_hangs(self) -> AsyncIterator[None]:
        """While a file waits to go in, and a deleted one to leave."""
        async with self._knowledge() as ask:
            store = (await ask("POST", "/v1/vector_stores", json={"name": "alerts"}))["id"]
            going = await _attached(ask, store, "going.md")
            await _completed(ask, store, going)
            with _stopped([self._victim.part_pid("milvus")]):
                await _attached(ask, store, "coming.md")
                await ask("DELETE", f"/v1/files/{going}")
                yield

    @asynccontextmanager
    async def contents_are_lost(self) -> AsyncIterator[None]:
        """Of files that are then attached."""
        async with self._knowledge() as ask:
            store = (await ask("POST", "/v1/vector_stores", json={"name": "lost"}))["id"]
            for number in range(FAILING_FILES):
                file = await _uploaded(ask, f"lost-{number}.md")
                shutil.rmtree(self._fleet.home / "objects" / "files" / file)
                await ask("POST", f"/v1/vector_stores/{store}/files", json={"file_id": file})
            yield

    @asynccontextmanager
    async def candidate_is_worse(self) -> AsyncIterator[None]:
        """An instance of another version, whose answers have other tokens, is tried in a roll-out."""
        ports = [each["http_port"] for each in self._fleet.instances]
        with candidate_worker(self._fleet, http_port=max(ports) + 10, engine={"vocab_size": 49_000}):
            await self._victim.until(
                lambda seen: seen.get(CANDIDATE, {}).get("state") == "ready", seconds=READY_S, what="a candidate"
            )
            await asyncio.to_thread(rollout, self._fleet, "start", VERSION, "--share", "50%")
            async with self._clients(4, tokens=16):
                yield
        await self._victim.ready(len(self._fleet.instances), seconds=READY_S)

    async def _heal(self) -> None:
        for each in self._fleet.instances:
            self._victim.fault(each["name"], {})
        await self._victim.ready(len(self._fleet.instances), seconds=READY_S)

    @asynccontextmanager
    async def _clients(self, count: int, *, tokens: int, pause_s: float = 0.1) -> AsyncIterator[None]:
        """So many clients, each asking again and again, whatever comes of it."""
        async with Client(self._fleet.port, self._fleet.key, deadline_s=60) as client:

            async def one(number: int) -> None:
                while True:
                    with suppress(Exception):
                        await client.ask(
                            self._fleet.model, f"Client {number} asks.", max_tokens=tokens, min_tokens=tokens
                        )
                    await asyncio.sleep(pause_s)

            async with _running(*((lambda n=n: one(n)) for n in range(count))):  # type: ignore[misc]
                yield

    @asynccontextmanager
    async def _knowledge(self) -> AsyncIterator[Callable[..., Awaitable[dict[str, str]]]]:
        """A function that calls the API and gives its JSON."""
        headers = {"authorization": f"Bearer {self._fleet.key}"}
        async with aiohttp.ClientSession(self._fleet.gateway_urls[0], headers=headers) as session:

            async def ask(method: str, path: str, **more: object) -> dict[str, str]:
                async with session.request(method, path, **more) as reply:  # type: ignore[arg-type]
                    reply.raise_for_status()
                    found: dict[str, str] = await reply.json()
                    return found

            yield ask


FAULTS = (
    Fault(
        "all instances hang",
        ("NothingServes", "InstanceOut", "SloBurnsFast", "SloBurns", "SloBurnsSlowly"),
        Faults.instances_hang,
    ),
    Fault("Consul hangs", ("ConsulAway",), Faults.consul_hangs),
    Fault("the gateway hangs", ("GatewayDown",), Faults.gateway_hangs),
    Fault("too many ask at once", ("RequestsRefused",), Faults.too_many_ask),
    Fault("engines fail in turn", ("StreamsMove",), Faults.engines_fail),
    Fault("long answers fill the KV caches", ("KvCacheFull",), Faults.long_answers),
    Fault("an engine makes no step", ("EngineStands",), Faults.engine_stands),
    Fault("Milvus hangs", ("IngestionStands", "RemovalsStand", "IngestionFallsBehind"), Faults.milvus_hangs),
    Fault("contents of files are lost", ("FilesFail",), Faults.contents_are_lost),
    Fault("a candidate is worse", ("RolloutRolledBack",), Faults.candidate_is_worse),
)
UNPROVED = {"GpuMemoryFull": "it wants a GPU"}


@contextmanager
def _stopped(pids: Sequence[int]) -> Iterator[None]:
    """Processes and their children, by SIGSTOP; those that are still there go on after it."""
    family = [
        each for pid in pids for parent in [psutil.Process(pid)] for each in (parent, *parent.children(recursive=True))
    ]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def _running(*works: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _uploaded(ask: Callable[..., Awaitable[dict[str, str]]], name: str) -> str:
    form = aiohttp.FormData({"purpose": "assistants"})
    form.add_field("file", f"# {name}\n\nParcels leave at noon.\n".encode(), filename=name)
    return (await ask("POST", "/v1/files", data=form))["id"]


async def _completed(ask: Callable[..., Awaitable[dict[str, str]]], store: str, file: str) -> None:
    """Until the file is in. Raises TimeoutError."""
    async with asyncio.timeout(READY_S):
        while True:
            if (await ask("GET", f"/v1/vector_stores/{store}/files/{file}"))["status"] == "completed":
                return
            await asyncio.sleep(0.5)


async def _attached(ask: Callable[..., Awaitable[dict[str, str]]], store: str, name: str) -> str:
    file = await _uploaded(ask, name)
    await ask("POST", f"/v1/vector_stores/{store}/files", json={"file_id": file})
    return file
