"""What the ledger has of a run, request by request, beside what its clients received."""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.tenants.ledger import CHECKPOINT_TOKENS

SETTLED_S = 60.0
"""By then every row is settled: a dead gateway's are after 10 s, an answer that nobody reads after 30 s."""


@dataclass(slots=True)
class Account:
    """What clients received."""

    home: Path
    """Of the fleet, whose catalog is a file there."""
    by_row: dict[str, int] = field(default_factory=dict)
    """Answer tokens of whole streams with a journal, by the row's id, which is the answer's."""
    by_request: dict[str, int] = field(default_factory=dict)
    """Of whole streams without one, by X-Request-Id."""
    cut: dict[str, int] = field(default_factory=dict)
    """Of streams without a journal whose gateway was killed: tokens that had come by then."""
    unaccepted: int = 0
    """Requests that broke before their first event, of which the ledger may have a row."""
    _before: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """From now on; what is there already is not looked at."""
        self._before = {row["id"] for row in self._rows()}

    async def settled(self) -> tuple[dict[str, int], list[str]]:
        """Sums, and what is not as it should be, when every row is settled, or after a while."""
        return self._compared(await asyncio.to_thread(self._settled_rows))

    def _compared(self, found: Sequence[sqlite3.Row]) -> tuple[dict[str, int], list[str]]:
        rows = [row for row in found if row["id"] not in self._before]
        charged: dict[str, Any] = {row["id"]: row for row in rows if row["id"] in self.by_row}
        charged |= {row["request_id"]: row for row in rows if row["request_id"] in self.by_request}
        received = self.by_row | self.by_request
        wrong = [
            f"{name} received {tokens}, the ledger has {'no row' if row is None else tuple(row)[1:]}"
            for name, tokens in received.items()
            if (row := charged.get(name)) is None or (row["outcome"], row["completion"]) != ("completed", tokens)
        ]
        missed = [f"{len(wrong)} rows of the ledger differ from what clients received: {wrong[:3]}"] if wrong else []
        if open_rows := sum(row["state"] != "settled" for row in rows):
            missed.append(f"{open_rows} rows of the ledger are not settled after {SETTLED_S:g} s")
        cut = {row["request_id"]: row for row in rows if row["request_id"] in self.cut}
        drifts = [abs(tokens - (cut[name]["completion"] if name in cut else 0)) for name, tokens in self.cut.items()]
        if (drift := max(drifts, default=0)) > CHECKPOINT_TOKENS:
            missed.append(f"{drift} tokens of a cut stream are not in the ledger; the bound is {CHECKPOINT_TOKENS}")
        known = {row["id"] for row in (*charged.values(), *cut.values())}
        nobodys = [row for row in rows if row["id"] not in known]
        if len(nobodys) > self.unaccepted:
            missed.append(f"{len(nobodys)} rows belong to no request, {self.unaccepted} were asked again")
        return {
            "received": sum(received.values()),
            "charged": sum(row["completion"] for row in charged.values()),
            "cut streams": len(self.cut),
            "drift of the cut": sum(drifts),
            "largest drift": drift,
            "asked again": self.unaccepted,
            "charged for those": sum(row["completion"] for row in nobodys),
        }, missed

    def _settled_rows(self) -> Sequence[sqlite3.Row]:
        end = time.monotonic() + SETTLED_S
        while True:
            rows = self._rows()
            if all(row["state"] == "settled" for row in rows) or time.monotonic() > end:
                return rows
            time.sleep(0.5)

    def _rows(self) -> Sequence[sqlite3.Row]:
        with closing(sqlite3.connect(f"file:{self.home / 'catalog.db'}?mode=ro", uri=True, timeout=30)) as catalog:
            catalog.row_factory = sqlite3.Row
            return catalog.execute("SELECT id, request_id, state, outcome, completion FROM ledger").fetchall()
