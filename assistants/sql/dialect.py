"""What differs between the databases that can be asked: months, days ago, and texts without regard to case."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of them."""

    name: str
    """As sqlglot calls it."""
    year: str
    """Of a date column, as text; `{}` stands for it."""
    month: str
    ago: tuple[str, str]
    """What stands before and behind the number of days that a day lies in the past."""
    like: str = "ILIKE"
    """LIKE that passes over case."""
    rounded: tuple[str, str] = ("ROUND(", "")
    """What stands before and behind a number that is rounded to so many digits."""

    def span(self, form: str, column: str) -> str:
        """form: `%Y` or `%Y-%m`."""
        return (self.year if form == "%Y" else self.month).format(column)


SQLITE = Dialect("sqlite", "strftime('%Y', {})", "strftime('%Y-%m', {})", ("DATE('now', '-", " days')"), like="LIKE")
DUCKDB = Dialect("duckdb", "strftime({}, '%Y')", "strftime({}, '%Y-%m')", ("CURRENT_DATE - INTERVAL '", "' DAYS"))
POSTGRES = Dialect(
    "postgres",
    "to_char({}, 'YYYY')",
    "to_char({}, 'YYYY-MM')",
    ("CURRENT_DATE - INTERVAL '", " DAYS'"),
    rounded=("ROUND(CAST(", " AS DECIMAL)"),
)
DIALECTS = {each.name: each for each in (SQLITE, DUCKDB, POSTGRES)}
