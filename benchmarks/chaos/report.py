"""What is told of a chaos run: rows as they come, kept on disk from the first one on, tables at the end."""

import json
import os
import time
from typing import Any

from benchmarks.chaos.heartbeat import ISOLATED_S, REJOINED_S
from benchmarks.chaos.scenarios import Row, summary
from benchmarks.report import Figure, print_table, write_json
from tests.support.observed_fleet import FEW_DESCRIPTORS, SOME_RSS_MB

COUNTS = ("streams", "failed", "refused", "moved")
FIGURES = ("gap_p50_s", "gap_p99_s", "ttft_p99_s")


class Report:
    """The rows so far, and the time that is left for more. `wanted`: the scenarios that a whole run has."""

    def __init__(self, wanted: list[str], *, limit_s: float) -> None:
        self.rows: dict[str, Row] = {}
        self._wanted = wanted
        self._started = time.monotonic()
        self._limit_s = limit_s

    @property
    def left_s(self) -> float:
        """Seconds until the whole run must be over."""
        return self._started + self._limit_s - time.monotonic()

    def add(self, name: str, row: Row) -> None:
        """Keep a row, and show it."""
        row["load_average"] = os.getloadavg()[0]
        self.rows[name] = row
        print(json.dumps(row), flush=True)
        self._write()

    def broke(self, name: str, error: str) -> None:
        """A scenario came to no end."""
        self.add(name, {**summary([]), "missed": [error[:500]]})

    def tell(self) -> bool:
        """Print the tables; whether all went well."""
        self._table_of_scenarios()
        self._table_of_heartbeat()
        self._table_of_rest()
        self._words_of_kinds()
        for name, row in self.rows.items():
            for what in (*row["missed"], *row["errors"]):
                print(f"{name}: {what}")
        if not_run := [name for name in self._wanted if name not in self.rows]:
            print(f"not run to an end: {', '.join(not_run)}")
        total, failed = self._sums()
        if total:
            print(f"accepted requests that succeeded: {100 * (1 - failed / total):.3f} % of {total}")
        print(f"written: {self._write()}, after {self._limit_s - self.left_s:.0f} s")
        return self.good

    @property
    def good(self) -> bool:
        """Every wanted scenario has run, and nothing failed, was refused or missed its bar."""
        return all(name in self.rows and _good(self.rows[name]) for name in self._wanted)

    def _sums(self) -> tuple[int, int]:
        rows = self.rows.values()
        return sum(row["streams"] - row["refused"] for row in rows), sum(row["failed"] for row in rows)

    def _write(self) -> object:
        total, failed = self._sums()
        seconds = round(self._limit_s - self.left_s)
        return write_json(
            "chaos",
            {"good": self.good, "seconds": seconds, "rows": self.rows, "accepted": total, "failed": failed},
            figures=self._figures(total, failed),
            tell=False,
        )

    def _figures(self, total: int, failed: int) -> list[Figure]:
        rows = self.rows.values()
        bad = sum(not _good(row) for row in rows) + len(self._wanted) - len(rows)
        found = [
            Figure(f"of {total} accepted requests, those that failed", failed, at_most=0),
            Figure(f"of {len(self._wanted)} scenarios, those with a bar missed or not run", bad, at_most=0),
        ]
        alike = [row for row in rows if "identical" in row]
        if compared := sum(row["streams"] for row in alike):
            identical = sum(row["identical"] for row in alike) / compared
            found.append(Figure(f"of {compared} answers that can be compared, identical", identical, at_least=1))
        moved = {name: row["gap_p50_s"] for name, row in self.rows.items() if row["moved"]}
        return found + [Figure(f"{name}: silence of moved streams, p50", gap, "s") for name, gap in moved.items()]

    def _table_of_scenarios(self) -> None:
        print_table(
            "Chaos: what the clients noticed",
            ["scenario", *COUNTS, "gap p50 s", "gap p99 s", "TTFT p99 s", "identical", "load", "ok"],
            [
                [name, *(row[key] for key in COUNTS + FIGURES),
                 f"{row['identical']}/{row['streams']}" if "identical" in row else "", row["load_average"],
                 "yes" if _good(row) else "NO"]
                for name, row in self.rows.items()
            ],
        )  # fmt: skip

    def _table_of_rest(self) -> None:
        if rest := [[name, *row["rest"].values()] for name, row in self.rows.items() if "rest" in row]:
            print_table(
                f"At rest after each (bounds: nothing held, {FEW_DESCRIPTORS} descriptors, {SOME_RSS_MB:g} MB more than before)",
                ["scenario", "permits", "streams", "in flight", "in engines", "descriptors", "RSS MB"],
                rest,
            )

    def _words_of_kinds(self) -> None:
        rows = {name: row for name, row in self.rows.items() if "kinds" in row}
        for name, row in rows.items():
            silences = f"{row['resumed_p50_s']:.2f} s (p50), {row['resumed_max_s']:.2f} s (the longest)"
            print(f"{name}: whole answers by kind {row['kinds']}, faults {row['faults']}")
            print(f"{name}: {row['resumed']} streams of killed gateways went on at the other after {silences}")
            print(f"{name}: tokens {row['ledger']}")

    def _table_of_heartbeat(self) -> None:
        if figures := self.rows.get("heartbeat", {}).get("heartbeat"):
            print_table(
                "Heartbeat: seconds until an instance gets no more work, and until it does again",
                ["lost", "isolated", "stated", "rejoined", "stated", "what the gateway said"],
                [
                    [what, _cell(f["isolated_s"]), ISOLATED_S.get(what, ""), _cell(f["rejoined_s"]), REJOINED_S.get(what, ""),
                     f"{f['state']}: {f['reason'][:60]}"]
                    for what, f in figures.items() if "state" in f
                ],
            )  # fmt: skip


def _good(row: dict[str, Any]) -> bool:
    return not row["failed"] and not row["refused"] and not row["missed"]


def _cell(value: float | None) -> object:
    return "not needed" if value is None else value
