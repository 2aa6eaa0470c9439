"""What a model reads before it writes a query: the tables, examples on them, the question. No I/O."""

from collections.abc import Iterator, Sequence

from assistants.sql.grammar import sql_string
from assistants.sql.tables import ColumnType, Table, told
from tokens.keywords import words

_CHANGES = frozenset(
    {
        "delete",
        "drop",
        "insert",
        "update",
        "alter",
        "truncate",
        "create",
        "grant",
        "revoke",
        "attach",
        "vacuum",
        "replace",
    }
)


def changes_data(question: str) -> bool:
    """Whether a question begins by telling to change something."""
    said = [word for word in words(question) if word not in ("please", "now", "then", "just")]
    return bool(said) and said[0] in _CHANGES


def query_prompt(system: str, tables: Sequence[Table], questions: Sequence[str]) -> list[dict[str, str]]:
    """A conversation. questions: of the user, the last one is to be answered."""
    rules = "Write a column as table.column. Text is written in single quotes, dates as '2029-01-31'."
    examples = "\n".join(f"Question: {question}\nSQL: {query}" for question, query in _examples(tables))
    earlier = "".join(f"Earlier question: {each}\n" for each in questions[:-1])
    asked = f"Tables:\n{told(tables)}\n\n{rules}\n{examples}\n{earlier}Question: {questions[-1]}\nSQL:"
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": asked}]


def _examples(tables: Sequence[Table]) -> Iterator[tuple[str, str]]:
    """On the caller's own tables: a count, a count by a text, a sum by a text."""
    first = tables[0]
    yield f"How many {_said(first.name)} are there?", f"SELECT COUNT(*) FROM {first.name}"
    for table in tables:
        text = next((each for each in table.columns if each.type is ColumnType.TEXT and each.values), None)
        number = next((each for each in table.columns if each.type is ColumnType.NUMBER and not each.key), None)
        if text is None:
            continue
        named, value = f"{table.name}.{text.name}", text.values[0]
        yield (
            f"How many {_said(table.name)} have the {_said(text.name)} {value}?",
            f"SELECT COUNT(*) FROM {table.name} WHERE {named} = {sql_string(value)}",
        )
        if number is not None:
            yield (
                f"What is the total {_said(number.name)} per {_said(text.name)}?",
                f"SELECT {named}, SUM({table.name}.{number.name}) FROM {table.name} GROUP BY 1 ORDER BY 2 DESC",
            )
        return


def _said(name: str) -> str:
    return name.replace("_", " ")
