"""`make bench-rollout`: planted faults and good candidates, 100 roll-outs of each."""

import argparse
import statistics
import sys

from benchmarks.report import Figure, write_json
from benchmarks.rollout.simulation import FAULTS, Fault, Outcome, run
from gateway.rollouts.judge import Verdict

WITHIN = 200


def main() -> int:
    """1 where a bound of issue 15 is not kept."""
    parser = argparse.ArgumentParser(prog="benchmarks.rollout", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.05)
    asked = parser.parse_args()
    ok, figures, rows = True, list[Figure](), {}
    print("| candidate | runs | rolled back | within 200 | its requests: median | most | all requests: median |")
    print("|---|---|---|---|---|---|---|")
    for name, fault in {"as good as the others": Fault(), **FAULTS}.items():
        ends = [run(fault, seed, share=asked.share) for seed in range(asked.runs)]
        back = [each for each in ends if each.judgement.verdict is Verdict.ROLL_BACK]
        soon = sum(each.requests <= WITHIN for each in back)
        print(f"| {name} | {len(ends)} | {len(back)} | {soon} | {_numbers(ends)} |")
        rows[name] = {
            "runs": len(ends),
            "rolled_back": len(back),
            "soon": soon,
            "requests": [each.requests for each in ends],
        }
        if fault == Fault():
            figures.append(Figure("good candidates that are rolled back", len(back) / len(ends), at_most=0.01))
        else:
            figures.append(Figure(f"rolled back within {WITHIN} requests: {name}", soon / len(ends), at_least=0.95))
        ok &= len(back) <= len(ends) / 100 if fault == Fault() else len(back) == len(ends) and soon >= 0.95 * len(ends)
    write_json("rollout", {"share": asked.share, "rows": rows, "bar_met": ok}, figures=figures)
    return 0 if ok else 1


def _numbers(ends: list[Outcome]) -> str:
    requests = [each.requests for each in ends]
    return (
        f"{statistics.median(requests):g} | {max(requests)} | {statistics.median(each.all_requests for each in ends):g}"
    )


if __name__ == "__main__":
    sys.exit(main())
