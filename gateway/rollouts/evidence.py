"""What was seen of a candidate and of the versions beside it: counts, so that gateways add theirs up."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

MARGIN = 0.1
"""A candidate counts as slower where it takes so much longer, as a share."""


@dataclass(frozen=True, slots=True)
class MirroredAnswer:
    """What one instance made of a mirrored request."""

    ids: Sequence[int]
    ttft_s: float
    """From the request to its first token."""
    token_s: float | None
    """From one token to the next, on average; None for an answer of one token."""


@dataclass(slots=True)
class Evidence:
    """Counts of requests (each attempt at an instance is one) and of mirrored requests, each of which was asked three times:
    of the candidate once, and twice of the others, so that what two equal versions differ by is known, too."""

    candidate_requests: int = 0
    candidate_errors: int = 0
    baseline_requests: int = 0
    baseline_errors: int = 0
    mirrored: int = 0
    """Mirrored requests that all three have answered."""
    differs: int = 0
    """Of those: the candidate's token ids are others, and the two baselines' are the same."""
    control_differs: int = 0
    """The candidate answers as the first baseline does, and the second one does not."""
    slow_first_token: int = 0
    """The candidate's first token came last of the three, by more than MARGIN."""
    timed: int = 0
    """Mirrored requests with more than one token from each."""
    slow_tokens: int = 0
    """Of those: the candidate's tokens were the slowest, by more than MARGIN."""
    first_token_logs: float = 0.0
    """Sum of log(candidate's time to first token / the mean of both baselines'); to be shown."""
    token_logs: float = 0.0

    def request(self, *, candidate: bool, failed: bool) -> None:
        """An instance answered, or failed."""
        if candidate:
            self.candidate_requests += 1
            self.candidate_errors += failed
        else:
            self.baseline_requests += 1
            self.baseline_errors += failed

    def mirror(self, candidate: MirroredAnswer, first: MirroredAnswer, second: MirroredAnswer) -> None:
        """All three have answered a mirrored request; `first` and `second` are the baselines'."""
        self.mirrored += 1
        same, control_same = list(candidate.ids) == list(first.ids), list(second.ids) == list(first.ids)
        self.differs += not same and control_same
        self.control_differs += same and not control_same
        self.slow_first_token += candidate.ttft_s > (1 + MARGIN) * max(first.ttft_s, second.ttft_s)
        self.first_token_logs += _log_ratio(candidate.ttft_s, first.ttft_s, second.ttft_s)
        if candidate.token_s is not None and first.token_s is not None and second.token_s is not None:
            self.timed += 1
            self.slow_tokens += candidate.token_s > (1 + MARGIN) * max(first.token_s, second.token_s)
            self.token_logs += _log_ratio(candidate.token_s, first.token_s, second.token_s)

    def subtract(self, part: "Evidence") -> None:
        """Take a part out again."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) - getattr(part, each.name))

    @classmethod
    def total(cls, parts: Iterable["Evidence"]) -> Self:
        """All of them together."""
        found, names = cls(), [field.name for field in fields(cls)]
        for part in parts:
            for name in names:
                setattr(found, name, getattr(found, name) + getattr(part, name))
        return found

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Out of the catalog; what a later version may have added is left out."""
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})


def _log_ratio(candidate: float, first: float, second: float) -> float:
    least = 1e-6
    return math.log(max(candidate, least) / max((first + second) / 2, least))
