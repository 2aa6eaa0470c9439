"""Body chunks straight into the server's transport.

ASGI's `send` is a coroutine: only a task can call it, so that each token would have to wake one, for a few microseconds of
work. While the client keeps up, the callback that read the token writes it. This knows uvicorn's request cycle;
under any other server (and in tests without a socket) everything goes by `send`.
"""

from starlette.types import Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UvicornWriter:
    """The body of one response that has begun, in chunked encoding."""

    __slots__ = ("_cycle", "_flow", "_write")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._flow = cycle.flow
        self._write = cycle.transport.write

    def ready(self) -> bool:
        """Whether `write` may be called now: not while the client is behind with reading, nor after it has left."""
        return not (self._flow.write_paused or self._cycle.disconnected or self._cycle.response_complete)

    def write(self, data: bytes) -> None:
        """One chunk, not empty; ordered among those sent by ASGI's `send`."""
        self._write(b"%x\r\n%b\r\n" % (len(data), data))


def uvicorn_writer(send: Send) -> UvicornWriter | None:
    """The way past the server's own `send` for a stream whose head is out; None where there is none."""
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or not cycle.response_started or not cycle.chunked_encoding:
        return None
    if cycle.scope["method"] == "HEAD":
        return None
    return UvicornWriter(cycle)
