"""A warehouse that is one file: its tables are read again when it has changed."""

from abc import ABC, abstractmethod
from pathlib import Path

from assistants.sql.dialect import Dialect
from assistants.sql.names import with_plain_names
from assistants.sql.results import QueryFailed
from assistants.sql.tables import Table


class FileWarehouse(ABC):
    """What SQLite's and DuckDB's files have in common."""

    dialect: Dialect

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[int, list[Table]] | None = None

    def tables(self) -> list[Table]:
        """See Warehouse."""
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError as error:
            raise QueryFailed(f"the warehouse cannot be read: {error.strerror}") from error
        if self._known is None or self._known[0] != changed:
            self._known = changed, with_plain_names(self._read_tables(), self.dialect)
        return self._known[1]

    @abstractmethod
    def _read_tables(self) -> list[Table]:
        """Raises QueryFailed."""
