"""Streams of responses that a task of the gateway makes: the events of their journals, and an end that says how it went."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway import errors
from gateway.api.response_output import ResponseEvents
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.serving.event_feed import AnswerEvents

_ENDED = re.compile(rb"^event: response\.(?:completed|incomplete|failed)$", re.MULTILINE)


async def told_to_the_end(
    events: AnswerEvents, catalog: TenantCatalog, response_id: str
) -> AsyncGenerator[bytes, None]:
    """The events, and the last one of a response that was cancelled."""
    async with aclosing(events):
        async for each in events:
            yield each
    yield await cancelled_event(events, catalog, response_id)


async def cancelled_event(events: AnswerEvents, catalog: TenantCatalog, response_id: str) -> bytes:
    """The last event of a response that was cancelled, with the number behind the last one in its journal; nothing for one that
    ended otherwise, that is deleted, or for a reader who has read it. `events` have been read to their end.

    Raises CatalogUnavailable.
    """
    if _ENDED.search(events.last):
        return b""
    try:
        if not events.last and events.after >= 0:
            rows, _ = await catalog.responses.events(response_id, events.after - 1)
            if all(row.last < events.after for row in rows):
                return b""
        response = await catalog.responses.get(response_id)
    except (errors.NotFound, errors.Conflict, errors.BadRequest):  # deleted, or its events are gone
        return b""
    if response["status"] != "cancelled":
        return b""
    return ResponseEvents(response_id, events.after + 1).event("response.cancelled", response=response)
