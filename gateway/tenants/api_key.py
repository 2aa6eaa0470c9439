"""API keys that the catalog issues: `sk-rf-<id>-<secret>`, found by the id; of the secret only a SHA-256 is kept.

The secret is 256 random bits, so nobody can try them all, and a slow hash would only let strangers burn our processor.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass

PREFIX = "sk-rf-"
_ID = re.compile(r"[0-9a-f]{16}")
_FORM = re.compile(PREFIX + r"([0-9a-f]{16})-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """What is shown once, to whoever asked for it."""

    id: str
    text: str
    """The whole key, as a client sends it."""

    def __repr__(self) -> str:
        return f"NewKey(id={self.id!r})"


def generate(key_id: str = "") -> NewKey:
    """A new key, or a new secret for the key of this id."""
    key_id = key_id or secrets.token_hex(8)
    return NewKey(key_id, f"{PREFIX}{key_id}-{secrets.token_hex(32)}")


def id_of(text: str) -> str | None:
    """The id in a key; None for what has not the form of one."""
    found = _FORM.fullmatch(text)
    return found and found[1]


def is_id(text: str) -> bool:
    """Whether this is the id of a key that the catalog issued."""
    return _ID.fullmatch(text) is not None


def digest(text: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(text.encode()).digest()
