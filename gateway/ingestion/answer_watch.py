"""Who is being answered, as our gateway knows it: asked by the ingestion process over the socket that its metrics go through.

The gateway keeps these counts for placement anyway, so being asked costs a request nothing. What other gateways answer is seen in
the instances' metrics, later.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping

from gateway.routing.types import Answering

QUESTION = b"?"
"""A datagram that is no report."""
FRESH_S = 0.02
"""An answer counts for so long: however many batches wait, the gateway is asked 50 times a second at the most."""
_LIMIT = 1 << 20


def told(hosts: Mapping[str, Answering]) -> bytes:
    """The gateway's answer."""
    return json.dumps({address: list(each) for address, each in hosts.items()}).encode()


class AnswerWatch:
    """Asks the gateway at the other end of a datagram socket.

    patience_s: for its answer. A gateway that has no time for it has somebody to serve. clock: monotonic seconds.
    """

    def __init__(
        self, gateway: socket.socket, *, patience_s: float = 0.1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        gateway.setblocking(False)
        self._gateway = gateway
        self._patience_s = patience_s
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: Mapping[str, Answering] = {}
        self._known_at = float("-inf")

    async def hosts(self) -> Mapping[str, Answering] | None:
        """By address; who is missing answers nobody. None: the gateway did not say in time."""
        async with self._turn:
            if self._clock() - self._known_at >= FRESH_S:
                try:
                    async with asyncio.timeout(self._patience_s):
                        self._known = await self._ask()
                except TimeoutError:
                    return None
                except OSError:  # it has gone, as we shall soon
                    self._known = {}
                self._known_at = self._clock()
            return self._known

    async def _ask(self) -> Mapping[str, Answering]:
        self._forget_late_answers()
        self._gateway.send(QUESTION)
        answer = await asyncio.get_running_loop().sock_recv(self._gateway, _LIMIT)
        return {address: Answering(*each) for address, each in json.loads(answer).items()}

    def _forget_late_answers(self) -> None:
        try:
            while self._gateway.recv(_LIMIT):
                pass
        except BlockingIOError:
            pass
