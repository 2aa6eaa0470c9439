"""Acts of administrators: a row in the catalog and a line of JSON in a file, added with the act and never changed."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.errors import NotFound, Unavailable
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database, check_storable, new_id

_audit = schema.audit


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One act. No secret is in it."""

    id: str
    at: float
    """Unix seconds."""
    actor: str
    """The id of the administrator's key, or `cli:` and the name of the user."""
    act: str
    """`tenant.create`, `key.revoke` and the like."""
    subject: str
    """`tenant:<name>` or `key:<id>`."""
    before: Mapping[str, Any] | None
    """None where there was nothing."""
    after: Mapping[str, Any] | None


class AuditTrail:
    """Writes and lists acts."""

    def __init__(self, database: Database, file: Path) -> None:
        """file: gets the lines; made where it is not there, readable by its owner alone."""
        self._database = database
        self._file = file

    async def write(
        self,
        connection: AsyncConnection,
        *,
        actor: str,
        act: str,
        subject: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """As the last thing in the transaction of the act: what cannot be recorded is not done. Raises Unavailable."""
        record = AuditRecord(
            id=new_id("audit_"),
            at=self._database.clock(),
            actor=actor,
            act=act,
            subject=subject,
            before=before,
            after=after,
        )
        await connection.execute(_audit.insert().values(asdict(record)))
        try:
            await asyncio.to_thread(self._append, json.dumps(asdict(record), ensure_ascii=False) + "\n")
        except OSError as error:
            raise Unavailable(
                "The act was not done, because the audit file cannot be written.", detail=f"{self._file}: {error}"
            ) from error

    async def list(self, *, limit: int, after: str | None = None) -> Sequence[AuditRecord]:
        """The newest first, those behind the one with the id `after`. Raises NotFound for an unknown one."""
        check_storable(after)
        query = select(_audit).order_by(_audit.c.at.desc(), _audit.c.id.desc()).limit(limit)
        async with self._database.read() as connection:
            if after is not None:
                at = await connection.scalar(select(_audit.c.at).where(_audit.c.id == after))
                if at is None:
                    raise NotFound(f"There is no act {after!r}.", param="after")
                query = query.where(or_(_audit.c.at < at, and_(_audit.c.at == at, _audit.c.id < after)))
            return [AuditRecord(**row._mapping) for row in await connection.execute(query)]

    def _append(self, line: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # One write to a file that was opened for appending: lines of several processes do not mix.
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
