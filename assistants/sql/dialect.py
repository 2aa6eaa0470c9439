"""What differs between the databases that can be asked: how a month is written, and what may be called."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of them."""

    name: str
    """As sqlglot calls it."""
    year: str
    """Of a date column, as text; `{}` stands for it."""
    month: str

    def span(self, form: str, column: str) -> str:
        """form: `%Y` or `%Y-%m`."""
        return (self.year if form == "%Y" else self.month).format(column)


SQLITE = Dialect("sqlite", "strftime('%Y', {})", "strftime('%Y-%m', {})")
DUCKDB = Dialect("duckdb", "strftime({}, '%Y')", "strftime({}, '%Y-%m')")
POSTGRES = Dialect("postgres", "to_char({}, 'YYYY')", "to_char({}, 'YYYY-MM')")
DIALECTS = {each.name: each for each in (SQLITE, DUCKDB, POSTGRES)}
