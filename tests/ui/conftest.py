"""A page in a real Chromium, over a gateway with fake Tritons. What it says to its console, or asks of others, is a fault."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.chromium import chromium
from tests.support.debian_program import NotToBeHad
from tests.support.running import Fleet, make_tokenizer, settings_for

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

USER, ADMIN = "user-secret", "admin-secret"
PATIENCE_MS = 90_000
"""Longer than a busy machine needs for one step; what is there is seen at once."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder drives a browser, and may be slow where the machine is."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


@dataclass
class Visit:
    """A page with both keys in it, and what it did that it should not."""

    page: "Page"
    fleet: Fleet
    faults: list[str] = field(default_factory=list)

    async def go(self, name: str) -> None:
        """To one of the pages, by its link; then its data are there."""
        await self.page.get_by_role("link", name=name, exact=True).click()
        await self.page.get_by_role("heading", name=name, level=1).wait_for()

    async def ask(self, question: str = "How long?") -> None:
        """In the playground."""
        await self.page.get_by_label("Question", exact=True).fill(question)
        await self.page.keyboard.press("Enter")

    async def over(self, answers: int = 1) -> str:
        """The text of the last answer, once so many have ended."""
        await self.page.locator(".turn.over").nth(answers - 1).wait_for()
        return await self.page.locator(".answer-text").last.inner_text()


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tokenizer that all tests share."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def browser() -> AsyncIterator["Browser"]:
    """Of its own for each test."""
    playwright = pytest.importorskip("playwright.async_api", reason="`make test-ui` installs it")
    try:
        program, environment = chromium()
    except NotToBeHad as why:
        pytest.skip(str(why))
    async with playwright.async_playwright() as driver:
        # No sandbox: as root Chromium has none, and what it shows here is ours.
        found = await driver.chromium.launch(executable_path=program, env=environment, args=["--no-sandbox"])
        yield found
        await found.close()


@pytest.fixture
async def visit(browser: "Browser", tokenizer_dir: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`visit = await visit(width=360, color_scheme="dark")`: the playground, with both keys."""
    async with AsyncExitStack() as stack:
        visits: list[Visit] = []

        async def begin(*, width: int = 1280, max_context: int = 512, **wishes: Any) -> Visit:
            settings = settings_for(tmp_path, tokenizer_dir, api_key=USER, admin_key=ADMIN, admission_deadline_s=10.0)
            fleet = await stack.enter_async_context(Fleet(settings, max_context=max_context))
            await fleet.learn("handbook")
            page = await browser.new_page(viewport={"width": width, "height": 800}, **wishes)
            page.set_default_timeout(PATIENCE_MS)
            made = Visit(page, fleet)
            page.on("console", lambda said: made.faults.append(f"console: {said.text}"))
            page.on("pageerror", lambda error: made.faults.append(f"error: {error}"))
            page.on("dialog", lambda dialog: made.faults.append(f"dialog: {dialog.message}"))
            page.on("request", lambda asked: _inside(made, asked.url))
            await page.goto(f"{fleet.url}/ui")
            await page.get_by_label("Key for answers and knowledge").fill(USER)
            await page.get_by_label("Administrator’s key").fill(ADMIN)
            await page.get_by_role("button", name="Use them").click()
            await page.locator("#store option[value=handbook]").wait_for(state="attached")
            visits.append(made)
            return made

        yield begin
        for each in visits:
            await each.page.close()  # its polls end before the fleet sees to it that nothing is held
            assert each.faults == []


def _inside(visit: Visit, url: str) -> None:
    if not url.startswith(f"{visit.fleet.url}/"):
        visit.faults.append(f"asked elsewhere: {url}")
    if USER in url or ADMIN in url:
        visit.faults.append(f"a key in an address: {url}")
