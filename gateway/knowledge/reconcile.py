"""Whether catalog, object store and index agree, and what brings them together again where they do not.

The catalog is right. What the index lacks is written anew by the ingestion, out of the chunks in SQL; what it or the object store
has too much leaves a removal, which the ingestion does, too: a collection has one writer. What a job or a removal is already
about is no difference, and neither is what a second look does not find again: all three are changed while they are compared.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from gateway.errors import NotFound
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.ingestion_types import Removal
from gateway.knowledge.catalog.types import Collection, CollectionState, FileState, Member
from gateway.knowledge.index import ChunkIndex
from gateway.knowledge.objects import ObjectStore, Stored, content_key, document_key

_PAGE = 1000
_REMOVALS = 100_000
GRACE_S = 3600.0
"""An object without a file is an upload that goes on until it is so old."""


class DifferenceKind(StrEnum):
    """In what two of the three differ."""

    MISSING_ROWS = "missing_rows"
    """A completed member has not its rows in a collection (or others than it has chunks, or newer ones)."""
    BEHIND = "behind"
    """A completed member was never written to the active collection in its present generation, and no job is about to."""
    ORPHAN_ROWS = "orphan_rows"
    """Rows of nothing that the catalog knows, of a member that failed or was cancelled, or of an older generation."""
    MISSING_OBJECT = "missing_object"
    """A file's content is not there, or not of its size. Nothing here can bring it back: upload it again."""
    MISSING_DOCUMENT = "missing_document"
    """The converted text of a completed member is not there. It is made again when the file is attached to a store anew."""
    ORPHAN_OBJECT = "orphan_object"
    """Objects of no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs. Two looks found the same where these are equal; `detail` says it to people."""

    kind: DifferenceKind
    file_id: str
    tenant: str = ""
    """Empty for an object: it does not know whose it is."""
    store_id: str | None = None
    collection: str | None = None
    generation: int | None = None
    """Of a member in the catalog; of rows of no member the newest one's."""
    detail: str = field(default="", compare=False)
    member: Member | None = field(default=None, compare=False, repr=False)
    newest: int = field(default=0, compare=False)
    """The highest generation that was seen in rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was compared, and what differs."""

    files: int
    members: int
    jobs: int
    """Members that are being brought in, or wait for it."""
    removals: int
    """Removals that are still to be done."""
    refilling: int
    """Completed members that a collection beside the active one lacks still."""
    differences: Sequence[Difference]


async def reconcile(
    catalog: Catalog,
    index: ChunkIndex,
    objects: ObjectStore,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    settle_s: float = 2.0,
) -> Report:
    """Compare the three; where they differ once more after `settle_s`, and in what they did both times.

    Raises CatalogUnavailable, KnowledgeUnavailable and ObjectsUnavailable.
    """
    first = await _compare(catalog, index, objects, clock)
    if not first.differences:
        return first
    await sleep(settle_s)
    second = await _compare(catalog, index, objects, clock)
    seen = set(first.differences)
    both = [each for each in second.differences if each in seen]
    return replace(second, differences=both)


async def repair(catalog: Catalog, differences: Sequence[Difference]) -> Sequence[Difference]:
    """Leave jobs and removals that end the differences; those that nothing here can end are given back."""
    lost = []
    rewritten: dict[tuple[str, str], tuple[Member, int]] = {}
    for each in differences:
        if each.kind in (DifferenceKind.MISSING_OBJECT, DifferenceKind.MISSING_DOCUMENT):
            lost.append(each)
        elif each.kind in (DifferenceKind.MISSING_ROWS, DifferenceKind.BEHIND):
            assert each.member is not None
            key = each.member.store_id, each.member.file_id
            newest = rewritten[key][1] if key in rewritten else 0
            rewritten[key] = each.member, max(newest, each.newest)
        elif each.kind is DifferenceKind.ORPHAN_OBJECT:
            await catalog.inventory.remove(each.tenant, None, each.file_id, None)
        else:
            await catalog.inventory.remove(each.tenant, each.store_id, each.file_id, each.newest)
    for member, newest in rewritten.values():
        await catalog.inventory.rewrite([member], above=newest)
    return lost


async def _compare(catalog: Catalog, index: ChunkIndex, objects: ObjectStore, clock: Callable[[], float]) -> Report:
    # Removals are read before and after: one may be done, another one begin, while the rest is read.
    removals = list(await catalog.removals.first(limit=_REMOVALS))
    collections = await catalog.collections.all()
    held = {each.name: await index.members(each.name) for each in collections}
    behind = {each.name: await _behind(catalog, each.name) for each in collections}
    members = {(each.store_id, each.file_id): each async for each in _members(catalog)}
    converted = {
        each.file_id: each.tenant for each in members.values() if each.state is FileState.COMPLETED and not each.pending
    }
    files, found = await _objects(catalog, objects, converted, clock() - GRACE_S)
    left = await catalog.removals.first(limit=_REMOVALS)
    for collection in collections:
        name = collection.name
        found += _rows(collection, members, held[name], behind[name])
    removals += left
    return Report(
        files=files,
        members=len(members),
        jobs=sum(each.pending for each in members.values()),
        removals=len(left),
        refilling=sum(len(behind[each.name]) for each in collections if each.state is not CollectionState.ACTIVE),
        differences=_not_begun(found, removals),
    )


def _rows(
    collection: Collection,
    members: Mapping[tuple[str, str], Member],
    held: Mapping[tuple[str, str, str], Mapping[int, int]],
    behind: set[tuple[str, str]],
) -> list[Difference]:
    """How the rows of one collection differ from the catalog."""
    found = []
    for (tenant, store, file), rows in held.items():
        member = members.get((store, file))
        if member is None or member.tenant != tenant:
            detail = f"{sum(rows.values())} rows of no member"
        elif member.state is not FileState.COMPLETED and not member.pending:
            detail = f"{sum(rows.values())} rows of a member that is {member.state.value}"
        else:
            continue
        found.append(_orphan(collection, (tenant, store, file), rows, detail))
    for member in members.values():
        if member.pending or member.state is not FileState.COMPLETED:
            continue
        owner = member.tenant, member.store_id, member.file_id
        rows = held.get(owner, {})
        number, newest = rows.get(member.generation, 0), max(rows, default=0)
        old = {generation: count for generation, count in rows.items() if generation < member.generation}
        if owner[1:] in behind:
            if collection.state is CollectionState.ACTIVE:
                found.append(
                    _lacking(DifferenceKind.BEHIND, collection, member, newest, "never written in this generation")
                )
        elif newest > member.generation:
            detail = f"rows of generation {newest}, newer than the catalog's {member.generation}"
            found.append(_lacking(DifferenceKind.MISSING_ROWS, collection, member, newest, detail))
        elif number != member.chunk_count:
            detail = f"{number} rows for {member.chunk_count} chunks"
            found.append(_lacking(DifferenceKind.MISSING_ROWS, collection, member, newest, detail))
        elif old:
            found.append(_orphan(collection, owner, old, f"{sum(old.values())} rows of older generations"))
    return found


def _lacking(kind: DifferenceKind, collection: Collection, member: Member, newest: int, detail: str) -> Difference:
    return Difference(
        kind=kind,
        tenant=member.tenant,
        store_id=member.store_id,
        file_id=member.file_id,
        collection=collection.name,
        generation=member.generation,
        detail=detail,
        member=member,
        newest=newest,
    )


def _orphan(collection: Collection, owner: tuple[str, str, str], rows: Mapping[int, int], detail: str) -> Difference:
    tenant, store, file = owner
    newest = max(rows)
    return Difference(
        kind=DifferenceKind.ORPHAN_ROWS,
        tenant=tenant,
        store_id=store,
        file_id=file,
        collection=collection.name,
        generation=newest,
        detail=detail,
        newest=newest,
    )


async def _objects(
    catalog: Catalog, objects: ObjectStore, converted: Mapping[str, str], before: float
) -> tuple[int, list[Difference]]:
    """The number of files, and how the object store differs from them.

    converted: files that have a converted text, with their tenants.
    """
    found = []
    sizes: dict[str, int] = {}
    documents: set[str] = set()
    strangers: dict[str, Stored] = {}  # an object each
    async for each in objects.listed("files/"):
        file_id = each.key.split("/")[1]
        strangers.setdefault(file_id, each)
        if each.key == content_key(file_id):
            sizes[file_id] = each.size
        elif each.key == document_key(file_id):
            documents.add(file_id)
    files = 0
    after: str | None = None
    while page := await catalog.inventory.files(limit=_PAGE, after=after):
        files, after = files + len(page), page[-1].id
        for file in page:
            strangers.pop(file.id, None)
            if sizes.get(file.id) == file.size:
                continue
            try:  # what came after the listing
                size = await objects.size(content_key(file.id))
                detail = "" if size == file.size else f"{size} bytes of {file.size}"
            except NotFound:
                detail = "the content is not there"
            if detail:
                found.append(
                    Difference(kind=DifferenceKind.MISSING_OBJECT, tenant=file.tenant, file_id=file.id, detail=detail)
                )
    for file_id in sorted(converted.keys() - documents):
        detail = "the converted text is not there: detach the file from its store and attach it again"
        found.append(
            Difference(kind=DifferenceKind.MISSING_DOCUMENT, tenant=converted[file_id], file_id=file_id, detail=detail)
        )
    for file_id, stranger in strangers.items():
        if stranger.modified < before:
            found.append(
                Difference(kind=DifferenceKind.ORPHAN_OBJECT, file_id=file_id, detail=f"{stranger.key} is of no file")
            )
    return files, found


def _not_begun(found: Sequence[Difference], removals: Iterable[Removal]) -> list[Difference]:
    """Those that no removal is about already."""
    of_files, of_stores = set(), set()
    of_members: dict[tuple[str, str], int | None] = {}
    for each in removals:
        if each.store_id is None:
            of_files.add(each.file_id)
        elif each.file_id is None:
            of_stores.add(each.store_id)
        else:
            key = each.store_id, each.file_id
            known = of_members.get(key, 0)
            of_members[key] = None if known is None or each.generation is None else max(known, each.generation)
    left = []
    for difference in found:
        if difference.kind is DifferenceKind.ORPHAN_OBJECT and difference.file_id in of_files:
            continue
        if difference.kind is DifferenceKind.ORPHAN_ROWS:
            assert difference.store_id is not None
            upto = of_members.get((difference.store_id, difference.file_id), 0)
            if difference.store_id in of_stores or upto is None or upto >= difference.newest:
                continue
        left.append(difference)
    return left


async def _behind(catalog: Catalog, collection: str) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    after: tuple[str, str] | None = None
    while page := await catalog.collections.behind(collection, limit=_PAGE, after=after):
        after = page[-1].store_id, page[-1].file_id
        found |= {(each.store_id, each.file_id) for each in page}
    return found


async def _members(catalog: Catalog) -> AsyncIterator[Member]:
    after: tuple[str, str] | None = None
    while page := await catalog.inventory.members(limit=_PAGE, after=after):
        after = page[-1].store_id, page[-1].file_id
        for each in page:
            yield each
