"""Rules of the grammar for one table alone: its columns, and the conditions on them, in GBNF."""

from collections.abc import Iterable, Sequence

from assistants.sql.dialect import Dialect
from assistants.sql.tables import Column, ColumnType, Table


def literal(text: str) -> str:
    """As GBNF writes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def either(options: Iterable[str]) -> str:
    """One of them."""
    found = list(options)
    return found[0] if len(found) == 1 else f"({' | '.join(found)})"


def sql_string(text: str) -> str:
    """As SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def rule_name(table: str) -> str:
    """What stands for a table in the names of rules."""
    return table.lower().replace("_", "-")


def numbers_of(table: Table) -> list[Column]:
    """Columns whose sums say something."""
    return [each for each in table.columns if each.type is ColumnType.NUMBER and not each.key]


def dates_of(table: Table) -> list[Column]:
    """Columns of days and times."""
    return [each for each in table.columns if each.type is ColumnType.DATE]


def table_rules(table: Table, others: Sequence[Table], dialect: Dialect) -> str:
    """`c-`: its columns, `n-`: numbers, `d-`: dates, `t-`: their months and years, `v-`, `w-`: conditions.

    others: all tables that the grammar knows.
    """
    name = rule_name(table.name)
    numbers, dates = numbers_of(table), dates_of(table)
    rules = [f"c-{name} ::= {_named(table, table.columns)}"]
    if numbers:
        rules.append(f"n-{name} ::= {_named(table, numbers)}")
    if dates:
        rules.append(f"d-{name} ::= {_named(table, dates)}")
        spans = [literal(dialect.span(form, f"{table.name}.{each.name}")) for each in dates for form in ("%Y-%m", "%Y")]
        rules.append(f"t-{name} ::= {either(spans)}")
    conditions = [_condition(table, each, dialect) for each in table.columns]
    conditions.append(f'c-{name} (" IS NULL" | " IS NOT NULL")')
    if numbers:
        whole = literal(f") FROM {table.name})")
        conditions.append(f'n-{name} comparison "(SELECT " ("AVG(" | "MIN(" | "MAX(") n-{name} {whole}')
    rules.append(f"v-{name} ::= {either(conditions)}")
    rules.append(f"w-{name} ::= {either([f'v-{name}', *_memberships(table, others)])}")
    return "\n".join(rules)


def _named(table: Table, columns: Sequence[Column]) -> str:
    return either(literal(f"{table.name}.{each.name}") for each in columns)


def _memberships(table: Table, others: Sequence[Table]) -> list[str]:
    """Conditions that a row has, or has not, one in another table that a foreign key joins with it."""
    found = [
        _membership(table.name, each.column, each.other, each.other_column)
        for each in table.references
        if each.other in {o.name for o in others}
    ]
    for other in others:
        found += [
            _membership(table.name, each.other_column, other.name, each.column)
            for each in other.references
            if each.other == table.name
        ]
    return found


def _membership(table: str, column: str, other: str, other_column: str) -> str:
    inner = literal(f"{other}.{other_column} FROM {other}")
    return (
        f'{literal(f"{table}.{column}")} (" IN (SELECT " | " NOT IN (SELECT ") {inner}'
        f' (" WHERE " v-{rule_name(other)} (" AND " v-{rule_name(other)})?)? ")"'
    )


def _condition(table: Table, column: Column, dialect: Dialect) -> str:
    """All conditions on one column, but for whether it has a value."""
    named = literal(f"{table.name}.{column.name}")
    if column.type is ColumnType.NUMBER:
        return (
            f'{named} (comparison number | " BETWEEN " number " AND " number | " IN (" number (", " number){{1,3}} ")")'
        )
    if column.type is ColumnType.DATE:
        ago, days = map(literal, dialect.ago)
        year, month = (literal(f"{dialect.span(form, f'{table.name}.{column.name}')} = ") for form in ("%Y", "%Y-%m"))
        return (
            f'{named} ((" >= " | " < " | " > " | " <= ") (date | {ago} days-ago {days}) | " BETWEEN " date " AND " date)'
            f" | {year} year | {month} month"
        )
    if column.values:
        value = either(literal(sql_string(each)) for each in column.values)
        return f'{named} ((" = " | " <> ") {value} | " IN (" {value} (", " {value}){{1,3}} ")")'
    return f'{named} ((" = " | " <> ") words | {literal(f" {dialect.like} ")} pattern | " IN (" words (", " words){{1,3}} ")")'
