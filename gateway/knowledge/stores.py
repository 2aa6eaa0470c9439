"""The knowledge stores that a tenant may ask: their names, and the filter that keeps a search inside them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gateway.knowledge.filters import store_filter


class KnowledgeStores:
    """Reads the manifest of ingested files. A store exists while it has at least one file."""

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest

    def names(self, tenant: str) -> Sequence[str]:
        """Store names, sorted. None before the first ingestion."""
        if not self._manifest.exists():
            return ()
        # Read-only, and only the index of a small table: some tens of microseconds, on a local disk.
        with closing(sqlite3.connect(f"file:{self._manifest}?mode=ro", uri=True, timeout=1)) as connection:
            try:
                return tuple(row[0] for row in connection.execute("SELECT DISTINCT store FROM files ORDER BY store"))
            except sqlite3.OperationalError:
                return ()  # made this moment: the table is not there yet

    def filter(self, tenant: str, stores: Sequence[str]) -> str:
        """A Milvus expression for the rows of these stores."""
        return " or ".join(store_filter(name) for name in stores)
