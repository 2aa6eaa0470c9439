"""What `make chaos` says of a ledger: nothing of one that has what clients received, and every difference by its kind."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.chaos.account import Account

Row = tuple[str, str, str, str, int]
WHOLE: Row = ("answer-1", "r1", "settled", "completed", 96)
ASKED: Row = ("x2", "r2", "settled", "completed", 40)
CUT: Row = ("x3", "r3", "settled", "lost", 64)
NOBODYS: Row = ("x4", "r4", "settled", "client_left", 7)
ALL = (WHOLE, ASKED, CUT, NOBODYS)


def catalog(home: Path, rows: Iterable[Row]) -> None:
    with closing(sqlite3.connect(home / "catalog.db")) as database, database:
        database.execute("CREATE TABLE ledger (id, request_id, state, outcome, completion)")
        database.executemany("INSERT INTO ledger VALUES (?, ?, ?, ?, ?)", rows)


async def found(home: Path, rows: Iterable[Row]) -> tuple[dict[str, int], list[str]]:
    catalog(home, rows)
    account = Account(home, {"answer-1": 96}, {"r2": 40}, {"r3": 70}, unaccepted=1)
    return await account.settled()


async def test_a_ledger_that_has_what_clients_received(tmp_path: Path) -> None:
    sums, missed = await found(tmp_path, ALL)
    assert missed == []
    assert sums == {
        "received": 136,
        "charged": 136,
        "cut streams": 1,
        "drift of the cut": 6,
        "largest drift": 6,
        "asked again": 1,
        "charged for those": 7,
    }


@pytest.mark.parametrize(
    ("rows", "what"),
    [
        ((ASKED, CUT, NOBODYS), "differ from what clients received"),
        ((WHOLE, (*ASKED[:4], 41), CUT), "differ from what clients received"),
        (((*WHOLE[:3], "lost", 96), ASKED, CUT), "differ from what clients received"),
        ((WHOLE, ASKED, (*CUT[:4], 5)), "of a cut stream"),
        ((*ALL, ("x5", "r5", "settled", "completed", 1)), "belong to no request"),
    ],
    ids=["no row", "other tokens", "other outcome", "drift", "nobody's"],
)
async def test_a_ledger_that_differs(tmp_path: Path, rows: tuple[Row, ...], what: str) -> None:
    _, missed = await found(tmp_path, rows)
    assert len(missed) == 1
    assert what in missed[0]


async def test_rows_of_before_do_not_count(tmp_path: Path) -> None:
    catalog(tmp_path, ALL)
    account = Account(tmp_path)
    account.begin()
    sums, missed = await account.settled()
    assert missed == []
    assert not any(sums.values())
