"""llama.cpp alone, in this process: reads jobs from standard input, one JSON line each, and answers with a line.

A job is `{"prompts": [[ids]], "max_tokens": n}`; all its prompts run at once. The answer is `{"tokens": n, "seconds": s}`.
"""

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import xllamacpp


def start(gguf: Path, *, slots: int, context: int, threads: int) -> Any:
    """The engine with the settings that the `llm` model has."""
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_gpu_layers = 0
    params.warmup = True
    return xllamacpp.Server(params)


def run(server: Any, prompts: list[list[int]], max_tokens: int) -> dict[str, float]:
    """All prompts at once, greedy, streamed."""
    counts = [0] * len(prompts)

    def one(number: int) -> None:
        def receive(raw: Any) -> bool:
            event = raw if isinstance(raw, dict) else json.loads(raw)
            usage = event.get("usage") or {}
            counts[number] = max(counts[number], usage.get("completion_tokens", 0))
            return False

        request = {"prompt": prompts[number], "max_tokens": max_tokens, "temperature": 0, "stream": True,
                   "cache_prompt": True, "ignore_eos": True, "stream_options": {"include_usage": True}}  # fmt: skip
        server.handle_completions(json.dumps(request), receive)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(prompts))]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"tokens": sum(counts), "seconds": time.monotonic() - started}


def main() -> None:
    """Serve jobs until standard input ends."""
    gguf, slots, context, threads = sys.argv[1:]
    server = start(Path(gguf), slots=int(slots), context=int(context), threads=int(threads))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(run(server, job["prompts"], job["max_tokens"])), flush=True)


if __name__ == "__main__":
    main()
