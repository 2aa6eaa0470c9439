"""What a tenant may have in the catalog: files, their bytes, files that wait to be read. Exact, whoever adds at the same time.

Both functions belong at the end of the transaction that has added something, which is undone where they raise.
"""

import zlib

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import InsufficientQuota, RateLimited
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.types import UploadState
from gateway.tenants.tenant import Tenant

_files, _members, _uploads = schema.files, schema.members, schema.uploads
PENDING_RETRY_S = 5.0
_LOCKS = 1 << 40
"""PostgreSQL's advisory locks of tenants begin here."""


async def check_stored(database: Database, connection: AsyncConnection, tenant: Tenant) -> None:
    """Raises InsufficientQuota where the tenant has more files, or bytes of files, than it or its key may; what comes in parts
    counts from its beginning, with what was announced."""
    files = tenant.smallest(lambda limits: limits.documents)
    size = tenant.smallest(lambda limits: limits.stored_bytes)
    if files is None and size is None:
        return
    await alone_for(database, connection, tenant.name)
    count = total = 0
    coming = _uploads.c.status == UploadState.PENDING, _uploads.c.expires_at > database.now()
    for table, conditions in (_files, ()), (_uploads, coming):
        query = select(func.count(), func.coalesce(func.sum(table.c.size), 0))
        found, size_of_them = (await connection.execute(query.where(table.c.tenant == tenant.name, *conditions))).one()
        count, total = count + found, total + int(size_of_them)
    if files is not None and count > files:
        raise InsufficientQuota(f"The limit of {files} files is reached. Delete some, then send this one again.")
    if size is not None and total > size:
        raise InsufficientQuota(
            f"With this file there would be {total} bytes of files, and the limit is {size}. Delete some, then send it again."
        )


async def check_pending(database: Database, connection: AsyncConnection, tenant: Tenant) -> None:
    """Raises RateLimited where more files of the tenant wait to be read than it or its key may let wait."""
    most = tenant.smallest(lambda limits: limits.pending_ingestions)
    if most is None:
        return
    await alone_for(database, connection, tenant.name)
    query = select(func.count()).where(_members.c.tenant == tenant.name, _members.c.pending)
    if (count := (await connection.execute(query)).scalar_one()) > most:
        raise RateLimited(
            f"With these there would be {count} files that wait to be read, and the limit is {most}. Send them again when some "
            "have been read.",
            retry_after_s=PENDING_RETRY_S,
        )


async def alone_for(database: Database, connection: AsyncConnection, tenant: str) -> None:
    """Nobody else adds to this tenant until the end of the transaction; on SQLite nobody ever does."""
    await database.alone(connection, _LOCKS + zlib.crc32(tenant.encode()))
