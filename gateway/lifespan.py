"""A gateway's life: what runs beside its requests, what is closed at the end, how it drains before."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.container import Container
from gateway.fleet.model_memory import ModelMemory
from gateway.knowledge.catalog.known_models import CatalogModels
from gateway.supervision import supervised

GC_THRESHOLD = 20_000
"""New objects until the collector looks for cycles; Python's 700 are a few requests, each of which leaves next to none."""


@asynccontextmanager
async def running(gateway: Container) -> AsyncIterator[None]:
    """Start the background tasks; on leaving end them."""
    if not gateway.settings.catalog_url:
        gateway.settings.home.mkdir(parents=True, exist_ok=True)  # the catalog lies there
    # What is loaded by now stays: the collector need not look at it again and again between tokens.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        async with supervised(_loops(gateway)):
            yield
    finally:
        await _close(gateway)


def _loops(gateway: Container) -> dict[str, Callable[[], Awaitable[None]]]:
    """What runs until the end, by its name in logs."""
    loops: dict[str, Callable[[], Awaitable[None]]] = {
        "tenants": gateway.tenants_sync.run,
        "use of keys": gateway.tenants_sync.write_use,
        "discovery": gateway.discovery.run,
        "scraper": gateway.scraper.run,
        "streams": gateway.streams.run,
        "rescue": gateway.registry.run,
        "ingestion's queue": gateway.ingestion_monitor.run,
        "quotas": gateway.quotas.run,
        "background answers": gateway.background.run,
        "journals": gateway.background.commit,
        "other gateways": gateway.background.watch,
        "ledger": gateway.ledger.run,
        "batches": gateway.batches.run,
        "roll-out": gateway.rollouts_sync.run,
        "demand": gateway.demand.run,
    }
    if gateway.settings.start_wait_s:
        loops["known models"] = ModelMemory(gateway.models, CatalogModels(gateway.catalog.database)).run
    if gateway.siblings is not None:
        loops["other processes"] = gateway.siblings.run
    if gateway.tokens is not None:
        loops["identity provider's keys"] = gateway.tokens.jwks.run
    if gateway.ingestion is not None:
        loops["ingestion"] = gateway.ingestion.run
    return loops


async def _close(gateway: Container) -> None:
    """Answers first, then what they stand on."""
    await gateway.generator.close()
    await gateway.batches.close()
    await gateway.background.close()
    gateway.pool.close()
    gateway.tokenizing.shutdown(wait=False, cancel_futures=True)
    await gateway.quotas.close()
    await gateway.ledger.close()
    await gateway.accounts.close()
    await gateway.catalog.close()
    await gateway.tracing.close()


async def drain(gateway: Container) -> None:
    """Refuse what is new with a 503 that says so, and wait for the running answers, up to the deadline."""
    gateway.draining = True
    admissions = gateway.admission, gateway.retrieval_admission
    for admission in admissions:
        admission.drain()
    end = time.monotonic() + gateway.settings.drain_deadline_s
    while any(admission.held for admission in admissions) and time.monotonic() < end:  # noqa: ASYNC110 - some looks at a shutdown need no event
        await asyncio.sleep(0.05)
