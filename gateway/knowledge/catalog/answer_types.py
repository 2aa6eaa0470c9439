"""What the catalog knows of answers: stored responses, answers in the making with their journals, batches, conversations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.knowledge.catalog.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRecord:
    """One answer as it is stored. The items are JSON objects, each with an `id`."""

    body: Json
    """The response object as clients read it, `output` included."""
    input: Sequence[Json]
    chain: Sequence[str] = ()
    """The responses that it continues, of which the last is `previous_response_id`: they are kept as long as it is."""
    conversation_id: str | None = None


class AnswerKind(StrEnum):
    """What an answer with a journal is, and how it is made."""

    BACKGROUND = "background"
    """A response for which no client needs to wait."""
    RESPONSE = "response"
    """A response that is streamed."""
    CHAT = "chat"
    """A chat that is streamed."""


JournalParts = Mapping[str, tuple[Sequence[Sequence[Any]], int, int]]
"""By choice ("" for what is of all of them): token ids, each step as an engine gave it, how many events were written, and prompt
tokens that were cached. JSON, of which the catalog knows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRecord:
    """One chat completion as it is stored."""

    body: Json
    """The object as clients read it, without its metadata."""
    messages: Sequence[Json]
    """What it was asked, as the client sent it."""
    metadata: Mapping[str, str]
    sources: Sequence[str]
    """The files that its prompt told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundJob:
    """An answer that outlives the gateway that makes it, held by one of them at a time under a lease."""

    answer_id: str
    kind: AnswerKind
    caller: str
    """Whose it is, as JSON (gateway/tenants/caller.py)."""
    request_id: str
    request: Json
    """As the client sent it, with what it continues in place of references to it."""
    response: Json
    """The response object before there is anything in it; empty for a chat."""
    created_at: float
    """Unix seconds."""
    unread_s: float = 0.0
    """Past which it is cancelled, where nobody reads it; 0: never."""
    attempts: int = 0
    """How often it was claimed."""
    prompt: Json | None = None
    """What was journaled of its prompt; None before."""
    parts: Sequence[JournalParts] = ()
    """Of each entry of its journal."""
    last_event: int = -1
    """The number of the last event that clients may have seen."""
    position: int = -1
    """Of the last row of its journal."""
    call: object = None
    """What the gateway that begins it has made of the request; kept nowhere, and None for whoever takes it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """What came since the last commit of one answer's journal."""

    answer_id: str
    position: int
    last_event: int
    """The number of the last event up to now."""
    events: bytes
    parts: JournalParts
    prompt: Json | None = None
    """Where it is known since then."""
    ended: bool = False
    """Nothing more comes of it."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """Some events of an answer, one after the other as they are sent; `last` is the number of the last one."""

    last: int
    events: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """A batch of requests that a gateway works on under a lease."""

    caller: str
    """Whose it is, as JSON (gateway/tenants/caller.py)."""
    body: Json
    """The batch as clients read it, without the counts."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A line of a batch's input that was answered. `body`: its line in the output file, or, not `ok`, in the error file."""

    number: int
    ok: bool
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """A conversation without its items."""

    id: str
    """`conv_` and 24 hexadecimal digits."""
    tenant: str
    created_at: int
    expires_at: int
    metadata: Mapping[str, str]
