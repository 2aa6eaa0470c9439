"""Whether passages are in their files: the span of the converted text that a passage names is the passage."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence

import orjson

from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects import ObjectStore, document_key
from gateway.retrieval.passage import Passage

log = logging.getLogger(__name__)

Place = tuple[str, int, int, str]
"""File id, first and last character + 1 in its converted text, and the passage's text."""


class CitationCheck:
    """Compares passages with the object store. One for the life of the application.

    It runs beside an answer and never in front of it. A file's converted text does not change, so that what was found
    once is kept, for the newest `KEPT` passages.
    """

    KEPT = 4096
    MAX_BYTES = 8 << 20
    """Of a converted document. Reading a larger one would hold up the event loop: its passages stay unchecked."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._known: OrderedDict[Place, bool] = OrderedDict()

    async def check(self, passages: Sequence[Passage]) -> dict[int, bool | None]:
        """By the number of each passage in the prompt: whether its file has it where it says. None: the store could not say."""
        verdicts: dict[int, bool | None] = {}
        unknown: dict[str, list[tuple[int, Place]]] = {}
        for passage in passages:
            place = _place(passage)
            if place in self._known:
                self._known.move_to_end(place)
                verdicts[passage.n] = self._known[place]
            else:
                unknown.setdefault(place[0], []).append((passage.n, place))
        for file_id, places in unknown.items():
            try:
                text = await self._text(file_id)
            except NotFound:  # deleted since it was found; or it never was a file
                verdicts.update(dict.fromkeys((n for n, _ in places), False))
                continue
            for n, place in places:
                verdicts[n] = None if text is None else _holds(text, place)
                if text is not None:
                    self._remember(place, _holds(text, place))
        if wrong := sorted(n for n, good in verdicts.items() if good is False):
            files = sorted({passage.file_id for passage in passages if passage.n in wrong})
            log.warning("passages that their files do not have (any more): of %s", ", ".join(files))
        return verdicts

    async def _text(self, file_id: str) -> str | None:
        """The converted text. None where the store is away, or the text too large. Raises NotFound."""
        key = document_key(file_id)
        try:
            if await self._objects.size(key) > self.MAX_BYTES:
                return None
            raw = await self._objects.read(key)
        except ObjectsUnavailable:
            return None
        except ValueError as error:  # an id that can be no key
            raise NotFound(str(error)) from None
        try:
            return str((await asyncio.to_thread(orjson.loads, raw))["text"])
        except (ValueError, KeyError, TypeError):
            log.warning("the converted document of %s cannot be read", file_id)
            return None

    def _remember(self, place: Place, good: bool) -> None:
        self._known[place] = good
        while len(self._known) > self.KEPT:
            self._known.popitem(last=False)


def _place(passage: Passage) -> Place:
    return passage.file_id, passage.start, passage.end, passage.text


def _holds(document: str, place: Place) -> bool:
    """The passage's body is the end of its text, behind the headings (docs/contracts.md).

    White space counts as one kind: between chunks that the retrieval joined it knows how much there was, not which.
    """
    _, start, end, text = place
    if not 0 <= start < end <= min(len(document), start + len(text)):
        return False
    return text[len(text) - (end - start) :].split() == document[start:end].split()
