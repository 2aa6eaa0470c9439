"""What is promised of the source itself: one meaning for each name, and tests that stand on the product alone."""

import ast
import re
from collections import defaultdict
from pathlib import Path

from ragfleet.paths import PROJECT

PRODUCT = ("gateway", "ragfleet", "worker", "model_repository", "tokens", "assistants", "build_scripts")
NAMED_BY_TRITON = {"TritonPythonModel"}
A_MEASUREMENT = PROJECT / "tests/hosts/conftest.py"
"""It notes its figures as the benchmarks do, for the page of all of them."""


def test_no_class_name_stands_for_two_things() -> None:
    places = defaultdict(list)
    for folder in PRODUCT:
        for path in (PROJECT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name not in NAMED_BY_TRITON:
                    places[node.name].append(str(path.relative_to(PROJECT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def test_tests_change_no_path_and_stand_on_no_benchmark() -> None:
    odd = re.compile(r"sys\.path\.(insert|append)\(|^\s*(from|import) benchmarks\b", re.MULTILINE)
    own = Path(__file__)
    found = [path for path in (PROJECT / "tests").rglob("*.py") if path not in (own, A_MEASUREMENT)]
    assert not [str(path) for path in found if odd.search(path.read_text("utf-8"))]


def test_the_page_for_newcomers_is_a_page() -> None:
    assert len((PROJECT / "docs/design.md").read_text("utf-8").splitlines()) <= 60
