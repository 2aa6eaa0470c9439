"""A connection's TLS handshake, under the same bounds as a request's head: counted, by address, and over within the deadline.

With uvicorn's own TLS a connection is nobody's until its handshake is done: it is not counted, and is waited for a minute.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

from gateway.api.http_protocol import LINGER_S, BoundedHttpProtocol, Connections


def connection_protocol(*, connections: Connections, tls: ssl.SSLContext | None, **options: Any) -> asyncio.Protocol:
    """What a new connection begins with. `options`: uvicorn's."""
    http = partial(BoundedHttpProtocol, connections=connections, **options)
    return http() if tls is None else TlsHandshake(http, tls, connections)


class TlsHandshake(asyncio.Protocol):
    """One connection until its handshake is done; `then` makes the protocol that goes on with it."""

    def __init__(self, then: Callable[[], asyncio.Protocol], context: ssl.SSLContext, connections: Connections) -> None:
        self._then = then
        self._context = context
        self._all = connections
        self.loop = asyncio.get_running_loop()
        self.address = ""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        # The socket goes on without this transport, which (uvloop's) cannot be kept from reading what is for the handshake.
        if self._all.open(self):
            self._task = self.loop.create_task(self._shake_hands(transport.get_extra_info("socket").dup()))
        cast("asyncio.Transport", transport).abort()

    def check(self, now: float) -> None:
        """See ClientConnection. The handshake has a deadline by itself."""

    async def _shake_hands(self, peer: socket.socket) -> None:
        try:
            with suppress(OSError):  # no TLS, too late, or gone
                await self.loop.connect_accepted_socket(
                    self._then,
                    peer,
                    ssl=self._context,
                    ssl_handshake_timeout=self._all.limits.header_deadline_s,
                    ssl_shutdown_timeout=LINGER_S,
                )
        finally:
            self._all.close(self)
