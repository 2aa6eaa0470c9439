"""What a fleet is made to go through, so that each panel has something to show: work, refusals, failures, losses, pauses."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from os import environ
from pathlib import Path

import psutil

from ragfleet.paths import PROJECT
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet
from tests.support.observed_fleet import Victim

DEADLINE_S = 120.0
"""For each event to be seen in the gateway's metrics."""
CLIENTS = 12
QUEUE = 8
"""Requests that may wait in the fleet (RAGFLEET_ADMISSION_QUEUE), so that a burst is refused."""


class Load:
    """Acts on one fleet."""

    def __init__(self, fleet: EmbeddedFleet) -> None:
        self._fleet = fleet
        self._victim = Victim(fleet)

    @asynccontextmanager
    async def steady(self) -> AsyncIterator[None]:
        """Streamed chats all the time, a third of them with knowledge."""
        async with Client(self._fleet.port, self._fleet.key, deadline_s=60) as client:

            async def one(number: int) -> None:
                model = "rag" if number % 3 == 0 else self._fleet.model
                for turn in count():
                    with suppress(Exception):
                        await client.ask(
                            model, f"Question {turn} of {number}: how long is the warranty?", max_tokens=64
                        )
                    await asyncio.sleep(0.2)

            tasks = [asyncio.create_task(one(number)) for number in range(CLIENTS)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def everything(self, told: Callable[[str], None]) -> None:
        """One event after the other, each until the metrics have it; told of what did not come."""
        for what, act in (
            ("a burst is refused", self._burst),
            ("an engine refuses its requests", self._refuse),
            ("a request in a Triton comes too late", self._late),
            ("an instance is killed", self._kill),
            ("the vector database hangs", self._hang),
        ):
            told(what)
            try:
                await act()
            except TimeoutError as error:  # its panel will have no rows
                told(f"{what}: {error}")

    async def ingest(self) -> None:
        """The example handbook; there is knowledge to ask after it."""
        await self._ragfleet("ingest", str(PROJECT / "examples" / "handbook" / "documents"))
        await self._until("ragfleet_ingestion_chunks_total")

    async def _burst(self) -> None:
        async def refused() -> None:
            async with Client(self._fleet.port, self._fleet.key, deadline_s=60) as client:
                asked = (client.ask(self._fleet.model, f"At once, number {n}", max_tokens=64) for n in range(150))
                await asyncio.gather(*asked)

        await self._until("ragfleet_admission_refused_total", again=refused)

    async def _refuse(self) -> None:
        """Until one of them has been tried again elsewhere; the engine is then healed."""
        self._victim.fault("triton-0", {"reject": True})
        try:
            await self._until("ragfleet_retries_total")
        finally:
            self._victim.fault("triton-0", {})
        await self._victim.ready(len(self._fleet.instances), seconds=DEADLINE_S)

    async def _late(self) -> None:
        """Triton counts as failed what it never gives to a model; an error that a model answers it does not count (2.51)."""
        ports = self._fleet.instances[0]
        url = f"http://127.0.0.1:{ports['http_port']}/v2/models/detokenize/infer"
        ids = {"name": "output_ids", "shape": [1, 1, 1], "datatype": "INT32", "data": [5]}
        body = json.dumps({"parameters": {"timeout": 1}, "inputs": [ids]}).encode()

        async def send() -> None:
            with suppress(OSError):
                await asyncio.to_thread(urllib.request.urlopen, url, body, 5)

        await self._until("nv_inference_request_failure", port=ports["metrics_port"], again=send)

    async def _kill(self) -> None:
        async def kill() -> None:
            await self._victim.ready(len(self._fleet.instances), seconds=DEADLINE_S)
            self._victim.signal("triton-1", signal.SIGKILL)
            await asyncio.sleep(2)

        await self._until("ragfleet_migrations_total", again=kill)
        await self._until("ragfleet_ejections_total", again=kill)
        await self._victim.ready(len(self._fleet.instances), seconds=DEADLINE_S)

    async def _hang(self) -> None:
        """Files wait meanwhile, and go in after it. There may have been pauses before: the fleet's start is one."""
        before = await asyncio.to_thread(_value, self._fleet.port, "ragfleet_ingestion_pauses_total")
        parent = psutil.Process(self._victim.part_pid("milvus"))
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            process.send_signal(signal.SIGSTOP)
        try:
            files = self._fleet.home / "more"
            files.mkdir(exist_ok=True)
            (files / "late.md").write_text("# Late\n\nThe late file says that parcels leave at noon.\n")
            sync = asyncio.create_task(self._ragfleet("ingest", str(files)))
            await self._until("ragfleet_ingestion_pauses_total", above=before)
        finally:
            for process in family:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
        await sync

    async def _ragfleet(self, *words: str) -> None:
        """A command of the user's; what it says is not shown."""
        env = {**environ, "RAGFLEET_HOME": str(self._fleet.home)}
        argv = [sys.executable, "-m", "ragfleet", *words]
        await asyncio.to_thread(
            subprocess.run,
            argv,
            env=env,
            stdout=subprocess.DEVNULL,
            timeout=DEADLINE_S * 2,
            check=False,
            cwd=Path.cwd(),
        )

    async def _until(
        self, metric: str, *, above: float = 0.0, port: int = 0, again: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Until a counter, all its labels together, is above that. again: done after each look that finds it is not."""
        begun = time.monotonic()
        while True:
            if await asyncio.to_thread(_value, port or self._fleet.port, metric) > above:
                return
            if time.monotonic() - begun > DEADLINE_S:
                raise TimeoutError(f"{metric} stayed where it was for {DEADLINE_S:g} s")
            if again is not None:
                await again()
            await asyncio.sleep(0.5)


def _value(port: int, metric: str) -> float:
    """Of a counter, all its labels together; 0 where nobody answers."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric))
    return 0.0
