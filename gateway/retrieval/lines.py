"""Lines of passages: which of their file's lines they are."""

import asyncio
import logging
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence

import orjson

from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects import ObjectStore, document_key
from gateway.retrieval.passage import Passage

log = logging.getLogger(__name__)

Lines = tuple[int, int]
"""The first and the last, from 1."""


class LineIndex:
    """Reads the converted documents, whose text does not change, and keeps where the lines of the newest KEPT begin. One for the
    life of the application."""

    KEPT = 512
    MAX_BYTES = 8 << 20
    """Of a converted document; of a larger one no lines are told."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._known: OrderedDict[str, array[int] | None] = OrderedDict()

    async def of(self, passages: Sequence[Passage]) -> Sequence[Lines | None]:
        """Of each passage; None where its text has not the lines of its file, or where the object store does not answer."""
        found = []
        for passage in passages:
            starts = await self._starts(passage.file_id)
            place = passage.start, max(passage.start, passage.end - 1)
            found.append(None if starts is None else (bisect_right(starts, place[0]), bisect_right(starts, place[1])))
        return found

    async def _starts(self, file_id: str) -> "array[int] | None":
        if file_id in self._known:
            self._known.move_to_end(file_id)
            return self._known[file_id]
        key = document_key(file_id)
        try:
            if await self._objects.size(key) > self.MAX_BYTES:
                return None
            raw = await self._objects.read(key)
            starts = await asyncio.to_thread(_read, raw)
        except (ObjectsUnavailable, NotFound):
            return None
        except (ValueError, KeyError, TypeError):
            log.warning("the converted document of %s cannot be read", file_id)
            return None
        self._known[file_id] = starts
        while len(self._known) > self.KEPT:
            self._known.popitem(last=False)
        return starts


def _read(raw: bytes) -> "array[int] | None":
    document = orjson.loads(raw)
    if not document.get("lined"):
        return None
    text: str = document["text"]
    starts = array("q", [0])
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return starts
