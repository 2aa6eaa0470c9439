"""Names in source code: where they are defined, what calls them, what a chunk calls. Exact, unlike a search."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.code_types import NAMED_BY_FOLDER, FoundName, NameRecord, NameRole
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.types import ChunkRecord, FileState
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_names, _chunks, _members = schema.code_names, schema.chunks, schema.members
MOST = 200
"""Rows that are told of one name."""


class TenantCodeNames:
    """Of one tenant's stores, in files that its key may see and that are completed."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._visibility = Visibility(database, tenant)

    async def find(
        self,
        store_ids: Sequence[str],
        names: Sequence[tuple[str, str]],
        roles: Sequence[NameRole] = (NameRole.DEFINITION,),
    ) -> Sequence[FoundName]:
        """Where these names stand in these roles, at most MOST of each, by the names of their files.

        names: each with what it is in, a type or a file without its ending; "" for wherever it is. Raises CatalogUnavailable.
        """
        if not store_ids or not names:
            return []
        check_storable(*store_ids, *(part for pair in names for part in pair))
        query = self._seen(store_ids).where(_names.c.role.in_([role.value for role in roles]))
        query = query.order_by(_members.c.filename, _names.c.file_id, _names.c.position).limit(MOST)
        found: list[FoundName] = []
        async with self._database.read() as connection:
            for name, outer in dict.fromkeys(names):
                wanted = query.where(_names.c.name == name, *([_is_in(outer)] if outer else []))
                found += [_found(row._mapping) for row in await connection.execute(wanted)]
        return found

    async def called_in(self, chunks: Sequence[tuple[str, str, int]]) -> Sequence[str]:
        """The names that chunks (store, file, index) call, each once, in the order of chunks and text."""
        called: dict[str, None] = {}
        if not chunks:
            return []
        check_storable(*(part for store_id, file_id, _ in chunks for part in (store_id, file_id)))
        places = [
            and_(_names.c.store_id == store, _names.c.file_id == file, _names.c.chunk == index)
            for store, file, index in chunks
        ]
        query = select(_names.c.store_id, _names.c.file_id, _names.c.chunk, _names.c.name)
        query = query.join(
            _members, and_(_members.c.store_id == _names.c.store_id, _members.c.file_id == _names.c.file_id)
        )
        query = query.where(_names.c.role == NameRole.CALL.value, or_(*places))
        query = query.where(_members.c.tenant == self._tenant, *self._visibility.of_members())
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(_names.c.file_id, _names.c.position))).all()
        order = {place: at for at, place in enumerate(chunks)}
        for row in sorted(rows, key=lambda row: order[row.store_id, row.file_id, row.chunk]):
            called.setdefault(row.name)
        return list(called)

    def _seen(self, store_ids: Sequence[str]) -> Select[Any]:
        same = and_(_members.c.store_id == _names.c.store_id, _members.c.file_id == _names.c.file_id)
        chunk = and_(
            _chunks.c.store_id == _names.c.store_id,
            _chunks.c.file_id == _names.c.file_id,
            _chunks.c["index"] == _names.c.chunk,
        )
        columns = (_members.c.filename, _members.c.attributes, *_chunks.c["index", "text", "page", "start", "end"])
        query = select(*_names.c, *columns).join(_members, same).join(_chunks, chunk)
        return query.where(
            _members.c.tenant == self._tenant,
            _names.c.store_id.in_(store_ids),
            _members.c.state == FileState.COMPLETED.value,
            *self._visibility.of_members(),
        )


def _is_in(outer: str) -> ColumnElement[bool]:
    """By scope; what has none is in its file, which may be known by its folder's name."""
    scope, filename = _names.c.scope, _members.c.filename
    files = [filename.startswith(f"{stem}.", autoescape=True) for stem in (outer, *NAMED_BY_FOLDER)]
    return or_(scope == outer, scope.endswith(f".{outer}", autoescape=True), and_(scope == "", or_(*files)))


def _found(row: Any) -> FoundName:
    kept = ("name", "scope", "kind", "line", "last_line", "chunk")
    cut = ("index", "text", "page", "start", "end")
    return FoundName(
        store_id=row["store_id"],
        file_id=row["file_id"],
        filename=row["filename"],
        attributes=row["attributes"],
        record=NameRecord(role=NameRole(row["role"]), **{name: row[name] for name in kept}),
        chunk=ChunkRecord(**{name: row[name] for name in cut}),
    )
