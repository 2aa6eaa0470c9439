"""What a caller has shown: a key, and what it is good for."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.tenants.limits import UNLIMITED, Limits


class Scope(StrEnum):
    """What a key is good for. Each route wants one."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    KNOWLEDGE_READ = "knowledge:read"
    KNOWLEDGE_WRITE = "knowledge:write"
    ADMIN = "admin"


USER_SCOPES = frozenset(Scope) - {Scope.ADMIN}


@dataclass(frozen=True, slots=True)
class Key:
    """A key by its id; the secret is nowhere in it."""

    id: str = ""
    """Empty: a key of the tenants file, or of RAGFLEET_API_KEY_FILE."""
    scopes: frozenset[Scope] = USER_SCOPES
    groups: frozenset[str] | None = None
    """The groups whose documents it may see, beside those that all of the tenant may; None: every document of the tenant."""
    limits: Limits = UNLIMITED


TENANTS_OWN = Key()
