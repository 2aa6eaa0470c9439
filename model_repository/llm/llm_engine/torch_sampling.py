"""The next token from a row of logits, with TensorRT-LLM's samplers in its order: penalties, temperature, top_k, top_p.

Token n of an answer is drawn with a number that only `seed + n` decides. So an answer that goes on elsewhere, with its journal as
prompt and `seed + len(journal)` (gateway), goes on as it would have here.
"""

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from llm_engine.engine import TokenLogProbs
from llm_engine.request import Sampling

SEEDS = 2**64


class Drawn(NamedTuple):
    """A token, and what the model itself thought of it."""

    token: int
    log_probs: TokenLogProbs


def draw(
    logits: torch.Tensor,
    sampling: Sampling,
    *,
    tokens: Sequence[int],
    produced: int,
    banned: Collection[int],
    top: int = 0,
    allowed: npt.NDArray[np.intp] | None = None,
) -> Drawn:
    """`logits` is FP32 [vocabulary] and stays as it is; `tokens` are prompt and answer so far, `produced` the answer's part;
    top: how many of the likeliest tokens are told of. Of `allowed`, where it is given, some id must not be `banned`."""
    row = penalized(logits, sampling, tokens)
    if allowed is not None:
        ids = torch.from_numpy(allowed).to(row.device)
        row = torch.full_like(row, -torch.inf).index_copy(0, ids, row[ids])
    if banned:
        row[list(banned)] = -torch.inf
    token = int(row.argmax()) if sampling.greedy else _sampled(row, sampling, _uniform(sampling.seed, produced))
    log_probs = logits.log_softmax(0)
    values, ids = log_probs.topk(top)
    likeliest = list(zip(ids.tolist(), values.tolist(), strict=True))
    return Drawn(token, TokenLogProbs(float(log_probs[token]), likeliest))


def penalized(logits: torch.Tensor, sampling: Sampling, tokens: Sequence[int]) -> torch.Tensor:
    """A copy with the bias, and with the penalties of every token in `tokens`."""
    row = logits.clone()
    if sampling.bias:
        row[list(sampling.bias)] += torch.tensor(list(sampling.bias.values()), dtype=row.dtype, device=row.device)
    if sampling.repetition_penalty == 1 and not sampling.presence_penalty and not sampling.frequency_penalty:
        return row
    ids, counts = torch.tensor(tokens, device=row.device).unique(return_counts=True)
    seen = row[ids]
    seen = torch.where(seen < 0, seen * sampling.repetition_penalty, seen / sampling.repetition_penalty)
    row[ids] = seen - sampling.presence_penalty - sampling.frequency_penalty * counts
    return row


def _sampled(row: torch.Tensor, sampling: Sampling, uniform: float) -> int:
    values, ids = (row / sampling.temperature).sort(descending=True)
    if sampling.top_k:
        values, ids = values[: sampling.top_k], ids[: sampling.top_k]
    probs = values.double().softmax(0)
    if sampling.top_p:
        before = probs.cumsum(0) - probs
        probs = probs[before < sampling.top_p]  # the likeliest always stays: nothing is before it
    sums = probs.cumsum(0)
    place = int(torch.searchsorted(sums, uniform * sums[-1], right=True))
    return int(ids[min(place, len(probs) - 1)])


def _uniform(seed: int | None, produced: int) -> float:
    """At least 0, less than 1."""
    source = random if seed is None else random.Random((seed + produced) % SEEDS)  # noqa: S311 - a draw, no secret
    return source.random()
