"""The grammar of the queries that a caller may write, in GBNF: whatever follows it names tables and columns that are there.

A grammar cannot know which table an alias stands for. So tables have no aliases: each set of tables that foreign keys hold
together has rules of its own, in which a column is written behind its table's name. Of the groups of a query another query may be
made (`WITH part`), whose columns have names of their own.
"""

from collections.abc import Sequence

from assistants.sql.conditions import dates_of, either, literal, numbers_of, rule_name, sql_string, table_rules
from assistants.sql.dialect import SQLITE, Dialect
from assistants.sql.tables import Join, Table, joins

__all__ = ["sql_grammar", "sql_string"]

MAX_SELECTED = 4
"""Columns of a query without groups, and numbers of one with them."""
MAX_BYTES = 100_000
MAX_JOINS = 24

PART = "part"
"""What the groups are called of which another query is made; where a table has this name, none is."""

_TERMINALS = r"""
number ::= "-"? [0-9] [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? ("." [0-9] [0-9]?)?
words ::= "'" [^'\\%_;\x00-\x1f] [^'\\;\x00-\x1f]{0,39} "'"
pattern ::= "'" [^'\\;\x00-\x1f]{1,40} "'"
date ::= "'" ("19" | "20") [0-9] [0-9] "-" (february | short | long) "'"
february ::= "02-" day
short ::= ("04" | "06" | "09" | "11") "-" (day | "29" | "30")
long ::= ("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" (day | "29" | "3" [01])
day ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
days-ago ::= [1-9] [0-9]? [0-9]? [0-9]?
year ::= "'" ("19" | "20") [0-9] [0-9] "'"
month ::= "'" ("19" | "20") [0-9] [0-9] "-" ("0" [1-9] | "1" [0-2]) "'"
comparison ::= " = " | " > " | " < " | " >= " | " <= " | " <> "
operator ::= " * " | " - " | " + "
share ::= " * 1.0 / NULLIF(" | " * 100.0 / NULLIF("
named ::= " AS " [a-z] [a-z0-9]{1,14} "_" [a-z] [a-z0-9_]{1,20}
order ::= " DESC" | " ASC"
limit ::= " LIMIT " [1-9] [0-9]?
part-name ::= "part.name"
part-value ::= "part.value"
part-column ::= part-name | part-value
part-condition ::= part-value comparison (number | "(SELECT " ("AVG(" | "MIN(" | "MAX(") part-value ") FROM part)")
part-where ::= (" WHERE " part-condition (" AND " part-condition)?)?
part-number ::= ("AVG(" | "MIN(" | "MAX(" | "SUM(" | "COUNT(") part-value ")" | "COUNT(*)"
part-list ::= part-column ", " part-column part-rank? " FROM part" part-where (" ORDER BY " part-column order)? limit?
part-query ::= part-number " FROM part" part-where | part-list
part-rank ::= ", " ("RANK()" | "DENSE_RANK()" | "ROW_NUMBER()") " OVER (ORDER BY part.value" order ")" named?
"""


def sql_grammar(tables: Sequence[Table], dialect: Dialect = SQLITE) -> str:
    """Of queries to these tables, as their database writes them. Raises ValueError where there is no table."""
    if not tables:
        raise ValueError("there is no table to be asked")
    found = joins(tables)[:MAX_JOINS]
    parts = [table_rules(table, tables, dialect) for table in tables]
    parts += [_join_rules(index, join, dialect) for index, join in enumerate(found)]
    plain = either(f"q{index}" for index in range(len(found)))
    grouped = either(f"u{index}" for index in range(len(found)))
    root = f'root ::= "SELECT " {plain}'
    if all(table.name.casefold() != PART for table in tables):
        root += f' | "WITH {PART} AS (SELECT " {grouped} ") SELECT " part-query'
    text = "\n".join([root, *parts, _TERMINALS.strip()]) + "\n"
    if len(text) > MAX_BYTES:
        raise ValueError(f"the grammar of these tables has {len(text)} bytes; at most {MAX_BYTES} are followed")
    return text


def _join_rules(index: int, join: Join, dialect: Dialect) -> str:
    """`c`: columns, `w`, `x`: conditions, `g`: what rows are grouped by, `e`: numbers of groups, `a`: and dates, `f`: where from,
    `h`: which groups, `q`: a query, `u`: one that another is made of."""
    names = [rule_name(table.name) for table in join.tables]
    numeric = [rule_name(table.name) for table in join.tables if numbers_of(table)]
    timed = [rule_name(table.name) for table in join.tables if dates_of(table)]
    counted = [
        '"COUNT(*)"',
        f'"COUNT(" "DISTINCT "? c{index} ")"',
        f'"SUM(CASE WHEN " w{index} " THEN 1 ELSE 0 END)"',
    ]
    rules, dated = [], []
    if timed:
        dated.append(f'("MIN(" | "MAX(") {either(f"d-{name}" for name in timed)} ")"')
    if numeric:
        rules.append(f"n{index} ::= {either(f'n-{name}' for name in numeric)}")
        counted.append(f'("SUM(" | "AVG(" | "MIN(" | "MAX(") n{index} (operator n{index})? ")"')
    share = f'e{index} (share e{index} ", 0)")?'
    before, behind = map(literal, dialect.rounded)
    rounded = f'{before} {share} {behind} ", " [0-4] ")"'
    rules += [
        f"c{index} ::= {either(f'c-{name}' for name in names)}",
        f"w{index} ::= {either(f'w-{name}' for name in names)}",
        f'x{index} ::= w{index} | "(" w{index} " OR " w{index} ")" | "NOT " w{index}',
        f"g{index} ::= {either([*(f'c-{name}' for name in names), *(f't-{name}' for name in timed)])}",
        f"e{index} ::= {' | '.join(counted)}",
        f"a{index} ::= {either([share, rounded, *dated])} named?",
        f'f{index} ::= {_from(join)} (" WHERE " x{index} (" AND " x{index}){{0,3}})?',
        f'h{index} ::= (" HAVING " e{index} comparison number)?',
        *_query_rules(index),
    ]
    return "\n".join(rules)


def _from(join: Join) -> str:
    """Each JOIN of it may be one that keeps rows without a match."""
    parts = f" FROM {join.text}".split(" JOIN ")
    return ' (" JOIN " | " LEFT JOIN ") '.join(map(literal, parts))


def _query_rules(i: int) -> list[str]:
    """The forms of a query; what it is ordered by is in its list, where rows are grouped or made distinct."""
    more = MAX_SELECTED - 1
    columns = f'c{i} named? (", " c{i} named?){{0,{more}}}'
    numbers = f'a{i} (", " a{i}){{0,{more}}}'
    forms = (
        f"{numbers} f{i}",
        f"{columns} f{i} {_ordered(f'c{i}')}",
        f'"DISTINCT " {columns} f{i} {_ordered(_BY_ONE)}',
        f'g{i} named? ", " {numbers} f{i} " GROUP BY 1" h{i} {_ordered(_BY_TWO)}',
        f'g{i} named? ", " g{i} named? ", " {numbers} f{i} " GROUP BY 1, 2" h{i} {_ordered(_BY_THREE)}',
    )
    return [f"q{i} ::= {' | '.join(forms)}", f'u{i} ::= g{i} " AS name, " e{i} " AS value" f{i} " GROUP BY 1" h{i}']


_BY_ONE = '"1"'
_BY_TWO, _BY_THREE = '("1" | "2")', '("1" | "2" | "3")'


def _ordered(by: str) -> str:
    return f'(" ORDER BY " {by} order (", " {by} order)?)? limit?'
