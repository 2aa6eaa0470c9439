"""Request bodies in memory: each bounded, all of them together bounded, and no tenant's may push out the others'."""

import asyncio
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from starlette.types import Receive, Scope

from gateway.errors import BadRequest, Overloaded, PayloadTooLarge, RateLimited

T = TypeVar("T")

SMALL_BYTES = 64 * 1024
"""A body up to this size is not counted, for the bound on connections bounds these, and parsed where it stands."""


class Bodies:
    """What a process holds of its requests' bodies. One for the life of the application."""

    def __init__(self, *, max_bytes: int, total_bytes: int) -> None:
        """max_bytes: of one body. total_bytes: of all; half of it, or one body, for one tenant."""
        self.max_bytes = max_bytes
        self._total = max(total_bytes, max_bytes)
        self._of_tenant = max(total_bytes // 2, max_bytes)
        self._held: Counter[str] = Counter()
        # One at a time: each takes the interpreter's lock from the event loop for a while.
        self.parsing = asyncio.Lock()

    @property
    def held(self) -> int:
        """Bytes."""
        return self._held.total()

    def hold(self, tenant: str, most: int | None = None) -> "HeldBody":
        """A context manager, within which a tenant's body is read, and held. most: the tenant's own limit, where it has one."""
        return HeldBody(self, tenant, most)

    def take(self, tenant: str, size: int, most: int | None = None) -> None:
        """So many bytes more. Raises Overloaded, RateLimited."""
        if most is not None and self._held[tenant] + size > most:
            raise RateLimited(f"The large requests of this tenant may hold {most} bytes at a time.", retry_after_s=1)
        if self._held[tenant] + size > self._of_tenant or self.held + size > self._total:
            raise Overloaded("The gateway holds too many large requests now.", retry_after_s=1)
        self._held[tenant] += size

    def give(self, tenant: str, size: int) -> None:
        """So many bytes less."""
        self._held[tenant] -= size
        if not self._held[tenant]:
            del self._held[tenant]


class HeldBody:
    """One body."""

    __slots__ = ("_all", "_counted", "_most", "_tenant")

    def __init__(self, bodies: Bodies, tenant: str, most: int | None = None) -> None:
        self._all = bodies
        self._most = most
        self._tenant = tenant
        self._counted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._counted:
            self._all.give(self._tenant, self._counted)

    async def read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None where the client left.

        Raises PayloadTooLarge, by the announced length where there is one, Overloaded, and BadRequest for an encoding.
        """
        limit = self._all.max_bytes
        refuse_encoded(scope)
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if (more := size - SMALL_BYTES - self._counted) > 0:
                self._all.take(self._tenant, more, self._most)
                self._counted += more
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def parsed(self, body: bytes, parse: Callable[[bytes], T]) -> T:
        """What `parse` makes of a body that was read; a large one in a thread, in its turn."""
        if len(body) <= SMALL_BYTES:
            return parse(body)
        async with self._all.parsing:
            return await asyncio.to_thread(parse, body)


def refuse_encoded(scope: Scope) -> None:
    """Raises BadRequest (415) for a compressed body: a few bytes of one can become any number."""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise BadRequest(
                "A compressed body is not read; send it as it is, without Content-Encoding.",
                status=415,
                code="unsupported_content_encoding",
            )


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is over the limit of {limit} bytes.")
