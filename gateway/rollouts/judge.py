"""The judge of a roll-out: evidence in, a verdict with its reasons out. Pure; it may be asked after every request.

Four things are looked at: errors, token ids, the time to the first token and the time between tokens. For each there are two
sequential tests (sequential_test.py): that the candidate is *worse*, against "it is not", and that it is *good*, against "it is
worse by a stated step". One that is worse rolls it back; all four good promote it.

Error rates: a candidate as good as the others is ever rolled back for being worse with a chance of `false_roll_back` at the most
(split among the four); one that is worse by the step in one of the four is found good in it with a chance of `false_promotion` at
the most. Token ids and times are compared within one mirrored request, so for these it holds whatever the traffic does meanwhile.
Errors are compared by the share of the requests: there a request's chance of an error must not depend on which side it was given.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from gateway.rollouts.evidence import MARGIN, Evidence
from gateway.rollouts.sequential_test import evidence_above, evidence_below

_PARTS = {"errors": 0.4, "token ids": 0.2, "time to first token": 0.2, "time between tokens": 0.2}
"""Of the chance of a false roll-back; errors are the rarest to be seen."""
_SLOWEST_BY_CHANCE = 1 / 3
"""Of three instances that are equal, each is the slowest as often as the others."""


class Verdict(StrEnum):
    """What is to be done."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """What is held for good enough, and how sure it must be."""

    false_roll_back: float = 0.01
    """Chance to roll a good candidate back for being worse, at the most."""
    false_promotion: float = 0.05
    """Chance to hold a candidate for good in something that it is worse in by the step, at the most."""
    least_requests: int = 200
    """No promotion before the candidate has had so many requests, mirrored ones among them."""
    most_mirrored: int = 400
    """After so many mirrored requests it must be shown to be good, or is rolled back."""
    error_step: float = 0.03
    """Errors that are too many, beyond the others', as a share of requests."""
    answer_step: float = 0.1
    """Answers that differ too often, beyond what equal versions and `may_differ` allow, as a share."""
    slow_step: float = 0.5
    """The candidate is too slow where it is the slowest of the three in so many of the mirrored requests, as a share."""
    may_differ: float = 0.0
    """Share of greedy answers that may have other token ids: 0 for the same engine; more for another quantization."""


@dataclass(frozen=True, slots=True)
class JudgedMeasure:
    """One of the four things."""

    name: str
    seen: str
    """In words, for operators."""
    worse: float
    """Evidence that it is worse, as a share of what rolls it back; 1 and more: it is."""
    good: float
    """Evidence that it is not worse by the step, as a share of what promotes it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and what it rests on."""

    verdict: Verdict
    reason: str
    measures: tuple[JudgedMeasure, ...]


def judge(evidence: Evidence, options: JudgeOptions) -> Judgement:
    """What the evidence so far says."""
    good_at = math.log(1 / options.false_promotion)
    measures = tuple(
        JudgedMeasure(name, seen, worse / -math.log(_PARTS[name] * options.false_roll_back), good / good_at)
        for name, seen, worse, good in (
            _errors(evidence, options),
            _answers(evidence, options),
            _times(
                "time to first token", evidence.slow_first_token, evidence.mirrored, evidence.first_token_logs, options
            ),
            _times("time between tokens", evidence.slow_tokens, evidence.timed, evidence.token_logs, options),
        )
    )
    for measure in measures:
        if measure.worse >= 1:
            return Judgement(Verdict.ROLL_BACK, f"{measure.name}: {measure.seen}", measures)
    unproved = [measure for measure in measures if measure.good < 1]
    requests = evidence.candidate_requests
    if not unproved and requests >= options.least_requests:
        return Judgement(Verdict.PROMOTE, f"good in all four after {requests} requests", measures)
    if unproved and evidence.mirrored >= options.most_mirrored:
        names = ", ".join(measure.name for measure in unproved)
        reason = f"not shown to be good after {evidence.mirrored} mirrored requests: {names}"
        return Judgement(Verdict.ROLL_BACK, reason, measures)
    missing = ", ".join(measure.name for measure in unproved) or f"{options.least_requests - requests} more requests"
    return Judgement(Verdict.CONTINUE, f"still to be shown: {missing}", measures)


def _errors(evidence: Evidence, options: JudgeOptions) -> tuple[str, str, float, float]:
    ours, theirs = evidence.candidate_requests, evidence.baseline_requests
    failed, failed_there = evidence.candidate_errors, evidence.baseline_errors
    # Of all errors, the candidate should have its share of the requests. One request of each side is added, so that the first
    # error of all does not weigh too much.
    share = (ours + 1) / (ours + theirs + 2)
    worse = evidence_above(failed, failed + failed_there, share)
    too_many = min(0.99, failed_there / max(1, theirs) + options.error_step)
    good = evidence_below(failed, ours, too_many)
    return "errors", f"{failed} of {ours} requests failed, of the others' {failed_there} of {theirs}", worse, good


def _answers(evidence: Evidence, options: JudgeOptions) -> tuple[str, str, float, float]:
    differs, control, mirrored = evidence.differs, evidence.control_differs, evidence.mirrored
    # Where one of two differs, it is the candidate in half of the cases, were all three the same.
    worse = evidence_above(differs, differs + control, 0.5)
    if options.may_differ > 0:
        worse = min(worse, evidence_above(differs, mirrored, options.may_differ))
    allowed = max(control / max(1, mirrored), options.may_differ)
    good = evidence_below(differs, mirrored, min(0.99, allowed + options.answer_step))
    seen = f"{differs} of {mirrored} mirrored answers have other token ids, {control} by chance"
    return "token ids", seen, worse, good


def _times(name: str, slowest: int, trials: int, logs: float, options: JudgeOptions) -> tuple[str, str, float, float]:
    worse = evidence_above(slowest, trials, _SLOWEST_BY_CHANCE)
    good = evidence_below(slowest, trials, options.slow_step)
    change = math.expm1(logs / trials) if trials else 0.0
    seen = f"{change:+.0%}, the slowest of three by more than {MARGIN:.0%} in {slowest} of {trials} mirrored answers"
    return name, seen, worse, good
