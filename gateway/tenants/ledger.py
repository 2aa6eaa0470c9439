"""What every request came to: a row when it is admitted, settled before the client sees its end. Written in groups.

A row is written by a background task, many in one transaction: a request costs its share of one. What streams is written again
and again, so that of a gateway that dies at most CHECKPOINT_TOKENS of each stream are missing; another one settles it then.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from gateway import errors
from gateway.errors import CatalogUnavailable
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.tenants")

GATHER_S = 0.01
"""For which the end of a request waits for others to be written with it."""
TICK_S = 0.25
"""Between two looks at what streams, and to the writing of what nobody waits for."""
CHECKPOINT_TOKENS = 64
CHECKPOINT_S = 1.0
"""After so many tokens, or so long, a stream is written as it is."""
COMMIT_S = 1.0
"""The end of an answer is held up for its row at the longest."""
AWAY_S = 1.0
"""Between two tries while the database is away."""
MOST_WAITING = 20_000
"""Rows that wait while the database is away; then the oldest are lost, and counted."""
BATCH = 500
BEAT_S = 2.0
REAP_S = 5.0
"""Between two looks for rows that a dead gateway left, which is one that has not been heard of for DEAD_S."""
DEAD_S = 10.0


class RepeatedRequest:
    """A request that is made anew where its gateway dies, under the same id of ours. Its rows have names of their own, so that it
    has them once, however often it is made."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()

    def row_id(self, request_id: str) -> str:
        """Of the next row of this request, or of a part of it."""
        self._rows[request_id] += 1
        return hashlib.sha256(f"{request_id} {self._rows[request_id]}".encode()).hexdigest()[:32]


REPEATED: ContextVar[RepeatedRequest | None] = ContextVar("ragfleet_repeated_request", default=None)
"""What this task works on. None: a client's request, whose id is the client's."""


@dataclass(slots=True, eq=False)
class LedgerEntry:
    """One request."""

    request_id: str
    """As the client sees it, who may have sent it twice."""
    tenant: str
    key: str
    route: str
    model: str
    reserved: int
    """Tokens that it may take."""
    id: str = field(default_factory=lambda: os.urandom(16).hex())
    created_at: float = field(default_factory=time.time)
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    stores: Sequence[str] = ()
    instances: Sequence[str] = ()
    outcome: str = ""
    """Empty while it runs; then `completed`, `client_left`, or the code of its error; `lost` where its gateway died."""
    ms: int = 0

    @classmethod
    def of(cls, tenant: Tenant, *, request_id: str, route: str, model: str, reserved: int) -> "LedgerEntry":
        """Of a request that was just admitted."""
        entry = cls(request_id, tenant.name, tenant.key.id, route, model, reserved)
        if (repeated := REPEATED.get()) is not None:
            entry.id = repeated.row_id(request_id)
        return entry


def outcome_of(error: BaseException | None) -> str:
    """What a request came to that ended with this error, or without one."""
    if error is None:
        return "completed"
    if isinstance(error, errors.RagfleetError):
        return errors.face(error).code or "failed"
    return "failed" if isinstance(error, Exception) else "client_left"


class LedgerStore(Protocol):
    """Where the rows are. All raise CatalogUnavailable."""

    async def write(self, gateway: str, entries: Sequence[LedgerEntry], *, alive_at: float | None) -> None:
        """Add these rows, or bring them up to date; a row that was settled stays so. alive_at: a sign of life (Unix seconds)."""

    async def reap(self, gateway: str, *, dead_before: float) -> int:
        """Settle what gateways left that were not heard of since; how many rows."""

    async def forget(self, before: float) -> None:
        """Delete rows that are older."""


class Ledger:
    """Of one gateway. Requests are served while its database is away; their rows are written when it is back."""

    def __init__(
        self,
        store: LedgerStore,
        gateway: str,
        *,
        keep_s: float,
        on_failure: Callable[[], None] = lambda: None,
        on_loss: Callable[[int], None] = lambda rows: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """keep_s: rows are deleted after. on_failure, on_loss: told of each try that failed, and of rows that are lost."""
        self._store = store
        self._gateway = gateway
        self._keep_s = keep_s
        self._on_failure = on_failure
        self._on_loss = on_loss
        self._clock = clock
        self._open: dict[LedgerEntry, _Progress] = {}
        self._waiting: dict[LedgerEntry, asyncio.Future[None] | None] = {}
        self._wake = asyncio.Event()
        self._away = False
        self._turn = asyncio.Lock()
        self._beaten_at = self._reaped_at = float("-inf")

    def open(self, entry: LedgerEntry, usage: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0)) -> None:
        """A request was admitted. usage: prompt tokens, those of them that were cached, and completion tokens so far."""
        self._open[entry] = _Progress(usage, self._clock())
        self._put(entry)

    async def settle(self, entry: LedgerEntry) -> None:
        """It has ended, and its row is written when this returns; not where the database is slow or away, but soon then."""
        if not self._close(entry):
            return
        if self._away:
            self._put(entry)  # its row may just be on its way as it was before, and arrive
            return
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        self._put(entry, written)
        self._wake.set()
        patience = loop.call_later(COMMIT_S, _let_go, written)
        try:
            await written
        finally:
            patience.cancel()

    def settle_later(self, entry: LedgerEntry) -> None:
        """It has ended, and nobody waits for its row. Once is enough."""
        if self._close(entry):
            self._put(entry)

    async def run(self) -> None:
        """Write, until cancelled."""
        now = asyncio.get_running_loop().time
        looked_at = now()
        while True:
            try:
                async with asyncio.timeout(AWAY_S if self._away else TICK_S):
                    await self._wake.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._wake.clear()
            if look := now() - looked_at >= TICK_S:
                looked_at = now()
            await self.step(look=look)

    async def step(self, *, look: bool = True) -> None:
        """Write what there is. look: whether what streams is looked at: where many answers end, it is not for each of them."""
        now = self._clock()
        if look:
            for entry, progress in self._open.items():
                if progress.is_due(entry, now):
                    self._put(entry)
        async with self._turn:
            try:
                # What comes meanwhile has its own turn: each transaction costs as much as a dozen rows.
                for _ in range(0, len(self._waiting), BATCH):
                    await self._write(now)
                await self._tend(now)
                self._away = False
            except CatalogUnavailable:
                self._on_failure()
                self._away = True
                self._let_go()

    async def close(self) -> None:
        """Write the last rows: no more requests come."""
        for entry in list(self._open):
            entry.outcome = entry.outcome or "lost"
            self.settle_later(entry)
        await self.step()

    @property
    def waiting(self) -> int:
        """Rows that are not written yet."""
        return len(self._waiting)

    def _close(self, entry: LedgerEntry) -> bool:
        if self._open.pop(entry, None) is None:
            return False
        entry.ms = max(0, round((self._clock() - entry.created_at) * 1000))
        return True

    def _put(self, entry: LedgerEntry, written: asyncio.Future[None] | None = None) -> None:
        self._waiting[entry] = written or self._waiting.get(entry)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self._on_loss(1)

    async def _write(self, now: float) -> None:
        batch = {entry: self._waiting.pop(entry) for entry in list(self._waiting)[:BATCH]}
        alive = now if self._open and self._is_past(self._beaten_at, BEAT_S) else None
        try:
            await self._store.write(self._gateway, list(batch), alive_at=alive)
        except BaseException:
            # What came meanwhile is newer.
            self._waiting = batch | self._waiting
            raise
        self._beaten_at = alive or self._beaten_at
        for written in batch.values():
            _let_go(written)

    def _let_go(self) -> None:
        """Hold up no answer any longer; the rows stay."""
        for written in self._waiting.values():
            _let_go(written)

    def _is_past(self, at: float, seconds: float) -> bool:
        """More than so long ago; or the clock was put back since, by which nobody may seem dead that lives."""
        return abs(self._clock() - at) > seconds

    async def _tend(self, now: float) -> None:
        if self._open and self._is_past(self._beaten_at, BEAT_S):
            await self._store.write(self._gateway, (), alive_at=now)
            self._beaten_at = now
        if self._is_past(self._reaped_at, REAP_S):
            self._reaped_at = now
            if left := await self._store.reap(self._gateway, dead_before=now - DEAD_S):
                log.warning("%d requests of gateways that are gone were settled as they stood", left)
            await self._store.forget(now - self._keep_s)


def _let_go(written: asyncio.Future[None] | None) -> None:
    """Whoever waits for this row waits no longer."""
    if written is not None and not written.done():
        written.set_result(None)


class _Progress:
    """Of a stream, and when it was written last."""

    __slots__ = ("_at", "_usage")

    def __init__(self, usage: Callable[[], tuple[int, int, int]], now: float) -> None:
        self._usage = usage
        self._at = now

    def is_due(self, entry: LedgerEntry, now: float) -> bool:
        """It is far from what was written, which the entry now is not any more."""
        prompt, cached, completion = self._usage()
        moved = (prompt, completion) != (entry.prompt, entry.completion)
        if not moved or (completion - entry.completion < CHECKPOINT_TOKENS and abs(now - self._at) < CHECKPOINT_S):
            return False
        entry.prompt, entry.cached, entry.completion, self._at = prompt, cached, completion, now
        return True
