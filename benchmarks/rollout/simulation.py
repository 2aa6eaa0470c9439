"""A made-up fleet under a roll-out: errors, times and token ids are drawn by chance; split and judge are the gateway's."""

import random
from dataclasses import dataclass

from gateway.rollouts.evidence import Evidence, MirroredAnswer
from gateway.rollouts.judge import Judgement, JudgeOptions, Verdict, judge
from gateway.rollouts.traffic_split import TrafficSplit

ERRORS = 0.001
"""Of every version, as a share of requests."""
NOISE = 0.3
"""Of the time to first token: standard deviation of its logarithm."""
TOKEN_NOISE = 0.1
DIVERGES = 0.02
"""Greedy answers that two equal engines give differently: batches of other sizes are summed up in another order."""
MOST = 200_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a candidate; nothing, as it stands."""

    errors: float = 0.0
    """Beyond everybody's, as a share."""
    first_token: float = 1.0
    token: float = 1.0
    """Times as long, both."""
    differs: float = 0.0
    """Answers with other token ids, as a share."""


FAULTS = {
    "5 % errors": Fault(errors=0.05),
    "+50 % time to first token": Fault(first_token=1.5),
    "wrong tokenizer": Fault(differs=1.0),
    "one perturbed layer": Fault(differs=0.4),
    "+50 % time between tokens": Fault(token=1.5),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run ended."""

    judgement: Judgement
    requests: int
    """That the candidate had by then, mirrored ones among them."""
    all_requests: int
    """Of clients, on all instances."""
    share: float
    """Of those, the candidate's."""


def run(fault: Fault, seed: int, *, share: float = 0.05, options: JudgeOptions | None = None) -> Outcome:
    """One roll-out, judged after every request."""
    rng, split, evidence = random.Random(seed), TrafficSplit(share), Evidence()
    options = options or JudgeOptions()
    at_candidate = 0
    judgement = judge(evidence, options)
    number = 0
    while number < MOST:
        number += 1
        candidate = split.take(rng.getrandbits(64), begins=True)
        at_candidate += candidate
        evidence.request(candidate=candidate, failed=rng.random() < ERRORS + fault.errors * candidate)
        if candidate:
            _mirror(evidence, fault, rng)  # one for each of the candidate's, as the gateways do at the most
            judgement = judge(evidence, options)
            if judgement.verdict is not Verdict.CONTINUE:
                break
    return Outcome(judgement, evidence.candidate_requests, number, at_candidate / number)


def _mirror(evidence: Evidence, fault: Fault, rng: random.Random) -> None:
    """One request asked three times; whoever fails is counted, and then there is nothing to compare."""
    failed = rng.random() < ERRORS + fault.errors
    evidence.request(candidate=True, failed=failed)
    for _ in range(2):
        failed_here = rng.random() < ERRORS
        evidence.request(candidate=False, failed=failed_here)
        failed |= failed_here
    if failed:
        return
    first_token = 0.2 * rng.lognormvariate(0, 1)  # a prompt is short or long for all three alike
    evidence.mirror(
        _answer(rng, first_token * fault.first_token, 0.02 * fault.token, DIVERGES + fault.differs),
        _answer(rng, first_token, 0.02, DIVERGES),
        _answer(rng, first_token, 0.02, DIVERGES),
    )


def _answer(rng: random.Random, first_token: float, token: float, differs: float) -> MirroredAnswer:
    ids = [1, 2, rng.getrandbits(32)] if rng.random() < differs else [1, 2, 3]
    return MirroredAnswer(ids, first_token * rng.lognormvariate(0, NOISE), token * rng.lognormvariate(0, TOKEN_NOISE))
