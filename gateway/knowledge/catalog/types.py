"""What the catalog knows: files, vector stores, their memberships, chunks and collections.

All times are Unix seconds (UTC, whole), as OpenAI's API gives them, unless a field says otherwise.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")
Json = dict[str, Any]

SOURCES = "file_ids"
"""The field of a stored search with the files of the passages that went into a prompt."""

AttributeValue = str | float | bool
Attributes = Mapping[str, AttributeValue]
Order = Literal["asc", "desc"]


UNCHANGED = object()
"""For `TenantStores.update`: leave the field as it is (None clears it)."""


class FileState(StrEnum):
    """Where a file is on its way into a store; OpenAI's words."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An uploaded file; its content is in the object store under `content_key(id)`."""

    id: str
    """`file-` and 24 hexadecimal digits."""
    tenant: str
    filename: str
    purpose: str
    size: int
    """Bytes."""
    sha256: str
    created_at: int
    expires_at: int | None = None
    allow: Sequence[str] | None = None
    """Groups whose keys may see it, beside keys that see everything; None: all of the tenant."""


class UploadState(StrEnum):
    """How far an upload in parts is."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that comes in parts, each in the object store under `part_key(id, part)`."""

    id: str
    """`upload_` and 24 hexadecimal digits."""
    tenant: str
    filename: str
    purpose: str
    size: int
    """Bytes of all parts together, as they were announced."""
    created_at: int
    expires_at: int
    """After it nothing can be added, and the parts are deleted."""
    status: UploadState
    allow: Sequence[str] | None = None
    """As the file's."""
    file_id: str | None = None
    """The file that it became."""
    file_expires_s: int | None = None
    """How long that file is kept; None: until it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunking:
    """How a member's text is cut, in tokens of the embedding model. None for either limit: the deployment's default ("auto")."""

    max_tokens: int | None = None
    overlap_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileError:
    """Why a file did not go in. `code` is one of OpenAI's: server_error, unsupported_file, invalid_file."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Members of a store or a batch, by state."""

    in_progress: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.in_progress + self.completed + self.failed + self.cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A vector store: the unit that is searched, and that a model name `rag:<name or id>` stands for."""

    id: str
    """`vs_` and 24 hexadecimal digits."""
    tenant: str
    name: str
    description: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    """Our extension: what differs from the deployment's retrieval defaults (gateway/api/ranking_schema.py has the keys)."""
    created_at: int
    last_active_at: int
    expires_after_days: int | None = None
    """Counted from `last_active_at`, OpenAI's only anchor."""
    counts: Counts = field(default_factory=Counts)
    usage_bytes: int = 0

    @property
    def expires_at(self) -> int | None:
        """The moment it expires unless it is used before; None: never."""
        return None if self.expires_after_days is None else self.last_active_at + 86_400 * self.expires_after_days


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file in a store (OpenAI's `vector_store.file`). While IN_PROGRESS it is a job of the ingestion."""

    store_id: str
    file_id: str
    tenant: str
    filename: str
    created_at: int
    state: FileState
    attributes: Attributes = field(default_factory=dict)
    chunking: Chunking = field(default_factory=Chunking)
    batch_id: str | None = None
    error: FileError | None = None
    usage_bytes: int = 0
    chunk_count: int = 0
    receipt: Mapping[str, object] | None = None
    """What was read of the file, and what was not (Document.receipt); None before, and of a failed one."""
    generation: int = 1
    """Raised whenever the member must be written to the index anew, so that work begun for an older one is dropped."""
    pending: bool = False
    """Whether a job is to be done: also of a COMPLETED member whose rows are to be written anew."""
    allow: Sequence[str] | None = None
    """Of its file, where a tenant asks; the ingestion reads it not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """A file that is to join a store. None: as it is already, or no attributes and the deployment's chunking."""

    file_id: str
    attributes: Attributes | None = None
    chunking: Chunking | None = None
    allow: Sequence[str] | None = None
    """Of its file from now on."""


@dataclass(frozen=True, slots=True)
class FileScope:
    """These files, or with `inverted` all but these."""

    ids: Sequence[str]
    inverted: bool = False

    def without(self, file_ids: Set[str]) -> "FileScope":
        """The same less these."""
        if self.inverted:
            return FileScope([*self.ids, *file_ids], inverted=True)
        return FileScope([each for each in self.ids if each not in file_ids])


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Members that joined together (OpenAI's `vector_store.files_batch`)."""

    id: str
    """`vsfb_` and 24 hexadecimal digits."""
    store_id: str
    tenant: str
    created_at: int
    cancelled: bool
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """One chunk of one member, as gateway/knowledge/chunking.py cut it: the index can be rebuilt from these alone."""

    index: int
    text: str
    """What is embedded and searched: headings, then the body."""
    page: int
    start: int
    end: int


class CollectionState(StrEnum):
    """The life of a Milvus collection: filled beside the active one, then switched to; the one before stays for the way back."""

    BUILDING = "building"
    ACTIVE = "active"
    PREVIOUS = "previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A Milvus collection with the vectors of one embedding model."""

    name: str
    embedding_model: str
    dimension: int
    state: CollectionState
    created_at: int


MAX_KEY = 255
"""Characters of an idempotency key."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What a client was answered: the HTTP status, the body (a JSON text), and headers."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A cursor list: at most `limit` items by `created_at` (then id) in `order`, strictly after/before the item of that id."""

    limit: int = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a cursor list."""

    items: Sequence[T]
    has_more: bool
