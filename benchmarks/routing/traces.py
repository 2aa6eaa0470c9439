"""The traffic: who asks what when, drawn from a seed and the same for every policy.

Arrivals are open-loop: a conversation's next turn comes at its time whether or not the last answer was quick, so
that every policy meets the very same requests. Prompts carry the keys of their token blocks instead of tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import exp, log, pi, sin
from random import Random
from types import MappingProxyType
from typing import overload

BLOCK = 32
"""Tokens in a KV block."""
MAX_TOKENS = 1024
"""What clients ask for; most answers are far shorter."""


class Prompt(Sequence[int]):
    """A prompt of so many tokens, known by its blocks' keys; its tokens are never needed."""

    __slots__ = ("keys", "tokens")

    def __init__(self, tokens: int, keys: Sequence[int]) -> None:
        self.tokens = tokens
        self.keys = keys

    def __len__(self) -> int:
        return self.tokens

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        raise TypeError("a simulated prompt has no tokens, only the keys of its blocks")


@dataclass(slots=True, eq=False)
class Request:
    """One request of a trace."""

    number: int
    at: float
    """Seconds from the trace's start."""
    prompt: Prompt
    answer: int
    """Tokens that it will get; no policy but the oracle may look."""
    max_tokens: int
    whole: Sequence[int]
    """Block keys of prompt and answer together."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of traffic. `rate`: requests a second for each instance."""

    name: str
    about: str
    rate: float
    make: Callable[[Random, float, float], Iterator[Request]]
    slow: float = 1.0
    """How many times slower instance 0 is."""
    failures: bool = False
    """Whether instances fail, one after the other."""


def trace(workload: Workload, *, instances: int, seconds: float, seed: int) -> list[Request]:
    """The requests of so many seconds for a fleet of that size, ordered by time."""
    rng = Random(f"{workload.name}/{seed}")
    made = sorted(workload.make(rng, workload.rate * instances, seconds), key=lambda r: r.at)
    for number, request in enumerate(made):
        request.number = number
    return made


def _arrivals(rng: Random, rate: float, seconds: float) -> Iterator[float]:
    """A Poisson process."""
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)


def _keys(rng: Random, blocks: int) -> list[int]:
    return [rng.getrandbits(60) for _ in range(blocks)]


def _single(rng: Random, at: float, prompt: int, answer: int, shared: Sequence[int] = ()) -> Request:
    """A request on its own; its first blocks are `shared`."""
    whole = [*shared, *_keys(rng, (prompt + answer) // BLOCK - len(shared))]
    return Request(0, at, Prompt(prompt, whole[: prompt // BLOCK]), answer, MAX_TOKENS, whole)


def _lognormal(rng: Random, median: float, sigma: float, low: int, high: int) -> int:
    return min(max(int(exp(rng.gauss(log(median), sigma))), low), high)


def _zipf(count: int, exponent: float) -> list[float]:
    """Cumulative weights 1/rank^exponent."""
    total, sums = 0.0, []
    for rank in range(1, count + 1):
        total += rank**-exponent
        sums.append(total)
    return sums


def uniform(rng: Random, rate: float, seconds: float) -> Iterator[Request]:
    """Prompts of 256–768 tokens, answers of 64–192; nothing shared."""
    for at in _arrivals(rng, rate, seconds):
        yield _single(rng, at, rng.randint(256, 768), rng.randint(64, 192))


def heavy(rng: Random, rate: float, seconds: float) -> Iterator[Request]:
    """Log-normal lengths: a few prompts of 8,000 tokens and answers of 1,000 among many short ones."""
    for at in _arrivals(rng, rate, seconds):
        yield _single(rng, at, _lognormal(rng, 400, 1.2, 16, 8000), _lognormal(rng, 90, 1.0, 4, 1000))


def sessions(rng: Random, rate: float, seconds: float) -> Iterator[Request]:
    """Conversations of about five turns over 20 system prompts (Zipf 1.1) of 500–1,500 tokens."""
    systems = [_keys(rng, rng.randint(16, 48)) for _ in range(20)]
    weights = _zipf(len(systems), 1.1)
    # Conversations that began before the trace did are in it with their later turns: the rate is level throughout.
    before = 100.0
    for begin in _arrivals(rng, rate / 5, seconds + before):
        at = begin - before
        stream = list(rng.choices(systems, cum_weights=weights)[0])
        tokens = len(stream) * BLOCK
        while True:
            tokens += rng.randint(20, 200)
            answer = _lognormal(rng, 100, 0.7, 8, 600)
            prompt = tokens
            tokens += answer
            stream += _keys(rng, tokens // BLOCK - len(stream))
            if 0 <= at < seconds:
                whole = tuple(stream)
                yield Request(0, at, Prompt(prompt, whole[: prompt // BLOCK]), answer, MAX_TOKENS, whole)
            if rng.random() < 0.2 or tokens > 8000:
                break
            at += 3.0 + rng.expovariate(1 / 10.0)
            if at >= seconds:
                break


def rag(rng: Random, rate: float, seconds: float) -> Iterator[Request]:
    """A 256-token instruction, four passages of a topic (400 topics, Zipf 0.9; the last one or two vary), a question."""
    instruction = _keys(rng, 8)
    salt = rng.getrandbits(60)
    weights = _zipf(400, 0.9)
    sizes = [rng.randint(6, 14) for _ in range(4000)]
    for at in _arrivals(rng, rate, seconds):
        topic = rng.choices(range(400), cum_weights=weights)[0]
        passages = [topic * 10 + place for place in range(4)]
        if rng.random() < 0.4:
            passages[rng.choice((2, 3))] = topic * 10 + rng.randint(4, 9)
        keys, key = list(instruction), salt
        for passage in passages:
            for number in range(sizes[passage]):
                key = hash((key, passage, number))
                keys.append(key)
        prompt = len(keys) * BLOCK + rng.randint(16, 120)
        yield _single(rng, at, prompt, _lognormal(rng, 120, 0.6, 16, 500), keys)


def bursty(rng: Random, rate: float, seconds: float) -> Iterator[Request]:
    """A day in minutes: a slow swell of ±40%, and bursts of 1.7 times the rate for a twentieth of the time."""
    bursts = [(rng.random() * seconds, seconds / 160) for _ in range(8)]
    peak = rate * 1.4 * 1.7
    for at in _arrivals(rng, peak, seconds):
        now = rate * (1 + 0.4 * sin(2 * pi * at / seconds))
        if any(start <= at < start + length for start, length in bursts):
            now *= 1.7
        if rng.random() < now / peak:
            yield _single(rng, at, _lognormal(rng, 400, 0.8, 16, 4000), _lognormal(rng, 110, 0.7, 4, 800))


_ALL = (
    Workload("uniform", "even lengths, nothing shared", 4.8, uniform),
    Workload("heavy", "log-normal lengths", 3.4, heavy),
    Workload("sessions", "multi-turn, Zipf system prompts", 5.4, sessions),
    Workload("rag", "shared passages", 4.6, rag),
    Workload("bursty", "a swell and bursts", 3.2, bursty),
    Workload("slow", "even lengths, one instance 3 times slower", 4.6, uniform, slow=3.0),
    Workload("failures", "multi-turn, instances fail in turn", 4.6, sessions, failures=True),
)
WORKLOADS = MappingProxyType({workload.name: workload for workload in _ALL})
