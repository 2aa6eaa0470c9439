"""Whatever follows the grammar is a query that may be asked, that SQLite understands, and that reads what the caller may read."""

import random
from itertools import combinations

import pytest

from assistants.sql.checker import check
from assistants.sql.example import AREAS, make_example
from assistants.sql.grammar import sql_grammar
from assistants.sql.sqlite_warehouse import SqliteWarehouse
from assistants.sql.tables import Column, ColumnType, Table, joins, readable
from llm_engine.guided_decoding import GuideCompiler
from tests.support.grammar_walks import compiler, walked

WALKS = 70
"""Of each area, with as many tokens as it takes: a walk is about 150 of them."""


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> SqliteWarehouse:
    return SqliteWarehouse(make_example(tmp_path_factory.mktemp("warehouse") / "example.db"))


@pytest.fixture(scope="module")
def guides() -> GuideCompiler:
    return compiler()


@pytest.mark.parametrize("area", AREAS)
def test_every_word_of_the_grammar_is_a_query_over_what_is_there(
    warehouse: SqliteWarehouse, guides: GuideCompiler, area: str
) -> None:
    tables = [each for each in warehouse.tables() if each.name in AREAS[area]]
    grammar, rng = sql_grammar(tables), random.Random(area)
    for _ in range(WALKS):
        query = walked(guides, grammar, rng)
        checked = check(query, tables)
        warehouse.run(checked, tables, max_rows=5, deadline_s=30)


def test_any_choice_of_tables_has_a_grammar_also_where_they_refer_to_others(
    warehouse: SqliteWarehouse, guides: GuideCompiler
) -> None:
    tables, rng = warehouse.tables(), random.Random(5)
    for count in (1, 2, 3):
        for chosen in combinations(tables, count):
            grammar = sql_grammar(chosen)
            if count < 3:
                query = walked(guides, grammar, rng)
                assert check(query, chosen)


def test_the_whole_warehouse_is_not_too_much_for_the_engine(warehouse: SqliteWarehouse, guides: GuideCompiler) -> None:
    tables = warehouse.tables()
    query = walked(guides, sql_grammar(tables), random.Random(7))
    assert check(query, tables)


def test_what_a_caller_may_not_read_is_in_no_grammar(warehouse: SqliteWarehouse) -> None:
    restricted = {"salaries": ["hr"], "customers.industry": ["sales"]}
    tables = readable(warehouse.tables(), named=(), restricted=restricted, groups=["sales"])
    assert "salaries" not in sql_grammar(tables)
    assert "customers.industry" in sql_grammar(tables)
    tables = readable(warehouse.tables(), named=("customers", "salaries"), restricted=restricted, groups=["hr"])
    assert {each.name for each in tables} == {"customers", "salaries"}
    grammar = sql_grammar(tables)
    assert "salaries.yearly" in grammar
    assert "industry" not in grammar


def test_a_join_is_held_together_by_foreign_keys(warehouse: SqliteWarehouse) -> None:
    found = {frozenset(table.name for table in join.tables): join.text for join in joins(warehouse.tables())}
    assert found[frozenset({"orders", "customers"})] in {
        "orders JOIN customers ON orders.customer_id = customers.id",
        "customers JOIN orders ON orders.customer_id = customers.id",
    }
    assert frozenset({"customers", "tickets"}) not in found
    assert frozenset({"orders", "order_items", "products"}) in found
    assert all(isinstance(table, Table) for join in joins(warehouse.tables()) for table in join.tables)


def test_a_table_with_the_name_of_the_groups_can_be_asked(guides: GuideCompiler) -> None:
    tables, rng = (
        [Table("Part", (Column("name", ColumnType.TEXT), Column("size", ColumnType.NUMBER)))],
        random.Random(9),
    )
    grammar = sql_grammar(tables)
    for _ in range(10):
        assert check(walked(guides, grammar, rng), tables).startswith("SELECT")
    assert "WITH part AS" in sql_grammar([Table("parts", tables[0].columns)])
