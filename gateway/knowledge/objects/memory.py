"""Objects in memory, for tests."""

from collections.abc import AsyncIterable, AsyncIterator

from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects.store import BLOCK, Stored, blocks, check_key, folder_of


class MemoryStore:
    """For tests: objects in a dictionary. `away` makes every call fail as an unreachable store does; `modified`
    holds the times of puts that were not long ago."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False
        self.modified: dict[str, float] = {}

    async def put(self, key: str, chunks: bytes | AsyncIterable[bytes]) -> int:
        """See ObjectStore."""
        self._answer()
        content = b"".join([block async for block in blocks(chunks)])
        self.objects[check_key(key)] = content
        return len(content)

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """See ObjectStore."""
        content = await self.read(key)
        for at in range(0, len(content), BLOCK):
            yield content[at : at + BLOCK]

    async def read(self, key: str) -> bytes:
        """See ObjectStore."""
        self._answer()
        if check_key(key) not in self.objects:
            raise NotFound(f"There is no object {key!r}.")
        return self.objects[key]

    async def size(self, key: str) -> int:
        """See ObjectStore."""
        return len(await self.read(key))

    async def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore."""
        self._answer()
        folder_of(prefix)
        for key in [key for key in self.objects if key.startswith(prefix)]:
            del self.objects[key]

    async def listed(self, prefix: str = "") -> AsyncIterator[Stored]:
        """See ObjectStore."""
        self._answer()
        if prefix:
            folder_of(prefix)
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            yield Stored(key, len(self.objects[key]), self.modified.get(key, 0.0))

    def _answer(self) -> None:
        if self.away:
            raise ObjectsUnavailable("The object store is away.", retry_after_s=1)
