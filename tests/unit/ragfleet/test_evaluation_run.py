"""An evaluation brings its documents in once and measures what the gateway gives back."""

from collections.abc import Mapping, Sequence
from itertools import count
from threading import Lock
from typing import Any

import pytest

from ragfleet.evaluation.datasets import Dataset, DatasetQuestion
from ragfleet.evaluation.gateway import EvaluatedAnswer, IngestedDocument
from ragfleet.evaluation.run import Evaluation, EvaluationError

DATASET = Dataset(
    "small",
    {"d1": "pumps lift water", "d2": "bees make honey", "d3": "owls see at night"},
    [
        DatasetQuestion("q1", "water?", {"d1": 1}, ("pumps",)),
        DatasetQuestion("q2", "honey?", {"d2": 1}, ("bees", "the bees")),
    ],
)


class MemoryGateway:
    """Takes everything in at once; finds the documents of `order`, each as two passages."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = count(1)
        self.contents: dict[str, str] = {}
        self.held: dict[str, IngestedDocument] = {}
        self.chunk_tokens: list[int | None] = []
        self.order: dict[str, list[str]] = {}
        self.replies: dict[str, tuple[str, list[str]]] = {}
        self.cited: dict[str, dict[str, Any]] = {}
        self.refused = ""
        self.stuck = 0
        self.asked: set[tuple[str, int]] = set()

    def store(self, name: str) -> str:
        return f"vs_{name}"

    def members(self, store_id: str) -> Sequence[IngestedDocument]:
        return list(self.held.values())

    def upload(self, filename: str, content: bytes) -> str:
        with self._lock:
            file_id = f"file-{next(self._numbers)}"
            self.contents[file_id] = content.decode()
        return file_id

    def attach(self, store_id: str, files: Mapping[str, Mapping[str, str]], chunk_tokens: int | None) -> None:
        self.chunk_tokens.append(chunk_tokens)
        for file_id, has in files.items():
            bad = self.contents[file_id] == self.refused
            status, error = ("failed", "no text in it") if bad else ("completed", "")
            self.held[file_id] = IngestedDocument(file_id, has["doc_id"], has["sha256"], status, error)

    def pending(self, store_id: str) -> int:
        return self.stuck

    def delete(self, file_id: str) -> None:
        with self._lock:
            del self.held[file_id]

    def search(self, store_id: str, query: str, *, ranker: str, limit: int) -> Sequence[str]:
        self.asked.add((ranker, limit))
        return [self._file(document) for document in self.order[query] for _ in range(2)]

    def answer(self, store: str, question: str, *, max_tokens: int) -> EvaluatedAnswer:
        text, documents = self.replies[question]
        sources = {n: self._file(document) for n, document in enumerate(documents, 1)}
        return EvaluatedAnswer(text, sources, **self.cited.get(question, {}))

    def _file(self, document: str) -> str:
        return next((key for key, member in self.held.items() if member.document == document), f"file-of-{document}")


@pytest.fixture
def gateway() -> MemoryGateway:
    return MemoryGateway()


def evaluation(gateway: MemoryGateway, dataset: Dataset = DATASET, chunk_tokens: int | None = None) -> Evaluation:
    seconds = count()
    return Evaluation(
        gateway,
        dataset,
        "s",
        chunk_tokens=chunk_tokens,
        clock=lambda: float(next(seconds)),
        sleep=lambda wanted: None,
    )


def test_documents_go_in_once(gateway: MemoryGateway) -> None:
    first = evaluation(gateway).ingest()
    assert (first.sent, first.unchanged, first.removed) == (3, 0, 0)
    again = evaluation(gateway).ingest()
    assert (again.sent, again.unchanged, again.removed) == (0, 3, 0)
    assert sorted(gateway.contents.values()) == sorted(DATASET.documents.values())


def test_what_is_not_the_datasets_any_more_leaves(gateway: MemoryGateway) -> None:
    evaluation(gateway).ingest()
    gateway.held["file-other"] = IngestedDocument("file-other", "", "", "completed")  # not an evaluation's: it stays
    changed = Dataset("small", {"d1": "pumps lift oil", "d2": DATASET.documents["d2"]}, DATASET.questions)
    done = evaluation(gateway, changed).ingest()
    assert (done.sent, done.unchanged, done.removed) == (1, 1, 2)
    assert {gateway.contents.get(key) for key in gateway.held} == {"pumps lift oil", "bees make honey", None}


def test_another_size_of_chunks_is_another_ingestion(gateway: MemoryGateway) -> None:
    evaluation(gateway).ingest()
    done = evaluation(gateway, chunk_tokens=512).ingest()
    assert (done.sent, done.removed) == (3, 3)
    assert gateway.chunk_tokens == [None, 512]


def test_a_missing_document_stops_it(gateway: MemoryGateway) -> None:
    gateway.refused = "bees make honey"
    with pytest.raises(EvaluationError, match="1 of 3 documents are not in the store; of one: no text in it"):
        evaluation(gateway).ingest()


def test_an_ingestion_that_stands_still_ends(gateway: MemoryGateway) -> None:
    gateway.stuck = 2
    with pytest.raises(EvaluationError, match="2 are still waiting"):
        evaluation(gateway).ingest()


def test_a_documents_place_is_its_best_passages(gateway: MemoryGateway) -> None:
    gateway.order = {"water?": ["unknown", "d3", "d1"], "honey?": ["d2"]}
    measured = evaluation(gateway)
    measured.ingest()
    got = measured.search("hybrid")
    assert got.ndcg_at_10 == pytest.approx((0.630930 + 1) / 2, abs=1e-6)
    assert got.mrr_at_10 == pytest.approx(0.75)
    assert (got.recall_at_5, got.recall_at_50) == (1.0, 1.0)
    assert gateway.asked == {("minmax", 50)}


def test_answers(gateway: MemoryGateway) -> None:
    gateway.replies = {"water?": ("Pumps [1].", ["d1", "d3"]), "honey?": ("Honey bees [2][9]", ["d2", "d3"])}
    gateway.cited = {
        "water?": {"marked": {1}, "attributed": {1, 2}},
        "honey?": {"marked": {2}, "invalid": 1},
    }
    measured = evaluation(gateway)
    measured.ingest()
    got = measured.answers(DATASET.questions)
    assert got.exact_match == 0.5
    assert got.f1 == pytest.approx((1 + 2 / 3) / 2)
    assert (got.answers_with_marks, got.citation_precision, got.invalid_marks) == (2, 0.5, 1)
    assert (got.answers_attributed, got.attribution_precision) == (1, 0.5)
    assert (got.source_precision, got.source_recall) == (0.5, 1.0)


def test_answers_of_a_collection_without_answers(gateway: MemoryGateway) -> None:
    gateway.replies = {"water?": ("I cannot say.", [])}
    measured = evaluation(gateway)
    measured.ingest()
    got = measured.answers([DatasetQuestion("q", "water?", {"d1": 1})])
    assert (got.exact_match, got.f1, got.citation_precision, got.source_precision) == (None, None, None, None)
    assert got.source_recall == 0
