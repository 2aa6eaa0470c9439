"""Answers that are kept, and what a new one continues: an earlier answer, a conversation, items by their ids."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway import errors
from gateway.config import Settings
from gateway.knowledge.catalog.answer_types import ChatRecord, ResponseRecord
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Json
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class AnswerHistory:
    """What was said before a request."""

    items: Sequence[Json] = ()
    """Oldest first, as they were serialized."""
    chain: Sequence[str] = ()
    """Ids of the responses that they are of."""
    conversation_id: str | None = None


class StoredAnswers:
    """Stored answers of all tenants, each reached through its tenant's catalog."""

    def __init__(self, catalogs: Callable[[Tenant], TenantCatalog], settings: Settings) -> None:
        self._catalogs = catalogs
        self.by_default: bool = settings.store_responses
        """Whether a response is kept whose request does not say."""
        self.keep_s = round(settings.stored_answer_days * DAY_S)

    def catalog(self, tenant: Tenant) -> TenantCatalog:
        """What the tenant has stored."""
        return self._catalogs(tenant)

    async def history(self, tenant: Tenant, previous_id: str | None, conversation_id: str | None) -> AnswerHistory:
        """What a request continues. Raises NotFound, Conflict."""
        catalog = self._catalogs(tenant)
        if previous_id is not None:
            chain, items = await catalog.responses.chain(previous_id)
            return AnswerHistory(items, chain)
        if conversation_id is not None:
            try:
                items = await catalog.conversations.all_items(conversation_id)
            except errors.NotFound as error:
                error.param = "conversation"
                raise
            return AnswerHistory(items, (), conversation_id)
        return AnswerHistory()

    async def referred(self, tenant: Tenant, items: Sequence[Json], *, param: str = "input") -> list[Json]:
        """The items of a request, with what is stored in place of each reference to it. Raises NotFound.

        param: what the client calls the list.
        """
        wanted = [str(item["id"]) for item in items if item["type"] == "item_reference"]
        found = await self._catalogs(tenant).responses.items(wanted) if wanted else {}
        for at, item in enumerate(items):
            if item["type"] == "item_reference" and item["id"] not in found:
                raise errors.NotFound(
                    f"Item with id {item['id']!r} not found. It may be of an answer that was not stored; send the item itself.",
                    param=f"{param}.{at}",
                    code="item_not_found",
                )
        return [found[item["id"]] if item["type"] == "item_reference" else item for item in items]

    async def keep(self, tenant: Tenant, record: ResponseRecord, *, wanted: bool) -> bool:
        """Whether an answer is stored now. wanted: the client asked for that, so that a database that is away is an error."""
        try:
            await self._catalogs(tenant).responses.add(record, keep_s=self.keep_s)
        except errors.CatalogUnavailable as error:
            if wanted:
                raise
            log.warning("an answer was not stored: %s", error)
            return False
        return True

    async def keep_chat(self, tenant: Tenant, record: ChatRecord) -> None:
        """Store a chat completion whose client asked for that. Raises CatalogUnavailable."""
        await self._catalogs(tenant).chats.add(record, keep_s=self.keep_s)

    async def finish(self, tenant: Tenant, body: Json) -> None:
        """The end of an answer that was made in the background. Raises Conflict where it was cancelled, NotFound."""
        await self._catalogs(tenant).responses.finish(body, keep_s=self.keep_s)
