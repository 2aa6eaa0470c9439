"""What a request for vectors comes to: its reservation and its row in the ledger, by the texts that were computed."""

from collections.abc import Sequence
from itertools import repeat
from types import TracebackType
from typing import Self

from gateway.errors import RagfleetError
from gateway.tenants.budgets import Resource
from gateway.tenants.ledger import Ledger, LedgerEntry, outcome_of
from gateway.tenants.quotas import Reservation


class EmbeddingAccount:
    """Of one request that was admitted. A context manager: on every path it is settled once, to what was computed."""

    def __init__(self, ledger: Ledger, entry: LedgerEntry, reserved: Reservation) -> None:
        self._ledger = ledger
        self._entry = entry
        self._reserved = reserved
        self._tokens: Sequence[int] = ()
        self._texts: Sequence[int] = ()
        self._missing: list[int] = []
        self._computed = 0
        self._is_over = False
        ledger.open(entry, lambda: (self._computed, 0, 0))

    async def begin(self, tokens: Sequence[int], pieces: Sequence[int]) -> None:
        """Of each text its tokens, and in how many pieces it goes to the model. Raises as `Quotas.reserve` does."""
        self._tokens, self._missing = tokens, list(pieces)
        self._texts = [text for text, count in enumerate(pieces) for _ in repeat(None, count)]
        self._entry.reserved = sum(tokens)
        await self._reserved.resize({Resource.REQUESTS: 1, Resource.EMBEDDING_TOKENS: sum(tokens)})

    def computed(self, pieces: range) -> None:
        """These have their vectors."""
        for piece in pieces:
            text = self._texts[piece]
            self._missing[text] -= 1
            if not self._missing[text]:
                self._computed += self._tokens[text]

    async def complete(self) -> None:
        """All is computed; the row is written when this returns."""
        self._finish(None)
        await self._ledger.settle(self._entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_over:
            self._finish(error)
            self._ledger.settle_later(self._entry)

    def _finish(self, error: BaseException | None) -> None:
        self._is_over = True
        self._entry.prompt, self._entry.outcome = self._computed, outcome_of(error)
        # Where nothing came of it, for a fault that is not the client's, it costs nothing.
        if self._computed or not isinstance(error, RagfleetError):
            self._reserved.settle({Resource.REQUESTS: 1, Resource.EMBEDDING_TOKENS: self._computed})
