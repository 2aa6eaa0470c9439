"""Time to first token of chats, one after the other."""

import json
import time
import urllib.request

from benchmarks.fleet import Fleet
from benchmarks.knowledge.corpus import question


def times_to_first_token(fleet: Fleet, model: str, seeds: range) -> list[float]:
    """Milliseconds, one for each question. The three questions before the first seed are asked, too, and not counted."""
    took = [1000 * first_token_s(fleet, model, seed) for seed in range(seeds.start - 3, seeds.stop)]
    return took[3:]


def first_token_s(fleet: Fleet, model: str, seed: int) -> float:
    """Seconds from the request to the first piece of text."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question(seed)}],
        "max_tokens": 8,
        "temperature": 0,
        "stream": True,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{fleet.port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {fleet.key}"},
    )
    started = time.perf_counter()
    first = None
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            if first is None and line.startswith(b"data: {"):
                chunk = json.loads(line[6:])
                if chunk.get("rag", {}).get("grounded") is False:
                    raise RuntimeError(f"nothing was found for question {seed} to {model}: no engine was asked")
                choices = chunk.get("choices") or [{}]
                if choices[0].get("delta", {}).get("content"):
                    first = time.perf_counter() - started
    if first is None:
        raise RuntimeError(f"no text came for question {seed} to {model}")
    return first
