"""The pages as a person meets them: quick, quiet, by keyboard, in both colour schemes, on a phone, and with hostile texts."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.knowledge.catalog.administration import TenantSettings
from gateway.knowledge.documents import Document
from gateway.knowledge.objects import document_key
from gateway.triton.fake_answers import Script
from tests.ui.conftest import ADMIN, USER

PAGES = ("Playground", "Fleet", "Requests", "Tenants", "Knowledge")
ANSWER = "Returns are accepted within thirty days [1]. The price is nine euros."
HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>"&lt;b&gt;'

Begin = Callable[..., Any]


async def _with_everything(visit: Any) -> None:
    """Each page has something to show: an answer that moved, a call, a store, a tenant with limits."""
    administrator = visit.fleet.gateway.administration.by("a test")
    await administrator.create_tenant("acme", TenantSettings(limits={"requests_per_minute": 60}))
    visit.fleet.says(ANSWER)
    visit.fleet.answers.script("llm", Script(reset_after=6))
    await visit.ask()
    await visit.over()


async def test_all_pages_without_a_word_to_the_console_nor_a_key_that_stays(visit: Begin) -> None:
    here = await visit()
    await _with_everything(here)
    for name, text in (("Fleet", "triton-1"), ("Requests", "whole"), ("Tenants", "acme"), ("Knowledge", "handbook")):
        await here.go(name)
        await here.page.locator("main").get_by_text(text).first.wait_for()
    kept = await here.page.evaluate("() => JSON.stringify([{...localStorage}, document.cookie, location.href])")
    assert USER not in kept
    assert ADMIN not in kept
    await here.page.reload()  # the tab still has them
    await here.page.locator("main").get_by_text("handbook").first.wait_for()
    await here.page.get_by_role("button", name="Keys").click()
    await here.page.get_by_role("button", name="Forget both").click()
    assert await here.page.evaluate("() => ({...sessionStorage})") == {}


async def test_what_is_loaded_is_small(visit: Begin) -> None:
    here = await visit()
    seen = await here.page.evaluate(
        "() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".filter((each) => each.name.includes('/ui')).map((each) => [each.name, each.decodedBodySize])"
    )
    assert len(seen) > 10
    assert sum(size for _, size in seen) <= 150 * 1024


async def test_a_wrong_key_is_said_at_its_field(visit: Begin) -> None:
    here = await visit()
    await here.page.get_by_role("button", name="Keys").click()
    await here.page.get_by_label("Administrator’s key").fill("wrong\u00e9")
    await here.page.keyboard.press("Enter")
    await here.page.get_by_text("This is no key.").wait_for()
    assert await here.page.get_by_label("Administrator’s key").get_attribute("aria-invalid") == "true"


async def test_a_killed_instance_is_seen_and_the_answer_is_whole(visit: Begin) -> None:
    here = await visit()
    here.fleet.says(ANSWER)
    here.fleet.answers.script("llm", Script(stall_after=6))
    await here.ask()
    await here.page.locator(".trail li.works").wait_for()
    await here.page.locator(".answer-text", has_text="Ret").wait_for()
    victim = here.fleet.at_work()
    await victim.kill()
    text = await here.over()
    other = next(each for each in here.fleet.tritons if each is not victim)
    lost, last = await here.page.locator(".trail li").all_inner_texts()
    assert here.fleet.name(victim) in lost
    assert "then it died" in lost
    assert here.fleet.name(other) in last
    seam = await here.page.locator(".seam").inner_text()
    assert here.fleet.name(other) in seam
    # Without what the page adds (the seam, and [1] as a button with its number) it is the answer, every word once.
    assert text.replace(seam, "").replace(" 1.", " [1].").removesuffix("2") == ANSWER
    await here.go("Fleet")
    await here.page.get_by_role("table", name="Answers that moved").get_by_text("it died").wait_for()
    await here.page.get_by_role("table", name="Answers that moved").get_by_role("button").click()
    story = await here.page.get_by_role("list", name="Where the time went").inner_text()
    assert here.fleet.name(victim) in story
    assert here.fleet.name(other) in story


async def test_a_citation_opens_its_source_at_the_cited_words(visit: Begin) -> None:
    here = await visit()
    here.fleet.says("Café 🍵: " + ANSWER)
    await here.ask()
    await here.over()
    await here.page.get_by_role("button", name="Source 1: returns.md.").click()
    panel = here.page.get_by_role("complementary")
    assert await panel.locator("mark.word").all_inner_texts() == ["Thirty", "days"]
    assert "Returns are accepted within thirty days" in await panel.inner_text()
    await here.page.keyboard.press("Escape")
    await panel.wait_for(state="detached")
    focused = await here.page.evaluate("() => document.activeElement.getAttribute('aria-label')")
    assert focused.startswith("Source 1")


async def test_the_fleet_page_follows_what_happens(visit: Begin) -> None:
    here = await visit()
    await here.go("Fleet")
    table = here.page.get_by_role("table", name="Instances")
    row = table.get_by_role("row").filter(has_text="triton-1")
    await row.get_by_text("ready").wait_for()
    here.fleet.change(here.fleet.tritons[1], healthy=False, draining=True, reason="draining: operator")
    await row.get_by_text("draining: operator").wait_for()
    assert "triton-1 is draining" in await here.page.get_by_role("status").inner_text()


async def test_hostile_texts_stay_texts(visit: Begin) -> None:
    here = await visit()
    text = f"Thirty days. {HOSTILE}"
    changed = {"filename": f"{HOSTILE}.md", "text": text, "end": len(text)}
    here.fleet.answers.passages = [{**each, **changed} for each in here.fleet.answers.passages]
    for passage in here.fleet.answers.passages:
        document = Document(text, passage["filename"], "plain")
        await here.fleet.gateway.objects.put(document_key(passage["file_id"]), document.to_json())
    here.fleet.says(f"{HOSTILE} Returns within thirty days [1].")
    await here.ask(HOSTILE)
    assert HOSTILE in await here.over()
    await here.page.locator(".cite").first.click()
    assert HOSTILE in await here.page.get_by_role("complementary").inner_text()
    assert HOSTILE in await here.page.locator(".question").inner_text()
    await here.go("Requests")
    await here.page.get_by_role("table", name="Requests").get_by_role("button").first.click()
    assert await here.page.locator("main img, main script, aside img, aside script").count() == 0


async def test_calls_and_json_are_laid_out(visit: Begin) -> None:
    here = await visit()
    await here.page.locator("#store").select_option("")
    here.fleet.says('{"city": "Köln", "days": [1, 2]}')
    await here.ask()
    await here.over()
    assert json.loads(await here.page.locator(".answer .json").inner_text()) == {"city": "Köln", "days": [1, 2]}
    assert '\n  "days": [\n' in await here.page.locator(".answer .json").inner_text()
    await here.page.get_by_text("More parameters").click()
    function = {"name": "forecast", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    asked = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    await here.page.get_by_label("JSON, as the API takes it").fill(json.dumps(asked))
    here.fleet.says('[{"name": "forecast", "arguments": {"city": "Köln"}}]')
    await here.ask()
    call = here.page.get_by_role("region", name="Call of forecast")
    assert json.loads(await call.locator(".json").inner_text()) == {"city": "Köln"}
    await call.get_by_label("Its result").fill("Rain")
    await here.page.get_by_label("JSON, as the API takes it").fill("")
    here.fleet.says("It rains.")
    await here.page.get_by_role("button", name="Send the results").click()
    await here.over(3)
    assert await here.over(3) == "It rains."
    await here.page.get_by_label("JSON, as the API takes it").fill("{")
    await here.ask("Again")
    await here.page.get_by_text("cannot be read as JSON").wait_for()


async def test_a_refusal_and_a_lost_gateway_are_told(visit: Begin) -> None:
    here = await visit()
    await here.page.get_by_text("More parameters").click()
    await here.page.get_by_label("JSON, as the API takes it").fill('{"temperature": 9}')
    await here.ask()
    await here.page.locator(".turn .failed", has_text="temperature").wait_for()
    assert len(here.faults) == 1, "Chromium itself tells of the 400"
    await here.go("Fleet")
    await here.page.get_by_role("table", name="Instances").wait_for()
    await here.page.context.set_offline(True)
    await here.page.get_by_role("alert").get_by_text("The gateway does not answer. What you see is").wait_for()
    await here.page.context.set_offline(False)
    await here.page.get_by_role("alert").wait_for(state="hidden")
    here.faults.clear()


async def test_everything_by_keyboard(visit: Begin) -> None:
    here = await visit()
    await _with_everything(here)
    reached: set[str] = set()
    await here.page.evaluate("() => document.activeElement.blur()")
    for _ in range(40):
        await here.page.keyboard.press("Tab")
        name, seen = await here.page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e); return [e.getAttribute('aria-label')"
            " ?? e.labels?.[0]?.textContent ?? e.textContent, s.outlineStyle !== 'none' && s.outlineWidth !== '0px']; }"
        )
        if await here.page.evaluate("() => document.activeElement === document.body"):
            continue
        assert seen, f"no focus is seen on {name}"
        reached.add(name.split(":")[0])
    wanted = {"Skip to content", *PAGES, "Keys", "Model", "Knowledge", "System prompt", "Tokens at most", "Temperature"}
    assert wanted | {"More parameters", "Question", "Ask", "New conversation", "Source 1"} <= reached
    await here.page.get_by_role("link", name="Requests").focus()
    await here.page.keyboard.press("Enter")
    await here.page.get_by_role("table", name="Requests").wait_for()
    assert await here.page.evaluate("() => document.activeElement.textContent") == "Requests"
    await here.page.keyboard.press("Tab")
    await here.page.keyboard.press("Enter")
    await here.page.get_by_role("complementary").wait_for()
    await here.page.keyboard.press("Escape")
    await here.page.get_by_role("complementary").wait_for(state="detached")
    await here.page.get_by_role("button", name="Keys").press("Enter")
    await here.page.get_by_role("dialog").wait_for()
    await here.page.keyboard.press("Escape")
    await here.page.get_by_role("dialog").wait_for(state="hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_nothing_that_screen_readers_stumble_over(visit: Begin, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="`make test-ui` installs it").Axe()
    # axe is put into the page by a script, which the page's own policy refuses.
    here = await visit(width=width, color_scheme=scheme, reduced_motion="reduce", bypass_csp=True)
    await _with_everything(here)

    async def examine(where: str) -> None:
        found = (await axe.run(here.page)).response["violations"]
        assert [(where, each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
        wide = await here.page.evaluate(
            "() => document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll('main *')]"
            ".filter((each) => each.getBoundingClientRect().right > innerWidth).map((each) => each.outerHTML.slice(0, 200))"
        )
        assert wide == [], f"{where} scrolls sideways"

    await here.page.locator(".cite").first.click()
    await examine("a source")
    for name in PAGES[1:]:
        await here.go(name)
        if name == "Fleet":
            await here.page.get_by_role("table", name="Answers that moved").wait_for()
        elif name == "Knowledge":
            await here.page.get_by_role("button", name="handbook").click()
            await here.page.get_by_role("button", name="returns.md").click()
        elif name == "Requests":
            await here.page.get_by_role("table", name="Requests").get_by_role("button").first.click()
        else:
            await here.page.get_by_role("table", name="Tenants").wait_for()
        await examine(name)
    await here.page.get_by_role("button", name="Keys").click()
    await examine("keys")
    moving = await here.page.evaluate("() => document.getAnimations().length")
    assert moving == 0
