"""Time to first token of chats, one after the other."""

import json
import time
import urllib.request
from dataclasses import dataclass

from benchmarks.knowledge.corpus import question
from tests.support.embedded_fleet import EmbeddedFleet


@dataclass(frozen=True, slots=True)
class Scenario:
    """Chats one after the other, with silence before each."""

    name: str
    model: str
    chats: int
    pause_s: float = 0.0


def times_to_first_token(fleet: EmbeddedFleet, scenario: Scenario, seeds: range) -> list[float]:
    """Milliseconds, one for each question. Two more are asked before, and not counted."""
    took = []
    for seed in range(seeds.start - 2, seeds.stop):
        time.sleep(scenario.pause_s)
        took.append(1000 * first_token_s(fleet, scenario.model, seed))
    return took[2:]


def first_token_s(fleet: EmbeddedFleet, model: str, seed: int) -> float:
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
