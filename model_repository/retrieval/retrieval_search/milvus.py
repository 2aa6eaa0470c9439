"""One connection to Milvus, made when it is first needed and made anew after it has failed, with its errors as ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from retrieval_search.errors import BadQuery, CollectionNotFound, RetrievalError, RetrievalUnavailable

T = TypeVar("T")

# MilvusException codes: 100 in Milvus 2.3 and later (merr.ErrCollectionNotFound), 4 in the older numbering.
_NOT_FOUND_CODES = (100, 4)
# merr.ErrCollectionNotLoaded; Milvus Lite has every collection in this state when it has been started anew.
_NOT_LOADED_CODE = 101
# 1100 in Milvus (merr.ErrParameterInvalid), 6 in Milvus Lite: a filter that cannot be parsed and the like.
_INVALID_CODES = (1100, 6)


class Client(Protocol):
    """What is used of pymilvus's AsyncMilvusClient; the fake for tests is in tests/unit/retrieval."""

    async def search(self, collection_name: str, data: list[Any], **options: Any) -> Any: ...

    async def get(self, collection_name: str, ids: list[str], **options: Any) -> list[dict[str, Any]]: ...

    async def load_collection(self, collection_name: str, **options: Any) -> None: ...

    async def close(self) -> None: ...


Ask = Callable[[Client], Awaitable[T]]


class MilvusConnection:
    """For one event loop."""

    def __init__(self, uri: str, connect: Callable[[], Client], *, deadline_s: float) -> None:
        self._uri = uri
        self._connect = connect
        self._deadline_s = deadline_s
        self._client: Client | None = None

    async def ask(self, collection: str, ask: Ask[T]) -> T:
        """What `ask` says of a client. Raises Unavailable, CollectionNotFound, BadQuery."""
        connected = self._client is not None
        try:
            return await self._try(collection, ask)
        except RetrievalUnavailable:
            # A connection from before may have died with a Milvus that is back already: a new one deserves a try.
            if not connected:
                raise
            return await self._try(collection, ask)

    async def drop(self) -> None:
        """Close it. The next question makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _try(self, collection: str, ask: Ask[T]) -> T:
        """A failure other than the caller's fault costs the connection."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            if self._client is None:
                self._client = self._connect()
            try:
                return await ask(self._client)
            except MilvusException as error:
                if error.code != _NOT_LOADED_CODE:
                    raise
                await self._client.load_collection(collection, timeout=self._deadline_s)
                return await ask(self._client)
        except MilvusException as error:
            refusal = _refusal(error, collection)
            if isinstance(refusal, RetrievalUnavailable):
                await self.drop()
            raise refusal from error
        except (grpc.RpcError, OSError) as error:
            await self.drop()
            raise RetrievalUnavailable(f"Milvus at {self._uri}: {error}") from error


def _refusal(error: Any, collection: str) -> RetrievalError:
    """The kind of a MilvusException; whatever is not plainly the caller's fault may pass, and counts as unavailable."""
    reason = str(error.message) or f"Milvus error {error.code} without a text"
    if error.code in _NOT_FOUND_CODES:
        return CollectionNotFound(collection)
    if error.code in _INVALID_CODES or "dimension" in reason:
        return BadQuery(reason)
    return RetrievalUnavailable(reason)


def pymilvus_client(uri: str, token: str, *, ca_file: str = "", deadline_s: float) -> Client:
    """pymilvus's own."""
    from pymilvus import AsyncMilvusClient

    client: Client = AsyncMilvusClient(
        uri,
        token=token,
        timeout=deadline_s,
        dedicated=True,
        server_pem_path=ca_file,
        grpc_options={
            # gRPC would share a broken connection's back-off, of up to two minutes, with the one that replaces it.
            "grpc.use_local_subchannel_pool": 1,
            # pymilvus pings an idle connection every 10 s. Milvus Lite's server ends the connection of who does so more often
            # than every 5 min ("too_many_pings"), also while a call begins.
            "grpc.keepalive_permit_without_calls": 0,
            "grpc.keepalive_time_ms": 60_000,
        },
    )
    return client
