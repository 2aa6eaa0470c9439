"""How fast an instance really is, learned from the tickets that it served; recent ones count more."""

from dataclasses import dataclass

# What an unmeasured fleet is taken for: the 2,000 tokens/s that smg's least_load assumes, and a step of 25 ms.
PRIOR_TOKEN_S = 1 / 2000
PRIOR_OVERHEAD_S = 0.02
PRIOR_STEP_S = 0.025


@dataclass(slots=True)
class Average:
    """An exponentially weighted mean. `value` is the prior until the first sample."""

    value: float
    gain: float = 0.1
    """Weight of a new sample, 0–1: higher follows faster, lower is calmer."""
    samples: int = 0

    def learn(self, sample: float) -> None:
        """Take in one sample; the first few count as a plain mean, so that a wrong prior is left at once."""
        self.samples += 1
        self.value += (sample - self.value) * max(self.gain, 1 / self.samples)


class PrefillSpeed:
    """Seconds of prefill as a line over the tokens to compute: `overhead_s + tokens · token_s`.

    Exponentially forgotten least squares, with the usual line of its kind mixed in as one sample, so that an
    instance that nobody has measured is taken for a usual one and a few odd samples cannot turn the line over.
    A single ratio tokens/s would take every prefix hit (few tokens, same overhead) for a slow instance.
    """

    __slots__ = ("_n", "_usual", "_x", "_xx", "_xy", "_y", "overhead_s", "samples", "token_s")

    KEEP = 0.95
    """Share of the old sums that each new sample leaves: 20 samples of memory."""
    SPREAD = 200.0
    """Tokens: how far apart the pseudo-samples of the usual line lie."""
    TRUST = 2.0
    """Samples that the usual line counts for."""

    def __init__(self, usual: "PrefillSpeed | None" = None) -> None:
        self._usual = usual
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        self.samples = 0
        self.overhead_s: float = usual.overhead_s if usual else PRIOR_OVERHEAD_S
        self.token_s: float = usual.token_s if usual else PRIOR_TOKEN_S

    def learn(self, tokens: float, seconds: float, *, slower: float = 1.0) -> None:
        """Take in one prefill of `tokens` that kept the instance busy for `seconds`.

        `slower` (0-1): what it counts for if it took longer than expected. Where other gateways' prompts come between ours
        unseen, most of ours seem slow and none fast, whatever their size: a plain mean would make a line without a slope of it,
        and prefix hits worthless.
        """
        if self._usual is not None:
            self._usual.learn(tokens, seconds, slower=slower)
        self.samples += 1
        weight = slower if seconds > self.overhead_s + tokens * self.token_s else 1.0
        keep = 1 - (1 - self.KEEP) * weight
        self._n = self._n * keep + weight
        self._x = self._x * keep + weight * tokens
        self._y = self._y * keep + weight * seconds
        self._xx = self._xx * keep + weight * tokens * tokens
        self._xy = self._xy * keep + weight * tokens * seconds
        self._solve()

    def fade(self, keep: float) -> None:
        """Let what was seen so far count for so much (0-1) of what it did."""
        self._n *= keep
        self._x *= keep
        self._y *= keep
        self._xx *= keep
        self._xy *= keep

    def _solve(self) -> None:
        """Ridge regression towards the usual slope: the pseudo-samples lie ±SPREAD around the mean."""
        slope0 = self._usual.token_s if self._usual else PRIOR_TOKEN_S
        mean_x, mean_y = self._x / self._n, self._y / self._n
        weight = self.TRUST * self.SPREAD**2
        covariance = self._xy - self._n * mean_x * mean_y + weight * slope0
        variance = self._xx - self._n * mean_x * mean_x + weight
        slope = max(covariance / variance, 1e-9)
        if slope * mean_x > mean_y:  # a line below zero at no tokens: the prior's slope is too steep for what was seen
            slope = max(mean_y / mean_x, 1e-9)
        self.token_s = slope
        self.overhead_s = max(mean_y - slope * mean_x, 0.0)


class Speed:
    """Prefill and decode speed of one instance, or (with `usual` None) the usual one of a kind of instances."""

    __slots__ = ("prefill", "step", "usual")

    def __init__(self, usual: "Speed | None" = None) -> None:
        self.usual = usual
        self.prefill: PrefillSpeed = PrefillSpeed(usual.prefill if usual else None)
        self.step: Average = Average(usual.step.value if usual else PRIOR_STEP_S, gain=0.3)
        """Seconds from one token of a sequence to its next."""

    def learn_step(self, seconds: float) -> None:
        """Take in the mean seconds per token of a sequence over the last while."""
        self.step.learn(seconds)
        if self.usual is not None:
            self.usual.step.learn(seconds)

    @property
    def prefill_s_per_token(self) -> float:
        """Seconds to compute one more prompt token."""
        return self.prefill.token_s if self.prefill.samples or not self.usual else self.usual.prefill.token_s

    @property
    def overhead_s(self) -> float:
        """Seconds to the first token of a prompt that is wholly cached, on an idle instance."""
        return self.prefill.overhead_s if self.prefill.samples or not self.usual else self.usual.prefill.overhead_s

    @property
    def step_s(self) -> float:
        """Seconds from one token to the next."""
        return self.step.value if self.step.samples or not self.usual else self.usual.step.value
