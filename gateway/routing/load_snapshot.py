"""What a policy reads of an instance's load, worked out once for a moment and kept until something changes there.

A load fades with time and its speed is a fit; a choice looks at twenty instances, of which hardly one has changed
since the last choice.
"""

from dataclasses import dataclass

FRESH_S = 0.05
"""Seconds that a snapshot is good for when nothing happens; what fades in it does so over seconds."""


@dataclass(slots=True)
class LoadSnapshot:
    """One instance at one moment."""

    at: float
    """Monotonic seconds."""
    overhead_s: float
    """To the first token of a wholly cached prompt."""
    token_s: float
    """For each prompt token to compute."""
    step_s: float
    """From one token to the next."""
    remaining_tokens: float
    """That each answer inside is expected to have still."""
    requests: float
    """Requests in the instance, whoever sent them."""
    ahead: float
    """Prompt tokens that are to be computed before the next comer's."""
    overflow_tokens: float
    """To be decoded before a request more has a slot: those beyond the slots, times what they have still to go."""
    crowd: float
    """Requests for each slot, 1 at most."""
    kv_free: float
    """Tokens that the KV cache has room for; meaningless where the metrics do not tell."""
