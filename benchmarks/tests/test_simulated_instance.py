"""The simulator's instance against the simulated engine's own batcher: the same requests, the same times."""

from random import Random

import pytest

from benchmarks.routing.engine import Engine, Run
from llm_engine.scheduler import BatchedRequest, BatchScheduler, Spec

BLOCK = 32
Asked = tuple[float, list[int], int]
Times = dict[int, tuple[float, float]]
"""By number: when the first token came, and the last."""


def requests(seed: int, count: int) -> list[Asked]:
    """When, which prompt (of three shared beginnings), how long an answer."""
    rng = Random(seed)
    shared = [[rng.randrange(1000) for _ in range(BLOCK * 8)] for _ in range(3)]
    at, made = 0.0, []
    for _ in range(count):
        at += rng.expovariate(20.0)
        prompt = [*rng.choice(shared), *(rng.randrange(1000) for _ in range(rng.randint(1, 400)))]
        made.append((at, prompt, rng.randint(1, 60)))
    return made


def by_batcher(spec: Spec, asked: list[Asked]) -> Times:
    """Iteration by iteration."""
    batcher, first, last = BatchScheduler(spec), {}, {}
    coming, due = list(enumerate(asked)), None
    while coming or due is not None:
        if coming and (due is None or coming[0][1][0] < due):
            number, (now, prompt, answer) = coming.pop(0)
            batcher.submit(number, BatchedRequest(prompt=prompt, max_tokens=answer))
            if due is None:
                due = batcher.begin(now)
            continue
        assert due is not None
        for emission in batcher.complete():
            first.setdefault(emission.key, due)
            last[emission.key] = due
        due = batcher.begin(due)
    return {number: (first[number], last[number]) for number in first}


def by_events(spec: Spec, asked: list[Asked]) -> Times:
    """From event to event."""
    engine, first, last = Engine(spec), {}, {}
    coming = list(enumerate(asked))
    while coming or engine.busy:
        if coming and coming[0][1][0] < engine.next_event():
            number, (now, prompt, answer) = coming.pop(0)
            keys = [hash(tuple(prompt[:end])) for end in range(BLOCK, len(prompt) + 1, BLOCK)]
            own = [hash((number, n)) for n in range((len(prompt) + answer) // BLOCK - len(keys))]
            engine.submit(now, Run(number, len(prompt), answer, answer, keys, [*keys, *own]))
            continue
        now = engine.next_event()
        started, ended = engine.fire(now)
        first |= {run.owner: now for run in started}
        last |= {run.owner: now for run in ended}
    return {number: (first[number], last[number]) for number in first}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "spec",
    [Spec(), Spec(slots=3), Spec(kv_blocks=60), Spec(max_num_tokens=500)],
    ids=["usual", "slots", "kv", "tokens"],
)
def test_every_token_comes_when_the_batcher_would_give_it(spec: Spec, seed: int) -> None:
    asked = requests(seed, 120)
    expected, found = by_batcher(spec, asked), by_events(spec, asked)
    assert len(found) == len(asked)
    assert {n: pytest.approx(times, abs=1e-6) for n, times in expected.items()} == found
