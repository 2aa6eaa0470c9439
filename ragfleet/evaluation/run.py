"""An evaluation: documents in, each question through each arm, and the measures of what came back."""

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ragfleet.evaluation import metrics
from ragfleet.evaluation.datasets import Dataset, DatasetQuestion

if TYPE_CHECKING:  # it loads OpenAI's client, which takes a second and most commands do not need
    from ragfleet.evaluation.gateway import EvaluationGateway


Progress = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and what is happening."""
T = TypeVar("T")
R = TypeVar("R")

ARMS: Mapping[str, str] = {"dense": "dense", "bm25": "bm25", "hybrid": "minmax"}
"""An arm's name → the ranker of the search path (docs/retrieval.md)."""
DEPTH = 50
"""Passages of one search: the most that OpenAI's API gives."""
CONCURRENCY = 4
BATCH = 100
"""Files that are sent before they are attached together."""
POLL_SECONDS = 0.25
SILENCE_SECONDS = 180.0
"""How long no file may come in before the run gives up."""
ANSWER_TOKENS = 64


class EvaluationError(Exception):
    """The evaluation cannot go on; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What the store had to be brought, and how long that took."""

    sent: int
    unchanged: int
    removed: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """Means over the questions, 0…1; times of one search as the client sees it, retries with it, in milliseconds."""

    ndcg_at_10: float
    recall_at_5: float
    recall_at_10: float
    recall_at_50: float
    mrr_at_10: float
    p50_ms: float
    p99_ms: float
    queries_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerResult:
    """Means over the questions, 0…1; the answer's time in milliseconds. None: there was nothing to count."""

    questions: int
    exact_match: float | None
    f1: float | None
    answers_with_marks: int
    invalid_marks: int
    """Marks [n] in all answers that are no citations: there was no passage n, or its file does not have it."""
    citation_precision: float | None
    """Of all sources that an answer marks with [n], the share that are the relevant document's."""
    answers_attributed: int
    attribution_precision: float | None
    """The same of the sources that the gateway attributed sentences without a mark to, by their words."""
    source_precision: float | None
    """The same of all sources in the prompts, which the API lists as citations too."""
    source_recall: float | None
    """The share of questions with the relevant document among the sources."""
    p50_ms: float
    p99_ms: float


class Evaluation:
    """Of one dataset in one store. `clock` and `sleep` are in seconds."""

    def __init__(
        self,
        gateway: "EvaluationGateway",
        dataset: Dataset,
        store: str,
        *,
        chunk_tokens: int | None = None,
        progress: Progress = lambda done, total, what: None,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gateway = gateway
        self._dataset = dataset
        self._store = store
        self._store_id = gateway.store(store)
        self._chunk_tokens = chunk_tokens
        self._progress = progress
        self._clock = clock
        self._sleep = sleep
        self._documents: Mapping[str, str] = {}

    def ingest(self) -> Ingested:
        """Make the store hold the dataset's documents and no other of an evaluation. Raises EvaluationError."""
        started = self._clock()
        wanted = {document: self._digest(text) for document, text in self._dataset.documents.items()}
        held: set[str] = set()
        stale = []
        for member in self._gateway.members(self._store_id):
            if not member.document:
                continue
            good = member.status in ("completed", "in_progress") and wanted.get(member.document) == member.digest
            if good and member.document not in held:
                held.add(member.document)
            else:
                stale.append(member.file_id)
        missing = [document for document in wanted if document not in held]
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            for first in range(0, len(missing), BATCH):
                batch = missing[first : first + BATCH]
                files = {}
                for document, file_id in zip(batch, _each(pool, self._upload, batch), strict=True):
                    files[file_id] = {"doc_id": document, "sha256": wanted[document]}
                    self._progress(first + len(files), len(missing), "sending")
                self._gateway.attach(self._store_id, files, self._chunk_tokens)
            for _ in _each(pool, self._gateway.delete, stale):
                pass
        self._wait(len(missing))
        self._documents = self._members_as_documents(wanted)
        seconds = self._clock() - started
        return Ingested(sent=len(missing), unchanged=len(held), removed=len(stale), seconds=seconds)

    def search(self, arm: str) -> ArmResult:
        """Every question through one arm, CONCURRENCY at a time. After `ingest`. Raises EvaluationError."""
        questions = self._dataset.questions
        started = self._clock()
        rankings, times = [], []
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            for ranking, seconds in _each(pool, lambda question: self._one(question, ARMS[arm]), questions):
                rankings.append(ranking)
                times.append(1000 * seconds)
                self._progress(len(rankings), len(questions), f"searching, {arm}")
        elapsed = self._clock() - started

        def over(measure: Callable[[Sequence[str], Mapping[str, int], int], float], cutoff: int) -> float:
            pairs = zip(rankings, questions, strict=True)
            return metrics.mean([measure(ranking, question.relevant, cutoff) for ranking, question in pairs]) or 0.0

        return ArmResult(
            ndcg_at_10=over(metrics.ndcg, 10),
            recall_at_5=over(metrics.recall, 5),
            recall_at_10=over(metrics.recall, 10),
            recall_at_50=over(metrics.recall, 50),
            mrr_at_10=over(metrics.reciprocal_rank, 10),
            p50_ms=metrics.percentile(times, 0.5),
            p99_ms=metrics.percentile(times, 0.99),
            queries_per_second=len(times) / elapsed if elapsed else 0.0,
        )

    def answers(self, questions: Sequence[DatasetQuestion]) -> AnswerResult:
        """These questions to the chat, one at a time. After `ingest`. Raises EvaluationError."""
        exact, words, marked, attributed, given, found, times = [], [], [], [], [], [], []
        with_marks, with_attributions, invalid = 0, 0, 0
        for number, question in enumerate(questions, 1):
            started = self._clock()
            reply = self._gateway.answer(self._store, question.text, max_tokens=ANSWER_TOKENS)
            times.append(1000 * (self._clock() - started))
            good = {n: self._documents.get(file_id, "") in question.relevant for n, file_id in reply.sources.items()}
            with_marks += bool(reply.marked)
            with_attributions += bool(reply.attributed)
            invalid += reply.invalid
            marked += [float(good[n]) for n in reply.marked]
            attributed += [float(good[n]) for n in reply.attributed]
            given += [float(is_good) for is_good in good.values()]
            found.append(float(any(good.values())))
            if question.answers:
                text = metrics.without_marks(reply.text)
                exact.append(metrics.exact_match(text, question.answers))
                words.append(metrics.f1(text, question.answers))
            self._progress(number, len(questions), "asking")
        return AnswerResult(
            questions=len(questions),
            exact_match=metrics.mean(exact),
            f1=metrics.mean(words),
            answers_with_marks=with_marks,
            invalid_marks=invalid,
            citation_precision=metrics.mean(marked),
            answers_attributed=with_attributions,
            attribution_precision=metrics.mean(attributed),
            source_precision=metrics.mean(given),
            source_recall=metrics.mean(found),
            p50_ms=metrics.percentile(times, 0.5),
            p99_ms=metrics.percentile(times, 0.99),
        )

    def _one(self, question: DatasetQuestion, ranker: str) -> tuple[Sequence[str], float]:
        """The documents, each at the place of its best passage, and the seconds it took."""
        started = self._clock()
        files = self._gateway.search(self._store_id, question.text, ranker=ranker, limit=DEPTH)
        seconds = self._clock() - started
        return list(dict.fromkeys(self._documents[file] for file in files if file in self._documents)), seconds

    def _digest(self, text: str) -> str:
        """Of everything that makes the chunks."""
        return hashlib.sha256(f"{self._chunk_tokens or 'auto'}\n{text}".encode()).hexdigest()

    def _upload(self, document: str) -> str:
        name = re.sub(r"[^A-Za-z0-9._-]", "_", document)[:100]
        return self._gateway.upload(f"{name}.txt", self._dataset.documents[document].encode())

    def _wait(self, total: int) -> None:
        pending, heard = 0, self._clock()
        while left := self._gateway.pending(self._store_id):
            now = self._clock()
            pending, heard = left, now if left != pending else heard
            if now - heard > SILENCE_SECONDS:
                raise EvaluationError(
                    f"no document was ingested for {SILENCE_SECONDS:.0f} s; {left} are still waiting. "
                    "See: ragfleet logs ingestion"
                )
            self._progress(max(0, total - left), max(total, left), "reading, embedding")
            self._sleep(POLL_SECONDS)

    def _members_as_documents(self, wanted: Mapping[str, str]) -> Mapping[str, str]:
        """File id → document. Raises where one is missing: the figures would not be the collection's."""
        members = [member for member in self._gateway.members(self._store_id) if member.document in wanted]
        found = {member.file_id: member.document for member in members if member.status == "completed"}
        missing = wanted.keys() - set(found.values())
        if missing:
            why = next((member.error for member in members if member.document in missing and member.error), "unknown")
            raise EvaluationError(f"{len(missing)} of {len(wanted)} documents are not in the store; of one: {why}")
        return found


def _each(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """The results, in order. When one fails, or the reader leaves, what has not begun is called off."""
    futures = [pool.submit(work, item) for item in items]
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
