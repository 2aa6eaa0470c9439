"""`make conformance ARGS="--description openapi.yaml"`: shares for each of four groups of paths, and what is missing."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.conformance.comparison import Comparison, Finding, paired
from benchmarks.conformance.description import Description
from benchmarks.conformance.own_gateway import observe
from ragfleet.paths import PROJECT

GROUPS = {
    "chat + completions": ("/chat/completions", "/completions"),
    "responses + conversations": ("/responses", "/conversations"),
    "files + vector stores": ("/files", "/vector_stores"),
    "embeddings + batches": ("/embeddings", "/batches"),
}
BAR = 0.95
WHERE = "on GitHub: openai/openai-openapi"
REPORT = PROJECT / "var" / "bench" / "conformance.json"


def _summary(findings: list[Finding]) -> dict[str, Any]:
    counted = [each for each in findings if not each.apart]
    right = [each for each in counted if not each.why]
    return {
        "of": len(counted),
        "right": len(right),
        "share": round(len(right) / len(counted), 4),
        "missing": {each.place: each.why for each in counted if each.why},
        "apart": {each.place: each.why for each in findings if each.apart and each.why},
    }


def main() -> int:
    """Exit status: 0 where each group is over the bar, 2 without a description."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("RAGFLEET_OPENAI_DESCRIPTION", "")
    parser.add_argument("--description", default=default, help="OpenAI's openapi.yaml or openapi.json (not kept here)")
    given = parser.parse_args()
    if not given.description:
        print(f"Name OpenAI's own description: ARGS='--description openapi.yaml' ({WHERE})", file=sys.stderr)
        return 2
    document, answers = observe()
    theirs, ours = Description.read(Path(given.description)), Description(document)
    groups = {name: Comparison(theirs, ours) for name in GROUPS}
    endpoints: dict[str, list[bool]] = {name: [] for name in GROUPS}
    for group, their, our in paired(theirs, ours, GROUPS):
        groups[group].of(their, our)
        endpoints[group].append(our is not None)
        for answer in answers:
            if our is not None and (answer.method, answer.path) == (their.method, their.path):
                groups[group].truth(their, our, answer.body)
    report = {name: _summary(each.findings()) for name, each in groups.items()}
    print(
        "| group | endpoints | properties | share | apart (images, audio, OpenAI's hosted tools) |\n|---|---|---|---|---|"
    )
    for name, found in report.items():
        found["endpoints"] = [sum(endpoints[name]), len(endpoints[name])]
        print(
            f"| {name} | {found['endpoints'][0]} of {found['endpoints'][1]} | {found['right']} of {found['of']} | "
            f"{found['share']:.1%} | {len(found['apart'])} |"
        )
    for name, found in report.items():
        print(f"\n{name}: missing")
        for place, why in found["missing"].items():
            print(f"  {place}: {why}")
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2), "utf-8")
    return 0 if all(found["share"] >= BAR for found in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
