"""The judge finds planted faults soon and leaves good candidates alone: a short form of `make bench-rollout`."""

import pytest

from benchmarks.rollout.simulation import FAULTS, Fault, run
from gateway.rollouts.evidence import Evidence, MirroredAnswer
from gateway.rollouts.judge import JudgeOptions, Verdict, judge

SEEDS = range(5)
QUICK = MirroredAnswer([1, 2, 3], 0.1, 0.01)
SLOW = MirroredAnswer([1, 2, 3], 0.2, 0.01)
OTHER = MirroredAnswer([1, 2, 4], 0.1, 0.01)


@pytest.mark.parametrize("name", list(FAULTS))
def test_a_planted_fault_is_rolled_back(name: str) -> None:
    for seed in SEEDS:
        end = run(FAULTS[name], seed)
        assert end.judgement.verdict is Verdict.ROLL_BACK, seed
        assert end.requests <= 200, seed


def test_a_good_candidate_is_promoted() -> None:
    for seed in SEEDS:
        end = run(Fault(), seed)
        assert end.judgement.verdict is Verdict.PROMOTE, (seed, end.judgement)
        assert end.requests >= 200


def mirrored(candidate: MirroredAnswer, second: MirroredAnswer = QUICK, *, times: int) -> Evidence:
    evidence = Evidence()
    for _ in range(times):
        evidence.mirror(candidate, QUICK, second)
    return evidence


def test_nothing_is_said_without_evidence() -> None:
    judgement = judge(Evidence(), JudgeOptions())
    assert judgement.verdict is Verdict.CONTINUE
    assert [measure.name for measure in judgement.measures] == [
        "errors",
        "token ids",
        "time to first token",
        "time between tokens",
    ]


def test_other_tokens_are_the_reason_that_is_given() -> None:
    judgement = judge(mirrored(OTHER, times=20), JudgeOptions())
    assert (judgement.verdict, judgement.reason) == (
        Verdict.ROLL_BACK,
        "token ids: 20 of 20 mirrored answers have other token ids, 0 by chance",
    )


def test_other_tokens_may_be_allowed() -> None:
    assert judge(mirrored(OTHER, times=20), JudgeOptions(may_differ=0.99)).verdict is Verdict.CONTINUE


def test_what_equal_versions_differ_by_is_nobodys_fault() -> None:
    evidence = Evidence.total([mirrored(OTHER, times=20), mirrored(QUICK, OTHER, times=20)])
    assert judge(evidence, JudgeOptions()).verdict is Verdict.CONTINUE


def test_what_is_never_shown_to_be_good_is_rolled_back_in_the_end() -> None:
    evidence = Evidence.total([mirrored(SLOW, times=180), mirrored(QUICK, times=220)])
    options = JudgeOptions(false_roll_back=1e-9)
    judgement = judge(evidence, options)
    assert judgement.verdict is Verdict.ROLL_BACK
    assert judgement.reason.startswith("not shown to be good after 400 mirrored requests: errors")
