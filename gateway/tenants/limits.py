"""What a tenant, or one of its keys, may use. None: as much as there is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """Minutes, days and months are UTC's. A key's limits hold beside its tenant's: the smaller one is met first."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Prompt and answer of chats, completions and responses together."""
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    concurrent_answers: int | None = None
    embedding_tokens_per_minute: int | None = None
    stored_bytes: int | None = None
    """Of files."""
    documents: int | None = None
    """Files."""
    queued_bytes: int | None = None
    """Of request bodies that are held at once."""
    pending_ingestions: int | None = None
    """Files of vector stores that wait to be read."""
    converter_seconds_per_minute: int | None = None
    """Of reading files. A key has no such limit of its own."""
    unread_stream_seconds: int | None = None
    """Past which a stream with a journal is cancelled that nobody reads; None: as the setting has it."""


UNLIMITED = TenantLimits()
MOST = 2**53 - 1
"""A limit, at the most: what JSON can hold as a whole number."""


def wrong_limit(limits: Mapping[str, object]) -> str | None:
    """The name of one that no limit has, or whose value no limit can be; None where all are right."""
    for name, value in limits.items():
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
        if name not in TenantLimits.__slots__ or not (value is None or whole):
            return name
    return None
