"""Idempotency keys: what changed something once is not done again for the same key, and the client gets the first answer.

    claim = await idempotency.begin(tenant, key, request_hash)
    if isinstance(claim, Answer):
        return claim                             # it was done before
    try:
        answer = ...                             # the work
    except BaseException:
        await idempotency.abandon(claim)         # the client may send it again
        raise
    await idempotency.finish(claim, answer)

The work and its answer are two transactions: where a process is killed between the two, the key is free again when the claim
ends, and the work is then done a second time.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import and_, delete, select, update

from gateway.errors import BadRequest, Conflict
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable

_keys = schema.idempotency
KEEP_S = 86_400
"""An answer is given again for a day; then the key is a new one."""
MAX_KEY = 255
"""Characters."""
_RACES = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client was answered: the HTTP status and the body, a JSON text."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do a request's work, until `expires_at` (Unix seconds), which also tells it from any later claim."""

    tenant: str
    key: str
    expires_at: float


class Idempotency:
    """Keys of all tenants, each tenant's apart, beside the catalog in its database.

    clock: Unix seconds; lease_s: how long a claim whose process was killed holds the key. It must be longer than the work.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time, lease_s: float = 600.0) -> None:
        self._db = database
        self._clock = clock
        self._lease_s = lease_s

    async def begin(self, tenant: str, key: str, request_hash: str) -> Claim | Answer:
        """The right to do the work, or what was answered before.

        Raises Conflict for a key of another request, and while the same one is in progress; BadRequest for an unusable key.
        """
        if not 0 < len(key) <= MAX_KEY:
            raise BadRequest(f"The Idempotency-Key must have 1 to {MAX_KEY} characters.", param="Idempotency-Key")
        check_storable(key)
        for _ in range(_RACES):  # it may be given up or expire between the two statements
            now = self._clock()
            fresh = {"request_hash": request_hash, "response": None, "expires_at": now + self._lease_s}
            insert = self._db.insert(_keys).values(tenant=tenant, key=key, **fresh)
            taken = insert.on_conflict_do_update(
                index_elements=list(_keys.primary_key), set_=fresh, where=_keys.c.expires_at <= now
            )
            async with self._db.write() as connection:
                if await connection.scalar(taken.returning(_keys.c.key)) is not None:
                    return Claim(tenant, key, now + self._lease_s)
                mine = and_(_keys.c.tenant == tenant, _keys.c.key == key)
                row = (await connection.execute(select(_keys).where(mine))).one_or_none()
            if row is None:
                continue
            if row.request_hash != request_hash:
                raise Conflict(
                    "This Idempotency-Key was used for another request: give a new request a new key.",
                    param="Idempotency-Key",
                    code="idempotency_key_reused",
                )
            if row.response is not None:
                return Answer(*json.loads(row.response))
            break
        raise Conflict(
            "The same request is in progress: wait for its answer, or ask again shortly.",
            param="Idempotency-Key",
            code="idempotency_in_progress",
            retry_after_s=1,
        )

    async def finish(self, claim: Claim, answer: Answer) -> None:
        """Keep the answer for KEEP_S. Nothing happens where the claim has ended."""
        values = {"response": json.dumps([answer.status, answer.body]), "expires_at": self._clock() + KEEP_S}
        async with self._db.write() as connection:
            await connection.execute(update(_keys).where(_held(claim)).values(values))

    async def abandon(self, claim: Claim) -> None:
        """Free the key: the work was not done."""
        async with self._db.write() as connection:
            await connection.execute(delete(_keys).where(_held(claim)))


def _held(claim: Claim):  # type: ignore[no-untyped-def]
    return and_(
        _keys.c.tenant == claim.tenant,
        _keys.c.key == claim.key,
        _keys.c.response.is_(None),
        _keys.c.expires_at == claim.expires_at,
    )
