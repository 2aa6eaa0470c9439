"""The grammar of the queries that a caller may write, in GBNF: whatever follows it names tables and columns that are there.

A grammar cannot know which table an alias stands for. So there are no aliases: each set of tables that foreign keys hold together
has rules of its own, in which a column is written behind its table's name.
"""

from collections.abc import Iterable, Sequence

from assistants.sql.dialect import SQLITE, Dialect
from assistants.sql.tables import Column, ColumnType, Join, Table, joins

MAX_SELECTED = 4
"""Columns of a query without groups."""
MAX_BYTES = 100_000
MAX_JOINS = 24

_TERMINALS = r"""
number ::= "-"? [0-9] [0-9]? [0-9]? [0-9]? [0-9]? [0-9]? ("." [0-9] [0-9]?)?
words ::= "'" [^'\\%_;\x00-\x1f] [^'\\;\x00-\x1f]{0,39} "'"
date ::= "'" ("19" | "20") [0-9] [0-9] "-" (february | short | long) "'"
february ::= "02-" day
short ::= ("04" | "06" | "09" | "11") "-" (day | "29" | "30")
long ::= ("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" (day | "29" | "3" [01])
day ::= "0" [1-9] | "1" [0-9] | "2" [0-8]
year ::= "'" ("19" | "20") [0-9] [0-9] "'"
month ::= "'" ("19" | "20") [0-9] [0-9] "-" ("0" [1-9] | "1" [0-2]) "'"
comparison ::= " = " | " > " | " < " | " >= " | " <= " | " <> "
order ::= " DESC" | " ASC"
limit ::= " LIMIT " [1-9] [0-9]?
"""


def sql_grammar(tables: Sequence[Table], dialect: Dialect = SQLITE) -> str:
    """Of queries to these tables, as their database writes them. Raises ValueError where there is no table."""
    if not tables:
        raise ValueError("there is no table to be asked")
    found = joins(tables)[:MAX_JOINS]
    parts = [_table_rules(table, dialect) for table in tables]
    parts += [_join_rules(index, join) for index, join in enumerate(found)]
    root = "root ::= " + " | ".join(f"q{index}" for index in range(len(found)))
    text = "\n".join([root, *parts, _TERMINALS.strip()]) + "\n"
    if len(text) > MAX_BYTES:
        raise ValueError(f"the grammar of these tables has {len(text)} bytes; at most {MAX_BYTES} are followed")
    return text


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def sql_string(text: str) -> str:
    """As SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def _rule_name(table: Table) -> str:
    return table.name.lower().replace("_", "-")


def _table_rules(table: Table, dialect: Dialect) -> str:
    """Its columns, numbers, times and conditions."""
    name = _rule_name(table)
    numbers = [each for each in table.columns if each.type is ColumnType.NUMBER and not each.key]
    dates = [each for each in table.columns if each.type is ColumnType.DATE]
    rules = [f"c-{name} ::= {_either(_literal(f'{table.name}.{each.name}') for each in table.columns)}"]
    if numbers:
        rules.append(f"n-{name} ::= {_either(_literal(f'{table.name}.{each.name}') for each in numbers)}")
    if dates:
        spans = [
            _literal(dialect.span(form, f"{table.name}.{each.name}")) for each in dates for form in ("%Y-%m", "%Y")
        ]
        rules.append(f"t-{name} ::= {_either(spans)}")
    rules.append(f"w-{name} ::= {_either(_condition(table, each, dialect) for each in table.columns)}")
    return "\n".join(rules)


def _condition(table: Table, column: Column, dialect: Dialect) -> str:
    """All conditions on one column."""
    named = f"{table.name}.{column.name}"
    if column.type is ColumnType.NUMBER:
        return f"{_literal(named)} comparison number"
    if column.type is ColumnType.DATE:
        return (
            f'{_literal(named)} (" >= " | " < " | " > " | " <= ") date'
            f" | {_span(named, '%Y', dialect)} year | {_span(named, '%Y-%m', dialect)} month"
        )
    if column.values:
        return f'{_literal(named)} (" = " | " <> ") ({_either(_literal(sql_string(each)) for each in column.values)})'
    return f'{_literal(named)} (" = " | " LIKE ") words'


def _span(column: str, form: str, dialect: Dialect) -> str:
    return _literal(f"{dialect.span(form, column)} = ")


def _join_rules(index: int, join: Join) -> str:
    names = [_rule_name(table) for table in join.tables]
    numeric = [_rule_name(t) for t in join.tables if any(c.type is ColumnType.NUMBER and not c.key for c in t.columns)]
    timed = [_rule_name(t) for t in join.tables if any(c.type is ColumnType.DATE for c in t.columns)]
    columns = _either(f"c-{name}" for name in names)
    conditions = _either(f"w-{name}" for name in names)
    groups = _either([*(f"c-{name}" for name in names), *(f"t-{name}" for name in timed)])
    aggregates = ['"COUNT(*)"', f'"COUNT(DISTINCT " c{index} ")"']
    rules = []
    if numeric:
        number = _either(f"n-{name}" for name in numeric)
        rules.append(f"n{index} ::= {number}")
        aggregates.append(f'("SUM(" | "AVG(" | "MIN(" | "MAX(") n{index} (" * " n{index})? ")"')
    further = ""
    for _ in range(MAX_SELECTED - 1):
        further = f' (", " c{index}{further})?'
    behind = f'{_literal(" FROM " + join.text)} (" WHERE " w{index} (" AND " w{index})? (" AND " w{index})?)?'
    query = (
        f'q{index} ::= "SELECT " (a{index} (", " a{index})? f{index}'
        f" | c{index}{further} f{index} {_ordered(f'c{index}')}"
        f' | "DISTINCT " c{index}{further} f{index} {_ordered(_BY_ONE)}'
        f' | g{index} ", " a{index} f{index} " GROUP BY 1" {_ordered(_BY_TWO)}'
        f' | g{index} ", " g{index} ", " a{index} f{index} " GROUP BY 1, 2" {_ordered(_BY_THREE)})'
    )
    rules += [
        f"c{index} ::= {columns}",
        f"w{index} ::= {conditions}",
        f"g{index} ::= {groups}",
        f"a{index} ::= {' | '.join(aggregates)}",
        f"f{index} ::= {behind}",
        query,
    ]
    return "\n".join(rules)


_BY_ONE = '"1"'  # what is ordered by must be in the list, where rows are made distinct
_BY_TWO, _BY_THREE = '("1" | "2")', '("1" | "3")'


def _ordered(by: str) -> str:
    return f'(" ORDER BY " {by} order)? limit?'


def _either(options: Iterable[str]) -> str:
    found = list(options)
    return found[0] if len(found) == 1 else f"({' | '.join(found)})"
