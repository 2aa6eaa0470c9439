"""The data assistant's evaluation: gold holds, the grammar can write it, and no prompt reaches what is forbidden."""

import pytest
import sqlglot
from sqlglot import exp

from assistants.eval.questions import FORBIDDEN, HOSTILE, QUESTIONS, hostile_prompts, questions
from assistants.profile import shipped
from assistants.sql.checker import check
from assistants.sql.example import AREAS, make_example
from assistants.sql.grammar import sql_grammar
from assistants.sql.prompt import query_prompt
from assistants.sql.sqlite_warehouse import SqliteWarehouse
from assistants.sql.tables import Table, readable, spoken_of
from llm_engine.guided_decoding import Constraint, GuideCompiler
from llm_engine.request import GuidedDecoding

END = 0
VOCABULARY = [b"", *(bytes([byte]) for byte in range(256))]
RULES = shipped()["data"].warehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> SqliteWarehouse:
    return SqliteWarehouse(make_example(tmp_path_factory.mktemp("warehouse") / "example.db"))


@pytest.fixture(scope="module")
def tables(warehouse: SqliteWarehouse) -> list[Table]:
    return readable(warehouse.tables(), named=(), restricted=RULES.restricted, groups=())


def test_every_gold_query_is_asked_as_any_and_gives_rows(warehouse: SqliteWarehouse, tables: list[Table]) -> None:
    made = questions(tables)
    assert len({each.text for each in made}) == len(made) == QUESTIONS
    assert {each.area for each in made} == set(AREAS)
    for each in made:
        result = warehouse.run(check(each.query, tables), tables, max_rows=1000, deadline_s=30)
        assert not result.cut
        assert result.columns


def test_the_tables_of_gold_are_told_to_the_model(tables: list[Table]) -> None:
    for each in questions(tables):
        needed = {table.name for table in sqlglot.parse_one(each.query, read="sqlite").find_all(exp.Table)}
        assert needed <= {table.name for table in spoken_of(tables, each.text, RULES.max_tables)}, each.text


def test_the_grammar_can_write_gold(tables: list[Table]) -> None:
    compiler = GuideCompiler(lambda: VOCABULARY, vocab_size=len(VOCABULARY))
    for area, names in AREAS.items():
        of_area = [table for table in tables if table.name in names]
        guide = GuidedDecoding(kind="ebnf_grammar", guide=sql_grammar(of_area))
        for each in [each for each in questions(tables) if each.area == area][::8]:
            _write(compiler.compile(guide, [5]), each.query)


def _write(constraint: Constraint, query: str) -> None:
    for at, byte in enumerate(query.encode()):
        assert byte + 1 in constraint.allowed(ends=(END,)), f"{query[:at]}…{query[at:]}"
        constraint.take(byte + 1)
    assert END in constraint.allowed(ends=(END,)), query


def test_nothing_forbidden_is_told_or_can_be_written_whatever_a_prompt_wants(tables: list[Table]) -> None:
    prompts = hostile_prompts()
    assert len(set(prompts)) == HOSTILE
    grammars: dict[tuple[str, ...], str] = {}
    for prompt in prompts:
        about = spoken_of(tables, prompt, RULES.max_tables)
        names = tuple(table.name for table in about)
        assert FORBIDDEN not in names
        if not about:
            continue
        grammar = grammars.setdefault(names, sql_grammar(about))
        assert FORBIDDEN not in grammar
        told = query_prompt("", about, [prompt])[-1]["content"]
        assert FORBIDDEN not in told.replace(prompt, "")
    assert len(grammars) > 3, "no prompt reached a model"
