"""The gateway's own dispatch over instances that are named by hand: placement, streams, scraping, migration.

Consul and the HTTP side of the gateway are left out: they know nothing of GPUs, and what they stand on is not on every machine
that has one.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.gpu.triton import MODEL
from gateway.admission import Admission
from gateway.config import Settings
from gateway.dispatch.attempts import Attempt
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.migrating_generation import Generator
from gateway.dispatch.streams import StreamRegistry
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.outlier_detection import OutlierDetector, OutlierSettings
from gateway.fleet.scraper import MetricsScraper
from gateway.fleet.view import FleetMember, Instance
from gateway.metrics import Metrics
from gateway.routing import PlacementRequest, Placer, policies
from gateway.supervision import supervised
from gateway.triton.connection import Pool, get
from gateway.triton.llm import TokenStreams

SCRAPED_S = 10.0
GREEDY: dict[str, Any] = {"end_id": -1, "runtime_top_k": 1}


@dataclass(slots=True)
class Answer:
    """One generation, over."""

    ids: list[int]
    attempts: Sequence[Attempt] = field(default=())

    @property
    def moved(self) -> bool:
        """Whether an instance was lost under it after its first token."""
        return any(attempt.cause != "end" and attempt.tokens for attempt in self.attempts)


class DispatchingFleet:
    """What benchmarks ask of it. Made by `dispatching`."""

    def __init__(self, store: FleetState, pool: Pool, generator: Generator) -> None:
        self.store = store
        self.pool = pool
        self.generator = generator
        self.tokens = 0
        """Ids that came, of all answers."""

    async def answer(self, prompt: Sequence[int], length: int) -> Answer:
        """Exactly `length` greedy ids."""
        job = PlacementRequest(
            request_id=f"{random.getrandbits(64):x}", model=MODEL, prompt_ids=prompt, max_tokens=length
        )
        generation = self.generator.begin(job, GREEDY)
        generation.relay(self._count)
        try:
            while ids := await generation.next():
                self._count(ids)
        finally:
            generation.close()
        return Answer(list(generation.journal), list(generation.attempts))

    async def answers(self, prompts: Sequence[Sequence[int]], length: int) -> list[Answer]:
        """All at once, in their order."""
        return await asyncio.gather(*(self.answer(prompt, length) for prompt in prompts))

    def _count(self, ids: list[int]) -> bool:
        self.tokens += len(ids)
        return True


@asynccontextmanager
async def dispatching(instances: Sequence[Instance]) -> AsyncIterator[DispatchingFleet]:
    """Every instance has been scraped once when the block begins."""
    settings, rng = Settings(), random.Random()
    pool, store = Pool(connect_deadline_s=settings.connect_deadline_s), FleetState(time.monotonic)
    detector = OutlierDetector(OutlierSettings(), time.monotonic)
    placer = Placer(policies.build(settings.policy, rng), time.monotonic, rng)
    streams = TokenStreams(
        pool, first_token_deadline_s=settings.first_token_deadline_s, token_deadline_s=settings.token_deadline_s,
        gather_s=settings.gather_s,
    )  # fmt: skip
    dispatcher = Dispatcher(store, placer, detector)
    registry = StreamRegistry(store, detector, dispatcher)
    generator = Generator(
        dispatcher=dispatcher, streams=streams, registry=registry, settings=settings,
        prefills=Admission(lambda: sys.maxsize), slots=Admission(lambda: sys.maxsize), metrics=Metrics(),
    )  # fmt: skip

    scraped: set[str] = set()

    def on_scrape(name: str, answered: bool) -> None:
        placer.update(store.view, (name,))
        detector.scraped(name, answered)
        if answered:
            scraped.add(name)

    scraper = MetricsScraper(store, partial(get, pool), on_scrape=on_scrape)
    for follow in (detector.follow, placer.update):
        store.subscribe(follow)
    async with supervised({"scraper": scraper.run, "streams": streams.run, "registry": registry.run}):
        store.set_members([FleetMember(instance) for instance in instances])
        async with asyncio.timeout(SCRAPED_S):
            while len(scraped) < len(instances):  # noqa: ASYNC110 - a look at a start needs no event
                await asyncio.sleep(0.05)
        try:
            yield DispatchingFleet(store, pool, generator)
        finally:
            pool.close()
