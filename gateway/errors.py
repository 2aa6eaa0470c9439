"""Everything that can go wrong between a client and an engine, as one tree, and its one table to HTTP.

    RagfleetError
    ├── BadRequest                 the client must change the request
    │   ├── ContextLengthExceeded
    │   └── PayloadTooLarge
    ├── Unauthenticated
    ├── PermissionDenied           the key is good, but not for this
    ├── NotFound
    ├── Conflict                   the request does not fit what is there now
    ├── Overloaded                 the client may try again later
    │   └── RateLimited
    ├── InsufficientQuota          what the client may use is used up
    ├── Unavailable                nothing can serve this now
    │   ├── KnowledgeUnavailable
    │   ├── CatalogUnavailable
    │   │   └── CatalogUnusable
    │   ├── ObjectsUnavailable
    │   └── StorageFull
    ├── DeadlineExceeded
    └── GenerationFailed           the engines were tried and failed

Exceptions of libraries are translated where they enter (gateway/triton, gateway/knowledge), never further in.
"""

from dataclasses import dataclass
from typing import Any, Self


class RagfleetError(Exception):
    """An error with what a client needs to act on it.

    `param` names the request field at fault, `code` is a short machine-readable word, `retry_after_s` a hint in seconds.
    `detail` is for operators: it goes to logs and terminals, never to a client (places on this machine, addresses, names).
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        status: int | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(f"{message} {detail}" if detail else message)
        self.message = message
        self.detail = detail
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.status = status


class BadRequest(RagfleetError):
    """The request is malformed or asks for what this system does not do."""


class ContextLengthExceeded(BadRequest):
    """Prompt and answer together are longer than the model's context."""

    @classmethod
    def of(cls, found: int, limit: int, *, param: str, why: str = "") -> Self:
        """`found` tokens, at least, where `limit` may be; `why` says what the limit is.

        LangChain and LiteLLM know the error by its first sentence, which is OpenAI's.
        """
        of_limit = f" ({why})" if why else ""
        return cls(
            f"Input tokens exceed the configured limit of {limit} tokens{of_limit}. There are at least {found}. "
            "Please reduce the length of the input.",
            param=param,
        )


class PayloadTooLarge(BadRequest):
    """The body is over the limit."""


class Unauthenticated(RagfleetError):
    """No key, or one that nobody has."""


class PermissionDenied(RagfleetError):
    """The key is known, and may not do this."""


class NotFound(RagfleetError):
    """No such model, store or path."""


class Conflict(RagfleetError):
    """What is asked for does not fit the state that things are in; the message says what to do first."""


class Overloaded(RagfleetError):
    """Admission refused the request; `retry_after_s` says when a place is likely."""


class RateLimited(Overloaded):
    """A limit of the tenant, or of its key, is reached; without `retry_after_s` the request is more than the limit by itself."""


class InsufficientQuota(RagfleetError):
    """A budget of the tenant, or of its key, is spent, and will be for longer than a client should wait."""


class Unavailable(RagfleetError):
    """No instance can take the request now."""


class KnowledgeUnavailable(Unavailable):
    """Milvus did not answer in time."""


class CatalogUnavailable(Unavailable):
    """The catalog's database did not answer; a hint to come back goes with it."""


class CatalogUnusable(CatalogUnavailable):
    """The catalog's database is one that this program must not write to; the message says what the operator does."""


class ObjectsUnavailable(Unavailable):
    """The object store did not answer; a hint to come back goes with it."""


class StorageFull(Unavailable):
    """The disk has no room for more."""


class DeadlineExceeded(RagfleetError):
    """The request took longer than it was allowed."""


class GenerationFailed(RagfleetError):
    """Every attempt on the engines failed."""


@dataclass(frozen=True, slots=True)
class HttpFace:
    """How an error looks on the wire."""

    status: int
    type: str
    code: str | None


# The most specific class wins; every class of the tree is here (a test sees to it).
HTTP: dict[type[RagfleetError], HttpFace] = {
    RagfleetError: HttpFace(500, "server_error", "internal_error"),
    BadRequest: HttpFace(400, "invalid_request_error", None),
    ContextLengthExceeded: HttpFace(400, "invalid_request_error", "context_length_exceeded"),
    PayloadTooLarge: HttpFace(413, "invalid_request_error", "payload_too_large"),
    Unauthenticated: HttpFace(401, "invalid_request_error", "invalid_api_key"),
    PermissionDenied: HttpFace(403, "invalid_request_error", "insufficient_permissions"),
    NotFound: HttpFace(404, "invalid_request_error", "not_found"),
    Conflict: HttpFace(409, "invalid_request_error", "conflict"),
    Overloaded: HttpFace(429, "rate_limit_error", "overloaded"),
    RateLimited: HttpFace(429, "rate_limit_error", "rate_limit_exceeded"),
    InsufficientQuota: HttpFace(429, "insufficient_quota", "insufficient_quota"),
    Unavailable: HttpFace(503, "server_error", "unavailable"),
    KnowledgeUnavailable: HttpFace(503, "server_error", "knowledge_unavailable"),
    CatalogUnavailable: HttpFace(503, "server_error", "catalog_unavailable"),
    CatalogUnusable: HttpFace(503, "server_error", "catalog_unavailable"),
    ObjectsUnavailable: HttpFace(503, "server_error", "objects_unavailable"),
    StorageFull: HttpFace(507, "server_error", "insufficient_storage"),
    DeadlineExceeded: HttpFace(504, "server_error", "deadline_exceeded"),
    GenerationFailed: HttpFace(502, "server_error", "generation_failed"),
}


def face(error: RagfleetError) -> HttpFace:
    """The HTTP status, type and code of an error; what the error itself carries goes first."""
    known = next(HTTP[cls] for cls in type(error).__mro__ if cls in HTTP)
    status = error.status or known.status
    return HttpFace(status, "server_error" if status >= 500 else known.type, error.code or known.code)


def body(error: RagfleetError) -> dict[str, Any]:
    """The error as OpenAI's clients read it: `{"error": {message, type, param, code}}`."""
    wire = face(error)
    return {"error": {"message": error.message, "type": wire.type, "param": error.param, "code": wire.code}}


def headers(error: RagfleetError) -> list[tuple[bytes, bytes]]:
    """How to send a key that is missing. Retry-After in whole seconds (RFC 9110) and in milliseconds, which the openai client
    prefers. It would also repeat each conflict, each full disk and each 429 by itself: one that stays is marked as such."""
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b'Bearer realm="ragfleet"')]
    if error.retry_after_s is None:
        stays = isinstance(error, Conflict | StorageFull | RateLimited | InsufficientQuota)
        return [(b"x-should-retry", b"false")] if stays else []
    seconds = max(1, round(error.retry_after_s))
    millis = max(1, round(error.retry_after_s * 1000))
    return [(b"retry-after", str(seconds).encode()), (b"retry-after-ms", str(millis).encode())]
