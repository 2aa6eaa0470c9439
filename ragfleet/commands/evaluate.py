"""`ragfleet eval`: how well the fleet finds, and answers, on a collection whose relevant documents are known."""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from ragfleet.commands.fleet import running_fleet
from ragfleet.console import Exit, Json, fail, output
from ragfleet.evaluation.datasets import Dataset, DatasetError, read_dataset, spread
from ragfleet.evaluation.run import ARMS, CONCURRENCY, DEPTH, AnswerResult, ArmResult, Evaluation, EvaluationError
from ragfleet.paths import home_from_environment
from ragfleet.progress import shown
from ragfleet.status import FleetStatus

PUBLISHED: Mapping[str, Mapping[str, tuple[float, float, float]]] = {
    "xquad.en": {"dense": (0.9436, 0.9814, 0.9899), "bm25": (0.9649, 0.9865, 0.9924)},
    "xquad.de": {"dense": (0.7032, 0.7875, 0.8383), "bm25": (0.9252, 0.9627, 0.9754)},
}
"""nDCG@10, recall@5 and @10 of MTEB's results for all-MiniLM-L6-v2 and bm25s: one vector for each whole document."""


def evaluate(
    *,
    dataset: Annotated[Path, typer.Option(metavar="PATH", exists=True, help="BEIR's folder, or SQuAD's JSON.")],
    arms: Annotated[str, typer.Option(metavar="NAMES", help="What to compare.")] = ",".join(ARMS),
    store: Annotated[str, typer.Option(metavar="NAME", help="The store; eval-<dataset> without it.")] = "",
    split: Annotated[str, typer.Option(help="Which of BEIR's qrels.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Ask only this many of the questions, evenly spread.")
    ] = None,
    answers: Annotated[int, typer.Option(min=0, metavar="N", help="Also ask the chat N questions.")] = 0,
    chunk_tokens: Annotated[int | None, typer.Option(min=100, max=4096, help="Chunks of this size.")] = None,
    as_json: Json = False,
) -> None:
    """Measure retrieval, and answers, through the API, on a collection with known relevant documents."""
    names = [name.strip() for name in arms.split(",") if name.strip()]
    if unknown := [name for name in names if name not in ARMS]:
        raise fail(f"There is no arm named {', '.join(unknown)}. Choose from: {', '.join(ARMS)}.", Exit.USAGE)
    try:
        collection = read_dataset(dataset, split).limited(limit)
    except DatasetError as error:
        raise fail(f"{error}.", Exit.USAGE) from None
    _, seen = running_fleet()
    store = store or f"eval-{collection.name}"
    result = _measure(seen, collection, names, store, answers=answers, chunk_tokens=chunk_tokens, quiet=as_json)
    written = _write(collection.name, result)
    if as_json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
    else:
        output().print(f"written: {written}")


def _measure(
    seen: FleetStatus,
    collection: Dataset,
    arms: Sequence[str],
    store: str,
    *,
    answers: int,
    chunk_tokens: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Everything, printed as it comes unless `quiet`; returns what is written."""
    from ragfleet.client import GatewayError  # OpenAI's client takes a second to load
    from ragfleet.evaluation.gateway import OpenAIGateway

    console = output()
    with (
        shown("looking", quiet=quiet, transient=True) as advance,
        closing(OpenAIGateway(seen.gateway_url, seen.api_key)) as gateway,
    ):
        try:
            evaluation = Evaluation(gateway, collection, store, chunk_tokens=chunk_tokens, progress=advance)
            ingested = evaluation.ingest()
            measured = {arm: evaluation.search(arm) for arm in arms}
            asked = evaluation.answers(spread(collection.questions, answers)) if answers else None
        except (EvaluationError, GatewayError) as error:
            raise fail(f"The evaluation stopped: {error}") from None
        except KeyboardInterrupt:
            raise fail("\nInterrupted. Documents that were already sent are still ingested.") from None
    chunks = "auto" if chunk_tokens is None else f"{chunk_tokens} tokens"
    if not quiet:
        console.print(
            f"Store '{escape(store)}': {ingested.sent} documents sent, {ingested.unchanged} there already, "
            f"{ingested.removed} removed, in {ingested.seconds:.1f} s; chunks: {chunks}."
        )
        console.print(_table(collection, measured))
        console.print(
            f"A document's place is its best passage's. A search gives at most {DEPTH} passages, so recall@100 cannot be "
            f"had.\nTimes are of one search as the client sees it, {CONCURRENCY} at a time. "
            f"Load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors."
        )
        if asked is not None:
            console.print(_said(asked))
    counts = {"documents": len(collection.documents), "questions": len(collection.questions)}
    settings = {"store": store, "chunks": chunks, "depth": DEPTH, "concurrency": CONCURRENCY}
    return {
        "dataset": {"name": collection.name, **counts},
        "settings": settings,
        "ingestion": asdict(ingested),
        "arms": {arm: {"ranker": ARMS[arm], **asdict(figures)} for arm, figures in measured.items()},
        "answers": None if asked is None else asdict(asked),
        "published": _published(collection.name),
    }


def _published(name: str) -> dict[str, dict[str, float]]:
    keys = ("ndcg_at_10", "recall_at_5", "recall_at_10")
    return {arm: dict(zip(keys, figures, strict=True)) for arm, figures in PUBLISHED.get(name, {}).items()}


def _table(collection: Dataset, measured: Mapping[str, ArmResult]) -> Table:
    title = f"{collection.name}: {len(collection.questions):,} questions, {len(collection.documents):,} documents"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("arm", "nDCG@10", "recall@5", "@10", "@50", "MRR@10", "p50 ms", "p99 ms", "per s"):
        table.add_column(column, justify="left" if column == "arm" else "right", no_wrap=True)
    published = PUBLISHED.get(collection.name, {})
    for arm, got in measured.items():
        shares = (got.ndcg_at_10, got.recall_at_5, got.recall_at_10, got.recall_at_50, got.mrr_at_10)
        times = f"{got.p50_ms:.0f}", f"{got.p99_ms:.0f}", f"{got.queries_per_second:.1f}"
        table.add_row(arm, *(f"{share:.4f}" for share in shares), *times)
        if arm in published:
            table.add_row("  published", *(f"{share:.4f}" for share in published[arm]), style="dim")
    return table


def _said(asked: AnswerResult) -> str:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    return (
        f"Answers to {asked.questions} questions: exact match {share(asked.exact_match)}, F1 {share(asked.f1)}; "
        f"{asked.answers_with_marks} mark a source, citation precision {share(asked.citation_precision)}, "
        f"{asked.invalid_marks} marks are none;\n"
        f"{asked.answers_attributed} have sentences attributed by their words, precision {share(asked.attribution_precision)};\n"
        f"of all sources in the prompts {share(asked.source_precision)} are the relevant document's, "
        f"for {share(asked.source_recall)} of the questions it is among them; "
        f"p50 {asked.p50_ms:.0f} ms, p99 {asked.p99_ms:.0f} ms, one at a time."
    )


def _write(name: str, result: Mapping[str, Any]) -> Path:
    """`bench/eval-<dataset>.json` in the state folder, where the benchmarks write too, with when and on what it was measured."""
    path = Path(os.environ.get("RAGFLEET_BENCH_DIR") or home_from_environment().root / "bench") / f"eval-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    system = {"python": platform.python_version(), "system": platform.platform()}
    machine = {"cpu_count": os.cpu_count(), **system, "load_average": os.getloadavg()}
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    path.write_text(json.dumps({"at": at, "machine": machine, **result}, indent=2), encoding="utf-8")
    return path
