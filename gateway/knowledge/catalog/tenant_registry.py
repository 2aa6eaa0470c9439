"""Tenants and keys in SQL, for whoever holds a copy of them: what is new since a revision."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, and_, bindparam, or_, select, text, update

from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.tenants.key import Scope
from gateway.tenants.records import DirectoryChanges, KeyRecord, TenantRecord, read_limits

_tenants, _keys, _revisions = schema.tenants, schema.api_keys, schema.revisions
REVISION = "tenants"
"""The row of `revisions` that each change of a tenant or a key raises."""


class TenantRegistry:
    """What every process may read; changes are made by an Administrator."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._revision = database.prepared(select(_revisions.c.value).where(_revisions.c.name == text(f"'{REVISION}'")))

    async def changes(self, since: int | None) -> DirectoryChanges | None:
        """What was changed after the revision `since`; everything that is still good for None, and for a revision that this
        database has not reached (it was restored from a backup). None: nothing."""
        if since is not None and (await self._database.scalar_prepared(self._revision) or 0) == since:
            return None
        async with self._database.read() as connection:
            revision = await connection.scalar(select(_revisions.c.value).where(_revisions.c.name == REVISION)) or 0
            if revision == since:
                return None
            tenants, keys = select(_tenants), select(_keys)
            complete = since is None or revision < since
            if complete:
                now = self._database.now()
                unexpired = or_(_keys.c.expires_at.is_(None), _keys.c.expires_at > now)
                keys = keys.where(_keys.c.revoked_at.is_(None), unexpired)
            else:
                tenants = tenants.where(_tenants.c.revision > since)
                keys = keys.where(_keys.c.revision > since)
            return DirectoryChanges(
                revision=revision,
                complete=complete,
                tenants=[tenant_record(row) for row in await connection.execute(tenants)],
                keys=[key_record(row) for row in await connection.execute(keys)],
            )

    async def record_use(self, used: Mapping[str, float]) -> None:
        """When keys were last used, by id, in Unix seconds. Several gateways may tell: the latest time stays."""
        older = or_(_keys.c.last_used_at.is_(None), _keys.c.last_used_at < bindparam("at"))
        change = update(_keys).where(and_(_keys.c.id == bindparam("key"), older)).values(last_used_at=bindparam("at"))
        rows = [{"key": key, "at": int(moment)} for key, moment in sorted(used.items())]
        async with self._database.write() as connection:
            await connection.execute(change, rows)


def tenant_record(row: Row[Any]) -> TenantRecord:
    """Out of a row of `tenants`."""
    values = {name: value for name, value in row._mapping.items() if name != "revision"}
    return TenantRecord(**{**values, "limits": read_limits(values["limits"])})


def key_record(row: Row[Any]) -> KeyRecord:
    """Out of a row of `api_keys`."""
    values = {name: value for name, value in row._mapping.items() if name != "revision"}
    previous = values["previous_digest"]
    return KeyRecord(
        **{
            **values,
            "digest": bytes.fromhex(values["digest"]),
            "previous_digest": None if previous is None else bytes.fromhex(previous),
            "scopes": frozenset(Scope(each) for each in values["scopes"] if each in set(Scope)),
            "groups": None if values["groups"] is None else frozenset(values["groups"]),
            "limits": read_limits(values["limits"]),
        }
    )
