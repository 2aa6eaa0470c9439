"""The data assistant in the API: the query before its result, table and chart, repair, and what it will not do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Fleet
from tests.support.warehouses import duckdb_example

QUERY = "SELECT customers.region, COUNT(*) FROM customers GROUP BY 1 ORDER BY 2 DESC"


@pytest.fixture
async def wide(start: Callable[..., Any]) -> Fleet:
    """Instances with room for the tables."""
    made: Fleet = await start(max_context=4096)
    return made


async def answer(fleet: Fleet, question: str) -> str:
    reply = await fleet.post({"model": "assistant:data", "messages": [{"role": "user", "content": question}]})
    assert reply.status == 200, reply.json
    text: str = reply.json["choices"][0]["message"]["content"]
    return text


async def test_a_question_becomes_a_query_a_table_a_chart_and_a_sentence(wide: Fleet) -> None:
    wide.says(QUERY)
    text = await answer(wide, "How many customers are there per region?")
    shown, _, rest = text.partition("\n\n")
    assert shown == f"```sql\n{QUERY}\n```"
    assert "| region | count |" in rest
    drawn = json.loads(rest.partition("```vega-lite\n")[2].partition("\n```")[0])
    assert drawn["mark"] == "bar"
    assert sum(each["y"] for each in drawn["data"]["values"]) == 32
    assert "There are 4 rows. The highest count is" in rest
    call = wide.calls()[-1].body
    assert call["guided_decoding_guide_type"] == "ebnf_grammar"
    assert "customers.region" in call["guided_decoding_guide"]
    assert "salaries" not in call["guided_decoding_guide"]


async def test_the_query_is_streamed_before_its_result_and_counted(wide: Fleet) -> None:
    wide.says(QUERY)
    asked = [{"role": "user", "content": "How many customers are there per region?"}]
    body = {"model": "assistant:data", "messages": asked, "stream": True, "stream_options": {"include_usage": True}}
    async with wide.http.post("/v1/chat/completions", json=body) as response:
        lines = (await response.text()).splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    pieces = [each["choices"][0]["delta"].get("content") for each in chunks if each["choices"]]
    written = [piece for piece in pieces if piece]
    assert written[0].startswith("```sql")
    assert "| region |" in written[1]
    assert chunks[-1]["usage"]["completion_tokens"] > 5


@pytest.mark.parametrize(
    "written",
    [
        "DELETE FROM customers",
        "SELECT salaries.yearly FROM salaries",
        "SELECT customers.id FROM customers; DROP TABLE customers",
        "SELECT * FROM sqlite_schema",
        "I cannot do that",
    ],
)
async def test_what_the_model_may_not_ask_is_never_asked(wide: Fleet, written: str) -> None:
    wide.says(written)
    text = await answer(wide, "Which customers are in the North?")
    assert "I found no query" in text
    assert "sql" not in text
    assert len(wide.calls()) == 3, "two repairs at the most"


async def test_it_says_what_it_cannot_answer_without_asking_the_model(wide: Fleet) -> None:
    for question, said in {
        "What is the meaning of life?": "I cannot answer that",
        "What do people earn?": "I cannot answer that",
        "Delete all customers": "I can only read",
    }.items():
        assert (await answer(wide, question)).startswith(said)
    assert not wide.calls()


async def test_tables_that_refer_to_others_can_be_asked_alone(wide: Fleet) -> None:
    wide.says("SELECT COUNT(*) FROM order_items")
    assert "The answer is 1200." in await answer(wide, "How much quantity is in the order items?")


async def test_a_warehouse_that_is_not_there_is_no_fault_of_the_request(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "lost.yaml").write_text(f"kind: data\nwarehouse: {{database: {tmp_path / 'nowhere.db'}}}\n")
    (profiles / "odd.yaml").write_text(f"kind: data\nwarehouse: {{database: {profiles / 'odd.yaml'}}}\n")
    fleet: Fleet = await start(assistants_dir=profiles)
    for name in ("lost", "odd"):
        asked = [{"role": "user", "content": "How many customers?"}]
        reply = await fleet.post({"model": f"assistant:{name}", "messages": asked})
        assert (reply.status, reply.json["error"]["message"]) == (
            503,
            f"The tables of 'assistant:{name}' cannot be read now.",
        )


async def test_what_has_no_sense_is_refused_by_name(wide: Fleet) -> None:
    wrong: dict[str, Any] = {
        "n": 2,
        "logprobs": True,
        "stop": "x",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_object"},
    }
    for param, value in wrong.items():
        asked = [{"role": "user", "content": "How many customers?"}]
        reply = await wide.post({"model": "assistant:data", "messages": asked, param: value})
        assert (reply.status, reply.json.get("error", {}).get("param")) == (400, param), reply.json


async def test_a_duckdb_file_is_asked_in_its_own_words(start: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="DuckDB is optional")
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    database = duckdb_example(tmp_path)
    (profiles / "lake.yaml").write_text(
        f"kind: data\nwarehouse: {{database: '{database}', restricted: {{salaries: [hr]}}}}\n"
    )
    fleet: Fleet = await start(assistants_dir=profiles, max_context=4096)
    query = "SELECT STRFTIME(orders.ordered_on, '%Y'), COUNT(*) FROM orders GROUP BY 1 ORDER BY 1"
    fleet.says(query)
    asked = [{"role": "user", "content": "How many orders are there per year of ordered on?"}]
    reply = await fleet.post({"model": "assistant:lake", "messages": asked})
    text = reply.json["choices"][0]["message"]["content"]
    assert text.startswith(f"```sql\n{query}\n```\n\n| year | count |\n")
    assert "vega-lite" in text
    guide = fleet.calls()[-1].body["guided_decoding_guide"]
    assert "strftime(orders.ordered_on, '%Y')" in guide
    assert "salaries" not in guide
    fleet.says("SELECT * FROM read_csv('/etc/passwd')")
    text = (await fleet.post({"model": "assistant:lake", "messages": asked})).json["choices"][0]["message"]["content"]
    assert text.startswith("I found no query")
