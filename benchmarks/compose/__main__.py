"""`make test-compose`: docker/compose.yaml in real containers; needs root and Debian's packages, so it is no part of the tests.

Installs a container engine with a data root of its own, builds our images and stand-ins for those that no registry gives here,
starts everything, asks, uploads, searches; then each service is killed under load, the Consul leader cut off, and what is kept
is backed up, lost and restored. Nothing stays behind but Debian's packages and downloads in the cache; with `--keep` the
images stay, in a folder that is named at the end, and the next run builds only what has changed. Exit status 1 where
something was missed, 2 where it cannot run here.
"""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.compose.backups import Backups
from benchmarks.compose.engine import Engine
from benchmarks.compose.faults import Losses, Suffered
from benchmarks.compose.images import Images
from benchmarks.compose.knowledge import ANSWER, QUESTION, SOURCE, Knowledge
from benchmarks.compose.load import KINDS
from benchmarks.compose.stack import MODEL, UP_S, Stack
from benchmarks.compose.steps import StepError, Steps
from benchmarks.report import Figure, print_table, write_json

NOT_HAD = (
    "NVIDIA's base of the triton image: not to be had; not built",
    "Grafana: a stand-in that answers its health path",
    "Milvus: Milvus Lite's server, so neither users nor a cluster, and the loss of etcd and of its object store reaches nobody",
    "Consul 1.20: Debian's 1.8.7; MinIO: SeaweedFS; Prometheus 3.5: Debian's 2.42 without Consul discovery",
    "milvus-backup",
)
FIRST = [
    SOURCE,
    "support-reset-fernwright-400.md",
    "api-authentication.md",
    "handbook-expenses.md",
    "support-data-export.md",
]


def main() -> int:
    """Do it all; print tables, write var/bench/compose.json."""
    args = _arguments()
    if why := Engine.unavailable():
        print(f"make test-compose: {why}", file=sys.stderr)
        return 2
    steps = Steps(quiet=args.json)
    missed: list[str] = []
    losses: list[Suffered] = []
    left: list[str] = []
    # From here on a signal ends it in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has started it in the background
    folder = Path(args.folder) if args.folder else Path(tempfile.mkdtemp(prefix="ragfleet-compose-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder.resolve())
    stack = Stack(engine, port=args.port)
    try:
        _run(args, engine, stack, steps, losses)
    except (StepError, OSError) as error:
        missed.append(str(error))
    except KeyboardInterrupt:
        missed.append("stopped by Ctrl-C")
    finally:
        with _undisturbed(), steps.step("everything away again", 400) as row:
            left = _clean(engine, stack, keep=args.keep)
            row.note = "; ".join(left) or "nothing left behind"
    missed += [f"left behind: {each}" for each in left]
    missed += [f"{row.name}: {each}" for row in losses for each in row.missed]
    missed = list(dict.fromkeys(missed))
    result = {
        "steps": [asdict(row) for row in steps.rows],
        "losses": [asdict(row) for row in losses],
        "not_had": NOT_HAD,
        "missed": missed,
    }
    figures = [
        Figure(f"what was missed over {len(losses)} losses in real containers", len(missed), at_most=0),
        Figure("whole again, at the latest", max((row.whole_s for row in losses), default=0.0), "s"),
    ]
    write_json("compose", result, figures=figures, tell=not args.json)
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        _tell(steps, losses, missed)
        if args.keep:
            print(f'images are kept in {folder}: make test-compose ARGS="--keep --folder {folder}"')
    return 1 if missed else 0


def _run(args: argparse.Namespace, engine: Engine, stack: Stack, steps: Steps, losses: list[Suffered]) -> None:
    """Steps in their order. Raises StepError where the next ones would make no sense."""
    with steps.step("engine installed and started", 1000):
        engine.install()
        engine.start()
    Images(engine, steps, port=args.port + 5).build()
    with steps.step("all services healthy", UP_S) as row:
        stack.prepare()
        stack.up()
        stack.wait(stack.lacks, "whole", 120)
        row.note = f"{_memory(engine):.1f} GB of memory"
    knowledge = Knowledge(stack)
    with steps.step("asked, uploaded, ingested, searched", 400) as row:
        knowledge.fill(FIRST)
        seconds = stack.wait(knowledge.unfinished, "all files are in", 300)
        stack.wait(knowledge.not_found, "found", 60)
        row.note = f"{len(FIRST)} files in after {seconds:.1f} s; {_cited(stack, knowledge)}"
    if not args.only_backups:
        suffered = Losses(stack, knowledge, steps)
        suffered.rows = losses
        asyncio.run(suffered.all(args.only))
    if not args.only:
        backups = Backups(engine, stack, knowledge, steps)
        backups.consul()
        backups.knowledge()


def _cited(stack: Stack, knowledge: Knowledge) -> str:
    """An answer out of the store, in words: a small model may be wrong, so its source is what counts. Raises StepError."""
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 48,
        "tools": [{"type": "file_search", "vector_store_ids": [knowledge.store]}],
    }
    text = json.dumps(stack.must("POST", "/v1/chat/completions", body, timeout=120))
    if SOURCE not in text:
        raise StepError(f"the answer does not name {SOURCE}: {text[:300]}")
    return f"the answer has its source{' and is right' if ANSWER in text else ''}"


def _memory(engine: Engine) -> float:
    """GB of all containers, as the kernel counts them."""
    lines = engine.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", timeout=120).splitlines()
    return sum(gigabytes(line.partition(" / ")[0]) for line in lines)


def gigabytes(said: str) -> float:
    """`docker stats` says 12.5MiB, 1.2GiB, 900KiB, 0B."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1)):
        if said.endswith(unit):
            return float(said.removesuffix(unit)) * size / 1e9
    return 0.0


def _clean(engine: Engine, stack: Stack, *, keep: bool) -> list[str]:
    """End and remove everything, whatever of it there is; what is left."""
    try:
        if stack.folder.exists():
            stack.down()
    except (StepError, OSError) as error:
        print(f"docker compose down: {error}", file=sys.stderr)
    engine.stop()
    if not keep:
        engine.remove()
    return engine.left(kept=keep)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Another Ctrl-C does not stop the cleaning up."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(steps: Steps, losses: list[Suffered], missed: list[str]) -> None:
    print_table("Steps", ["step", "s", "note"], [[row.name, row.seconds, row.note] for row in steps.rows])
    rows = []
    for row in losses:
        counts = [", ".join(f"{number} {how}" for how, number in row.counts.get(kind, {}).items()) for kind in KINDS]
        note = f"{row.resumed} went on. {row.note}" if row.resumed else row.note
        rows.append([row.name, row.costs, row.whole_s, *counts, note])
    print_table(
        "Lost under load", ["what", "may cost", "whole after s", "chats", "with a journal", "searches", ""], rows
    )
    print("Not to be had here, so not tried:", *NOT_HAD, sep="\n  - ")
    print("missed:", *missed, sep="\n  - ") if missed else print("missed: nothing")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make test-compose", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep the images for the next run")
    parser.add_argument("--folder", default="", help="the engine's folder; without --keep it is removed at the end")
    parser.add_argument("--port", type=int, default=18000, help="of the API on loopback; five after it are used, too")
    parser.add_argument("--only", default="", help="faults with this in their names, and no back-ups")
    parser.add_argument("--only-backups", action="store_true", help="no faults")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output, and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
