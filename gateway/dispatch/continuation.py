"""How an answer goes on at another instance: the tokens that it has already become prompt.

What continues exactly: greedy answers (the next token depends on the ids before it only), stop strings and partial UTF-8
(they live behind this class, over the ids), min_tokens and the token limit (both lowered by the journal), and penalties
(every engine counts the prompt's tokens, too, and the journal has become prompt). What an engine cannot keep: the state of
its random generator, so a sampled answer goes on with a seed derived from the old one and the length of the journal: the same
for the same seam, but not the uninterrupted run. docs/migration.md has it by flavour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.routing.types import PlacementRequest


def rest_of(job: PlacementRequest, journal: Sequence[int]) -> PlacementRequest:
    """The rest of an answer as a job of its own, behind these ids."""
    return replace(job, prompt_ids=[*job.prompt_ids, *journal], max_tokens=job.max_tokens - len(journal))


def continued(sampling: Mapping[str, Any], done: int) -> dict[str, Any]:
    """TensorRT-LLM's inputs for the rest of an answer, behind so many tokens."""
    inputs = {**sampling, "min_tokens": max(0, sampling.get("min_tokens", 0) - done)}
    if "seed" in inputs:
        inputs["seed"] = (inputs["seed"] + done) % 2**64
    if "guided_decoding_guide_type" in inputs:
        inputs["guided_decoding_prefix_length"] = done
    return inputs
