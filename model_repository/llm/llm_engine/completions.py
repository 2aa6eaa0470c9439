"""llama.cpp's completion protocol: the JSON that a phase of a request is asked with, and what comes back."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_engine.engine import TokenLogProbs
from llm_engine.request import Request

RANDOM_SEED = 0xFFFFFFFF
"""llama.cpp takes it for "another one each time"."""
REDRAWN = 1 << 47
"""Added to the seed of a draw among some tokens: it may follow one among all at the same place."""
TEXT = b'"text":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPhase:
    """One call of llama.cpp: so many tokens after these, without those."""

    tokens: Sequence[int]
    max_tokens: int
    banned: Collection[int]
    slot: int = -1
    """−1: llama.cpp's own choice."""
    reuse: bool = True
    """Whether what the slot holds may be gone on from."""
    among: str = ""
    """Nothing but these tokens (`ranges`), the first of which must be the last; "": any."""


class CompletionChunk(NamedTuple):
    """One event of the stream."""

    token: int | None = None
    log_probs: TokenLogProbs | None = None
    cached: int | None = None
    """Prompt tokens that came from the cache; told while the prompt is read."""
    error: str = ""


def body(phase: CallPhase, request: Request, *, drawn: int, max_context: int, lora: int | None = None) -> bytes:
    """The request for one phase. `drawn` tokens were drawn before it: each phase has its own part of the seed's randomness.

    The samplers are those of TensorRT-LLM, in its order: penalties, temperature, top_k, top_p. llama.cpp's defaults would
    add others (min_p 0.05). lora: the place of the adapter among those loaded.
    """
    sampling = request.sampling
    wanted: dict[str, Any] = {
        "prompt": list(phase.tokens),
        "max_tokens": phase.max_tokens,
        "stream": True,
        "id_slot": phase.slot,
        "cache_prompt": phase.reuse,
        # An event before and after each batch of the prompt: the cached part is known, and a cancel is noticed there.
        "return_progress": True,
        "samplers": ["penalties", "top_k"] if sampling.greedy else ["penalties", "temperature", "top_k", "top_p"],
        "temperature": 0.0 if sampling.greedy else sampling.temperature,
        "top_k": 1 if sampling.greedy else sampling.top_k,
        "top_p": sampling.top_p or 1.0,
        "seed": RANDOM_SEED
        if sampling.seed is None
        else _seed(sampling.seed + drawn + (REDRAWN if phase.among else 0)),
    }
    if phase.among:
        # llama.cpp's own llguidance: over the vocabulary of ids a token can only be named by its number.
        wanted["grammar"] = f"%llguidance {{}}\nstart: <[{phase.among}]>\n"
    if sampling.bias or phase.banned:
        wanted["logit_bias"] = [*sampling.bias.items(), *([token, False] for token in sorted(phase.banned))]
    penalties = {
        "repeat_penalty": (sampling.repetition_penalty, 1.0),
        "presence_penalty": (sampling.presence_penalty, 0.0),
        "frequency_penalty": (sampling.frequency_penalty, 0.0),
    }
    changed = {name: value for name, (value, neutral) in penalties.items() if value != neutral}
    if changed:
        wanted |= changed | {"repeat_last_n": max_context}
    if lora is not None:
        wanted["lora"] = [{"id": lora, "scale": 1.0}]
    if request.log_probs:
        wanted["n_probs"] = max(1, request.top_log_probs)
    return json.dumps(wanted, separators=(",", ":")).encode()


def ranges(tokens: npt.NDArray[np.intp]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rising ids as ranges: the first and the last of each."""
    gaps = np.flatnonzero(np.diff(tokens) != 1)
    return tokens[np.concatenate(([0], gaps + 1))], tokens[np.concatenate((gaps, [tokens.size - 1]))]


def parse(raw: bytes) -> CompletionChunk:
    """One event. In the vocabulary of ids (`gguf_file`) the text of a token is its id and a semicolon."""
    begin = raw.find(TEXT)
    if begin >= 0:
        begin += len(TEXT)
        end = raw.find(b'"', begin)
        if end > begin and b'"logprobs":null' in raw:
            return CompletionChunk(token=int(raw[begin : end - 1]))
    event = json.loads(raw)
    if "error" in event:
        return CompletionChunk(error=str(event["error"].get("message", event["error"])))
    if "prompt_progress" in event:
        return CompletionChunk(cached=int(event["prompt_progress"]["cache"]))
    choice = event["choices"][0]
    if not choice["text"]:
        return CompletionChunk()
    told = choice["logprobs"]["content"][0]
    top = [(int(each["id"]), float(each["logprob"])) for each in told["top_logprobs"]]
    return CompletionChunk(token=int(choice["text"][:-1]), log_probs=TokenLogProbs(float(told["logprob"]), top))


def _seed(seed: int) -> int:
    """A 64-bit seed folded into llama.cpp's 32 bits, past its word for random."""
    return ((seed ^ (seed >> 32)) & 0xFFFFFFFF) % RANDOM_SEED
