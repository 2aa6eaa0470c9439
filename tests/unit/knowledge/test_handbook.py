"""The shipped knowledge base: every question's gold answer stands in its source, and nothing hints at the unanswerable."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.knowledge.conversion import convert

HANDBOOK = Path(__file__).parents[3] / "examples" / "handbook"
DOCUMENTS = sorted((HANDBOOK / "documents").iterdir())
QUESTIONS: list[dict[str, Any]] = json.loads((HANDBOOK / "questions.json").read_text())
TEXTS = {path.name: " ".join(convert(path).text.split()) for path in DOCUMENTS}


def test_the_set_is_as_announced() -> None:
    assert 20 <= len(DOCUMENTS) <= 30
    assert {path.suffix for path in DOCUMENTS} == {".md", ".html", ".pdf"}
    assert len(QUESTIONS) >= 40
    assert sum(item["source"] is None for item in QUESTIONS) == 6
    assert len({item["question"] for item in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_have_the_length_of_real_ones(path: Path) -> None:
    assert 250 <= len(TEXTS[path.name].split()) <= 900


@pytest.mark.parametrize("item", [item for item in QUESTIONS if item["source"]], ids=lambda item: item["question"])
def test_the_gold_answer_stands_in_its_source(item: dict[str, Any]) -> None:
    assert item["answer"] in TEXTS[item["source"]]
    assert item["section"] in TEXTS[item["source"]]
    assert item["answers"][0] == item["answer"]


@pytest.mark.parametrize("word", ["dental", "Ultra", "supervisory", "revenue", "Matter", "Mongolia"])
def test_the_unanswerable_is_mentioned_nowhere(word: str) -> None:
    assert [name for name, text in TEXTS.items() if word in text] == []


def test_pdfs_have_several_pages() -> None:
    for path in DOCUMENTS:
        if path.suffix == ".pdf":
            document = convert(path)
            assert document.page_at(len(document.text) - 1) >= 3
