"""`ragfleet reconcile`: whether catalog, object store and index agree."""

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ragfleet.console import Exit, Json, fail, output
from ragfleet.deployment import settings_of_the_fleet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Settings
    from gateway.knowledge.reconcile import Difference, Report

_SHOWN = 50


def reconcile(
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Write missing rows again, and remove orphans.")] = False,
    as_json: Json = False,
) -> None:
    """Compare files and stores in SQL, contents, and rows in Milvus. Where they differ the exit status is 1, unless all of it is
    being repaired."""
    from gateway.environment import ConfigError
    from gateway.errors import RagfleetError

    try:
        settings = settings_of_the_fleet()
        if settings is None:
            raise fail("The fleet is not running. Start it with: ragfleet up", Exit.NOT_RUNNING)
        report, left = asyncio.run(_reconcile(settings, repair=repair))
    except (RagfleetError, ConfigError) as error:
        raise fail(f"The comparison did not finish: {error}") from None
    if as_json:
        sys.stdout.write(json.dumps(_plain(report, left, repaired=repair), indent=1) + "\n")
    else:
        _print(report, left, repaired=repair)
    if left:
        raise typer.Exit(Exit.FAILED)


async def _reconcile(settings: "Settings", *, repair: bool) -> "tuple[Report, Sequence[Difference]]":
    """What differs, and what of it stays so."""
    from gateway.knowledge import reconcile
    from gateway.knowledge.catalog.catalog import Catalog, catalog_url
    from gateway.knowledge.index import MilvusIndex
    from gateway.knowledge.objects import object_store

    objects = object_store(settings)
    catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
    index = MilvusIndex.from_settings(settings)
    try:
        report = await reconcile.reconcile(catalog, index, objects)
        left = await reconcile.repair(catalog, report.differences) if repair else report.differences
    finally:
        await index.close()
        await catalog.close()
    return report, left


def _plain(report: "Report", left: "Sequence[Difference]", *, repaired: bool) -> dict[str, Any]:
    return {
        "agree": not report.differences,
        "files": report.files,
        "members": report.members,
        "jobs": report.jobs,
        "removals": report.removals,
        "refilling": report.refilling,
        "differences": [
            {
                "kind": each.kind.value,
                "tenant": each.tenant,
                "store_id": each.store_id,
                "file_id": each.file_id,
                "collection": each.collection,
                "generation": each.generation,
                "detail": each.detail,
                "being_repaired": repaired and each not in left,
            }
            for each in report.differences
        ],
    }


def _print(report: "Report", left: "Sequence[Difference]", *, repaired: bool) -> None:
    console = output()
    for each in report.differences[:_SHOWN]:
        what = f"{each.store_id}/{each.file_id}" if each.store_id else each.file_id
        where = f" in {each.collection}" if each.collection else ""
        console.print(escape(f"{each.kind.value:14} {what}{where}: {each.detail}"))
    if (more := len(report.differences) - _SHOWN) > 0:
        console.print(f"… and {more} more (--json has all)")
    console.print(
        f"{report.files} files, {report.members} in stores; {report.jobs} jobs and {report.removals} removals under way,"
        f" {report.refilling} still to be embedded for another collection."
    )
    if not report.differences:
        console.print("[green]Catalog, objects and index agree.[/green]")
    elif repaired:
        begun = len(report.differences) - len(left)
        console.print(f"{begun} of {len(report.differences)} differences are being repaired; look again shortly.")
        if left:
            console.print(
                "[red]What is lost: upload a content again; detach and attach a file whose converted text is missing.[/red]"
            )
    else:
        console.print(f"[red]{len(report.differences)} differences.[/red] To repair them: ragfleet reconcile --repair")
