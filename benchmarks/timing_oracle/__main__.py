"""`python -m benchmarks.timing_oracle`: the area under the curve of an oracle that goes by the time of an answer.

In each trial the victim asks either the very text that the prober asks next, or another of the same size. The prober's times
with and without are compared: 0.5 is what a coin would tell, and 0.45 to 0.55 passes. A coin is itself outside in one of twelve
runs of 200 trials: then as many trials come again, twice at the most, and all of them count together. Beside it stands the same
with both of one tenant, where caches are shared and the oracle is to be right (0.9 or more): the measure works.
Exit status: 0 passed, 1 not.
"""

import argparse
import random
import sys
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
BAR, ENOUGH = 0.05, 200
"""How far from a half an area tells nothing, with so many trials; of fewer, three times a coin's spread is expected."""
TOLD = 0.9
"""From here on an oracle is right."""
ROUNDS = 3

Ask = Callable[[str, str], Awaitable[float]]
"""A key and a text → seconds."""


def area(with_it: Sequence[float], without: Sequence[float]) -> float:
    """The share of pairs in which the time with the victim's question is the shorter one; equal ones count half."""
    wins = sum((1.0 if a < b else 0.5 if a == b else 0.0) for a in with_it for b in without)
    return wins / (len(with_it) * len(without))


def spread(trials: int) -> float:
    """The standard deviation of the area where there is nothing to be told."""
    return float(((2 * trials + 1) / (12 * trials * trials)) ** 0.5)


def bar(trials: int) -> float:
    """How far from a half an area may be that passes."""
    return BAR if trials >= ENOUGH else 3 * spread(trials)


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


async def judged(ask: Ask, trials: int, rng: random.Random) -> tuple[float, list[float], list[float]]:
    """As `oracle`, of another tenant's questions: rounds of trials until the area of all of them passes, at most ROUNDS."""
    with_it: list[float] = []
    without: list[float] = []
    found = 1.0
    for _ in range(ROUNDS):
        _, more_with, more_without = await oracle(ask, VICTIM, trials, rng)
        with_it += more_with
        without += more_without
        found = area(with_it, without)
        if abs(found - 0.5) <= bar(len(with_it)):
            break
    return found, with_it, without


async def measure(fleet: EmbeddedFleet, trials: int, only: str) -> bool:
    """Print a table. Whether all of it passed."""
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

        least, most = 0.5 - bar(trials), 0.5 + bar(trials)
        print(f"A coin's spread with {trials} trials each is {spread(trials):.3f}; {least:.2f} to {most:.2f} passes.")
        print(
            "| what is timed | victim | trials each | area | median with | median without | |\n|---|---|---|---|---|---|---|"
        )
        figures: list[Figure] = []
        for name, ask in {"prefix": chat, "embedding": embedding}.items():
            if only not in ("", name):
                continue
            for who in ("another tenant", "the same tenant"):
                other = who == "another tenant"
                found, *times = await (
                    judged(ask, trials, rng) if other else oracle(ask, PROBER, max(trials // 8, 5), rng)
                )
                claim = f"area of a timing oracle (0.5: a coin, ± {spread(len(times[0])):.3f}): {name}, {who}"
                may = bar(len(times[0]))
                bounds = {"at_least": 0.5 - may, "at_most": 0.5 + may} if other else {"at_least": TOLD}
                figures.append(Figure(claim, found, **bounds))
                medians = " | ".join(f"{sorted(each)[len(each) // 2] * 1000:.1f} ms" for each in times)
                verdict = "ok" if figures[-1].held else "MISSED"
                print(f"| {name} | {who} | {len(times[0])} | {found:.3f} | {medians} | {verdict} |", flush=True)
        areas = {figure.claim: figure.ours for figure in figures}
        write_json("timing_oracle", {"trials": trials, "areas": areas}, figures=figures)
        return all(figure.held for figure in figures)


def main() -> int:
    """One instance, so that placement has nothing to choose."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--only", choices=("prefix", "embedding"), default="")
    parser.add_argument("--port-base", type=int, default=18500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tenants = Path(folder) / "tenants.yaml"
        tenants.write_text(TENANTS)
        env = {"RAGFLEET_TENANTS_FILE": str(tenants)}
        models = ("embedding", "prompt", "llm")
        with embedded(instances=1, port_base=given.port_base, env=env, models=models) as fleet:
            return 0 if run_stoppable(measure(fleet, given.trials, given.only)) else 1


if __name__ == "__main__":
    sys.exit(main())
