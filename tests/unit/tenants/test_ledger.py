"""The ledger's background task, on a store that a test holds up and lets go."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CatalogUnavailable
from gateway.tenants.ledger import CHECKPOINT_TOKENS, Ledger, LedgerEntry
from gateway.tenants.tenant import Tenant


class Store:
    """Keeps rows as they were when their write began, as a database does; answers when it is told to."""

    def __init__(self) -> None:
        self.rows: dict[str, LedgerEntry] = {}
        self.beats: list[float] = []
        self.away = False
        self.begun = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def write(self, gateway: str, entries: Sequence[LedgerEntry], *, alive_at: float | None) -> None:
        sent = [replace(entry) for entry in entries]
        self.begun.set()
        await self.goes_on.wait()
        if self.away:
            raise CatalogUnavailable("away")
        self.rows |= {entry.id: entry for entry in sent}
        self.beats += [] if alive_at is None else [alive_at]

    async def reap(self, gateway: str, *, dead_before: float) -> int:
        return 0

    async def forget(self, before: float) -> None:
        pass


def entry() -> LedgerEntry:
    return LedgerEntry.of(Tenant("a"), request_id="r", route="chat", model="m", reserved=100)


@given(
    ends=st.lists(st.sampled_from(["before", "while its row is on its way", "after"]), min_size=1, max_size=6),
    answered=st.booleans(),
)
def test_what_ends_while_the_database_comes_back_is_written_as_it_ended(ends: list[str], answered: bool) -> None:
    async def story() -> None:
        store = Store()
        ledger = Ledger(store, "g", keep_s=1e9)
        entries = [entry() for _ in ends]
        for each in entries:
            ledger.open(each)
        store.away = True
        await ledger.step()

        async def end(when: str) -> None:
            for each, ended in zip(entries, ends, strict=True):
                if ended == when:
                    each.completion, each.outcome = 100, "completed"
                    await ledger.settle(each)

        await end("before")
        store.begun.clear()
        store.goes_on.clear()
        trying = asyncio.create_task(ledger.step())
        await store.begun.wait()
        await end("while its row is on its way")
        store.away = not answered
        store.goes_on.set()
        await trying
        store.away = False
        await ledger.step()
        writing = asyncio.create_task(ledger.run())  # as `settle` waits for a row to be written
        await end("after")
        writing.cancel()
        await ledger.step()
        assert [(store.rows[each.id].completion, store.rows[each.id].outcome) for each in entries] == [
            (100, "completed")
        ] * len(entries)

    asyncio.run(story())


def test_what_streams_is_written_while_others_end_all_the_time() -> None:
    async def story() -> None:
        store = Store()
        ledger = Ledger(store, "g", keep_s=1e9)
        long = entry()
        ledger.open(long, lambda: (5, 0, CHECKPOINT_TOKENS))
        writing = asyncio.create_task(ledger.run())
        async with asyncio.timeout(60):
            while long.id not in store.rows or store.rows[long.id].completion < CHECKPOINT_TOKENS:
                short = entry()
                ledger.open(short)
                await ledger.settle(short)
        writing.cancel()

    asyncio.run(story())


async def test_a_clock_that_is_put_back_lets_no_gateway_seem_dead() -> None:
    now, store = 7_200.0, Store()
    ledger = Ledger(store, "g", keep_s=1e9, clock=lambda: now)
    running = entry()
    running.created_at = now
    ledger.open(running)
    await ledger.step()
    now -= 3_600
    await ledger.step()
    assert store.beats == [7_200.0, 3_600.0]
    running.outcome = "completed"
    ledger.settle_later(running)
    await ledger.step()
    assert store.rows[running.id].ms == 0
