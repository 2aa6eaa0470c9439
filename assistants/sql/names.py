"""Names that can stand in a query as they are: what the check reads as a name, and not as a word of SQL. No I/O."""

from collections.abc import Sequence
from dataclasses import replace

import sqlglot
from sqlglot import TokenType
from sqlglot.errors import SqlglotError

from assistants.sql.checker import QueryRefused, check
from assistants.sql.dialect import Dialect
from assistants.sql.tables import Column, ColumnType, Table


def with_plain_names(tables: Sequence[Table], dialect: Dialect) -> list[Table]:
    """Without tables and columns that the check would not read: databases take more words of SQL for names than it does."""
    found = []
    for table in tables:
        if not _is_read(table.name, "c", dialect):
            continue
        columns = tuple(each for each in table.columns if _is_read("t", each.name, dialect))
        found.append(replace(table, columns=columns))
    return [table for table in found if table.columns]


def _is_read(table: str, column: str, dialect: Dialect) -> bool:
    try:
        kinds = [each.token_type for name in (table, column) for each in sqlglot.tokenize(name, read=dialect.name)]
        if kinds == [TokenType.VAR, TokenType.VAR]:
            return True
        named = f"{table}.{column}"
        query = f"SELECT {named}, COUNT(*) FROM {table} WHERE {named} = 'a' GROUP BY {named} ORDER BY {named} DESC"
        check(query, [Table(table, (Column(column, ColumnType.TEXT),))], dialect)
    except (SqlglotError, QueryRefused):
        return False
    return True
