"""Rows of several requests in one transaction: each is written once, and each hears what became of its own."""

import asyncio
from typing import Any

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.grouped_inserts import GroupedInserts


class Table:
    """Takes what it is told to take, all rows of a transaction or none."""

    def __init__(self) -> None:
        self.transactions: list[list[Any]] = []
        self.bad: set[int] = set()
        self.away = False
        self.tries = 0
        self.open = asyncio.Event()
        self.open.set()
        self.inserts = GroupedInserts(self._write)

    def add(self, number: int) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.inserts.add({"number": number}))

    async def _write(self, rows: Any) -> None:
        self.tries += 1
        await self.open.wait()
        if self.away:
            raise CatalogUnavailable("away")
        numbers = [row["number"] for row in rows]
        if self.bad.intersection(numbers):
            raise ValueError(numbers)
        self.transactions.append(numbers)


async def test_who_comes_together_is_written_together() -> None:
    table = Table()
    await asyncio.gather(*map(table.add, range(16)))
    assert table.transactions == [[*range(16)]]
    await table.add(16)
    assert table.transactions[1:] == [[16]]


async def test_who_comes_while_others_are_written_is_written_next() -> None:
    table = Table()
    table.open.clear()
    first = table.add(1)
    while not table.tries:
        await asyncio.sleep(0)
    second = table.add(2)
    table.open.set()
    await asyncio.gather(first, second)
    assert table.transactions == [[1], [2]]


async def test_a_row_that_cannot_be_written_harms_no_other() -> None:
    table = Table()
    table.bad = {1}
    ends = await asyncio.gather(*map(table.add, range(3)), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), ValueError, type(None)]
    assert table.transactions == [[0], [2]]


async def test_a_catalog_that_is_away_is_tried_once_for_all() -> None:
    table = Table()
    table.away = True
    ends = await asyncio.gather(*map(table.add, range(3)), return_exceptions=True)
    assert [type(end) for end in ends] == [CatalogUnavailable] * 3
    assert table.tries == 1


async def test_who_has_given_up_is_not_written() -> None:
    table = Table()
    adds = [table.add(number) for number in range(3)]
    await asyncio.sleep(0)
    adds[1].cancel()
    await asyncio.gather(*adds, return_exceptions=True)
    assert table.transactions == [[0, 2]]


async def test_a_writer_that_is_ended_leaves_nobody_waiting() -> None:
    table = Table()
    table.open.clear()
    add = table.add(1)
    while not table.tries:
        await asyncio.sleep(0)
    for task in table.inserts._tasks:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await add
