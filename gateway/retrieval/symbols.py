"""Names of source code, looked up in the catalog: where they are defined, who calls them, what a passage calls. Exact.

A name may stand with what it belongs to: `Door.open`, `house.door.Door`, `Door::open`, `Door#open`, `open()`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

from gateway.knowledge.catalog.code_types import NAMED_BY_FOLDER, FoundName, NameRole
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Store
from gateway.retrieval.passage import Passage
from gateway.tenants.tenant import Tenant

MAX_NAMES = 16
"""That are looked up for one question."""
_ONE_NAME = re.compile(r"[^\W\d]\w*(?:(?:\.|::|#|->)[^\W\d]\w*)*(?:\(\))?")
_KINDS: Mapping[str, int] = {"class": 0, "function": 1, "constant": 2, "field": 3}


def is_name(text: str) -> bool:
    """Whether a question is nothing but a name, as source code has them."""
    return len(text) <= 200 and _ONE_NAME.fullmatch(text) is not None


def parts_of(name: str) -> list[str]:
    """A qualified name's, from the outermost."""
    return [part for part in re.split(r"\.|::|#|->", name.removesuffix("()")) if part]


class SymbolLookup:
    """The catalog as questions about source code ask it. One for the life of the application."""

    def __init__(self, catalog: Callable[[Tenant], TenantCatalog]) -> None:
        self._catalog = catalog

    async def definitions(self, tenant: Tenant, stores: Sequence[Store], names: Sequence[str]) -> Sequence[FoundName]:
        """Of these names, in their order; of each name the likeliest first: what fits with all that it is qualified by, types
        before functions before constants, what is not a test before tests. Raises CatalogUnavailable."""
        wanted = {name: parts for name in names[:MAX_NAMES] if (parts := parts_of(name))}
        pairs = [(parts[-1], parts[-2] if len(parts) > 1 else "") for parts in wanted.values()]
        found = await self._catalog(tenant).code_names.find([store.id for store in stores], pairs)
        ordered: dict[tuple[str, int, int], FoundName] = {}
        for parts in wanted.values():
            outer = parts[:-1]
            fitting = [each for each in found if each.record.name == parts[-1] and _fit(each, outer)]
            for each in sorted(fitting, key=partial(_rank, outer=outer)):
                ordered.setdefault((each.file_id, each.chunk.index, each.record.line), each)
        return list(ordered.values())

    async def uses(self, tenant: Tenant, stores: Sequence[Store], names: Sequence[str]) -> Sequence[FoundName]:
        """Calls and imports of these names, of whatever they are qualified by; what is not a test first."""
        last = [(parts[-1], "") for name in names[:MAX_NAMES] if (parts := parts_of(name))]
        ids = [store.id for store in stores]
        found = await self._catalog(tenant).code_names.find(ids, last, [NameRole.CALL, NameRole.IMPORT])
        return sorted(
            found, key=lambda each: (each.record.role is NameRole.IMPORT, is_test(path_of(each)), path_of(each))
        )

    async def called_in(
        self, tenant: Tenant, stores: Sequence[Store], passages: Sequence[Passage]
    ) -> Sequence[FoundName]:
        """Definitions of what passages call, where it is clear which one is meant: one has the name, or one that is no test."""
        places = [(each.store_id, each.file_id, each.index) for each in passages]
        names = list(await self._catalog(tenant).code_names.called_in(places))[:MAX_NAMES]
        found = await self._catalog(tenant).code_names.find(
            [store.id for store in stores], [(name, "") for name in names]
        )
        clear = []
        for name in names:
            there = [each for each in found if each.record.name == name]
            chosen = [each for each in there if not is_test(path_of(each))] or there
            if len(chosen) == 1:
                clear.append(chosen[0])
        return clear


def passage_of(found: FoundName) -> Passage:
    """The chunk that has a name; a lookup is no guess, so its score is 1."""
    chunk = found.chunk
    return Passage(
        store_id=found.store_id,
        file_id=found.file_id,
        filename=found.filename,
        index=chunk.index,
        text=chunk.text,
        score=1.0,
        attributes=found.attributes,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
    )


def path_of(found: FoundName | Passage) -> str:
    """Of its file: the attribute `path`, else its name."""
    return str(found.attributes.get("path") or found.filename)


def _fit(found: FoundName, outer: Sequence[str]) -> int:
    """How path and scope fit with what a name is qualified by: 2 where they are all of it, 1 where they end with it
    (`serving.doors.Door` in `house/serving/doors.py`), 0 where they do not fit."""
    path = PurePosixPath(path_of(found))
    scope = found.record.scope.split(".") if found.record.scope else []
    files = [[*path.parts[:-1], path.stem]] + ([list(path.parts[:-1])] if path.stem in NAMED_BY_FOLDER else [])
    around = [[*file, *scope] for file in files]
    if any(each == list(outer) for each in around):
        return 2
    return int(not outer or any(each[-len(outer) :] == list(outer) for each in around))


def _rank(found: FoundName, outer: Sequence[str]) -> tuple[int, bool, int, int, str]:
    record, path = found.record, path_of(found)
    depth = record.scope.count(".") + bool(record.scope)
    return -_fit(found, outer), is_test(path), _KINDS.get(record.kind, 9), depth, path


def is_test(path: str) -> bool:
    """Whether a file is one of tests, by the habits of many languages."""
    parts = PurePosixPath(path)
    return any(part in ("test", "tests", "testing", "__tests__") for part in parts.parts[:-1]) or bool(
        re.match(r"(?:test_|conftest\.)|.*(?:_test|\.test|\.spec)\.[^.]+$", parts.name)
    )
