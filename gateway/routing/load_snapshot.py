"""What a policy reads of an account, worked out once for a moment and kept until something changes there.

An account's load fades with time and its speed is a fit; a choice looks at twenty accounts, of which hardly one has changed
since the last choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.routing.instance_load import InstanceLoad

FRESH_S = 0.05
"""Seconds that an outlook is good for when nothing happens; what fades in it does so over seconds."""


class LoadSnapshot:
    """One instance at one moment."""

    __slots__ = ("ahead", "at", "kv_free", "overhead_s", "requests", "step_s", "token_s")

    def __init__(self, account: InstanceLoad, now: float) -> None:
        self.at = now
        self.overhead_s, self.token_s = account.prefill(now)
        self.step_s = account.speed.step_s
        self.requests = account.ours + account.others(now)
        """Requests in the instance, whoever sent them."""
        self.ahead = account.queued_tokens + account.others_waiting(now) * account.norms.prompt_tokens.value
        """Prompt tokens that are to be computed before the next comer's."""
        self.kv_free = account.kv_capacity_tokens * (1.0 - account.kv_fraction(now))
        """Tokens that the KV cache has room for; meaningless where the metrics do not tell."""
