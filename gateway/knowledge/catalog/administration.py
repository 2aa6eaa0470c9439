"""What administrators do with tenants and keys, by API and by command line: one transaction each, with its audit record."""

import math
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.audit import AuditTrail
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.tenant_registry import REVISION, key_record, tenant_record
from gateway.tenants import api_key
from gateway.tenants.api_key import NewKey
from gateway.tenants.key import GROUP_PATTERN, USER_SCOPES, Scope
from gateway.tenants.limits import MOST, UNLIMITED, TenantLimits, wrong_limit
from gateway.tenants.records import KeyRecord, TenantRecord, read_limits, stored_limits

T = TypeVar("T")
_tenants, _keys, _revisions = schema.tenants, schema.api_keys, schema.revisions

NAME = r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}"
"""Of a tenant."""
MAX_PRIORITY = 20
MAX_GROUPS = 256
OVERLAP_S = 86_400
"""For which the secret before a rotation stays good, where nothing else is said."""
MAX_OVERLAP_S = 90 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSettings:
    """What an administrator says about a tenant. None: as it is, or the default of a new one.

    limits: by the names of Limits; those that are not named stay as they are, None takes one away.
    """

    weight: float | None = None
    priority: int | None = None
    placement: str | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)

    def applied_to(self, record: TenantRecord) -> TenantRecord:
        """The tenant as it is to be. Raises BadRequest."""
        named = {"weight": self.weight, "priority": self.priority, "placement": self.placement}
        changed = replace(record, **{name: value for name, value in named.items() if value is not None})  # type: ignore[arg-type]
        if not (0 < changed.weight < math.inf):
            raise BadRequest("The weight must be above 0.", param="weight")
        if abs(changed.priority) > MAX_PRIORITY:
            raise BadRequest(f"The priority must be from -{MAX_PRIORITY} to {MAX_PRIORITY}.", param="priority")
        if changed.placement and not re.fullmatch(NAME, changed.placement):
            raise BadRequest("The class may have letters, digits, '_', '.' and '-', 64 at the most.", param="class")
        return replace(changed, limits=checked_limits(asdict(changed.limits) | dict(self.limits)))


def audit_file(setting: Path | None, home: Path) -> Path:
    """The setting, or a file in the state folder."""
    return setting or home.resolve() / "audit.jsonl"


class Administration:
    """Where administrators come from."""

    def __init__(self, database: Database, file: Path) -> None:
        """file: of the audit trail."""
        self.database = database
        self.trail = AuditTrail(database, file)

    def by(self, actor: str) -> "Administrator":
        """Everything that this one does is recorded under the name `actor`."""
        return Administrator(self.database, self.trail, actor)


class Administrator:
    """One administrator. Every method raises CatalogUnavailable; what changes something is in the audit trail."""

    def __init__(self, database: Database, trail: AuditTrail, actor: str) -> None:
        self._database = database
        self._trail = trail
        self._actor = actor

    async def create_tenant(self, name: str, settings: TenantSettings) -> TenantRecord:
        """A new one. Raises BadRequest, and Conflict for a name that is taken."""
        if not re.fullmatch(NAME, name):
            raise BadRequest(
                "A tenant's name has letters, digits, '_', '.' and '-', begins with a letter or digit, and is 64 characters "
                "long at the most.",
                param="name",
            )
        made = settings.applied_to(TenantRecord(name=name, created_at=self._database.now()))
        async with self._act("tenant.create", f"tenant:{name}") as act:
            if await _tenant(act.connection, name) is not None:
                raise Conflict(f"There is a tenant '{name}' already.", param="name")
            values = _tenant_values(made) | {"created_at": made.created_at, "revision": act.revision}
            await act.connection.execute(_tenants.insert().values(name=name, **values))
            act.after = made.describe()
        return made

    async def tenants(self) -> Sequence[TenantRecord]:
        """By name."""
        async with self._database.read() as connection:
            return [tenant_record(row) for row in await connection.execute(select(_tenants).order_by(_tenants.c.name))]

    async def tenant(self, name: str) -> TenantRecord:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return _found(await _tenant(connection, name), f"There is no tenant '{name}'.", "name")

    async def change_tenant(self, name: str, settings: TenantSettings) -> TenantRecord:
        """Raises NotFound, BadRequest."""
        return await self._change_tenant("tenant.change", name, settings.applied_to)

    async def suspend(self, name: str) -> TenantRecord:
        """None of its keys opens anything from now on. Raises NotFound."""
        return await self._change_tenant("tenant.suspend", name, lambda tenant: replace(tenant, suspended=True))

    async def resume(self, name: str) -> TenantRecord:
        """Its keys are good again. Raises NotFound."""
        return await self._change_tenant("tenant.resume", name, lambda tenant: replace(tenant, suspended=False))

    async def create_key(
        self,
        tenant: str,
        *,
        scopes: Iterable[str] | None = None,
        groups: Iterable[str] | None = None,
        limits: Mapping[str, int | None] = {},
        expires_at: int | None = None,
    ) -> tuple[KeyRecord, NewKey]:
        """A new key; its text is never to be had again. scopes: None for all but admin. groups: None for no restriction.
        expires_at: Unix seconds. Raises NotFound for the tenant, BadRequest."""
        now, new = self._database.now(), api_key.generate()
        if expires_at is not None and not now < expires_at <= MOST:
            raise BadRequest("The expiry must be in the future.", param="expires_at")
        made = KeyRecord(
            id=new.id,
            tenant=tenant,
            digest=api_key.digest(new.text),
            scopes=USER_SCOPES if scopes is None else checked_scopes(scopes),
            groups=None if groups is None else checked_groups(groups),
            limits=checked_limits(limits),
            created_at=now,
            expires_at=expires_at,
        )
        async with self._act("key.create", f"key:{made.id}") as act:
            _found(await _tenant(act.connection, tenant), f"There is no tenant '{tenant}'.", "tenant")
            values = {
                "id": made.id,
                "tenant": tenant,
                "digest": made.digest.hex(),
                "scopes": sorted(made.scopes),
                "groups": None if made.groups is None else sorted(made.groups),
                "limits": stored_limits(made.limits),
                "created_at": now,
                "expires_at": expires_at,
                "revision": act.revision,
            }
            await act.connection.execute(_keys.insert().values(values))
            act.after = made.describe(now)
        return made, new

    async def keys(self, tenant: str | None = None) -> Sequence[KeyRecord]:
        """The newest first, of one tenant where it is named; revoked ones, too. Raises NotFound for the tenant."""
        query = select(_keys).order_by(_keys.c.created_at.desc(), _keys.c.id)
        async with self._database.read() as connection:
            if tenant is not None:
                _found(await _tenant(connection, tenant), f"There is no tenant '{tenant}'.", "tenant")
                query = query.where(_keys.c.tenant == tenant)
            return [key_record(row) for row in await connection.execute(query)]

    async def key(self, key_id: str) -> KeyRecord:
        """Raises NotFound."""
        async with self._database.read() as connection:
            return _found(await _key(connection, key_id), f"There is no key '{key_id}'.", "key_id")

    async def rotate_key(self, key_id: str, *, overlap_s: int = OVERLAP_S) -> tuple[KeyRecord, NewKey]:
        """A new secret for a key, whose id, limits and account stay. The secret before it is good for `overlap_s` more seconds;
        one from a rotation before that is not any more. Raises NotFound, BadRequest, and Conflict for a key that is not good."""
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise BadRequest(f"The overlap must be from 0 to {MAX_OVERLAP_S} seconds.", param="overlap_s")
        now, new = self._database.now(), api_key.generate(key_id)
        async with self._act("key.rotate", f"key:{key_id}") as act:
            before = _found(await _key(act.connection, key_id), f"There is no key '{key_id}'.", "key_id")
            if before.revoked_at is not None or before.expired(now):
                raise Conflict("The key is not good any more. Make a new one.", param="key_id")
            rotated = replace(
                before,
                digest=api_key.digest(new.text),
                previous_digest=before.digest if overlap_s else None,
                previous_until=now + overlap_s if overlap_s else None,
            )
            values = {
                "digest": rotated.digest.hex(),
                "previous_digest": before.digest.hex() if overlap_s else None,
                "previous_until": rotated.previous_until,
            }
            await _update_key(act, key_id, values)
            act.before, act.after = before.describe(now), rotated.describe(now)
        return rotated, new

    async def revoke_key(self, key_id: str) -> KeyRecord:
        """It opens nothing from now on; twice is fine. Raises NotFound."""
        now = self._database.now()
        async with self._act("key.revoke", f"key:{key_id}") as act:
            before = _found(await _key(act.connection, key_id), f"There is no key '{key_id}'.", "key_id")
            if before.revoked_at is not None:
                return before
            revoked = replace(before, revoked_at=now)
            await _update_key(act, key_id, {"revoked_at": now})
            act.before, act.after = before.describe(now), revoked.describe(now)
        return revoked

    async def _change_tenant(self, name_of_act: str, name: str, change: Any) -> TenantRecord:
        async with self._act(name_of_act, f"tenant:{name}") as act:
            before = _found(await _tenant(act.connection, name), f"There is no tenant '{name}'.", "name")
            after: TenantRecord = change(before)
            if after == before:
                return before
            values = _tenant_values(after) | {"revision": act.revision}
            await act.connection.execute(update(_tenants).where(_tenants.c.name == name).values(values))
            act.before, act.after = before.describe(), after.describe()
        return after

    @asynccontextmanager
    async def _act(self, name: str, subject: str) -> AsyncIterator["_Act"]:
        """A transaction that is the only one of its kind until it ends. What changed nothing (no `after`) leaves no trace."""
        async with self._database.write() as connection:
            insert = self._database.insert(_revisions).values(name=REVISION, value=1)
            one_more = {"value": _revisions.c.value + 1}
            raised = insert.on_conflict_do_update(index_elements=[_revisions.c.name], set_=one_more)
            revision = await connection.scalar(raised.returning(_revisions.c.value))
            assert revision is not None
            act = _Act(connection, revision)
            yield act
            if act.after is not None:
                await self._trail.write(
                    connection, actor=self._actor, act=name, subject=subject, before=act.before, after=act.after
                )


@dataclass(slots=True)
class _Act:
    connection: AsyncConnection
    revision: int
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


def checked_limits(limits: Mapping[str, int | None]) -> TenantLimits:
    """Raises BadRequest for a name that no limit has, and for a number that no limit can be."""
    if (name := wrong_limit(limits)) is not None:
        if name not in UNLIMITED.__slots__:
            raise BadRequest(f"There is no limit '{name}'.", param=f"limits.{name}")
        raise BadRequest(f"The limit '{name}' must be a whole number from 0 to {MOST}.", param=f"limits.{name}")
    return read_limits(limits)


def checked_scopes(scopes: Iterable[str]) -> frozenset[Scope]:
    """Raises BadRequest for a word that is no scope, and for none at all."""
    given = frozenset(scopes)
    if unknown := sorted(given - frozenset(Scope)):
        raise BadRequest(f"There is no scope '{unknown[0]}'. There are: {', '.join(Scope)}.", param="scopes")
    if not given:
        raise BadRequest(f"A key needs a scope. There are: {', '.join(Scope)}.", param="scopes")
    return frozenset(map(Scope, given))


def checked_groups(groups: Iterable[str]) -> frozenset[str]:
    """Raises BadRequest."""
    found = frozenset(groups)
    if len(found) > MAX_GROUPS or not all(re.fullmatch(GROUP_PATTERN, each) for each in found):
        raise BadRequest(
            f"A key has {MAX_GROUPS} groups at the most, each of 1 to 64 letters, digits and '_.:@/+=-'.",
            param="groups",
        )
    return found


def _tenant_values(record: TenantRecord) -> dict[str, Any]:
    return {
        "weight": record.weight,
        "priority": record.priority,
        "placement": record.placement,
        "limits": stored_limits(record.limits),
        "suspended": record.suspended,
    }


async def _tenant(connection: AsyncConnection, name: str) -> TenantRecord | None:
    if not re.fullmatch(NAME, name):
        return None
    row = (await connection.execute(select(_tenants).where(_tenants.c.name == name))).one_or_none()
    return None if row is None else tenant_record(row)


async def _key(connection: AsyncConnection, key_id: str) -> KeyRecord | None:
    if not key_id.isalnum():
        return None
    row = (await connection.execute(select(_keys).where(_keys.c.id == key_id))).one_or_none()
    return None if row is None else key_record(row)


async def _update_key(act: _Act, key_id: str, values: Mapping[str, Any]) -> None:
    await act.connection.execute(update(_keys).where(_keys.c.id == key_id).values({**values, "revision": act.revision}))


def _found(record: T | None, message: str, param: str) -> T:
    if record is None:
        raise NotFound(message, param=param)
    return record
