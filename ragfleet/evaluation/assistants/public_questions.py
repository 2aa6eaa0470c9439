"""Public questions with gold SQL, in the form of defog-ai/sql-eval's CSVs, asked of databases that `dumps` has made.

A file has the columns `question`, `query`, `db_name`, `query_category`, perhaps `db_type` and `instructions`. Gold may be several
queries, separated by `;`; `{a, b}` stands for any of the columns in it, and `GROUP BY {}` for those that were taken.
"""

import csv
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from assistants.sql.checker import QueryRefused, check
from assistants.sql.dialect import DUCKDB, SQLITE
from assistants.sql.opening import open_warehouse
from assistants.sql.results import Cell, QueryFailed, Warehouse, cell
from assistants.sql.tables import Table
from ragfleet.evaluation.assistants.asking import (
    AssistantReply,
    AssistantResult,
    Assistants,
    Progress,
    Score,
    ask_each,
    limited,
    one_question,
)
from ragfleet.evaluation.assistants.data import MAX_ROWS, MAX_TOKENS, queries
from ragfleet.evaluation.assistants.dumps import SUFFIXES, assistant_name, databases_in

MAX_ALTERNATIVES = 32
"""Of one question."""
DEADLINE_SECONDS = 30.0


class QuestionsError(Exception):
    """The file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class PublicQuestion:
    """gold: queries in the dialect of the database; rows of any of them are right."""

    database: str
    category: str
    text: str
    gold: Sequence[str]


@dataclass(frozen=True, slots=True)
class Gold:
    """What a database and our check say of the gold queries of one question."""

    rows: Sequence[Counter[tuple[str, ...]]]
    """Of those that it answers."""
    refused: str
    """Why the check lets none of them pass; "" where it lets one."""
    failed: str
    """Why the database answers none."""


def read_questions(path: Path, dialect: str) -> list[PublicQuestion]:
    """dialect: of the databases; gold of PostgreSQL is translated. Raises QuestionsError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise QuestionsError(f"{path}: {error}") from error
    missing = {"question", "query", "db_name"} - set(rows[0] if rows else ())
    if missing:
        raise QuestionsError(f"{path}: it has no column {', '.join(sorted(missing))}")
    found = []
    for row in rows:
        kind = row.get("db_type") or "postgres"
        if kind not in ("postgres", SQLITE.name) or (kind == SQLITE.name) != (dialect == SQLITE.name):
            raise QuestionsError(f"{path}: its SQL is of {kind}, the databases are of {dialect}")
        told = " ".join(filter(None, (row["question"], row.get("full_instructions") or row.get("instructions"))))
        gold = tuple(_translated(each, kind, dialect) for each in alternatives(row["query"]))
        found.append(PublicQuestion(row["db_name"], row.get("query_category") or "", told, gold))
    return found


def alternatives(query: str) -> list[str]:
    """The queries that a cell of gold stands for."""
    found: list[str] = []
    for part in filter(None, map(str.strip, query.split(";"))):
        start = part.find("{")
        end = part.find("}", start + 1)
        if start < 0 or end < 0:
            found.append(part)
            continue
        columns = part[start + 1 : end].split(",")
        for count in range(1, len(columns) + 1):
            for chosen in combinations(columns, count):
                told = ", ".join(each.strip() for each in chosen)
                found.append(part[:start] + told + part[end + 1 :].replace("GROUP BY {}", f"GROUP BY {told}"))
    return found[:MAX_ALTERNATIVES]


def evaluate_public(
    asked: Assistants | None, questions: Path, databases: Path, limit: int | None, progress: Progress
) -> AssistantResult:
    """asked: None for what needs no model. Raises QuestionsError."""
    paths = dict(databases_in(databases))
    if not paths:
        raise QuestionsError(f"{databases}: there is no database; make them with `ragfleet assistant databases`")
    dialect = SQLITE if all(path.suffix == SUFFIXES[SQLITE.name] for path in paths.values()) else DUCKDB
    chosen = limited(read_questions(questions, dialect.name), limit)
    there = [each for each in chosen if each.database in paths]
    skipped = [f"{each.database}: {each.text}: there is no such database" for each in chosen if each not in there]
    warehouses = {
        name: open_warehouse(f"duckdb:///{path.resolve()}" if dialect is DUCKDB else str(path))
        for name, path in paths.items()
        if name in {each.database for each in there}
    }
    gold = [_gold(each, paths[each.database], warehouses[each.database]) for each in there]
    measures = [
        Score("questions whose database is there", len(there), len(chosen)),
        Score("gold that its database answers", sum(not each.failed for each in gold), len(gold)),
        Score("gold that the check lets pass", sum(not each.refused for each in gold), len(gold)),
    ]
    misses = [f"gold: {each.text}: {why.refused}" for each, why in zip(there, gold, strict=True) if why.refused]
    if asked is not None:
        replies = _asked(asked, there, progress)
        told = _answers(there, gold, replies, warehouses)
        measures, misses = [*measures, *told[0]], [*misses, *told[1]]
    return AssistantResult(assistant="public questions", measures=measures, misses=[*skipped, *misses])


def _translated(query: str, kind: str, dialect: str) -> str:
    """In the dialect of the database, all of whose tables are in one schema."""
    if kind == dialect:
        return query
    try:
        read = sqlglot.parse_one(query, read=kind)
        for table in read.find_all(exp.Table):
            table.set("db", None)
        return read.sql(dialect=dialect)
    except SqlglotError:
        return query


def _gold(question: PublicQuestion, path: Path, warehouse: Warehouse) -> Gold:
    tables = warehouse.tables()
    rows, refused, failed, passed = [], "", "", False
    for query in question.gold:
        try:
            rows.append(_rows_of_gold(query, path))
        except QueryFailed as error:
            failed = failed or str(error)
        try:
            check(query, tables, warehouse.dialect)
            passed = True
        except QueryRefused as error:
            refused = refused or str(error)
    return Gold(rows, "" if passed else refused, "" if rows else failed)


def _rows_of_gold(query: str, path: Path) -> Counter[tuple[str, ...]]:
    """As it stands, without the check. Raises QueryFailed."""
    found: Sequence[Sequence[Any]]
    if path.suffix == SUFFIXES[SQLITE.name]:
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                found = connection.execute(query).fetchmany(MAX_ROWS)
        except sqlite3.Error as error:
            raise QueryFailed(str(error)) from error
    else:
        import duckdb

        try:
            with duckdb.connect(str(path), read_only=True, config={"enable_external_access": False}) as opened:
                found = opened.execute(query).fetchmany(MAX_ROWS)
        except duckdb.Error as error:
            raise QueryFailed(str(error).splitlines()[0]) from error
    return alike([tuple(map(cell, row)) for row in found])


def alike(rows: Sequence[Sequence[Cell]]) -> Counter[tuple[str, ...]]:
    """Rows as they are compared: in any order, each once, its cells in any order, numbers to six digits."""
    return Counter({tuple(sorted(map(_alike, row))): 1 for row in rows})


def _alike(value: Cell) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else str(value)


def _asked(asked: Assistants, questions: Sequence[PublicQuestion], progress: Progress) -> list[AssistantReply]:
    """The replies, in the order of the questions: those to each database side by side."""
    replies: dict[int, AssistantReply] = {}
    by_database: dict[str, list[int]] = {}
    for number, each in enumerate(questions):
        by_database.setdefault(each.database, []).append(number)
    for database, numbers in by_database.items():
        conversations = [one_question(questions[number].text) for number in numbers]
        done = len(replies)

        def advance(now: int, _: int, done: int = done) -> None:
            progress(done + now, len(questions))

        found = ask_each(asked, assistant_name(database), conversations, max_tokens=MAX_TOKENS, progress=advance)
        replies |= dict(zip(numbers, found, strict=True))
    return [replies[number] for number in range(len(questions))]


def _answers(
    questions: Sequence[PublicQuestion],
    gold: Sequence[Gold],
    replies: Sequence[AssistantReply],
    warehouses: Mapping[str, Warehouse],
) -> tuple[list[Score], list[str]]:
    shown, valid, right, errors, misses = 0, 0, 0, 0, []
    right_of: Counter[str] = Counter()
    for question, known, reply in zip(questions, gold, replies, strict=True):
        warehouse = warehouses[question.database]
        tables = warehouse.tables()
        written = queries(reply)
        if reply.error:
            errors += 1
            misses.append(f"{question.text} → {reply.error}")
        shown += bool(written)
        try:
            for each in written:
                check(each, tables, warehouse.dialect)
            valid += bool(written)
        except QueryRefused as error:
            misses.append(f"{question.text} → {written[-1]}: {error}")
            continue
        if written and _rows(warehouse, written[-1], tables) in known.rows:
            right += 1
            right_of[question.category] += 1
    of_category = Counter(each.category for each in questions)
    return [
        Score("questions that got a query", shown, len(questions)),
        Score("of these: it parses, and its columns are there", valid, shown),
        Score("refused in words, without a query", len(questions) - shown - errors, len(questions)),
        Score("execution accuracy: the rows are gold's", right, len(questions)),
        *(Score(f"  in {category}", right_of[category], count) for category, count in sorted(of_category.items())),
    ], misses


def _rows(warehouse: Warehouse, query: str, tables: Sequence[Table]) -> Counter[tuple[str, ...]] | None:
    try:
        return alike(warehouse.run(query, tables, max_rows=MAX_ROWS, deadline_s=DEADLINE_SECONDS).rows)
    except QueryFailed:
        return None


def kinds_refused(misses: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Why the check refused gold, the commonest first."""
    yield from Counter(each.rsplit(": ", 1)[-1] for each in misses if each.startswith("gold: ")).most_common()
