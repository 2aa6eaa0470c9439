"""`make conformance OPENAPI=openapi.yaml`: shares for each of four groups of paths, and what is missing."""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.conformance.comparison import Aside, Comparison, Finding, paired
from benchmarks.conformance.description import Description
from benchmarks.conformance.own_gateway import observe
from benchmarks.report import Figure, write_json

GROUPS = {
    "chat + completions": ("/chat/completions", "/completions"),
    "responses + conversations": ("/responses", "/conversations"),
    "files + vector stores": ("/files", "/uploads", "/vector_stores"),
    "embeddings + batches": ("/embeddings", "/batches"),
}
BAR = 0.95


def _summary(endpoints: list[bool], findings: list[Finding]) -> dict[str, Any]:
    counted = [each for each in findings if each.aside is None]
    right = sum(not each.why for each in counted)
    right_of_all = sum(not each.why for each in findings)
    return {
        "endpoints": [sum(endpoints), len(endpoints)],
        "properties": [right, len(counted)],
        "share": _share(right, len(counted)),
        "strict_share": _share(right_of_all, len(findings)),
        "missing": {each.place: each.why for each in counted if each.why},
        "aside": {
            kind.value: {each.place: each.why for each in findings if each.aside is kind and each.why} for kind in Aside
        },
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def main() -> int:
    """Exit status: 0 where each group is over the bar, 1 where one is not, 2 without a description that can be read."""
    parser = argparse.ArgumentParser(prog="make conformance", usage="make conformance OPENAPI=openapi.yaml")
    parser.add_argument("description", type=Path, help="OpenAI's own, of GitHub's openai/openai-openapi; not kept here")
    path: Path = parser.parse_args().description
    try:
        theirs = Description.read(path)
    except (OSError, ValueError) as error:
        parser.error(f"{path} cannot be read as an OpenAPI description: {error}")
    document, answers = observe()
    ours = Description(document)
    groups = {name: Comparison(theirs, ours) for name in GROUPS}
    endpoints: dict[str, list[bool]] = {name: [] for name in GROUPS}
    for group, their, our in paired(theirs, ours, GROUPS):
        groups[group].of(their, our)
        endpoints[group].append(our is not None)
        for answer in answers:
            if our is not None and (answer.method, answer.path) == (their.method, their.path):
                groups[group].truth(their, our, answer.body)
    report = {name: _summary(endpoints[name], each.findings()) for name, each in groups.items()}
    print("| group | endpoints | properties | share | missing, in no share | share with those |")
    print("|---|---|---|---|---|---|")
    for name, found in report.items():
        (there, paths), (right, counted) = found["endpoints"], found["properties"]
        aside = sum(map(len, found["aside"].values()))
        shares = f"{found['share']:.1%} | {aside} | {found['strict_share']:.1%}"
        print(f"| {name} | {there} of {paths} | {right} of {counted} | {shares} |")
    print("In no share: " + "; ".join(kind.value for kind in Aside) + ".")
    for name, found in report.items():
        print(f"\n{name}: missing")
        for place, why in found["missing"].items():
            print(f"  {place}: {why}")
    claims = [
        Figure(f"share of OpenAI's description: {name}", each["share"], at_least=BAR) for name, each in report.items()
    ]
    write_json("conformance", report, figures=claims)
    return 0 if all(found["share"] >= BAR for found in report.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
