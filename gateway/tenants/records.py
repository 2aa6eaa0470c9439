"""Tenants and keys as the catalog has them. Times are Unix seconds."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.tenants.key import Key, Scope
from gateway.tenants.limits import UNLIMITED, TenantLimits
from gateway.tenants.tenant import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRecord:
    """A tenant that was made by an administrator."""

    name: str
    weight: float = 1.0
    priority: int = 0
    placement: str = ""
    limits: TenantLimits = UNLIMITED
    suspended: bool = False
    created_at: int = 0

    def tenant(self, key: Key) -> Tenant:
        """The value that travels with a request which came with this key."""
        return Tenant(self.name, self.weight, self.priority, self.placement, self.limits, key)

    def describe(self) -> dict[str, Any]:
        """Plain values, for API, command line and audit."""
        return {
            "name": self.name,
            "weight": self.weight,
            "priority": self.priority,
            "class": self.placement,
            "limits": stored_limits(self.limits),
            "suspended": self.suspended,
            "created_at": self.created_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A key that was made by an administrator."""

    id: str
    tenant: str
    digest: bytes
    """SHA-256 of the whole key."""
    previous_digest: bytes | None = None
    """Of the secret before the last rotation; it opens until `previous_until`."""
    previous_until: int | None = None
    scopes: frozenset[Scope]
    groups: frozenset[str] | None = None
    limits: TenantLimits = UNLIMITED
    created_at: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    """At most a minute or two old while the key is in use."""

    def __repr__(self) -> str:
        return f"KeyRecord(id={self.id!r}, tenant={self.tenant!r})"

    def opened_by(self, digest: bytes, now: float) -> bool:
        """Whether this is the digest of its secret, or of the one before while that is still good."""
        current = hmac.compare_digest(self.digest, digest)
        previous = hmac.compare_digest(self.previous_digest or bytes(len(digest)), digest)
        return current or (previous and self.previous_until is not None and now < self.previous_until)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    @property
    def key(self) -> Key:
        """The value that travels with a request."""
        return Key(self.id, self.scopes, self.groups, self.limits)

    def describe(self, now: float) -> dict[str, Any]:
        """Plain values, for API, command line and audit; nothing of the secret."""
        status = "revoked" if self.revoked_at is not None else "expired" if self.expired(now) else "active"
        rotating = self.previous_until is not None and self.previous_until > now
        return {
            "id": self.id,
            "tenant": self.tenant,
            "status": status,
            "scopes": sorted(self.scopes),
            "groups": None if self.groups is None else sorted(self.groups),
            "limits": stored_limits(self.limits),
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "last_used_at": self.last_used_at,
            "previous_secret_until": self.previous_until if rotating else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryChanges:
    """What became new between two revisions."""

    revision: int
    complete: bool
    """Whether this is everything, and not only what is new."""
    tenants: Sequence[TenantRecord]
    keys: Sequence[KeyRecord]


def read_limits(stored: Mapping[str, int | None]) -> TenantLimits:
    """Out of the catalog; what a later version may have added is left out."""
    return TenantLimits(**{name: stored[name] for name in TenantLimits.__slots__ if name in stored})


def stored_limits(limits: TenantLimits) -> dict[str, int]:
    """Those that are set, by their names."""
    return {name: value for name, value in asdict(limits).items() if value is not None}
