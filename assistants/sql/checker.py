"""Whether a query may be asked: one SELECT over tables and columns that the caller may read; what is not known is refused."""

from collections.abc import Mapping, Sequence

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from assistants.sql.dialect import SQLITE, Dialect
from assistants.sql.tables import Table

MAX_CHARS = 4000
MAX_DEPTH = 16
"""Of brackets."""
MAX_TABLES = 4
FUNCTIONS = frozenset({"count", "sum", "avg", "min", "max", "strftime", "round"})
"""That a query may call."""

_ALLOWED: tuple[type[exp.Expression], ...] = (
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
        exp.Distinct,
    ),
    *(exp.Table, exp.Column, exp.Identifier, exp.Literal, exp.Star, exp.Alias, exp.Paren, exp.Neg, exp.Null),
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
        exp.Like,
        exp.Is,
    ),
    *(exp.Add, exp.Sub, exp.Mul, exp.Div),
    *(exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Round, exp.TimeToStr, exp.TsOrDsToTimestamp),
)


class QueryRefused(ValueError):
    """The query may not be asked; the message says why."""


def check(query: str, tables: Sequence[Table], dialect: Dialect = SQLITE) -> str:
    """The query as it is to be asked: written anew from what was read, so that nothing else is asked than was checked.

    tables: that the caller may read. Raises QueryRefused.
    """
    if len(query) > MAX_CHARS or _depth(query) > MAX_DEPTH:
        raise QueryRefused("the query is too long")
    if query.lstrip()[:6].casefold() != "select" or "\x00" in query:  # sqlglot would warn of what it does not know
        raise QueryRefused("it must be one SELECT")
    try:
        statements = sqlglot.parse(query, read=dialect.name)
    except (SqlglotError, RecursionError) as error:
        raise QueryRefused("it cannot be read as SQL: " + str(error).splitlines()[0][:200]) from None
    if len(statements) != 1 or type(statements[0]) is not exp.Select:
        raise QueryRefused("it must be one SELECT")
    select = statements[0]
    for node in select.walk():
        if type(node) not in _ALLOWED:
            raise QueryRefused(f"{type(node).__name__.upper()} is not allowed")
        if isinstance(node, exp.Select) and node is not select:
            raise QueryRefused("a query within a query is not allowed")
    _check_columns(select, _sources(select, tables))
    return select.sql(dialect=dialect.name, comments=False)


def labels(query: str, dialect: Dialect) -> list[str]:
    """Of the columns of a checked query, each as SQLite would name it."""
    select = sqlglot.parse_one(query, read=dialect.name)
    return [each.alias or each.sql(dialect=SQLITE.name) for each in select.expressions]


def _sources(select: exp.Select, tables: Sequence[Table]) -> Mapping[str, Table]:
    """The tables that it reads, by name."""
    known = {table.name.casefold(): table for table in tables}
    found: dict[str, Table] = {}
    for node in select.find_all(exp.Table):
        name = node.name.casefold()
        if node.args.get("db") or node.args.get("catalog") or node.alias or name not in known:
            raise QueryRefused(f"there is no table '{node.sql()[:80]}'")
        if name in found:
            raise QueryRefused(f"'{node.name}' is there twice")
        found[name] = known[name]
    if not found:
        raise QueryRefused("it reads no table")
    if len(found) > MAX_TABLES:
        raise QueryRefused(f"it joins more than {MAX_TABLES} tables")
    for join in select.args.get("joins") or ():
        if not isinstance(join.args.get("on"), exp.EQ) or join.kind or join.side or join.method:
            raise QueryRefused("tables are joined by JOIN … ON a = b")
    return found


def _check_columns(select: exp.Select, sources: Mapping[str, Table]) -> None:
    for column in select.find_all(exp.Column):
        table = sources.get(column.table.casefold())
        if table is None or column.args.get("db"):
            raise QueryRefused(f"'{column.sql()[:80]}' is not written behind one of its tables")
        if column.name.casefold() not in {each.name.casefold() for each in table.columns}:
            raise QueryRefused(f"there is no column '{column.sql()[:80]}'")
    for star in select.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            raise QueryRefused("columns are named, not *")
    strange = next((each for each in select.find_all(exp.Alias) if not each.alias.isidentifier()), None)
    if strange is not None:
        raise QueryRefused(f"'{strange.alias[:80]}' is no name for a column")


def _depth(query: str) -> int:
    deepest = depth = 0
    for character in query:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
