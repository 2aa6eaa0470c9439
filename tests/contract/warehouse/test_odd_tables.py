"""Tables as people have them: named by words of SQL, empty, with holes, with views that fail; each database a real one."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from assistants.sql.checker import check
from assistants.sql.grammar import sql_grammar
from assistants.sql.opening import open_warehouse
from assistants.sql.presentation import chart, markdown_table, sentence
from assistants.sql.results import Warehouse
from assistants.sql.tables import ColumnType, Table, joins
from tests.support.grammar_walks import compiler, walked
from tests.support.postgres import emptied, postgres_server
from tests.support.warehouses import READER

TABLES = (
    """CREATE TABLE tickets (id INTEGER PRIMARY KEY, "order" TEXT, "user" TEXT, "group" TEXT, "end" DATE, "größe" TEXT,
    "two words" TEXT, "null" TEXT, balance INTEGER, note TEXT)""",
    'CREATE TABLE "select" (id INTEGER PRIMARY KEY, name TEXT)',
    'CREATE TABLE "values" (id INTEGER PRIMARY KEY, name TEXT)',
    'CREATE TABLE "drop" (id INTEGER PRIMARY KEY, name TEXT)',
    "CREATE TABLE unused (id INTEGER PRIMARY KEY, name TEXT, made_on DATE, price INTEGER)",
    'CREATE TABLE "日本" (id INTEGER PRIMARY KEY, "名" TEXT)',
    "CREATE TABLE countries (number INTEGER UNIQUE, code VARCHAR(2) PRIMARY KEY)",
    "CREATE TABLE cities (name TEXT, country VARCHAR(2) REFERENCES countries)",
    "CREATE TABLE streets (city TEXT, zip TEXT, PRIMARY KEY (city, zip))",
    "CREATE TABLE houses (city TEXT, zip TEXT, storeys INTEGER, FOREIGN KEY (city, zip) REFERENCES streets (city, zip))",
    "CREATE VIEW doubled AS SELECT balance * 2 AS twice FROM tickets",
)
ROWS = (
    "INSERT INTO tickets VALUES (1, 'first', 'ann', 'x', '2029-02-28', 'S', 'a', 'p', -5, NULL)",
    "INSERT INTO tickets VALUES (2, 'second', 'bob', 'y', NULL, 'L', 'b', 'q', -7, 'it''s <b>|`')",
    "INSERT INTO tickets VALUES (3, 'second', 'bob', 'y', '2029-03-01', 'L', 'b', NULL, NULL, '東京')",
    "INSERT INTO countries VALUES (1, 'DE'), (2, 'FR')",
    "INSERT INTO cities VALUES ('Bonn', 'DE'), ('Lyon', 'FR')",
)
FAILING = {
    "sqlite": "json_extract(note, '$.x') AS n, json_extract(note, '$.y') AS x",
    "duckdb": 'CAST(note AS INTEGER) AS n, CAST(CAST("order" AS INTEGER) AS TEXT) AS x',
    "postgres": "1 / (id - id) AS n, CAST(1 / (id - id) AS TEXT) AS x",
}
"""Columns of a view that can be made, and not be read."""


@pytest.fixture(scope="module", params=["sqlite", "duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warehouse]:
    statements = [*TABLES, *ROWS, f"CREATE VIEW failing AS SELECT {FAILING[request.param]} FROM tickets"]
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        with closing(sqlite3.connect(folder / "odd.db")) as connection:
            for each in statements:
                connection.execute(each)
            connection.commit()
        yield open_warehouse(str(folder / "odd.db"))
    elif request.param == "duckdb":
        duckdb = pytest.importorskip("duckdb", reason="DuckDB is optional")
        with duckdb.connect(str(folder / "odd.duckdb")) as connection:
            for each in statements:
                connection.execute(each)
        yield open_warehouse(f"duckdb:///{folder / 'odd.duckdb'}")
    else:
        with postgres_server() as server:
            with psycopg.connect(emptied(server), autocommit=True) as connection:
                for each in statements:
                    connection.execute(each.encode())
                connection.execute(f"CREATE ROLE {READER} LOGIN".encode())
                connection.execute(f"GRANT USAGE ON SCHEMA public TO {READER}".encode())
                connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}".encode())
            yield open_warehouse(server.replace("test@", f"{READER}@", 1))


def _named(tables: list[Table]) -> dict[str, Table]:
    return {each.name: each for each in tables}


def test_one_odd_table_hides_no_other(warehouse: Warehouse) -> None:
    tables = _named(warehouse.tables())
    assert {"tickets", "unused", "countries", "cities", "doubled"} <= tables.keys()
    assert not {"select", "values", "drop", "日本"} & tables.keys()
    columns = {each.name: each for each in tables["tickets"].columns}
    assert {"id", "balance", "note"} <= columns.keys()
    assert not {"größe", "two words"} & columns.keys()
    assert [each.name for each in tables["unused"].columns] == ["id", "name", "made_on", "price"]


def test_a_column_has_its_own_values_whatever_its_name_means_in_sql(warehouse: Warehouse) -> None:
    columns = {each.name: each for each in _named(warehouse.tables())["tickets"].columns}
    own = {"order": {"first", "second"}, "user": {"ann", "bob"}, "group": {"x", "y"}, "null": {"p", "q"}}
    for name in own.keys() & columns.keys():
        assert set(columns[name].values) == own[name]
    assert len(own.keys() & columns.keys()) >= (1 if warehouse.dialect.name == "sqlite" else 4)


def test_every_table_and_column_that_is_told_can_be_asked(warehouse: Warehouse) -> None:
    tables = [each for each in warehouse.tables() if each.name != "failing"]
    for table in tables:
        for column in table.columns:
            named = f"{table.name}.{column.name}"
            query = f"SELECT {named}, COUNT(*) FROM {table.name} WHERE {named} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC"
            warehouse.run(check(query, tables, warehouse.dialect), tables, max_rows=5, deadline_s=30)


def test_a_reference_leads_to_what_it_refers_to(warehouse: Warehouse) -> None:
    tables = warehouse.tables()
    found = {each.text for each in joins(tables) if len(each.tables) == 2}
    assert found == {"cities JOIN countries ON cities.country = countries.code"}
    query = f"SELECT cities.name, countries.number FROM {found.pop()} ORDER BY cities.name"
    result = warehouse.run(check(query, tables, warehouse.dialect), tables, max_rows=5, deadline_s=30)
    assert result.rows == (("Bonn", 1), ("Lyon", 2))


def test_what_a_view_computes_is_a_number(warehouse: Warehouse) -> None:
    (column,) = _named(warehouse.tables())["doubled"].columns
    assert column.type is ColumnType.NUMBER


def test_whatever_is_asked_of_them_it_is_told(warehouse: Warehouse) -> None:
    tables = [each for each in warehouse.tables() if each.name in ("tickets", "unused", "doubled")]
    grammar, rng = sql_grammar(tables, warehouse.dialect), random.Random(16)
    guides = compiler()
    for _ in range(40):
        query = walked(guides, grammar, rng)
        result = warehouse.run(check(query, tables, warehouse.dialect), tables, max_rows=5, deadline_s=30)
        chart(result)
        assert "None" not in markdown_table(result) + sentence(result)
