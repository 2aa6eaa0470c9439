"""Time to first token of chats, with and without an ingestion at work."""

import json
import time
import urllib.error
import urllib.request

import numpy as np

from benchmarks.fleet import Fleet
from benchmarks.knowledge.corpus import question


def model_of(fleet: Fleet, store: str) -> str:
    """`rag:<store>`, so that the question is embedded and searched, too; the bare model where the gateway knows no such store."""
    try:
        first_token_s(fleet, f"rag:{store}", 0)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return fleet.model
    return f"rag:{store}"


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
    first = 0.0
    with urllib.request.urlopen(request, timeout=60) as response:
        for line in response:
            if not first and line.startswith(b"data: {"):
                choices = json.loads(line[6:]).get("choices") or [{}]
                if choices[0].get("delta", {}).get("content"):
                    first = time.perf_counter() - started
    return first or time.perf_counter() - started


def percentiles(fleet: Fleet, model: str, requests: int) -> dict[str, float]:
    """Of chats one after the other, in milliseconds."""
    for seed in range(3):
        first_token_s(fleet, model, seed)
    took = [1000 * first_token_s(fleet, model, seed) for seed in range(10, 10 + requests)]
    return {f"p{p}_ms": float(np.percentile(took, p)) for p in (50, 99)}
