"""Traffic in Mooncake's format: lines of JSON with `timestamp` (milliseconds), `input_length` and `output_length` (tokens)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log, pi, sin
from pathlib import Path
from random import Random


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `at`: seconds from the begin."""

    at: float
    prompt: int
    answer: int


def read(path: Path, *, longest: int) -> list[Asked]:
    """A trace from a file; prompts and answers are cut to `longest` tokens together."""
    lines = (json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip())
    found = [Asked(each["timestamp"] / 1000, each["input_length"], max(1, each["output_length"])) for each in lines]
    return sorted((_cut(each, longest) for each in found), key=lambda each: each.at)


def made(seed: int, *, seconds: float, rate: float) -> list[Asked]:
    """A swell of ± 70 % in half an hour, with two steps to 1.6 times for four minutes; lengths are log-normal.

    rate: requests a second on average, about.
    """
    return list(_made(Random(seed), seconds, rate))


def _made(rng: Random, seconds: float, rate: float) -> Iterator[Asked]:
    steps = [rng.uniform(0.1, 0.4) * seconds, rng.uniform(0.5, 0.9) * seconds]
    peak, at = rate * 1.7 * 1.6, 0.0
    phase = rng.uniform(0, 2 * pi)
    while (at := at + rng.expovariate(peak)) < seconds:
        now = rate * (1 + 0.7 * sin(2 * pi * at / 1800 + phase))
        if any(step <= at < step + 240 for step in steps):
            now *= 1.6
        if rng.random() < now / peak:
            yield Asked(at, _length(rng, 700, 0.8, 32, 6000), _length(rng, 160, 0.7, 8, 800))


def _length(rng: Random, median: float, sigma: float, low: int, high: int) -> int:
    return min(max(int(exp(rng.gauss(log(median), sigma))), low), high)


def _cut(asked: Asked, longest: int) -> Asked:
    answer = min(asked.answer, longest // 2)
    return Asked(asked.at, min(asked.prompt, longest - answer), answer)
