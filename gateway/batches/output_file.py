"""A file that a batch makes: its lines as they are written, counted and hashed."""

import hashlib
from collections.abc import AsyncIterator

from gateway.knowledge.catalog.answer_types import BatchLine


class OutputFile:
    """One file, empty until it is written."""

    def __init__(self, file_id: str) -> None:
        self.id = file_id
        self.lines = 0
        self.size = 0
        """Bytes."""
        self.hash = hashlib.sha256()

    async def written(self, lines: AsyncIterator[BatchLine]) -> AsyncIterator[bytes]:
        """The lines as bytes."""
        async for line in lines:
            data = line.body.encode() + b"\n"
            self.lines += 1
            self.size += len(data)
            self.hash.update(data)
            yield data
