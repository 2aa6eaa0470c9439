"""The assistants in the playground: a query, its table and its chart; a citation that opens; a person who is called; steps."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest

from assistants.sql.presentation import chart, markdown_table
from assistants.sql.results import Result
from gateway.triton.fake_answers import Script

Begin = Callable[..., Any]

QUERY = "SELECT customers.region, COUNT(*) FROM customers GROUP BY 1 ORDER BY 2 DESC"
QUESTION = "How many customers are there per region?"
READ = """async (all) => {
  const { parts } = await import("/ui/blocks.js");
  const { readChart, ticks } = await import("/ui/chart_data.js");
  const wrong = (specification) => {
    try {
      const { bottom, top } = readChart(specification), steps = ticks(bottom, top);
      return steps[0] <= bottom && steps.at(-1) >= top && steps.length < 10 ? null : `ticks ${steps}`;
    } catch (error) {
      return error.message;
    }
  };
  return all.map(([, table, specification]) => [
    parts(table)[0].rows?.map((row) => row.slice(0, 2)), specification && wrong(specification)]);
}"""
"""The cells of each table, and what is wrong with each chart."""
HOSTILE = '<img src=x onerror="alert(1)">'


async def _choose(visit: Any, name: str) -> None:
    await visit.page.get_by_label("Model", exact=True).select_option(f"assistant:{name}")


def _block(specification: Any) -> str:
    return f"```vega-lite\n{specification if isinstance(specification, str) else json.dumps(specification)}\n```"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
async def test_a_data_answer_is_a_query_a_table_and_a_drawn_chart(visit: Begin, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="`make test-ui` installs it").Axe()
    here = await visit(width=width, max_context=4096, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    await _choose(here, "data")
    here.fleet.says(QUERY)
    await here.ask(QUESTION)
    await here.over()
    answer = here.page.locator(".answer-text")
    assert await answer.locator(":scope > *").evaluate_all("(all) => all.map((each) => each.className)") == [
        "code",
        "result",
        "drawn",
    ]
    assert await answer.locator(".code code").inner_text() == QUERY
    cells = await answer.locator("tbody td").all_inner_texts()
    assert len(cells) == 8
    assert sum(int(each) for each in cells[1::2]) == 32
    drawn = answer.get_by_role("img", name=re.compile("^Bars: count by region, 4 values"))
    await drawn.wait_for()
    heights = await drawn.locator("rect").evaluate_all(
        "(all) => all.map((each) => Number(each.getAttribute('height')))"
    )
    first, last = int(cells[1]), int(cells[7])
    assert heights[0] / heights[-1] == pytest.approx(first / last, rel=0.01), "as high as their values"
    outside = await drawn.evaluate(
        "(drawn) => { const box = drawn.getBoundingClientRect(); return [...drawn.querySelectorAll('text')]"
        ".filter((each) => { const own = each.getBoundingClientRect(); return own.left < box.left - 1"
        " || own.right > box.right + 1 || own.bottom > box.bottom + 1; }).map((each) => each.textContent); }"
    )
    assert outside == []
    assert "The highest count is" in await answer.inner_text()
    await answer.get_by_text("Chart (Vega-Lite)").click()
    assert json.loads(await answer.locator(".drawn .json").inner_text())["mark"] == "bar"
    found = (await axe.run(here.page)).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert await here.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


async def test_an_example_is_asked_by_keyboard(visit: Begin) -> None:
    here = await visit(max_context=4096)
    here.fleet.says("SELECT COUNT(*) FROM customers")
    await here.page.get_by_label("Model", exact=True).focus()
    await here.page.keyboard.type("data")
    example = here.page.get_by_role("button", name="Example:")
    await example.focus()
    words = (await example.inner_text()).removeprefix("Example: ")
    await here.page.keyboard.press("Enter")
    assert await here.page.evaluate("() => document.activeElement.value") == words
    assert await here.page.get_by_label("Knowledge", exact=True).is_disabled()
    await here.page.keyboard.press("Enter")
    assert "The answer is 32." in await here.over()
    await here.page.get_by_label("Model", exact=True).select_option("tiny")
    assert await here.page.get_by_label("Knowledge", exact=True).input_value() == "handbook"


async def test_lines_are_told_apart_and_what_is_not_drawn_is_named(visit: Begin) -> None:
    here = await visit(max_context=8192)
    await here.page.get_by_label("Knowledge", exact=True).select_option("")
    encoding = {
        "x": {"field": "x", "type": "ordinal"},
        "y": {"field": "y", "type": "quantitative", "title": HOSTILE},
        "color": {"field": "c", "type": "nominal"},
    }
    values = [{"x": f"20{i:02}", "y": i * (-1) ** i, "c": HOSTILE if i % 2 else "B"} for i in range(12)]
    lines = {"mark": "line", "data": {"values": values}, "encoding": encoding}
    here.fleet.says(
        f"{_block(lines)}\n{_block({**lines, 'mark': 'arc'})}\n{_block({**lines, 'data': {'url': 'https://example.com/x'}})}"
        f"\n{_block('{broken')}\nThat is all."
    )
    await here.page.get_by_label("Tokens at most").fill("4096")
    await here.ask()
    text = await here.over()
    answer = here.page.locator(".answer-text")
    await answer.get_by_role("img", name=re.compile("^Lines: .* by x, 12 values from -11 to 10")).wait_for()
    assert await answer.locator("polyline").count() == 2
    assert await answer.locator(".legend li").all_inner_texts() == ["B", HOSTILE]
    for said in ("the mark “arc”", "data from elsewhere", "what is no object in JSON"):
        assert f"This page does not draw {said}." in text
    assert "{broken" in text
    assert text.strip().endswith("That is all.")


async def test_whatever_a_result_holds_its_table_and_chart_are_read(visit: Begin) -> None:
    here = await visit()
    chance = random.Random(15)
    made: list[tuple[list[list[str]], str, Any]] = []
    for _ in range(150):
        rows = [[_cell(chance, column) for column in range(3)] for _ in range(chance.randint(1, 12))]
        result = Result(columns=["customers.region", "who", "COUNT(*)"], rows=rows, cut=False)
        wanted = [[" ".join(str(cell).split()).replace("://", ":\u200b//") for cell in row[:2]] for row in rows]
        made.append((wanted, markdown_table(result), chart(result)))
    read = await here.page.evaluate(
        READ,
        made,
    )
    for (wanted, table, specification), (rows, said) in zip(made, read, strict=True):
        assert rows == wanted, table
        assert said is None or re.fullmatch(r"\d+ series", said), (said, specification)
    assert sum(specification is not None for _, _, specification in made) > 50


def _cell(chance: random.Random, column: int) -> Any:
    if column == 2:
        return chance.choice([chance.randint(-(10**6), 10**9), chance.uniform(-1e-3, 1e3), 0])
    if column == 0 and chance.random() < 0.5:
        return f"20{chance.randint(10, 30)}-0{chance.randint(1, 9)}"
    return (
        "x"
        + "".join(chance.choice(["|", "\\", "`", "\n", "é", "<b>", " ", "://", "#", "a", "東"]) for _ in range(6))
        + "x"
    )


async def test_support_opens_its_source_and_calls_a_person(visit: Begin) -> None:
    here = await visit()
    await _choose(here, "support")
    here.fleet.says("Returns are accepted within thirty days [1].")
    await here.ask("When can I return it?")
    await here.over()
    await here.page.locator(".cite").first.click()
    assert await here.page.get_by_role("complementary").locator("mark.word").all_inner_texts() == ["Thirty", "days"]
    await here.page.keyboard.press("Escape")
    await here.ask("I want to talk to a human")
    await here.over(2)
    box = here.page.get_by_role("region", name="Hand-over to a person")
    told = await box.inner_text()
    assert "I am handing you over to a colleague." in told
    assert "the customer asked for one" in told
    assert "talk to a human" in await box.locator(".told").inner_text()
    await here.page.get_by_role("button", name="Say that somebody comes").click()
    assert "colleague" in await here.over(3)


async def test_code_cites_its_files(visit: Begin) -> None:
    here = await visit(max_context=4096)
    await here.fleet.learn("code")
    await _choose(here, "code")
    here.fleet.says("It is there [1]:\n```python\nprint('thirty')\n```\nAnd that is all [1].")
    await here.ask("Where are the days?")
    text = await here.over()
    assert await here.page.locator(".answer-text .code code").inner_text() == "print('thirty')"
    assert "```" not in text
    assert await here.page.locator(".cite").count() == 2
    await here.page.locator(".cite").last.click()
    await here.page.get_by_role("complementary").get_by_text("The answer says").wait_for()


async def test_steps_are_no_moves_and_a_move_among_them_is_seen(visit: Begin) -> None:
    here = await visit(max_context=4096)
    await _choose(here, "content")
    here.fleet.says("Hallo Welt")
    here.fleet.answers.script("llm", Script(reset_after=2))
    await here.ask("Translate to German:\n" + "\n\n".join(f"The day {i} was long and good." for i in range(12)))
    await here.over()
    assert await here.page.locator(".seam").count() == 0
    await here.page.locator(".trail li.lost", has_text="then it died").wait_for()
    assert await here.page.locator(".trail li.taken").count() == 1
    assert await here.page.locator(".trail").get_by_text("earlier steps").count() == 1
