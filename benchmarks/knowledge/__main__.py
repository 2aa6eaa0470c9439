"""`make bench-knowledge`: the ingestion's speed, what it costs those who chat, and search at three sizes."""

import argparse
import asyncio
import itertools
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.knowledge import api_searching, ingesting, searching
from benchmarks.knowledge.chatting import Scenario, times_to_first_token
from benchmarks.knowledge.server_wheel import NoServerError, server
from benchmarks.report import Figure, print_table, write_json
from tests.support.embedded_fleet import EmbeddedFleet, embedded

BAR_RATIO = 0.85
BAR_TTFT = 1.5
BAR_SEARCH_MS = {10_000: 60, 100_000: 250}
"""At the median, by the number of chunks."""


def main() -> None:
    """Run the parts that are asked for; what is measured is written after each."""
    parser = argparse.ArgumentParser(prog="make bench-knowledge")
    parser.add_argument("--only", choices=("ingest", "chat", "search", "api-search"), action="append")
    parser.add_argument("--documents", type=int, default=60, help="in a round, of ten chunks each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chats", type=int, default=60, help="with the bare model; with `rag` three in ten of them")
    parser.add_argument("--sizes", default="1000,10000,100000", help="rows of the collections that are searched")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--port-base", type=int, default=27000)
    options = parser.parse_args()
    wanted = options.only or ["ingest", "chat", "search", "api-search"]
    result: dict[str, Any] = {}

    def measured(part: str, found: Any) -> None:
        result[part] = {"load_average": os.getloadavg(), "found": found}
        write_json("knowledge", result, figures=_figures(result), tell=False)

    # This benchmark runs the ingestion by itself, so that it can be stopped between the parts.
    with embedded(instances=2, port_base=options.port_base, env={"RAGFLEET_INGESTION": "off"}) as fleet:
        if "ingest" in wanted:
            with ingesting.ingestion(fleet):
                rate = asyncio.run(ingesting.rate(fleet, options.documents, options.rounds))
            _show_ingest(rate)
            measured("ingest", rate)
        if "chat" in wanted:
            chats = asyncio.run(_chats(fleet, options.chats))
            _show_chats(chats)
            measured("chat", chats)
        sizes = [int(size) for size in options.sizes.split(",")]
        if "search" in wanted:
            found = asyncio.run(searching.milvus_lite(ingesting.milvus_uri(fleet), sizes, options.queries))
            _show_search(found)
            measured("search", found)
        if "api-search" in wanted:
            through = asyncio.run(api_searching.through_the_api(fleet, sizes, options.queries))
            print_table(
                "Search through the API for 10 passages", list(through[0]), [list(row.values()) for row in through]
            )
            measured("api-search", through)
    if "search" in wanted:
        found += _search_server(options.port_base + 40, sizes, options.queries)
        _show_search(found)
        measured("search", found)
    write_json("knowledge", result, figures=_figures(result))


def _figures(result: Mapping[str, Any]) -> list[Figure]:
    """What this benchmark claims, of the parts that were run."""
    found = []
    if "ingest" in result:
        rate = result["ingest"]["found"]
        found.append(
            Figure(
                "chunks ingested per second",
                rate["ingested_per_s"],
                "/s",
                "sentence-transformers",
                rate["sentence_transformers_per_s"],
                rate["ratio"],
                at_least=BAR_RATIO,
            )
        )
    for each in result.get("chat", {}).get("found", ()):
        found.append(
            Figure(
                f"TTFT p99 while documents go in, {each['name']}",
                each["ingesting_p99_ms"],
                "ms",
                "quiet",
                each["quiet_p99_ms"],
                each["ratio_p99"],
                at_most=BAR_TTFT,
            )
        )
    for each in result.get("search", {}).get("found", ()):
        arm = "hybrid" if "hybrid_p50_ms" in each else "dense"
        found.append(
            Figure(f"{arm} search, {each['rows']:,} chunks, Milvus {each['milvus']}, p50", each[f"{arm}_p50_ms"], "ms")
        )
    for each in result.get("api-search", {}).get("found", ()):
        name = f"search through the API, {each['chunks']:,} chunks, Milvus Lite, p50"
        found.append(Figure(name, each["p50_ms"], "ms", at_most=BAR_SEARCH_MS.get(each["chunks"])))
    return found  # fmt: skip


async def _chats(fleet: EmbeddedFleet, number: int) -> list[dict[str, Any]]:
    """Times to first token before, while and after documents go in."""
    catalog = ingesting.catalog_of(fleet)
    scenarios = [
        Scenario("bare model", fleet.model, number),
        # Longer than the ingestion holds back after an answer: each finds it at full speed.
        Scenario("bare model, each after 5 s of silence", fleet.model, max(15, number // 5), 5.0),
        Scenario("from a store", "rag:asked", max(20, 3 * number // 10)),
    ]
    quiet: dict[str, list[float]] = {each.name: [] for each in scenarios}
    busy: dict[str, list[float]] = {}
    done: dict[str, float] = {}

    asked = itertools.count(1_000, 1_000)

    async def ask(scenario: Scenario, count: int) -> list[float]:
        first = next(asked)  # never the same question: the engine would have its prompt in the cache
        return await asyncio.to_thread(times_to_first_token, fleet, scenario, range(first, first + count))

    try:
        with ingesting.ingestion(fleet):
            store = await ingesting.attach(fleet, catalog, "asked", range(20))
            await ingesting.completed(catalog, store, 20, within_s=180)
        for each in scenarios:
            quiet[each.name] += await ask(each, (each.chats + 1) // 2)
        with ingesting.ingestion(fleet):
            store = await ingesting.attach(fleet, catalog, "busy", range(50_000, 50_800))
            await ingesting.completed(catalog, store, 1, within_s=60)
            for each in scenarios:
                before = (await catalog.of(ingesting.TENANT).stores.get(store)).counts.completed
                busy[each.name] = await ask(each, each.chats)
                counts = (await catalog.of(ingesting.TENANT).stores.get(store)).counts
                if not counts.in_progress:
                    raise RuntimeError("all documents were in before the chats had ended: nothing was measured")
                done[each.name] = counts.completed - before
        for each in scenarios:
            quiet[each.name] += await ask(each, each.chats // 2)
        await catalog.of(ingesting.TENANT).stores.delete(store)
    finally:
        await catalog.close()
    return [_compared(each, quiet[each.name], busy[each.name], done[each.name]) for each in scenarios]


def _compared(scenario: Scenario, quiet: Sequence[float], busy: Sequence[float], documents: float) -> dict[str, Any]:
    found: dict[str, Any] = {**asdict(scenario), "documents_meanwhile": documents}
    for name, took in (("quiet", quiet), ("ingesting", busy)):
        found |= {f"{name}_p{p}_ms": float(np.percentile(took, p)) for p in (50, 99)}
    return found | {f"ratio_p{p}": found[f"ingesting_p{p}_ms"] / found[f"quiet_p{p}_ms"] for p in (50, 99)}


def _search_server(port: int, sizes: Sequence[int], queries: int) -> list[dict[str, Any]]:
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # else the server would outlive a benchmark that is told to end
    with tempfile.TemporaryDirectory(prefix="ragfleet-bench-milvus-") as folder:
        try:
            with server(Path(folder), port) as milvus:
                return asyncio.run(searching.milvus_server(milvus.uri, sizes, queries, milvus.version))
        except NoServerError as error:
            print(f"Search in a Milvus server was not measured: {error}")
            return []


def _show_ingest(found: Mapping[str, Any]) -> None:
    rows: list[Sequence[object]] = [
        ("through the ingestion, two instances of one thread", found["ingested_per_s"]),
        (f"sentence-transformers directly, {found['threads']} threads", found["sentence_transformers_per_s"]),
        (f"ratio, median of {len(found['rounds'])} rounds (bar: at least {BAR_RATIO})", found["ratio"]),
    ]
    title = f"{found['chunks']:g} chunks of {found['documents']:g} documents"
    print_table(title, ["", "chunks/s"], rows)
    # On a machine that does other things, too, this says more than the clock does.
    parts = list(found["cpu_ms_a_chunk"].items())
    whole = ("the ingestion in all", sum(used for _, used in parts))
    print_table("CPU", ["", "ms a chunk"], [*parts, whole, ("directly", found["direct_cpu_ms_a_chunk"])])


def _show_chats(found: Sequence[Mapping[str, Any]]) -> None:
    columns = [
        "",
        "chats",
        "quiet p50",
        "p99",
        "ingesting p50",
        "p99",
        f"ratio of p99 (bar: {BAR_TTFT})",
        "documents in",
    ]
    names = ("name", "chats", "quiet_p50_ms", "quiet_p99_ms", "ingesting_p50_ms", "ingesting_p99_ms", "ratio_p99",
             "documents_meanwhile")  # fmt: skip
    print_table("Time to first token, ms", columns, [[row[name] for name in names] for row in found])


def _show_search(found: Sequence[Mapping[str, Any]]) -> None:
    names = list(found[0])
    print_table(
        "Search for 5 passages, one after the other", names, [[row.get(name, "") for name in names] for row in found]
    )


if __name__ == "__main__":
    main()
