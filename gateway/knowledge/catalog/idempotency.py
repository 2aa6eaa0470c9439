"""Idempotency keys: what changed something once is not done again for the same key, and the client gets the first answer.

    async with catalog.transaction() as inner:       # a TenantCatalog
        answer = await inner.keys.claim(key, request)
        if answer is None:
            answer = ...                             # the work, by calls of `inner`
            await inner.keys.keep(key, answer)
    return answer

Key, work and answer are one transaction. Whoever is killed in it, or fails, leaves nothing: no work and no key.
"""

import json

from sqlalchemy import ColumnElement, and_, exc, select, update

from gateway.errors import BadRequest, Conflict
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable
from gateway.knowledge.catalog.types import MAX_KEY, StoredReply
from gateway.knowledge.catalog.visibility import Visibility
from gateway.tenants.tenant import Tenant

_keys = schema.idempotency
KEEP_S = 86_400
"""An answer is given again for a day; then the key is a new one."""
PATIENCE_S = 1.0
"""How long a claim waits for another one of the same key."""
_LOCK_NOT_AVAILABLE = "55P03"


class IdempotencyKeys:
    """The keys of one tenant, apart for API keys that do not see the same documents. Both calls belong into the transaction that
    does the work."""

    def __init__(self, database: Database, tenant: Tenant) -> None:
        self._database = database
        self._tenant = tenant.name
        self._namespace = Visibility(database, tenant).namespace

    async def claim(self, key: str, request: str) -> StoredReply | None:
        """What this request, known by its hash, was answered when its key came first; None: it is to be done now. Where the same
        key is being claimed elsewhere, it waits a moment for that. Raises BadRequest for an unusable key, Conflict for one of
        another request and for one that is still in use."""
        if not 0 < len(key) <= MAX_KEY:
            raise BadRequest(f"The Idempotency-Key must have 1 to {MAX_KEY} characters.", param="Idempotency-Key")
        check_storable(key)
        now = self._database.clock()
        fresh = {"request_hash": request, "response": None, "expires_at": now + KEEP_S}
        insert = self._database.insert(_keys).values(tenant=self._tenant, key=self._stored(key), **fresh)
        # Past a row of another transaction that is not over yet, it waits for that one's end.
        taken = insert.on_conflict_do_update(
            index_elements=list(_keys.primary_key), set_=fresh, where=_keys.c.expires_at <= now
        ).returning(_keys.c.key)
        async with self._database.write() as connection:
            await self._database.patience(connection, PATIENCE_S)
            try:
                claimed = await connection.scalar(taken) is not None
            except exc.OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise _in_progress() from error
            await self._database.patience(connection, None)
            if claimed:
                return None
            row = (await connection.execute(select(_keys).where(self._is(key)))).one_or_none()
        if row is None or row.response is None:  # it expired between the two statements
            raise _in_progress()
        if row.request_hash != request:
            raise Conflict(
                "This Idempotency-Key was used for another request: give a new request a new key.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return StoredReply(*json.loads(row.response))

    async def keep(self, key: str, answer: StoredReply) -> None:
        """The request of this key was answered so."""
        kept = json.dumps([answer.status, answer.body, dict(answer.headers)])
        async with self._database.write() as connection:
            await connection.execute(update(_keys).where(self._is(key)).values(response=kept))

    def _is(self, key: str) -> ColumnElement[bool]:
        return and_(_keys.c.tenant == self._tenant, _keys.c.key == self._stored(key))

    def _stored(self, key: str) -> str:
        return f"{self._namespace}/{key}" if self._namespace else key


def _in_progress() -> Conflict:
    return Conflict(
        "The same request is in progress: wait for its answer, or ask again shortly.",
        param="Idempotency-Key",
        code="idempotency_in_progress",
        retry_after_s=1,
    )
