"""Whether a query may be asked: one SELECT over tables and columns that the caller may read; what is not known is refused.

Here it is decided which kinds of nodes a query may have; which columns its names stand for, `scopes.py` decides.
"""

from collections.abc import Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from assistants.sql.dialect import SQLITE, Dialect
from assistants.sql.scopes import QueryRefused, resolve
from assistants.sql.tables import Table

__all__ = ["QueryRefused", "check", "labels"]

MAX_CHARS = 4000
MAX_DEPTH = 16
"""Of brackets."""
MAX_TABLES = 8
MAX_SELECTS = 8

_ALLOWED: frozenset[type[exp.Expr]] = frozenset(
    (
        *(
            exp.Select,
            exp.From,
            exp.Join,
            exp.Where,
            exp.Group,
            exp.Having,
            exp.Order,
            exp.Ordered,
            exp.Limit,
            exp.Offset,
            exp.Distinct,
            exp.Table,
            exp.TableAlias,
            exp.Column,
            exp.Identifier,
            exp.Literal,
        ),
        *(
            exp.Star,
            exp.Alias,
            exp.Paren,
            exp.Neg,
            exp.Null,
            exp.Boolean,
            exp.Subquery,
            exp.CTE,
            exp.With,
            exp.Union,
            exp.Except,
            exp.Intersect,
            exp.Var,
            exp.Tuple,
        ),
        *(
            exp.And,
            exp.Or,
            exp.Not,
            exp.EQ,
            exp.NEQ,
            exp.GT,
            exp.GTE,
            exp.LT,
            exp.LTE,
            exp.Between,
            exp.In,
            exp.Exists,
            exp.Like,
            exp.ILike,
            exp.Is,
            exp.Case,
            exp.If,
        ),
        *(
            exp.Add,
            exp.Sub,
            exp.Mul,
            exp.Div,
            exp.Mod,
            exp.DPipe,
            exp.Cast,
            exp.DataType,
            exp.DataTypeParam,
            exp.Interval,
            exp.Window,
            exp.WindowSpec,
            exp.Filter,
            exp.WithinGroup,
        ),
        *(
            exp.Count,
            exp.Sum,
            exp.Avg,
            exp.Min,
            exp.Max,
            exp.Stddev,
            exp.Round,
            exp.Abs,
            exp.Coalesce,
            exp.Nullif,
            exp.Lower,
            exp.Upper,
            exp.Length,
            exp.Substring,
        ),
        *(
            exp.RowNumber,
            exp.Rank,
            exp.DenseRank,
            exp.Lag,
            exp.Lead,
            exp.PercentileCont,
        ),
        *(
            exp.TimeToStr,
            exp.TsOrDsToTimestamp,
            exp.TsOrDsToDate,
            exp.Extract,
            exp.TimestampTrunc,
            exp.DateTrunc,
            exp.CurrentDate,
            exp.CurrentTimestamp,
            exp.Date,
            exp.StrToDate,
            exp.StrToTime,
            exp.UnixToTime,
        ),
        *(exp.Anonymous,),
    )
)
_CALLED = {
    "sqlite": frozenset({"date", "datetime", "julianday", "strftime"}),
    "duckdb": frozenset(),
    "postgres": frozenset({"age"}),
}
"""Functions that sqlglot has no kind of node for, by dialect."""
_CAST_TO = frozenset(
    exp.DataType.build(name).this
    for name in (
        "SMALLINT",
        "INT",
        "BIGINT",
        "FLOAT",
        "DOUBLE",
        "DECIMAL",
        "TEXT",
        "VARCHAR",
        "DATE",
        "TIME",
        "TIMESTAMP",
    )
)


def check(query: str, tables: Sequence[Table], dialect: Dialect = SQLITE) -> str:
    """The query as it is to be asked: written anew from what was read, so that nothing else is asked than was checked.

    tables: that the caller may read. Raises QueryRefused.
    """
    if len(query) > MAX_CHARS or _depth(query) > MAX_DEPTH:
        raise QueryRefused("the query is too long")
    first = next(iter(query.split(None, 1)), "")
    if first.casefold() not in ("select", "with") or "\x00" in query:  # sqlglot would warn of what it does not know
        raise QueryRefused("it must be one SELECT")
    try:
        statements = sqlglot.parse(query, read=dialect.name)
    except (SqlglotError, RecursionError) as error:
        raise QueryRefused("it cannot be read as SQL: " + str(error).splitlines()[0][:200]) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Select | exp.SetOperation):
        raise QueryRefused("it must be one SELECT")
    read = statements[0]
    for node in read.walk():
        _check_node(node, dialect)
    _check_size(read)
    resolve(read, tables)
    return read.sql(dialect=dialect.name, comments=False)


def labels(query: str, dialect: Dialect) -> list[str]:
    """Of the columns of a checked query, each as SQLite would name it."""
    read = sqlglot.parse_one(query, read=dialect.name)
    selects = read.selects if isinstance(read, exp.Query) else []
    return [each.alias or each.sql(dialect=SQLITE.name) for each in selects]


def _check_node(node: exp.Expr, dialect: Dialect) -> None:
    if type(node) not in _ALLOWED:
        raise QueryRefused(f"{type(node).__name__.upper()} is not allowed")
    if isinstance(node, exp.Anonymous) and node.name.casefold() not in _CALLED[dialect.name]:
        raise QueryRefused(f"the function '{node.name[:80]}' is not allowed")
    if isinstance(node, exp.DataType) and node.this not in _CAST_TO:
        raise QueryRefused(f"the type '{node.sql()[:80]}' is not allowed")
    if isinstance(node, exp.With) and node.recursive:
        raise QueryRefused("a query that calls itself is not allowed")
    plain = not isinstance(node, exp.Identifier) or node.name.isidentifier()
    if not plain or (
        isinstance(node, exp.Identifier) and not node.name.isascii() and type(node.parent) is not exp.Alias
    ):
        raise QueryRefused(f"'{node.name[:80]}' is no name for a table or column")


def _check_size(read: exp.Expr) -> None:
    if sum(1 for _ in read.find_all(exp.Select)) > MAX_SELECTS:
        raise QueryRefused(f"it has more than {MAX_SELECTS} queries in one")
    if sum(1 for _ in read.find_all(exp.Table)) > MAX_TABLES:
        raise QueryRefused(f"it joins more than {MAX_TABLES} tables")


def _depth(query: str) -> int:
    deepest = depth = 0
    for character in query:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
