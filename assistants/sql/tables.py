"""The tables that a caller may read, and which of them a question speaks of. No I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from tokens.keywords import content_words


class ColumnType(StrEnum):
    """What can be done with a column."""

    NUMBER = "number"
    TEXT = "text"
    DATE = "date"  # ISO text: YYYY-MM-DD, and more behind it


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    type: ColumnType
    values: tuple[str, ...] = ()
    """All that it has, where they are few; a text's."""
    key: bool = False
    """Whether it only tells rows apart, so that sums of it say nothing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: `column` of the table that has it is `other_column` of `other`."""

    column: str
    other: str
    other_column: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    name: str
    columns: tuple[Column, ...]
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    """Tables in the order in which they are joined, and how."""

    tables: tuple[Table, ...]
    text: str
    """What stands behind FROM."""


def joined(tables: Sequence[Table], pairs: Sequence[str]) -> list[Table]:
    """With references for `a.b = c.d`; what names no table or column is passed over. The columns are keys from then on."""
    known = {table.name.casefold(): table for table in tables}
    found: dict[str, list[Reference]] = {name: [] for name in known}
    keys: set[tuple[str, str]] = set()
    for pair in pairs:
        (owner, column), (other, other_column) = (side.split(".") for side in pair.split(" = "))
        here, there = known.get(owner.casefold()), known.get(other.casefold())
        own, others = _named(here, column), _named(there, other_column)
        if here is None or there is None or here is there or own is None or others is None:
            continue
        reference = Reference(own.name, there.name, others.name)
        back = Reference(others.name, here.name, own.name)
        if reference not in (*here.references, *found[here.name.casefold()]) and (
            back not in (*there.references, *found[there.name.casefold()])
        ):
            found[here.name.casefold()].append(reference)
        keys |= {(here.name, own.name), (there.name, others.name)}
    return [
        replace(
            table,
            columns=tuple(replace(each, key=each.key or (table.name, each.name) in keys) for each in table.columns),
            references=(*table.references, *found[table.name.casefold()]),
        )
        for table in tables
    ]


def _named(table: Table | None, column: str) -> Column | None:
    columns = table.columns if table is not None else ()
    return next((each for each in columns if each.name.casefold() == column.casefold()), None)


def readable(
    tables: Sequence[Table], *, named: Collection[str], restricted: Mapping[str, Sequence[str]], groups: Collection[str]
) -> list[Table]:
    """What a caller of these groups may read.

    named: the only tables; none: all. restricted: `table` or `table.column` → groups, of which one is needed.
    """

    def closed(name: str) -> bool:
        return name in restricted and not set(restricted[name]).intersection(groups)

    found = []
    for table in tables:
        if (named and table.name not in named) or closed(table.name):
            continue
        columns = tuple(each for each in table.columns if not closed(f"{table.name}.{each.name}"))
        names = {each.name for each in columns}
        references = tuple(each for each in table.references if each.column in names)
        if columns:
            found.append(replace(table, columns=columns, references=references))
    known = {table.name: {each.name for each in table.columns} for table in found}
    return [
        replace(
            table,
            references=tuple(each for each in table.references if each.other_column in known.get(each.other, ())),
        )
        for table in found
    ]


def spoken_of(tables: Sequence[Table], question: str, most: int) -> list[Table]:
    """The tables whose names, columns or values the question has, best first, with those that join them; none: it has none."""
    asked = set(_words(question))
    scores = {table.name: _score(table, asked, question.casefold()) for table in tables}
    best = sorted((each for each in tables if scores[each.name] > 0), key=lambda each: -scores[each.name])[:most]
    names = {each.name for each in best}
    between = [
        each
        for each in tables
        if each.name not in names
        and (len(names & {r.other for r in each.references}) >= 2 or _links(each, tables, names))
    ]
    return [*best, *between][:most]


def _links(table: Table, tables: Sequence[Table], names: Collection[str]) -> bool:
    """Whether it stands between two tables that are spoken of: one that it refers to, and one that refers to it."""
    refers = any(each.other in names for each in table.references)
    return refers and any(each.name in names and table.name in {r.other for r in each.references} for each in tables)


def _score(table: Table, asked: Collection[str], question: str) -> float:
    score = 3.0 * len(set(_words(table.name)).intersection(asked))
    for column in table.columns:
        if column.key:
            continue
        score += len(set(_words(column.name)).intersection(asked))
        score += 2.0 * sum(len(value) > 2 and value.casefold() in question for value in column.values)
    return score


def _words(text: str) -> list[str]:
    return content_words(text.replace("_", " "))


def joins(tables: Sequence[Table], most: int = 3) -> list[Join]:
    """Each table alone, and each set of up to `most` that foreign keys hold together; a name stands for one table in each."""
    by_name = {table.name: table for table in tables}
    edges = [
        (table.name, each)
        for table in tables
        for each in table.references
        if each.other in by_name and each.other != table.name
    ]
    found: dict[frozenset[str], Join] = {frozenset({table.name}): Join((table,), table.name) for table in tables}
    grown = dict(found)
    for _ in range(most - 1):
        larger: dict[frozenset[str], Join] = {}
        for names, join in grown.items():
            for owner, reference in edges:
                new = {owner, reference.other} - names
                if len(new) != 1:
                    continue
                (name,) = new
                condition = f"{owner}.{reference.column} = {reference.other}.{reference.other_column}"
                key = names | {name}
                if key not in found and key not in larger:
                    larger[key] = Join((*join.tables, by_name[name]), f"{join.text} JOIN {name} ON {condition}")
        found |= larger
        grown = larger
    return list(found.values())


def told(tables: Sequence[Table]) -> str:
    """As a model reads them: a line a table."""
    lines = []
    for table in tables:
        columns = []
        for column in table.columns:
            values = f" ({', '.join(column.values[:8])})" if column.values else ""
            columns.append(f"{column.name} {column.type.value}{values}")
        lines.append(f"{table.name}: {'; '.join(columns)}")
    return "\n".join(lines)
