"""What is usual in this fleet: answer lengths, prompt sizes, speeds, our share of the traffic.

One object shared by all accounts; it stands in wherever one instance has not been seen enough.
"""

from gateway.fleet.view import Instance
from gateway.routing.speed import Average, Speed


class FleetAverages:
    """Running means over the whole fleet. Everything is O(1) per event."""

    def __init__(self) -> None:
        self._answers: dict[int, Average] = {}
        self._speeds: dict[tuple[str, str, str], Speed] = {}
        self.answer_tokens = Average(128.0, gain=0.02)
        self.prompt_tokens = Average(256.0, gain=0.02)
        """Prompt tokens to compute (not cached) of a dispatch."""
        self.stay_s = Average(2.0, gain=0.02)
        """Seconds that a dispatch stays in an instance."""
        self.sampled_total = 0
        """Requests in the fleet by the last samples, whoever sent them."""
        self.sampled_ours = 0
        """Ours among them."""
        self.sampled_instances = 0
        """Instances that have a sample."""
        self.others_share = Average(0.0, gain=0.02)
        """Share of the fleet's requests that other gateways sent, 0-1, over the last samples; 0: we are alone."""

    @property
    def stay(self) -> float:
        """Seconds that a dispatch usually stays, never zero: what samples fade with."""
        return max(self.stay_s.value, 0.001)

    def speed(self, instance: Instance) -> Speed:
        """The usual speed of instances of this kind (engine, flavour, device)."""
        kind = (instance.engine, instance.flavour, instance.device)
        speed = self._speeds.get(kind)
        if speed is None:
            speed = self._speeds[kind] = Speed()
        return speed

    def expected_answer(self, max_tokens: int) -> float:
        """Tokens that an answer allowed `max_tokens` usually has, learned per octave of `max_tokens`."""
        known = self._answers.get(max_tokens.bit_length())
        usual = known.value if known is not None else self.answer_tokens.value
        return min(usual, max_tokens)

    def learn_answer(self, max_tokens: int, tokens: int) -> None:
        """One answer ended by itself after `tokens`."""
        octave = max_tokens.bit_length()
        known = self._answers.get(octave)
        if known is None:
            known = self._answers[octave] = Average(self.answer_tokens.value, gain=0.05)
        known.learn(tokens)
        self.answer_tokens.learn(tokens)

    @property
    def echo(self) -> float:
        """Dispatches of the other gateways for each of ours: 0 when we are alone.

        From the samples: what they show beyond what we had sent is the others'. At most 63 (64 gateways).
        """
        ours = self.sampled_ours
        return min((self.sampled_total - ours) / ours, 63.0) if ours > 0 else 0.0

    @property
    def undisturbed(self) -> float:
        """What a prefill that took long counts for: 1 when we are alone, the less the more it was others' prompts probably."""
        return max((1.0 - self.others_share.value) ** 3, 0.002)

    def count_sample(self, total: int, ours: int) -> None:
        """One instance's sample replaces its last one: so many requests more in all, and of ours among them."""
        self.sampled_total += total
        self.sampled_ours += ours
        if self.sampled_total > 0:
            self.others_share.learn(1.0 - self.sampled_ours / self.sampled_total)

    @property
    def others_mean(self) -> float:
        """Requests of other gateways that an instance usually holds."""
        if not self.sampled_instances:
            return 0.0
        return max(self.sampled_total - self.sampled_ours, 0) / self.sampled_instances
