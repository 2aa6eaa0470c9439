"""`make bench-knowledge`: the ingestion's speed, search at three sizes, and what an ingestion costs those who chat."""

import argparse
import asyncio
from typing import Any

from benchmarks.fleet import Fleet, embedded
from benchmarks.knowledge import chatting, ingesting, searching
from benchmarks.report import print_table, write_json

BAR_RATIO = 0.85
BAR_TTFT = 1.5


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="make bench-knowledge")
    parser.add_argument("--only", choices=("ingest", "search", "chat"), action="append")
    parser.add_argument("--documents", type=int, default=120, help="of ten chunks each")
    parser.add_argument("--sizes", default="1000,10000,100000", help="rows of the collections that are searched")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--chats", type=int, default=100)
    parser.add_argument("--port-base", type=int, default=27000)
    options = parser.parse_args()
    wanted = options.only or ["ingest", "search", "chat"]
    result: dict[str, Any] = {}
    # This benchmark runs the ingestion by itself, so that it can be stopped between the parts.
    with embedded(instances=2, port_base=options.port_base, env={"RAGFLEET_INGESTION": "off"}) as fleet:
        with ingesting.ingestion(fleet):
            if "ingest" in wanted:
                result["ingest"] = asyncio.run(ingesting.rate(fleet, options.documents))
                _show_ingest(result["ingest"])
            if "chat" in wanted:
                result["chat"] = asyncio.run(_chat(fleet, options.chats))
                _show_chat(result["chat"])
        if "search" in wanted:
            uri = f"http://127.0.0.1:{fleet.port + 8}"
            sizes = [int(size) for size in options.sizes.split(",")]
            result["search"] = [asyncio.run(searching.latencies(uri, size, options.queries)) for size in sizes]
            names = list(result["search"][0])
            print_table("Search in Milvus Lite", names, [list(row.values()) for row in result["search"]])
    write_json("knowledge", result)


async def _chat(fleet: Fleet, chats: int) -> dict[str, Any]:
    catalog = ingesting.catalog_of(fleet)
    try:
        store = await ingesting.attach(fleet, catalog, "asked", range(20))
        await ingesting.completed(catalog, store, 20, within_s=180)
        model = await asyncio.to_thread(chatting.model_of, fleet, "asked")
        quiet = await asyncio.to_thread(chatting.percentiles, fleet, model, chats)
        before = await ingesting.attach(fleet, catalog, "busy", range(5000, 5600))
        busy = await asyncio.to_thread(chatting.percentiles, fleet, model, chats)
        counts = (await catalog.store(ingesting.TENANT, before)).counts
        await catalog.delete_store(ingesting.TENANT, before)
    finally:
        await catalog.close()
    return {
        "model": model,
        "quiet": quiet,
        "ingesting": busy,
        "ratio_p99": busy["p99_ms"] / quiet["p99_ms"],
        "documents_meanwhile": counts.completed,
        "ingestion_lasted": counts.in_progress > 0,
    }


def _show_ingest(found: dict[str, float]) -> None:
    rows = [
        ("through the ingestion", found["ingested_per_s"]),
        ("sentence-transformers directly", found["sentence_transformers_per_s"]),
        (f"ratio (bar: at least {BAR_RATIO})", found["ratio"]),
    ]
    print_table(f"{found['chunks']:g} chunks of {found['documents']:g} documents", ["", "chunks/s"], rows)


def _show_chat(found: dict[str, Any]) -> None:
    rows = [
        ("quiet", found["quiet"]["p50_ms"], found["quiet"]["p99_ms"]),
        ("while documents go in", found["ingesting"]["p50_ms"], found["ingesting"]["p99_ms"]),
        (f"ratio of p99 (bar: at most {BAR_TTFT})", "", found["ratio_p99"]),
    ]
    print_table(f"Time to first token, {found['model']}", ["", "p50 ms", "p99 ms"], rows)


if __name__ == "__main__":
    main()
