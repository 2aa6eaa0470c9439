"""A hash of a token sequence that grows by one token in constant time: what the simulated model knows and what it says.

The same 64-bit state names a KV block (the state at its end stands for the whole prefix) and chooses the next token, so
that a sequence goes on identically on any instance that is given all its tokens so far.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

MASK = (1 << 64) - 1
START = 0x5DEECE66D


def extend(state: int, token: int) -> int:
    """The state after one more token: a step of SplitMix64 (https://prng.di.unimi.it/splitmix64.c) over both."""
    z = (state ^ (token + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def follow(state: int, tokens: Iterable[int]) -> int:
    """The state after several tokens."""
    for token in tokens:
        state = extend(state, token)
    return state


def choose(state: int, first: int, size: int, banned: frozenset[int] = frozenset()) -> int:
    """The token that follows: one of `first` … `size` − 1 that is not banned. `banned` must leave some."""
    token = first + state % (size - first)
    while token in banned:
        state = extend(state, token)
        token = first + state % (size - first)
    return token


def choose_among(state: int, allowed: npt.NDArray[np.intp], closing: npt.NDArray[np.bool_]) -> int:
    """One of the ids in `allowed`; one time in four one that is `closing`, where some of them are."""
    if state >> 62 == 0 and (some := allowed[closing[allowed]]).size:
        allowed = some
    return int(allowed[state % allowed.size])
