"""Contents of files on their way into the object store, and their names."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, get_args

from gateway.api.idempotency import REPLAYED
from gateway.api.replies import JsonReply
from gateway.errors import BadRequest, CatalogUnavailable, NotFound, PayloadTooLarge
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.objects import ObjectStore

Purpose = Literal["assistants", "user_data", "batch"]
"""The others of OpenAI's are for jobs that this system does not have."""
PURPOSES: tuple[str, ...] = get_args(Purpose)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Also what turns the direction of writing: it makes `gpj.exe` look like another kind of file."""


async def kept(
    objects: ObjectStore, catalog: TenantCatalog, file_id: str, store: Callable[[], Awaitable[JsonReply]]
) -> JsonReply:
    """What `store` answers, which puts the content of a new file into the object store and then tells the catalog of it. Where
    it fails, or was done before, nothing of the new content is left."""
    try:
        reply = await store()
    except BaseException as error:
        lost = isinstance(error, CatalogUnavailable | asyncio.CancelledError)
        if not (lost and await _may_be_known(catalog, file_id)):
            await objects.delete_prefix(f"files/{file_id}/")
        raise
    if REPLAYED in reply.extra:  # it is here already; what came now is nobody's
        await objects.delete_prefix(f"files/{file_id}/")
    return reply


async def _may_be_known(catalog: TenantCatalog, file_id: str) -> bool:
    """Whether the catalog may have recorded a file though its answer was lost: its content must then stay. What nobody knows
    after all is found by `ragfleet reconcile`."""
    try:
        await catalog.files.get(file_id)
    except NotFound:
        return False
    except CatalogUnavailable:
        pass
    return True


class MeasuredContent:
    """Counts and hashes bytes as they pass."""

    def __init__(self, chunks: AsyncIterator[bytes], limit: int, *, param: str = "file", md5: bool = False) -> None:
        self._chunks = chunks
        self._limit = limit
        self._param = param
        self._hash = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same bytes. Raises PayloadTooLarge past the limit."""
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self.size > self._limit:
                raise PayloadTooLarge(f"The file is over the limit of {self._limit} bytes.", param=self._param)
            self._hash.update(chunk)
            if self._md5 is not None:
                self._md5.update(chunk)
            yield chunk

    @property
    def md5(self) -> str:
        """Hexadecimal. Only where it was asked for; it guards against accidents, not against people."""
        assert self._md5 is not None
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


FILENAME_PATTERN = r"^[^\x00]*[^\x00-\x20\x7f-\xa0\s./\\\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff][^/\\\x00]*$"
"""Of what `clean_name` takes that is text."""


def clean_name(given: str, *, param: str = "file") -> str:
    """The name without a path and without what would break a line. Raises BadRequest where nothing is left but dots."""
    name = _CONTROL.sub("", re.split(r"[/\\]", given)[-1]).strip()
    if not re.search(r"[^\s.]", name):
        raise BadRequest("The file has no name.", param=param, code="invalid_value")
    stem, dot, suffix = name.rpartition(".")
    if len(name) <= 255:
        return name
    return f"{stem[: 254 - len(suffix)]}.{suffix}" if dot and len(suffix) <= 16 else name[:255]
