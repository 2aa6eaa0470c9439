"""Passages are compared with their files as the object store has them."""

import pytest

from gateway.knowledge.documents import Document
from gateway.knowledge.objects import MemoryStore, document_key
from gateway.retrieval.passage import Passage
from gateway.serving.citation_check import CitationCheck
from tests.support.passages import a_passage

TEXT = "# Returns\n\nGoods are taken back within 30 days.\n"


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.put(document_key("file-a"), Document(TEXT, "returns.md", "markdown").to_json())
    return store


def passage(text: str, start: int, end: int, *, n: int = 1, file_id: str = "file-a") -> Passage:
    return a_passage(text, n=n, file_id=file_id, start=start, end=end)


BODY = "Goods are taken back"
AT = TEXT.index(BODY)
GOOD = passage(f"Returns\n{BODY}", AT, AT + len(BODY))


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (GOOD, True),
        (passage(BODY, AT, AT + len(BODY)), True),
        (passage("Goods\tare taken\nback", AT, AT + len(BODY)), True),
        (passage("Goods were taken back", AT, AT + len(BODY)), False),
        (passage(BODY, AT + 1, AT + 1 + len(BODY)), False),
        (passage(BODY, AT, AT + 10_000), False),
        (passage(BODY, -5, 5), False),
        (passage("", AT, AT), False),
        (passage(BODY, AT, AT + len(BODY), file_id="file-b"), False),
        (passage(BODY, AT, AT + len(BODY), file_id="../secret"), False),
    ],
)
async def test_verdict(store: MemoryStore, source: Passage, verdict: bool) -> None:
    assert await CitationCheck(store).check([source]) == {1: verdict}


async def test_what_nobody_can_say(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.away = True
    check = CitationCheck(store)
    assert await check.check([GOOD]) == {1: None}
    store.away = False
    assert await check.check([GOOD]) == {1: True}, "it is asked again"
    await store.put(document_key("file-a"), b"{")
    assert await CitationCheck(store).check([GOOD]) == {1: None}
    await store.put(document_key("file-a"), b"[]")
    assert await CitationCheck(store).check([GOOD]) == {1: None}
    monkeypatch.setattr(CitationCheck, "MAX_BYTES", 1)
    assert await CitationCheck(store).check([GOOD]) == {1: None}


async def test_a_verdict_is_kept_and_so_many_at_the_most(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CitationCheck, "KEPT", 2)
    check = CitationCheck(store)
    others = [passage(BODY[:size], AT, AT + size, n=size) for size in (3, 4)]
    assert await check.check([GOOD, *others]) == {1: True, 3: True, 4: True}
    store.away = True
    assert await check.check([GOOD, *others]) == {1: None, 3: True, 4: True}
