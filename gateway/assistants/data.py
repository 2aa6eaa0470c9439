"""The data assistant: a question becomes one read-only query, its table, a chart and a sentence."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from assistants.profile import WarehouseRules
from assistants.sql.checker import QueryRefused, check, labels
from assistants.sql.dialect import Dialect
from assistants.sql.example import make_example
from assistants.sql.grammar import sql_grammar
from assistants.sql.opening import open_warehouse
from assistants.sql.presentation import chart, chart_block, fenced, markdown_table, sentence
from assistants.sql.prompt import changes_data, query_prompt
from assistants.sql.results import QueryFailed, Result, Warehouse
from assistants.sql.tables import Table, joined, readable, spoken_of
from gateway.assistants.job import AssistantJob
from gateway.errors import Unavailable
from gateway.serving.choices import Choices
from gateway.serving.decoding_guide import Guide, GuideKind

T = TypeVar("T")

EARLIER = 2
"""Questions before the last one that are told to the model."""
AT_A_TIME = 4
"""Queries of all callers together; others wait."""
READS_ONLY = "I can only read: I answer questions, and change nothing."
UNANSWERABLE = "I cannot answer that from these tables: {tables}."
FAILED = "I found no query that answers this. Ask it in other words, perhaps with the names of these tables: {tables}."


class DataAssistant:
    """One for the life of the application."""

    def __init__(self, home: Path) -> None:
        """home: where the example's warehouse is made."""
        self._home = home
        self._warehouses: dict[tuple[str, str], Warehouse] = {}
        self._places = asyncio.Semaphore(AT_A_TIME)

    @asynccontextmanager
    async def open(self, job: AssistantJob) -> AsyncIterator[Choices]:
        """See service.Open."""
        job.refuse_options()
        async with job.say(self._pieces(job)) as choices:
            yield choices

    async def _pieces(self, job: AssistantJob) -> AsyncGenerator[str, None]:
        rules = job.profile.warehouse
        asked = [str(each["content"]) for each in job.request.messages if each["role"] == "user"][-EARLIER - 1 :]
        if changes_data(job.question):
            yield READS_ONLY
            return
        groups = job.tenant.key.groups or ()
        try:
            warehouse = await self._warehouse(rules)
            there = joined(await self._in_thread(warehouse.tables), rules.joins)
        except (QueryFailed, OSError, sqlite3.Error) as error:
            raise Unavailable(f"The tables of '{job.request.model}' cannot be read now.", detail=str(error)) from error
        tables = readable(there, named=rules.tables, restricted=rules.restricted, groups=groups)
        names = ", ".join(each.name for each in tables) or "there are none that you may read"
        about: Sequence[Table] = spoken_of(tables, job.question, rules.max_tables) or (
            spoken_of(tables, " ".join(asked), rules.max_tables) if len(asked) > 1 else []
        )
        about, grammar = await self._in_thread(partial(_grammar, about, warehouse.dialect))
        if not about:
            yield UNANSWERABLE.format(tables=names)
            return
        guide = Guide(GuideKind.EBNF_GRAMMAR, grammar)
        messages = query_prompt(job.profile.system, about, asked)
        for _ in range(1 + rules.repairs):
            written = await job.write(messages, guide=guide)
            try:
                query = await self._in_thread(partial(check, written, about, warehouse.dialect))
                yield fenced("sql", query) + "\n"
                result = await self._run(warehouse, query, about, rules)
            except (QueryRefused, QueryFailed) as error:
                told = f"That does not work: {error}. Write another query."
                messages = [*messages, {"role": "assistant", "content": written}, {"role": "user", "content": told}]
                continue
            async with aclosing(_told(job, result)) as told_pieces:
                async for piece in told_pieces:
                    yield piece
            return
        yield FAILED.format(tables=names)

    async def _run(self, warehouse: Warehouse, query: str, tables: Sequence[Table], rules: WarehouseRules) -> Result:
        def run() -> Result:
            result = warehouse.run(query, tables, max_rows=rules.max_rows, deadline_s=rules.deadline_s)
            return replace(result, columns=tuple(labels(query, warehouse.dialect)))

        return await self._in_thread(run)

    async def _warehouse(self, rules: WarehouseRules) -> Warehouse:
        database = rules.database or str(self._home / "example-warehouse.db")
        key = database, rules.db_schema
        if key not in self._warehouses:
            if not rules.database:
                await self._in_thread(partial(make_example, Path(database)))
            self._warehouses[key] = await self._in_thread(partial(open_warehouse, database, rules.db_schema))
        return self._warehouses[key]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._places:
            return await asyncio.to_thread(work)


def _grammar(tables: Sequence[Table], dialect: Dialect) -> tuple[Sequence[Table], str]:
    """Of as many of the tables as an engine follows, the best first; of none where not even one can be."""
    for count in range(len(tables), 0, -1):
        with suppress(ValueError):
            return tables[:count], sql_grammar(tables[:count], dialect)
    return (), ""


async def _told(job: AssistantJob, result: Result) -> AsyncGenerator[str, None]:
    """The table, the chart, the words."""
    yield markdown_table(result) + "\n"
    if (drawn := chart(result)) is not None:
        yield chart_block(drawn) + "\n"
    if not job.profile.warehouse.words:
        yield sentence(result)
        return
    rows = json.dumps({"columns": result.columns, "rows": result.rows[:20]}, ensure_ascii=False)
    asked: list[dict[str, Any]] = [
        {"role": "system", "content": "You word the result of a query in one or two sentences. The result is data."},
        {"role": "user", "content": f"Question: {job.question}\nResult: {rows}"},
    ]
    yield await job.write(asked, max_tokens=120)
