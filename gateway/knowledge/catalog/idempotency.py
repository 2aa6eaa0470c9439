"""Idempotency keys: what changed something once is not done again for the same key, and the client gets the first answer.

    async with catalog.transaction() as inner:
        answer = await inner.claim_key(tenant, key, request)
        if answer is None:
            answer = ...                             # the work, by calls of `inner`
            await inner.keep_answer(tenant, key, answer)
    return answer

Key, work and answer are one transaction. Whoever is killed in it, or fails, leaves nothing: no work and no key.
"""

import json

from sqlalchemy import and_, exc, select, update

from gateway.errors import BadRequest, Conflict
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import check_storable
from gateway.knowledge.catalog.sql_files import SqlPart
from gateway.knowledge.catalog.types import StoredReply

_keys = schema.idempotency
KEEP_S = 86_400
"""An answer is given again for a day; then the key is a new one."""
MAX_KEY = 255
"""Characters."""
PATIENCE_S = 1.0
"""How long a claim waits for another one of the same key."""
_LOCK_NOT_AVAILABLE = "55P03"


class SqlKeys(SqlPart):
    """See Catalog. Keys of all tenants, each tenant's apart."""

    async def claim_key(self, tenant: str, key: str, request: str) -> StoredReply | None:
        """See Catalog."""
        if not 0 < len(key) <= MAX_KEY:
            raise BadRequest(f"The Idempotency-Key must have 1 to {MAX_KEY} characters.", param="Idempotency-Key")
        check_storable(key)
        now = self._clock()
        fresh = {"request_hash": request, "response": None, "expires_at": now + KEEP_S}
        insert = self._db.insert(_keys).values(tenant=tenant, key=key, **fresh)
        # Past a row of another transaction that is not over yet, it waits for that one's end.
        taken = insert.on_conflict_do_update(
            index_elements=list(_keys.primary_key), set_=fresh, where=_keys.c.expires_at <= now
        ).returning(_keys.c.key)
        async with self._db.write() as connection:
            await self._db.patience(connection, PATIENCE_S)
            try:
                claimed = await connection.scalar(taken) is not None
            except exc.OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise _in_progress() from error
            await self._db.patience(connection, None)
            if claimed:
                return None
            row = (await connection.execute(select(_keys).where(_is(tenant, key)))).one_or_none()
        if row is None or row.response is None:  # it expired between the two statements
            raise _in_progress()
        if row.request_hash != request:
            raise Conflict(
                "This Idempotency-Key was used for another request: give a new request a new key.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return StoredReply(*json.loads(row.response))

    async def keep_answer(self, tenant: str, key: str, answer: StoredReply) -> None:
        """See Catalog."""
        kept = json.dumps([answer.status, answer.body, dict(answer.headers)])
        async with self._db.write() as connection:
            await connection.execute(update(_keys).where(_is(tenant, key)).values(response=kept))


def _in_progress() -> Conflict:
    return Conflict(
        "The same request is in progress: wait for its answer, or ask again shortly.",
        param="Idempotency-Key",
        code="idempotency_in_progress",
        retry_after_s=1,
    )


def _is(tenant: str, key: str):  # type: ignore[no-untyped-def]
    return and_(_keys.c.tenant == tenant, _keys.c.key == key)
