"""`ragfleet reembed`: another embedding model, while the index of the present one serves (docs/ingestion.md)."""

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ragfleet import plan
from ragfleet.console import fail, output
from ragfleet.home import home_from_environment

if TYPE_CHECKING:
    from gateway.knowledge.catalog.sql import SqlCatalog


class Step(StrEnum):
    """What to do."""

    START = "start"
    STATUS = "status"
    SWITCH = "switch"
    ROLLBACK = "rollback"
    DROP = "drop"


def reembed(
    step: Annotated[Step, typer.Argument(help="start, status, switch, rollback or drop.")],
    model: Annotated[str, typer.Argument(help="For start: the new embedding model, as its instances call it.")] = "",
    *,
    dimension: Annotated[int, typer.Option(min=1, help="For start: the length of its vectors.")] = 384,
) -> None:
    """Embed everything with another model, beside the index that serves; then switch to it, or back."""
    from gateway.config import ConfigError, Settings
    from gateway.errors import RagfleetError
    from gateway.knowledge.catalog.sql import SqlCatalog, catalog_url

    settings = Settings.from_env()
    home = home_from_environment()
    home.make()

    async def run() -> None:
        catalog = SqlCatalog(catalog_url(settings.catalog_url, home.root))
        try:
            if step is Step.START:
                await _start(catalog, model, dimension)
            elif step is Step.SWITCH:
                await _to(catalog, "building")
            elif step is Step.ROLLBACK:
                await _to(catalog, "previous")
            elif step is Step.DROP:
                wanted = plan.read(home.plan_file)
                await _drop(catalog, settings.milvus_uri if wanted is None else wanted.milvus)
            await _print(catalog)
        finally:
            await catalog.close()

    try:
        asyncio.run(run())
    except (RagfleetError, ConfigError) as error:
        raise fail(str(error)) from None


async def _start(catalog: "SqlCatalog", model: str, dimension: int) -> None:
    from gateway.knowledge.index import collection_name

    if not model:
        raise fail("Name the model: ragfleet reembed start MODEL --dimension N")
    await catalog.add_collection(collection_name(model), embedding_model=model, dimension=dimension)


async def _print(catalog: "SqlCatalog") -> None:
    console = output()
    collections = await catalog.collections()
    if not collections:
        console.print("There is no collection yet: nothing was ever brought in.")
    for each in collections:
        behind = len(await catalog.behind(each.name, limit=10_000))
        console.print(
            f"{each.name}  {each.state.value:8}  {escape(each.embedding_model)} ({each.dimension} dimensions)  "
            + (f"{behind} files to go" if behind else "complete")
        )


async def _drop(catalog: "SqlCatalog", milvus_uri: str) -> None:
    """Remove every collection that is not the active one, from the catalog first: what is not there is written by nobody."""
    from gateway.knowledge.index import MilvusIndex

    index = MilvusIndex(milvus_uri)
    try:
        for name in [each.name for each in await catalog.collections() if each.state.value != "active"]:
            await catalog.drop_collection(name)
            await index.drop(name)
    finally:
        await index.close()


async def _to(catalog: "SqlCatalog", state: str) -> None:
    """Switch to the newest collection in that state."""
    names = [each.name for each in await catalog.collections() if each.state.value == state]
    if not names:
        raise fail(f"There is no {state} collection to switch to.")
    await catalog.switch(names[-1])
