"""How long a row waits in SQLite beside processes that write all the time, by our waiting and by SQLite's own, in turn.
`python -m benchmarks.sqlite_writers`

A row as the ledger's: a transaction of its own every 20 ms. Beside it one process commits transaction after transaction, as an
ingestion does whose files are small. SQLite's own waiting (busy_timeout) sleeps for up to 0.1 s between two looks.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.processes import process
from benchmarks.report import Figure, print_table, write_json
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.database import Database
from gateway.knowledge.catalog.sqlite_thread import SqliteThread, Values

ROUNDS, ROUND_S, EVERY_S = 6, 5.0, 0.02
TIMEOUT_S = 5.0
WHAT = {"ours": "looks each millisecond", "theirs": "SQLite's busy_timeout"}


class BusyTimeout:
    """A connection that waits as SQLite does."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    async def write(self, insert: str, row: Values) -> None:
        """Raises sqlite3.OperationalError."""
        await asyncio.to_thread(self._write, insert, row)

    async def close(self) -> None:
        self._connection.close()

    def _write(self, insert: str, row: Values) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(insert, row)
        self._connection.execute("COMMIT")


class EachMillisecond:
    """Our way."""

    def __init__(self, path: Path) -> None:
        self._thread = SqliteThread(str(path), TIMEOUT_S)

    async def write(self, insert: str, row: Values) -> None:
        """Raises sqlite3.OperationalError."""
        await self._thread.write([(insert, [row])])

    async def close(self) -> None:
        await self._thread.close()


async def write_on(url: str) -> None:
    """Three rows a transaction, until ended."""
    database = Database(url)
    number = 0
    while True:
        async with database.write() as connection:
            for _ in range(3):
                number += 1
                row = {"id": f"{os.getpid()}-{number}", "seen_at": 0.0}
                await connection.execute(database.insert(schema.gateways), row)


async def waits(writer: EachMillisecond | BusyTimeout, insert: str, name: str) -> tuple[list[float], int]:
    """Milliseconds of each row in one round, and how many waited until nobody waits any longer."""
    found, lost = [], 0
    ends = time.monotonic() + ROUND_S
    while time.monotonic() < ends:
        begun = time.monotonic()
        try:
            await writer.write(insert, {"id": f"{name}-{begun}", "seen_at": 0.0})
        except sqlite3.OperationalError:
            lost += 1
        found.append((time.monotonic() - begun) * 1000)
        await asyncio.sleep(EVERY_S)
    return found, lost


async def main(log: Path) -> int:
    """Print it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=log.parent) as folder:
        path = Path(folder) / "catalog.db"
        database = Database(f"sqlite:///{path}")
        await database.prepare()
        insert = database.prepared(database.insert(schema.gateways))
        await database.close()
        writers = {"ours": EachMillisecond(path), "theirs": BusyTimeout(path)}
        all_waits: dict[str, list[float]] = {name: [] for name in writers}
        all_lost = dict.fromkeys(writers, 0)
        with process([sys.executable, "-m", "benchmarks.sqlite_writers", "--write", f"sqlite:///{path}"], log=log):
            await asyncio.sleep(2.0)
            for number in range(ROUNDS):
                for name in sorted(writers, reverse=bool(number % 2)):
                    found, lost = await waits(writers[name], insert, f"{name}-{number}")
                    all_waits[name] += found
                    all_lost[name] += lost
        for writer in writers.values():
            await writer.close()
    rows = []
    for name, found in all_waits.items():
        found.sort()
        p50, p99 = (found[int(q * len(found))] for q in (0.5, 0.99))
        rows.append((WHAT[name], len(found), f"{p50:.1f}", f"{p99:.1f}", f"{found[-1]:.0f}", all_lost[name]))
    print_table(
        f"A row beside a process that writes all the time (load {os.getloadavg()[0]:.1f})",
        ("waiting", "rows", "p50 ms", "p99 ms", "longest ms", "lost"),
        rows,
    )
    (ours, theirs) = ((each[int(0.99 * len(each))], each[-1]) for each in (all_waits["ours"], all_waits["theirs"]))
    write_json(
        "sqlite_writers",
        {"waits_ms": all_waits, "lost": all_lost},
        figures=[
            Figure("a row beside another writer, p99", ours[0], "ms", "SQLite's own waiting", theirs[0], at_most=1.0),
            Figure("the longest of these", ours[1], "ms", "SQLite's own waiting", theirs[1]),
        ],
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", metavar="URL", help="be the process that writes")
    arguments = parser.parse_args()
    if arguments.write:
        asyncio.run(write_on(arguments.write))
    else:
        sys.exit(asyncio.run(main(Path("var/bench/logs/sqlite_writers.log"))))
