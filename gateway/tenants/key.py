"""What a caller has shown: a key, and what it is good for."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import PermissionDenied
from gateway.tenants.limits import UNLIMITED, TenantLimits


class Scope(StrEnum):
    """What a key is good for. Each route wants one."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    ADMIN = "admin"


GROUP_PATTERN = r"^[A-Za-z0-9_.:@/+=\-]{1,64}$"
"""What the name of a group looks like."""

MAX_ALLOWED_GROUPS = 16
"""Of one document's list."""

USER_SCOPES = frozenset(Scope) - {Scope.ADMIN}


@dataclass(frozen=True, slots=True)
class Key:
    """A key by its id; the secret is nowhere in it."""

    id: str = ""
    """Empty: a key of the tenants file, or of RAGFLEET_API_KEY_FILE."""
    scopes: frozenset[Scope] = USER_SCOPES
    groups: frozenset[str] | None = None
    """The groups whose documents it may see, beside those that all of the tenant may; None: every document of the tenant."""
    limits: TenantLimits = UNLIMITED

    def require(self, scopes: Collection[Scope]) -> None:
        """Raises PermissionDenied where it has none of these."""
        if self.scopes.isdisjoint(scopes):
            wanted = " or ".join(f"'{scope}'" for scope in scopes)
            raise PermissionDenied(f"You have insufficient permissions for this operation. Missing scope: {wanted}.")


TENANTS_OWN = Key()
