"""Threads that take tokens to their sinks.

Sending a token through Triton's Python backend is a round trip of some 0.2 ms between two processes, nearly all of it waiting:
several threads overlap it, one for each stream, so that its tokens keep their order.
"""

import queue
import threading
from collections.abc import Callable

JOIN_S = 2.0


class Senders:
    """What is put in for one key is called in that order, soon, in another thread. A call that raises is logged."""

    def __init__(self, count: int, log: Callable[[str], None]) -> None:
        self._log = log
        self._queues: list[queue.SimpleQueue[Callable[[], None] | None]] = [queue.SimpleQueue() for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(calls,), name="llm-sender", daemon=True) for calls in self._queues
        ]
        for thread in self._threads:
            thread.start()

    def put(self, key: int, call: Callable[[], None]) -> None:
        """Returns at once."""
        self._queues[key % len(self._queues)].put(call)

    def close(self) -> None:
        """End the threads once everything that was put in has been called."""
        for calls in self._queues:
            calls.put(None)
        for thread in self._threads:
            thread.join(JOIN_S)

    def _run(self, calls: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
        while call := calls.get():
            try:
                call()
            except Exception as error:  # noqa: BLE001 - one broken stream must not end the others'
                self._log(f"llm: a token could not be sent: {error!r}")
