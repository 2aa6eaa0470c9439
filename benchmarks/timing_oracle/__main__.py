"""`python -m benchmarks.timing_oracle`: the area under the curve of an oracle that goes by the time of an answer.

In each trial the victim asks either the very text that the prober asks next, or another of the same size. The prober's times
with and without are compared: 0.5 is what a coin would tell. Beside it stands the same with both of one tenant, where caches are
shared and the oracle is to be right (1.0): the measure works.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import aiohttp

from benchmarks.report import Figure, write_json
from tests.support.embedded_fleet import EmbeddedFleet, embedded, run_stoppable

VICTIM, PROBER = "victim-key-of-the-oracle", "prober-key-of-the-oracle"
TENANTS = f"""
tenants:
  - {{name: victim, keys: [{VICTIM}]}}
  - {{name: prober, keys: [{PROBER}]}}
"""
WORDS = "river stone lamp window garden copper letter winter bridge ladder candle mirror harbour saddle"
LENGTH = 40
"""Words of a text."""

Ask = Callable[[str, str], Awaitable[float]]
"""A key and a text → seconds."""


def area(with_it: Sequence[float], without: Sequence[float]) -> float:
    """The share of pairs in which the time with the victim's question is the shorter one; equal ones count half."""
    wins = sum((1.0 if a < b else 0.5 if a == b else 0.0) for a in with_it for b in without)
    return wins / (len(with_it) * len(without))


def spread(trials: int) -> float:
    """The standard deviation of the area where there is nothing to be told."""
    return float(((2 * trials + 1) / (12 * trials * trials)) ** 0.5)


async def oracle(ask: Ask, victim: str, trials: int, rng: random.Random) -> tuple[float, list[float], list[float]]:
    """The area, and the prober's times with and without, in seconds."""
    coins = [True, False] * trials
    rng.shuffle(coins)
    times: dict[bool, list[float]] = {True: [], False: []}
    for coin in coins:
        text, other = _text(rng), _text(rng)
        await ask(victim, text if coin else other)
        times[coin].append(await ask(PROBER, text))
    return area(times[True], times[False]), times[True], times[False]


def _text(rng: random.Random) -> str:
    words = WORDS.split()
    return " ".join([str(rng.getrandbits(48)), *(rng.choice(words) for _ in range(LENGTH))])


async def measure(fleet: EmbeddedFleet, trials: int, only: str) -> None:
    """Print a table."""
    rng = random.Random(12)
    base = f"http://127.0.0.1:{fleet.port}"
    async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(total=120)) as http:

        async def post(path: str, key: str, body: object) -> float:
            began = time.perf_counter()
            async with http.post(path, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
                await answer.read()
                answer.raise_for_status()
            return time.perf_counter() - began

        async def chat(key: str, text: str) -> float:
            message = {"role": "user", "content": text}
            body = {"model": fleet.model, "messages": [message], "max_tokens": 1, "temperature": 0}
            return await post("/v1/chat/completions", key, body)

        async def embedding(key: str, text: str) -> float:
            return await post("/v1/embeddings", key, {"model": "all-MiniLM-L6-v2", "input": text})

        print(
            f"{trials} trials with the victim's question and {trials} without; a coin's spread is {spread(trials):.3f}"
        )
        areas: dict[str, float] = {}
        print("| what is timed | victim | area | median with | median without |\n|---|---|---|---|---|")
        for name, ask in {"chat": chat, "embedding": embedding}.items():
            if only not in ("", name):
                continue
            for who, key in (("another tenant", VICTIM), ("the same tenant", PROBER)):
                found, with_it, without = await oracle(ask, key, trials if key == VICTIM else max(trials // 8, 5), rng)
                areas[f"{name}, {who}"] = found
                medians = (sorted(times)[len(times) // 2] * 1000 for times in (with_it, without))
                print(
                    f"| {name} | {who} | {found:.3f} | {' | '.join(f'{each:.1f} ms' for each in medians)} |", flush=True
                )
        write_json(
            "timing_oracle",
            {"trials": trials, "areas": areas},
            figures=[
                Figure(f"area of a timing oracle (0.5: a coin, ± {spread(trials):.3f}): {what}", each)
                for what, each in areas.items()
            ],
        )


def main() -> None:
    """One instance, so that placement has nothing to choose."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", choices=("chat", "embedding"), default="")
    parser.add_argument("--port-base", type=int, default=18500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tenants = Path(folder) / "tenants.yaml"
        tenants.write_text(TENANTS)
        env = {"RAGFLEET_TENANTS_FILE": str(tenants)}
        models = ("embedding", "prompt", "llm")
        with embedded(instances=1, port_base=given.port_base, env=env, models=models) as fleet:
            run_stoppable(measure(fleet, given.trials, given.only))


if __name__ == "__main__":
    main()
