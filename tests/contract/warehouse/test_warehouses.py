"""The data assistant's databases, each a real one: the same tables, the same answers, and nothing that hostile SQL could do."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from assistants.eval.questions import questions
from assistants.sql.checker import QueryRefused, check, labels
from assistants.sql.dialect import DIALECTS
from assistants.sql.example import AREAS
from assistants.sql.grammar import sql_grammar
from assistants.sql.opening import open_warehouse
from assistants.sql.postgres_warehouse import PostgresWarehouse
from assistants.sql.results import QueryFailed, Result, Warehouse
from assistants.sql.tables import Column, ColumnType, Table, readable
from tests.support.grammar_walks import compiler, walked
from tests.support.postgres import postgres_server
from tests.support.warehouses import READER, duckdb_example, postgres_example, sqlite_example

SECRET = "the-secret-of-this-machine"
HOSTILE = (
    "SELECT salaries.yearly FROM salaries",
    "SELECT orders.id FROM orders UNION SELECT salaries.yearly FROM salaries",
    "SELECT (SELECT MAX(salaries.yearly) FROM salaries) FROM orders",
    "SELECT orders.id FROM orders WHERE orders.id IN (SELECT yearly FROM salaries)",
    "WITH s AS (SELECT yearly FROM salaries) SELECT s.yearly FROM s",
    "SELECT * FROM salaries",
    "TABLE salaries",
    "SELECT * FROM public.salaries",
    "SELECT * FROM main.salaries",
    'SELECT "yearly" FROM "salaries"',
    "DELETE FROM orders",
    "UPDATE orders SET status = 'open'",
    "INSERT INTO orders VALUES (9999, 1, '2029-01-01', 'open')",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "CREATE TABLE x AS SELECT 1",
    "ALTER TABLE orders RENAME TO x",
    "WITH gone AS (DELETE FROM orders RETURNING id) SELECT id FROM gone",
    "SELECT orders.id INTO x FROM orders",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "SET default_transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "BEGIN READ WRITE",
    "COMMIT",
    "GRANT ALL ON orders TO PUBLIC",
    "SELECT pg_read_file('{file}')",
    "SELECT pg_read_file('{file}') FROM orders",
    "SELECT * FROM pg_read_file('{file}')",
    "SELECT pg_ls_dir('/')",
    "SELECT lo_import('{file}')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x') FROM orders",
    "COPY orders TO '{out}'",
    "COPY (SELECT 1) TO '{out}'",
    "COPY orders FROM '{file}'",
    "COPY orders FROM PROGRAM 'cat {file}'",
    "SELECT * FROM dblink('host=127.0.0.1', 'SELECT 1') AS t(x INT)",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM '{file}'",
    "SELECT content FROM glob('/*')",
    "SELECT * FROM read_parquet('https://127.0.0.1:1/x.parquet')",
    "ATTACH '{out}' AS other",
    "ATTACH '{file}' AS other (TYPE sqlite)",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "PRAGMA enable_external_access = true",
    "EXPORT DATABASE '{out}'",
    "IMPORT DATABASE '{file}'",
    "CALL pragma_version()",
    "SELECT getenv('HOME')",
    "SELECT current_setting('data_directory') FROM orders",
    "SELECT * FROM duckdb_settings()",
    "SELECT rolname FROM pg_roles",
    "SELECT * FROM information_schema.tables",
    "SELECT sql FROM sqlite_schema",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "PREPARE p AS DELETE FROM orders",
    "LISTEN x",
    "LOCK TABLE orders",
    "VACUUM",
    "SELECT orders.id FROM orders FOR UPDATE",
)
ORDERS = Table(
    "orders",
    (Column("id", ColumnType.NUMBER), Column("status", ColumnType.TEXT), Column("ordered_on", ColumnType.DATE)),
)
WRAPPINGS = (
    "{}",
    "{};",
    "/* */ {}",
    "{} -- ",
    "SELECT orders.id FROM orders; {}",
    "{}; SELECT orders.id FROM orders",
    "SELECT orders.id FROM orders WHERE orders.id = ({})",
    "SELECT * FROM ({}) AS q",
    "WITH q AS ({}) SELECT * FROM q",
    "EXPLAIN {}",
    "\n\t{}",
)


ASKED = [
    *((each, WRAPPINGS[0]) for each in HOSTILE),
    *((each, WRAPPINGS[1 + at % (len(WRAPPINGS) - 1)]) for at, each in enumerate(HOSTILE)),
]
"""Each as it is, and in one of the wrappings."""


@dataclass(frozen=True)
class Opened:
    """One of the three, and the tables that a caller without a group may read."""

    warehouse: Warehouse
    tables: list[Table]
    whole: list[Table]
    file: Path
    """What no query may read."""
    out: Path
    """What no query may write."""

    def run(self, query: str, max_rows: int = 1000, deadline_s: float = 30.0) -> Result:
        """Without the check before it."""
        return self.warehouse.run(query, self.tables, max_rows=max_rows, deadline_s=deadline_s)

    def counts(self) -> list[tuple[object, ...]]:
        """Of the rows of each table."""
        return [
            self.warehouse.run(f"SELECT COUNT(*) FROM {each.name}", self.whole, max_rows=1, deadline_s=30).rows[0]
            for each in self.whole
        ]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "duckdb", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    if request.param == "duckdb":
        pytest.importorskip("duckdb", reason="DuckDB is optional")
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "secret.csv").write_text(f"{SECRET}\n{SECRET}\n")
    (folder / "secret.csv").chmod(0o644)

    def made(database: str) -> Opened:
        warehouse = open_warehouse(database)
        whole = warehouse.tables()
        tables = readable(whole, named=(), restricted={"salaries": ["hr"]}, groups=())
        return Opened(warehouse, tables, whole, folder / "secret.csv", folder / "written")

    if request.param == "postgres":
        with postgres_example(request.getfixturevalue("server"), folder) as url:
            yield made(url)
    else:
        yield made({"sqlite": sqlite_example, "duckdb": duckdb_example}[request.param](folder))


def test_the_same_tables_are_found_in_each(opened: Opened, tmp_path: Path) -> None:
    expected = open_warehouse(sqlite_example(tmp_path)).tables()
    assert _in_order(opened.whole) == _in_order(expected)
    assert "salaries" not in {each.name for each in opened.tables}


def test_gold_gives_the_same_rows_in_each(opened: Opened, tmp_path: Path) -> None:
    reference = open_warehouse(sqlite_example(tmp_path))
    tables = readable(reference.tables(), named=(), restricted={"salaries": ["hr"]}, groups=())
    for each in questions(tables)[::4]:
        read = sqlglot.parse_one(each.query, read="sqlite")
        read = read.transform(lambda node: node.this if isinstance(node, exp.TsOrDsToTimestamp) else node)
        checked = check(read.sql(dialect=opened.warehouse.dialect.name), opened.tables, opened.warehouse.dialect)
        expected = reference.run(check(each.query, tables), tables, max_rows=1000, deadline_s=30)
        found = opened.run(checked)
        assert Counter(_near(found)) == Counter(_near(expected)), each.query
        assert len(labels(checked, opened.warehouse.dialect)) == len(found.columns or expected.columns)


def _in_order(tables: list[Table]) -> list[Table]:
    sorted_within = [replace(each, references=tuple(sorted(each.references, key=str))) for each in tables]
    return sorted(sorted_within, key=lambda each: each.name)


def _near(result: Result) -> list[tuple[object, ...]]:
    """Sums of the same numbers in another order differ in their last digits."""
    return [
        tuple(float(f"{each:.6g}") if isinstance(each, int | float) else each for each in row) for row in result.rows
    ]


@pytest.mark.parametrize("area", AREAS)
def test_every_word_of_the_grammar_is_a_query_that_the_database_answers(opened: Opened, area: str) -> None:
    tables = [each for each in opened.tables if each.name in AREAS[area]]
    grammar, rng = sql_grammar(tables, opened.warehouse.dialect), random.Random(area)
    guides = compiler()
    for _ in range(12):
        query = walked(guides, grammar, rng)
        opened.run(check(query, tables, opened.warehouse.dialect), max_rows=5)


def test_the_check_refuses_all_that_is_hostile(opened: Opened) -> None:
    for hostile, wrapping in ASKED:
        query = wrapping.format(hostile.format(file=opened.file, out=opened.out))
        with pytest.raises(QueryRefused):
            check(query, opened.tables, opened.warehouse.dialect)


def test_the_database_refuses_it_too_should_the_check_have_erred(opened: Opened) -> None:
    """Without a caller's own choice of tables nothing is asked: what a query may read is told to the database as well."""
    before = opened.counts()
    secrets = {
        row[0]
        for row in opened.warehouse.run(
            "SELECT salaries.yearly FROM salaries", opened.whole, max_rows=99, deadline_s=30
        ).rows
    }
    for hostile, wrapping in ASKED:
        query = wrapping.format(hostile.format(file=opened.file, out=opened.out))
        with suppress(QueryFailed):
            result = opened.run(query)
            cells = {each for row in result.rows for each in row}
            assert not cells & secrets, query
            assert SECRET not in str(result), query
    assert opened.counts() == before
    assert not opened.out.exists()
    assert opened.file.read_text().count(SECRET) == 2


pieces = st.sampled_from(
    [
        *HOSTILE,
        "orders.id",
        "FROM orders",
        "SELECT",
        "salaries",
        ";",
        "--",
        "/*",
        "*/",
        "'",
        '"',
        "(",
        ")",
        "UNION",
        "$$",
        "JOIN salaries ON orders.id = salaries.id",
        "\\",
        "E'\\'",
        "U&'x'",
        "::regclass",
        "read_csv",
        "pg_sleep(1)",
        "\x00",
        "é",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=5), st.sampled_from(WRAPPINGS))
@pytest.mark.parametrize("name", ["sqlite", "duckdb", "postgres"])
def test_whatever_is_put_together_the_check_lets_only_readable_columns_pass(
    name: str, parts: list[str], wrapping: str
) -> None:
    with suppress(QueryRefused):
        checked = check(wrapping.format(" ".join(parts)), [ORDERS], DIALECTS[name])
        assert "salaries" not in checked.casefold()
        assert checked.casefold().startswith(("select ", "with "))


def test_what_takes_too_long_or_gives_too_much_is_ended(opened: Opened) -> None:
    kind = opened.warehouse.dialect.name
    slow = "SELECT COUNT(*) FROM " + ", ".join(f"readings AS r{n}" for n in range(4))
    if kind == "sqlite":
        slow = "SELECT COUNT(*) FROM " + " JOIN ".join(f"readings AS r{n}" for n in range(4))
    with pytest.raises(QueryFailed):
        opened.run(slow, deadline_s=0.5)
    result = opened.run("SELECT orders.id FROM orders", max_rows=7)
    assert (len(result.rows), result.cut) == (7, True)


@pytest.mark.parametrize("opened", ["postgres"], indirect=True)
def test_a_role_that_can_more_than_read_is_refused(server: str, opened: Opened) -> None:
    grants = {
        "can write": ("GRANT UPDATE (status) ON orders TO {}", "REVOKE UPDATE (status) ON orders FROM {}"),
        "may make roles": ("ALTER ROLE {} CREATEDB", "ALTER ROLE {} NOCREATEDB"),
        "runs programs": ("GRANT pg_execute_server_program TO {}", "REVOKE pg_execute_server_program FROM {}"),
        "reads files or asks": (
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {}",
            "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM {}",
        ),
    }
    url = server.replace("test@", f"{READER}@", 1)
    with psycopg.connect(server, autocommit=True) as connection:
        for said, (grant, revoke) in grants.items():
            connection.execute(grant.format(READER).encode())
            try:
                with pytest.raises(QueryFailed, match=said):
                    PostgresWarehouse(url).tables()
                with pytest.raises(QueryFailed, match=said):
                    opened.run("SELECT orders.id FROM orders")
            finally:
                connection.execute(revoke.format(READER).encode())
    with pytest.raises(QueryFailed, match="superuser"):
        PostgresWarehouse(server).tables()


@pytest.mark.parametrize("opened", ["postgres"], indirect=True)
def test_views_and_partitions_are_read_through_and_hide_what_they_hide(server: str, opened: Opened) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE VIEW paid AS SELECT technician_id, yearly > 50000 AS well FROM salaries")
        connection.execute("CREATE TABLE parts (id INT, day DATE) PARTITION BY RANGE (day)")
        connection.execute("CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM ('2029-01-01') TO ('2030-01-01')")
        connection.execute("INSERT INTO parts VALUES (1, '2029-02-03')")
        connection.execute(f"GRANT SELECT ON paid, parts TO {READER}".encode())
        try:
            warehouse = PostgresWarehouse(server.replace("test@", f"{READER}@", 1))
            tables = readable(warehouse.tables(), named=(), restricted={"salaries": ["hr"]}, groups=())
            assert {"paid", "parts"} <= {each.name for each in tables}
            assert "parts_a" not in {each.name for each in tables}
            for name in ("paid", "parts"):
                assert warehouse.run(f"SELECT COUNT(*) FROM {name}", tables, max_rows=5, deadline_s=30).rows[0][0]
            others = [each for each in tables if each.name != "paid"]
            with pytest.raises(QueryFailed):
                warehouse.run("SELECT COUNT(*) FROM paid", others, max_rows=5, deadline_s=30)
        finally:
            connection.execute("DROP VIEW paid")
            connection.execute("DROP TABLE parts")
