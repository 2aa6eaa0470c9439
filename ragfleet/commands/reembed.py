"""`ragfleet reembed`: another embedding model, while the index of the present one serves (docs/ingestion.md)."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ragfleet.console import Exit, Json, fail, output
from ragfleet.deployment import settings_of_the_fleet

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.knowledge.catalog.catalog import Catalog
    from gateway.knowledge.catalog.types import Collection

_COUNTED = 10_000


class ReembedStage(StrEnum):
    """What to do."""

    START = "start"
    STATUS = "status"
    SWITCH = "switch"
    ROLLBACK = "rollback"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class CollectionProgress:
    """One collection, and how far it is."""

    collection: "Collection"
    behind: int
    """Files to go; not counted beyond _COUNTED."""
    served_by: int | None
    """Instances that serve its model now; None where Consul did not say."""


def reembed(
    step: Annotated[ReembedStage, typer.Argument(help="start, status, switch, rollback or drop.")],
    model: Annotated[str, typer.Argument(help="For start: the new embedding model, as its instances call it.")] = "",
    *,
    dimension: Annotated[
        int | None,
        typer.Option(min=1, help="For start before any instance serves the model: the length of its vectors."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Embed everything with another model, beside the index that serves; then switch to it, or back."""
    from gateway.environment import ConfigError
    from gateway.errors import RagfleetError

    if step is ReembedStage.START and not model:
        raise fail("Name the model: ragfleet reembed start MODEL", Exit.USAGE)
    try:
        settings = settings_of_the_fleet()
        if settings is None:
            raise fail("The fleet is not running. Start it with: ragfleet up", Exit.NOT_RUNNING)
        found = asyncio.run(_take(step, settings, model, dimension))
    except (RagfleetError, ConfigError) as error:
        raise fail(str(error)) from None
    if as_json:
        sys.stdout.write(json.dumps([_plain(each) for each in found], indent=1) + "\n")
    else:
        _print(found)


async def _take(
    step: ReembedStage, settings: "Settings", model: str, dimension: int | None
) -> list[CollectionProgress]:
    """Do the step, and look what there is then."""
    from gateway.knowledge.catalog.catalog import Catalog, catalog_url

    catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
    try:
        if step is ReembedStage.START:
            await _start(catalog, settings, model, dimension)
        elif step is ReembedStage.SWITCH:
            await _to(catalog, "building", "'ragfleet reembed rollback' goes to the previous one")
        elif step is ReembedStage.ROLLBACK:
            await _to(catalog, "previous", "'ragfleet reembed switch' goes to one that is built")
        elif step is ReembedStage.DROP:
            await _drop(catalog, settings)
        collections = await catalog.collections.all()
        serving = await _serving(settings)
        return [
            CollectionProgress(
                each,
                len(await catalog.collections.behind(each.name, limit=_COUNTED)),
                None if serving is None else serving.count(each.embedding_model),
            )
            for each in collections
        ]
    finally:
        await catalog.close()


async def _start(catalog: "Catalog", settings: "Settings", model: str, dimension: int | None) -> None:
    from gateway.knowledge.index import collection_name

    if dimension is None:
        dimension = await _dimension(settings, model)
    await catalog.collections.add(collection_name(model), embedding_model=model, dimension=dimension)


async def _to(catalog: "Catalog", state: str, otherwise: str) -> None:
    """Switch to the newest collection in that state."""
    names = [each.name for each in await catalog.collections.all() if each.state.value == state]
    if not names:
        raise fail(f"There is no {state} collection to switch to; {otherwise}.")
    await catalog.collections.switch(names[-1])


async def _drop(catalog: "Catalog", settings: "Settings") -> None:
    """Remove every collection that is not the active one, from the catalog first: what is not there is written by nobody."""
    from gateway.knowledge.index import MilvusIndex

    index = MilvusIndex.from_settings(settings)
    try:
        for name in [each.name for each in await catalog.collections.all() if each.state.value != "active"]:
            await catalog.collections.drop(name)
            await index.drop(name)
    finally:
        await index.close()


async def _serving(settings: "Settings") -> list[str] | None:
    """The embedding model of each instance that passes its checks; None where Consul does not answer."""
    import aiohttp

    from gateway.fleet.consul_health import read_entries
    from gateway.tls import client_context

    url = f"{settings.consul_url.rstrip('/')}/v1/health/service/ragfleet-triton"
    headers = {"X-Consul-Token": settings.consul_token} if settings.consul_token else {}
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        connector = aiohttp.TCPConnector(ssl=client_context(settings))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.get(url, headers=headers) as answer,
        ):
            answer.raise_for_status()
            reported = read_entries(await answer.json())
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
    return [each.member.instance.embedding_model for each in reported.values() if each.member.healthy]


async def _dimension(settings: "Settings", model: str) -> int:
    """Of the vectors that an instance with this model makes."""
    import time

    import aiohttp

    from gateway.fleet.discovery import ConsulDiscovery
    from gateway.fleet.fleet_state import FleetState
    from gateway.ingestion.chunk_embedder import FleetEmbedder
    from gateway.tls import client_context

    served = await _serving(settings)
    if served is None:
        raise fail(f"Consul at {settings.consul_url} does not answer: set RAGFLEET_CONSUL_URL, or give --dimension.")
    if model not in served:
        there = ", ".join(sorted(set(served))) or "nothing"
        raise fail(
            f"No instance serves the embedding model '{model}' (they serve: {there}). Start workers with RAGFLEET_EMBEDDING_DIR, "
            f"a folder of that name; or give --dimension, and start them later."
        )
    store = FleetState(time.monotonic)
    tls = client_context(settings)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http:
        following = asyncio.create_task(
            ConsulDiscovery(settings.consul_url, store=store, token=settings.consul_token, tls=tls).run()
        )
        try:
            vectors = await FleetEmbedder(store, http, tls=settings.triton_tls, deadline_s=20).embed(
                model, ["dimension"]
            )
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return int(vectors.shape[1])


def _plain(progress: CollectionProgress) -> dict[str, object]:
    each = progress.collection
    return {
        "name": each.name,
        "state": each.state.value,
        "embedding_model": each.embedding_model,
        "dimension": each.dimension,
        "behind": progress.behind,
        "served_by": progress.served_by,
    }


def _print(found: Sequence[CollectionProgress]) -> None:
    console = output()
    if not found:
        console.print("There is no collection yet: nothing was ever brought in.")
    for progress in found:
        each = progress.collection
        more = "or more " if progress.behind >= _COUNTED else ""
        console.print(
            f"{each.name}  {each.state.value:8}  {escape(each.embedding_model)} ({each.dimension} dimensions)  "
            + (f"{progress.behind} {more}files to go" if progress.behind else "complete")
            + (", [yellow]no instance serves this model[/yellow]" if progress.served_by == 0 else "")
        )
