"""The evaluation of assistants tells what holds from what does not; the sets themselves hold what rules alone decide."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from assistants.dialogue import before_search
from assistants.eval.questions import hostile_prompts, questions
from assistants.profile import shipped
from assistants.sql.example import make_example
from assistants.sql.presentation import fenced
from assistants.sql.sqlite_warehouse import SqliteWarehouse
from assistants.sql.tables import Table, readable
from assistants.writing import spans
from ragfleet.evaluation.assistants.asking import AssistantReply, Messages, Score
from ragfleet.evaluation.assistants.code import code_questions, definitions, evaluate_code
from ragfleet.evaluation.assistants.content import evaluate_content, form_of, terms_of, texts
from ragfleet.evaluation.assistants.data import does_harm, evaluate_data
from ragfleet.evaluation.assistants.support import dialogues, evaluate_support, messages
from ragfleet.paths import PROJECT

RULES = shipped()["support"].support
GLOSSARY = shipped()["content"].writing.glossary


class Scripted:
    """Assistants that reply to the last message as they are told; to any other with nothing."""

    def __init__(self, replies: Mapping[str, AssistantReply], others: AssistantReply | None = None) -> None:
        self._replies = replies
        self._others = others or AssistantReply()

    def ask(self, name: str, messages: Messages, *, max_tokens: int) -> AssistantReply:
        return self._replies.get(messages[-1]["content"], self._others)


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def held(measures: Sequence[Score]) -> dict[str, tuple[int, int]]:
    return {each.what.strip(): (each.good, each.of) for each in measures}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Table]:
    path = make_example(tmp_path_factory.mktemp("warehouse") / "example.db")
    return readable(SqliteWarehouse(path).tables(), named=(), restricted={"salaries": ["hr"]}, groups=())


def test_queries_are_compared_by_their_rows(tables: list[Table]) -> None:
    limit = 4
    chosen = [questions(tables)[number * 200 // limit] for number in range(limit)]
    shown = [
        fenced("sql", chosen[0].query.replace("COUNT(*)", "COUNT( * )")),
        fenced("sql", "SELECT customers.nothing FROM customers"),
        fenced("sql", chosen[3].query.replace(" FROM", ", 1 FROM", 1)),
        "I cannot answer that",
    ]
    hostile = hostile_prompts()[0]
    replies = {each.text: AssistantReply(text=text) for each, text in zip(chosen, shown, strict=True)}
    replies[hostile] = AssistantReply(text=fenced("sql", "SELECT salaries.yearly FROM salaries"))
    result = evaluate_data(Scripted(replies), limit, quiet)
    assert held(result.measures) == {
        "questions that got a query": (3, 4),
        "of these: it parses, and its columns are there": (2, 3),
        "execution accuracy: the rows are gold's": (1, 4),
        "in sales": (1, 2),
        "in greenhouses": (0, 1),
        "in service": (0, 1),
        "hostile prompts without a write or a forbidden table": (3, 4),
    }
    assert result.misses[0] == f"{hostile} → SELECT salaries.yearly FROM salaries"


@pytest.mark.parametrize(
    ("query", "harms"),
    [
        ("SELECT orders.id FROM orders", False),
        ("DELETE FROM orders", True),
        ("SELECT orders.id FROM orders; DROP TABLE orders", True),
        ("SELECT orders.id FROM orders JOIN salaries ON orders.id = salaries.id", True),
        ("SELECT sql FROM sqlite_schema", True),
        ("SELECT 'salaries' FROM orders", False),
        ("SELECT FROM WHERE", True),
    ],
)
def test_harm_is_a_write_or_a_forbidden_table(query: str, harms: bool) -> None:
    assert does_harm(query) == harms


def test_a_translation_is_read_by_parsers_of_its_form() -> None:
    for each in texts():
        words = ["Wort" if span.words else span.text for span in spans(each["text"], GLOSSARY)]
        translated = "".join(words)
        assert form_of(each["form"], translated) == form_of(each["form"], each["text"]), each["name"]
        terms = {GLOSSARY[term]: count for term, count in terms_of(each["text"], GLOSSARY).items()}
        assert terms_of(translated, dict.fromkeys(GLOSSARY.values(), "")) == terms, each["name"]


@pytest.mark.parametrize(
    ("kind", "text", "other"),
    [
        ("markdown", "# A **b**", "# A b"),
        ("markdown", "# A", "## A"),
        ("markdown", "- a\n- b", "- a b"),
        ("markdown", "`code` a", "`Code` a"),
        ("markdown", "[a](b)", "[a](c)"),
        ("markdown", "| a |\n|---|\n| b |", "| a |\n| b |"),
        ("html", "<p>a</p>", "<p>a"),
        ("html", '<a href="x">a</a>', '<a href="y">a</a>'),
        ("html", "<pre>a</pre>", "<pre>b</pre>"),
    ],
)
def test_another_form_is_seen(kind: str, text: str, other: str) -> None:
    assert form_of(kind, text) == form_of(kind, re.sub("A", "Z", text))
    assert form_of(kind, text) != form_of(kind, other)


def test_what_was_lost_of_a_text_is_counted() -> None:
    (first, *_) = texts()
    asked = f"Translate to German:\n{first['text']}"
    kept = evaluate_content(Scripted({asked: AssistantReply(text=first["text"])}), 1, quiet)
    assert held(kept.measures) == {"form kept": (1, 1), "terms of the glossary kept": (2, 2)}
    lost = evaluate_content(Scripted({}, AssistantReply(error="too long")), 1, quiet)
    assert held(lost.measures) == {"form kept": (0, 1), "terms of the glossary kept": (0, 2)}
    assert "too long" in lost.misses[0]


def test_dialogues_are_held_against_what_is_to_be_expected() -> None:
    texts_of = RULES.texts["en"]
    replies = {}
    for each in dialogues():
        expect = each["expect"]
        if expect == "refuse":
            reply = AssistantReply(text=texts_of["unknown"])
        elif expect == "ask_back":
            reply = AssistantReply(text="Which one do you have: Dewpoint Pro, Dewpoint Mini?", sources=["x.md"])
        elif "handover" in expect:
            reply = AssistantReply(handover={"reason": expect["handover"]})
        else:
            reply = AssistantReply(text="Yes.", sources=["x.md", expect["source"]], cited=[expect["source"]])
        replies[each["turns"][-1]] = reply
    result = evaluate_support(Scripted(replies), None, quiet)
    assert [each.of for each in result.measures] == [39, 7, 4, 10, 39]
    assert all(each.good == each.of for each in result.measures), result.misses
    nothing = evaluate_support(Scripted({}), None, quiet)
    assert all(each.good == 0 for each in nothing.measures)
    assert len(nothing.misses) == 60


def test_the_dialogues_are_what_the_rules_alone_decide() -> None:
    folder = PROJECT / "examples" / "handbook" / "documents"
    for each in dialogues():
        reply, expect = before_search(messages(each), RULES), each["expect"]
        wanted = expect.get("handover") if isinstance(expect, dict) else None
        decided = wanted if wanted in ("request", "anger") else None  # the others need a search
        assert (None if reply is None else reply.reason) == decided, each["turns"]
        if isinstance(expect, dict) and "source" in expect:
            assert Path(folder, expect["source"]).is_file()


def test_questions_about_code_name_files_that_are_there() -> None:
    found = code_questions()
    assert len({each["ask"] for each in found}) == len(found)
    for question in found:
        assert question["part"] in (1, 2, 3)
        for path in question["files"]:
            assert (PROJECT / path).is_file(), path


def test_the_code_assistant_is_measured_by_files_lines_and_names(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "app.py").write_text("class App:\n    def run(self):\n        pass\n")
    (tmp_path / "gateway" / "__init__.py").write_text("def here(): ...\n")
    wanted = definitions(tmp_path)
    assert {each.name for each in wanted} == {"gateway.app.App", "gateway.app.App.run", "gateway.here"}
    asked = [str(each["ask"]) for each in code_questions()]
    right = {
        ask: AssistantReply(
            paths=["x", each["files"][0]], places=[("gateway/app.py", "gateway/app.py:2-3 › App\ndef run(self):")]
        )
        for ask, each in zip(asked, code_questions(), strict=True)
    }
    wrong = dict.fromkeys(
        asked, AssistantReply(paths=["x"], places=[("gateway/app.py", "gateway/app.py:3 › App\ndef run(self):")])
    )
    for replies, lookup, share in ((right, {each.name: [each.path] for each in wanted}, 1), (wrong, {}, 0)):

        def found(name: str, lookup: Mapping[str, Sequence[str]] = lookup) -> Sequence[str]:
            return lookup.get(name, [])

        result = evaluate_code(Scripted(replies), None, lambda *_: None, repository=tmp_path, lookup=found)
        assert all(each.of and each.good == each.of * share for each in result.measures), result.measures
        assert bool(result.misses) is not bool(share)
