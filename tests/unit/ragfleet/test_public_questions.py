"""Public questions: dumps become databases with profiles, gold is asked and checked, and what is skipped is told. All made up."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from assistants.profile import read_folder
from assistants.sql.opening import open_warehouse
from assistants.sql.tables import joined, joins
from ragfleet.evaluation.assistants.asking import AssistantReply, Messages
from ragfleet.evaluation.assistants.dumps import assistant_name, dumps_in, join_hints, load_dump
from ragfleet.evaluation.assistants.public_questions import (
    QuestionsError,
    alternatives,
    evaluate_public,
    read_questions,
)

pytest.importorskip("duckdb", reason="dumps are loaded by DuckDB, which is optional")

DUMP = """
CREATE SCHEMA IF NOT EXISTS rooms;
CREATE TABLE rooms.plants (id SERIAL PRIMARY KEY, name text NOT NULL, pot_id bigint REFERENCES rooms.pots(id), bought date);
CREATE TABLE rooms.pots (id bigint, size numeric(10,2), glazed boolean);
INSERT INTO rooms.plants (id, name, pot_id, bought) VALUES (1, 'fern', 1, CURRENT_DATE - INTERVAL '3 days'), (2, 'moss', 2, NULL);
INSERT INTO rooms.pots (id, size, glazed) VALUES (1, 12.5, true), (2, 8, false);
INSERT INTO rooms.shelves (id) VALUES (1);
"""
QUESTIONS = """question,query,db_name,query_category,instructions
How many plants?,SELECT COUNT(*) FROM plants,garden_room,count,
Which pots are large?,"SELECT {pots.id, pots.size} FROM pots WHERE pots.size > 10;SELECT p.id FROM pots p",garden_room,filter,
Which plants stand in glazed pots?,SELECT l.name FROM plants l JOIN pots p ON l.pot_id = p.id WHERE p.glazed,garden_room,join,
What is random?,SELECT random() FROM plants,garden_room,other,
Who is there?,SELECT name FROM guests,hotel,other,
"""


class Written:
    """Answers with a query, or without."""

    def __init__(self, queries: Mapping[str, str]) -> None:
        self._queries = queries

    def ask(self, name: str, messages: Messages, *, max_tokens: int) -> AssistantReply:
        """See Assistants."""
        assert name == "public-garden-room"
        query = self._queries.get(messages[-1]["content"].strip())
        return AssistantReply(text=f"```sql\n{query}\n```\n\nrows" if query else "I cannot answer that.")


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    folder = tmp_path / "dumps"
    (folder / "garden_room").mkdir(parents=True)
    (folder / "garden_room" / "garden_room.sql").write_text(DUMP)
    hints = {"garden_room": {("plants", "pots"): [("rooms.plants.pot_id", "rooms.pots.id")]}}
    (folder / "supplementary.py").write_text(f"import nothing_of_it_is_run\ncolumns_join = {hints!r}\n")
    return folder


@pytest.mark.parametrize("dialect", ["duckdb", "sqlite"])
def test_a_dump_becomes_a_database_and_a_profile_that_asks_it(dumps: Path, tmp_path: Path, dialect: str) -> None:
    ((name, path),) = dumps_in(dumps).items()
    loaded = load_dump(path, tmp_path / "out", dialect, join_hints(dumps)[name])
    assert (loaded.tables, loaded.rows) == (2, 4)
    assert [line.partition("…")[0] for line in loaded.skipped] == ["garden_room: INSERT INTO shelves (id) VALUES (1)"]
    profile = read_folder(tmp_path / "out")[assistant_name(name)]
    warehouse = open_warehouse(profile.warehouse.database)
    tables = joined(warehouse.tables(), profile.warehouse.joins)
    assert {len(each.tables) for each in joins(tables)} == {1, 2}
    query = "SELECT plants.name FROM plants JOIN pots ON plants.pot_id = pots.id WHERE pots.size > 10"
    assert warehouse.run(query, tables, max_rows=5, deadline_s=30).rows == (("fern",),)


def test_gold_and_answers_are_compared_and_what_is_skipped_is_told(dumps: Path, tmp_path: Path) -> None:
    load_dump(dumps_in(dumps)["garden_room"], tmp_path / "out", "duckdb")
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    written = Written(
        {
            "How many plants?": "SELECT COUNT(plants.id) FROM plants",
            "Which pots are large?": "SELECT pots.size, pots.id FROM pots WHERE pots.id = 1",
            "Which plants stand in glazed pots?": "SELECT plants.name FROM plants",
        }
    )
    result = evaluate_public(written, tmp_path / "questions.csv", tmp_path / "out", None, lambda done, total: None)
    held = {each.what.strip(): (each.good, each.of) for each in result.measures}
    assert held == {
        "questions whose database is there": (4, 5),
        "gold that its database answers": (4, 4),
        "gold that the check lets pass": (3, 4),
        "questions that got a query": (3, 4),
        "of these: it parses, and its columns are there": (3, 3),
        "refused in words, without a query": (1, 4),
        "execution accuracy: the rows are gold's": (2, 4),
        "in count": (1, 1),
        "in filter": (1, 1),
        "in join": (0, 1),
        "in other": (0, 1),
    }
    assert "hotel: Who is there?: there is no such database" in result.misses
    assert any(each.startswith("gold: What is random?") for each in result.misses)
    alone = evaluate_public(None, tmp_path / "questions.csv", tmp_path / "out", 3, lambda done, total: None)
    assert len(alone.measures) == 3


def test_gold_in_braces_stands_for_any_of_its_columns() -> None:
    assert alternatives("SELECT {a, b}, MAX(c) FROM t GROUP BY {}; SELECT d FROM t;") == [
        "SELECT a, MAX(c) FROM t GROUP BY a",
        "SELECT b, MAX(c) FROM t GROUP BY b",
        "SELECT a, b, MAX(c) FROM t GROUP BY a, b",
        "SELECT d FROM t",
    ]
    assert len(alternatives("SELECT {a,b,c,d,e,f,g,h} FROM t")) == 32


def test_what_is_no_file_of_questions_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(QuestionsError, match="no column db_name, query, question"):
        read_questions(tmp_path / "other.csv", "duckdb")
    (tmp_path / "questions.csv").write_text(QUESTIONS)
    with pytest.raises(QuestionsError, match="of postgres, the databases are of sqlite"):
        read_questions(tmp_path / "questions.csv", "sqlite")
    with pytest.raises(QuestionsError, match="no database"):
        evaluate_public(None, tmp_path / "questions.csv", tmp_path, None, lambda done, total: None)
