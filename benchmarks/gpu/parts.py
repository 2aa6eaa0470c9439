"""The parts of the check. Each starts what it needs, ends it, and gives its figures; `ok` says whether its bar is met."""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.gpu import machine, weights
from benchmarks.gpu.dispatching import Answer, dispatching
from benchmarks.gpu.triton import Triton
from gateway.triton.connection import get
from worker.load import parse as parse_load

PROJECT = Path(__file__).parents[2]
NEARLY_ALL = 63 / 64
"""Of the greedy streams, those that must come out the same when one of two instances is killed."""
RATIO = 0.95
"""Tokens (or texts) per second through Triton and dispatch, of what the engine alone has."""
SAME_COSINE = 0.999
LOOKS_S = 5.0
"""Triton looks at the GPU each 2 s."""


@dataclass(slots=True)
class Check:
    """What the parts share. `tiny`: a model that a CPU runs in seconds; the figures then mean nothing, only that it works."""

    home: Path
    port: int
    tiny: bool
    gpu: bool
    keep: Path
    """Where logs and scrapes go that outlive the check."""
    _llama: Path | None = None
    rng: random.Random = field(default_factory=lambda: random.Random(64))

    @property
    def device(self) -> str:
        """For every model."""
        return "cuda" if self.gpu else "cpu"

    def llama(self) -> Path:
        """The language model, made once."""
        if self._llama is None:
            self._llama = weights.make_llama(self.home / "llama", tiny=self.tiny)
        return self._llama

    def options(self, *, slots: int, dtype: str) -> dict[str, Any]:
        """Of the torch engine."""
        return {
            "model_dir": str(self.llama()), "device": self.device, "dtype": dtype, "slots": slots,
            "max_context": 512 if self.tiny else 1024,
        }  # fmt: skip

    def triton(self, name: str, offset: int, models: Sequence[str], *, slots: int = 1, dtype: str = "auto") -> Triton:
        """An instance on the check's GPU, or its CPU."""
        environment = {}
        if "llm" in models:
            environment["RAGFLEET_LLM_PARAMS"] = json.dumps(self.options(slots=slots, dtype=dtype))
        if "embedding" in models:
            environment["RAGFLEET_EMBEDDING_DIR"] = str(weights.embedder(self.home / "minilm")[0])
        return Triton(
            name, self.home, port=self.port + offset, models=models, slots=slots, gpu=self.gpu, environment=environment
        )

    def prompts(self, count: int) -> list[list[int]]:
        """Of 40 to 80 tokens, no two beginning alike."""
        top = 49152 if self.tiny else 128000
        return [[1, *(self.rng.randrange(100, top) for _ in range(self.rng.randrange(40, 80)))] for _ in range(count)]


def health(check: Check) -> dict[str, Any]:
    """NVML as the worker reads it."""
    if not check.gpu:
        return {"skipped": "no NVIDIA GPU here"}
    return machine.health()


def metrics(check: Check) -> dict[str, Any]:
    """Triton's page while it works, read by the gateway's scraper and by the worker."""
    with check.triton("metrics", 0, ["llm"], slots=4) as triton:
        triton.wait()

        async def scrape() -> tuple[Any, bytes]:
            async with dispatching([triton.instance]) as fleet:
                prompts = check.prompts(6)
                begun, load, page = time.monotonic(), None, b""
                while time.monotonic() - begun < LOOKS_S:
                    work = asyncio.create_task(fleet.answers(prompts, 100))
                    await asyncio.sleep(0.3)  # in the midst of it
                    load = fleet.store.view.members["metrics"].load
                    page = await get(fleet.pool, "127.0.0.1", triton.instance.metrics_port, "/metrics", 5.0)
                    await work
                return load, page

        load, page = uvloop.run(scrape())
    (check.keep / "metrics.txt").write_bytes(page)
    assert load is not None
    worker = parse_load(page.decode())
    families = sorted({line.partition("{")[0] for line in page.decode().splitlines() if line.startswith("nv_gpu_")})
    seen = load.gpu_memory_used_bytes is not None and load.gpu_memory_total_bytes == worker.gpu_memory_total
    return {
        "load": asdict(load), "worker": asdict(worker), "families": families,
        "ok": load.slots == 4 and (bool(seen) or not check.gpu),
    }  # fmt: skip


def embedding(check: Check) -> dict[str, Any]:
    """Texts per second as ingestion sends them to Triton's `embedding`, beside sentence-transformers called directly.

    Both in half precision on a GPU. Every round has texts of its own: Triton answers from its cache what it was asked before.
    """
    import aiohttp
    import torch
    from sentence_transformers import SentenceTransformer

    from gateway.ingestion.chunk_embedder import FleetEmbedder

    folder, model = weights.embedder(check.home / "minilm")
    count, rounds = (64, 1) if check.tiny else (2048, 5)
    words = (
        160 if "random" in model else 40
    )  # 160 tokens or so: a real vocabulary has no such words, and takes them apart
    direct = SentenceTransformer(str(folder), device=check.device, local_files_only=True)

    def fresh() -> list[str]:
        return [" ".join(f"w{check.rng.randrange(20000)}" for _ in range(words)) for _ in range(count)]

    def alone(texts: list[str]) -> tuple[float, Any]:
        started = time.monotonic()
        vectors = direct.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        if check.gpu:
            torch.cuda.synchronize()
        return count / (time.monotonic() - started), vectors

    first = fresh()
    _, exact = alone(first)
    if check.gpu:
        direct.half()
        alone(first)
    with check.triton("embedding", 10, ["embedding"]) as triton:
        triton.wait()

        async def turns() -> tuple[list[float], list[float], Any]:
            async with dispatching([triton.instance]) as fleet, aiohttp.ClientSession() as http:
                embedder = FleetEmbedder(fleet.store, http)
                vectors = await embedder.embed(triton.instance.embedding_model, first)
                ours, theirs = [], []
                for _ in range(rounds):
                    texts = fresh()
                    started = time.monotonic()
                    await embedder.embed(triton.instance.embedding_model, texts)
                    ours.append(count / (time.monotonic() - started))
                    theirs.append((await asyncio.to_thread(alone, texts))[0])
                return ours, theirs, vectors

        ours, theirs, vectors = uvloop.run(turns())
    cosine = float((vectors * exact).sum(1).min())
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "model": model, "texts_per_second": {"Triton": ours, "sentence-transformers": theirs}, "ratio": ratio,
        "least cosine with float32": cosine, "ok": cosine >= SAME_COSINE and (check.tiny or ratio >= RATIO),
    }  # fmt: skip


def throughput(check: Check) -> dict[str, Any]:
    """Tokens per second through dispatch and Triton, beside the same engine alone; both are up and take turns."""
    slots, length, rounds = (4, 16, 1) if check.tiny else (16, 256, 3)
    argv = [sys.executable, "-m", "benchmarks.gpu.bare", json.dumps(check.options(slots=slots, dtype="auto"))]
    with (
        check.triton("throughput", 20, ["llm"], slots=slots) as triton,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as bare,
    ):
        try:
            triton.wait()
            ours, theirs = uvloop.run(_turns(check, triton, bare, slots, length, rounds))
        finally:
            assert bare.stdin is not None
            bare.stdin.close()
            bare.wait(30)
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "slots": slots, "tokens_per_second": {"dispatch and Triton": ours, "engine alone": theirs}, "ratio": ratio,
        "ok": check.tiny or ratio >= RATIO,
    }  # fmt: skip


async def _turns(
    check: Check, triton: Triton, bare: "subprocess.Popen[str]", slots: int, length: int, rounds: int
) -> tuple[list[float], list[float]]:
    assert bare.stdin is not None
    assert bare.stdout is not None
    await asyncio.to_thread(bare.stdout.readline)
    ours, theirs = [], []
    async with dispatching([triton.instance]) as fleet:
        for number in range(rounds + 1):
            prompts = check.prompts(4 * slots)
            before, started = fleet.tokens, time.monotonic()
            await fleet.answers(prompts, length)
            speed = (fleet.tokens - before) / (time.monotonic() - started)
            bare.stdin.write(json.dumps({"prompts": prompts, "length": length}) + "\n")
            bare.stdin.flush()
            alone = json.loads(await asyncio.to_thread(bare.stdout.readline))
            if alone["errors"]:
                raise RuntimeError(f"the engine alone failed: {alone['errors'][0]}")
            if number:  # the first round warms up
                ours.append(speed)
                theirs.append(alone["tokens"] / alone["seconds"])
    return ours, theirs


def migration(check: Check) -> dict[str, Any]:
    """Two Tritons on one GPU, one killed in mid-stream: how many greedy answers come out as without.

    In float32: a journal is read in other pieces than it was written in, and in bfloat16 that rounding alone decides near ties.
    """
    streams, length = (16, 48) if check.tiny else (64, 128)
    slots = streams
    with (
        check.triton("a", 30, ["llm"], slots=slots, dtype="float32") as first,
        check.triton("b", 40, ["llm"], slots=slots, dtype="float32") as second,
    ):
        for triton in (first, second):
            triton.wait()
        prompts = check.prompts(streams)

        async def both() -> tuple[list[Answer], list[Answer], float]:
            async with dispatching([first.instance, second.instance]) as fleet:
                whole = await fleet.answers(prompts, length)
                halfway = fleet.tokens + streams * length // 2
                work = asyncio.create_task(fleet.answers(prompts, length))
                while fleet.tokens < halfway and not work.done():  # noqa: ASYNC110 - another process' tokens
                    await asyncio.sleep(0.01)
                killed = time.monotonic()
                await asyncio.to_thread(first.kill)
                return whole, await work, time.monotonic() - killed

        whole, broken, seconds = uvloop.run(both())
    same = sum(a.ids == b.ids for a, b in zip(whole, broken, strict=True))
    complete = sum(len(answer.ids) == length for answer in broken)
    moved = sum(answer.moved for answer in broken)
    return {
        "streams": streams, "moved": moved, "complete": complete, "identical": same,
        "first difference": [_difference(a.ids, b.ids) for a, b in zip(whole, broken, strict=True) if a.ids != b.ids],
        "distinct ids an answer": statistics.mean(len(set(answer.ids)) for answer in whole),
        "seconds from kill to last token": seconds,
        "ok": complete == streams and moved > 0 and same >= NEARLY_ALL * streams,
    }  # fmt: skip


def contract(check: Check) -> dict[str, Any]:
    """The contract of `llm`, the same tests as everywhere, on the torch flavour and this machine's device."""
    argv = [
        sys.executable, "-m", "pytest", "-q", "-c", str(PROJECT / "benchmarks" / "gpu" / "pytest.ini"),
        f"--rootdir={PROJECT}", "-k", "torch", str(PROJECT / "tests" / "contract" / "llm" / "test_contract.py"),
    ]  # fmt: skip
    environment = {**os.environ, "RAGFLEET_TEST_PORTS": str(check.port + 100), "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, cwd=PROJECT, env=environment)
    (check.keep / "contract.log").write_text(done.stdout + done.stderr)
    lines = done.stdout.strip().splitlines() or [done.stderr[-500:]]
    return {
        "pytest": lines[-1],
        "failed": [line for line in lines if line.startswith("FAILED")],
        "ok": done.returncode == 0,
    }


def _difference(one: Sequence[int], other: Sequence[int]) -> int:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


PARTS = {
    "health": health,
    "metrics": metrics,
    "migration": migration,
    "throughput": throughput,
    "embedding": embedding,
    "contract": contract,
}
"""In the order of what is wanted most where time runs out."""
