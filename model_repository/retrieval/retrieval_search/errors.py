"""Why nothing could be retrieved. The texts are part of the contract: callers tell the kinds apart by their start."""

from __future__ import annotations


class RetrievalError(Exception):
    """A search without a result."""


class RetrievalUnavailable(RetrievalError):
    """Milvus cannot be reached, or did not answer in time. Another try, here or on another instance, may succeed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"retrieval: unavailable: {reason}")


class CollectionNotFound(RetrievalError):
    def __init__(self, collection: str) -> None:
        super().__init__(f"retrieval: not found: collection {collection!r}")


class BadQuery(RetrievalError):
    """Milvus understood the request and refuses it: a filter it cannot parse, a vector of another dimension."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"retrieval: bad query: {reason}")


class FilterRefused(RetrievalError):
    """The filter does not come from the gateway."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"retrieval: filter refused: {reason}")
