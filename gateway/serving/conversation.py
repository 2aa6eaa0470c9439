"""Which conversation a request belongs to, as far as its messages tell."""

import hashlib
from dataclasses import dataclass

from gateway.serving.generation_request import GenerationRequest
from gateway.tenants.tenant import Tenant

_HASHED_CHARS = 2000
"""Of each text."""


@dataclass(frozen=True, slots=True)
class KnownConversation:
    """Known by how it begins."""

    hash: int
    """64 bits."""
    begins: bool
    """Whether this is its first turn."""


UNKNOWN = KnownConversation(0, begins=True)


def conversation_of(request: GenerationRequest, tenant: Tenant) -> KnownConversation:
    """Its messages up to the first one of the user are the same in every turn: the client or the store sends all of them again.

    Two conversations of a tenant that begin with the same words are one here.
    """
    digest = hashlib.blake2b(tenant.name.encode(), digest_size=8, person=b"conversation")
    begins = True
    known = False
    for message in request.messages:
        role = message["role"]
        if not known:
            digest.update(f"\0{role}\0{str(message['content'])[:_HASHED_CHARS]}".encode(errors="replace"))
        known |= role == "user"
        begins &= role not in ("assistant", "tool")
    if request.prompt is not None:
        digest.update(str(request.prompt[:_HASHED_CHARS]).encode(errors="replace"))
    return KnownConversation(int.from_bytes(digest.digest()), begins)
