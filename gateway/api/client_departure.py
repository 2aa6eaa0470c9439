"""That the client of a request has left: told to whoever answers it, by a callback."""

from collections.abc import Callable

from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl


class Departure:
    """Tells whoever answers a request that its client has left, without a task that waits for it. One for each request."""

    __slots__ = ("_flow", "_left", "_on_leave")

    def __init__(self, flow: FlowControl) -> None:
        self._flow = flow
        self._left = False
        self._on_leave: Callable[[], None] | None = None

    def watch(self, on_leave: Callable[[], None]) -> None:
        """Call this once when the client leaves; at once where it has. To be called when the body has been read."""
        self._on_leave = on_leave
        self._flow.resume_reading()  # else nobody would notice; uvicorn's `receive` does the same
        if self._left:
            on_leave()

    def ignore(self) -> None:
        """Nobody wants to know any more."""
        self._on_leave = None

    def happen(self) -> None:
        """The client has left."""
        self._left = True
        on_leave, self._on_leave = self._on_leave, None
        if on_leave is not None:
            on_leave()


def departure_of(scope: Scope) -> Departure | None:
    """Of the request's client; None under another server, where only `receive` tells."""
    return scope.get("ragfleet.departure")
