"""What the ingestion has to do, as the catalog has it."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.knowledge.catalog.types import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A member whose index entry is behind what is wanted, claimed by one ingestion worker until `lease_until`."""

    member: Member
    owner: str
    lease_until: float
    attempts: int
    """How often it was claimed, this time included."""
    excused: int = 0
    """How many of the earlier attempts ended through no fault of the file: something was away, or the ingestion ended."""

    @property
    def tries(self) -> int:
        """The attempts that count against the file, this one included."""
        return self.attempts - self.excused


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the ingestion has before it, of all tenants; what it is at now included."""

    waiting: Mapping[str, int]
    """Files by tenant."""
    oldest: Mapping[str, float]
    """Unix seconds at which each tenant's first one of them was queued."""
    removals: int
    first_removal: int | None
    """The id of the removal that is next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Something that the ingestion needs and that is away; files wait for it and stay IN_PROGRESS."""

    cause: str
    """`objects`, `embedding`, `index` and the like."""
    message: str
    """For operators: it may name addresses."""
    since: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Rows that must leave the index, and objects that must leave the object store: what is left of something deleted."""

    id: int
    tenant: str
    store_id: str | None
    """With `file_id`: one member; alone: the whole store; None: only the file's objects."""
    file_id: str | None
    generation: int | None = None
    """Of a member: rows up to this generation; a newer one's, of the same file come back, stay."""
