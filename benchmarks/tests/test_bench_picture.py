"""The benchmark's picture: six figures, every policy in every workload, values that may be zero or alike."""

from xml.etree import ElementTree

import pytest

from benchmarks.routing import plot
from benchmarks.routing.case import OURS, Figures

SVG = "{http://www.w3.org/2000/svg}"


def figures(scale: float, hits: float = 0.5) -> Figures:
    return Figures(100, 0.05 * scale, 0.5 * scale, 5.0 * scale, 1.0, hits, 1.2)


def drawn(workloads: dict[str, dict[str, Figures]]) -> tuple[list[str], list[ElementTree.Element]]:
    root = ElementTree.fromstring(plot.dots(workloads))
    return [text.text or "" for text in root.iter(f"{SVG}text")], list(root.iter(f"{SVG}circle"))


def test_each_panel_has_a_dot_for_each_policy_in_each_workload() -> None:
    rows = {OURS: figures(1), "random & co": figures(30), "oracle": figures(0.9)}
    texts, circles = drawn({"uniform": rows, "rag": rows})
    for title in ("TTFT p50, ms", "TTFT p99, ms", "end to end p99, s", "goodput: within the SLO, %"):
        assert texts.count(title) == 1
    assert any("cache hits" in t for t in texts)
    assert any("imbalance" in t for t in texts)
    assert len(circles) == 3 + 6 * 2 * 3  # the legend, and six panels
    assert all(0 <= float(c.attrib["cx"]) <= plot.PANEL for c in circles[3:])
    titles = [c[0].text or "" for c in circles if len(c)]
    assert "random & co: 1.5e+04" in titles


@pytest.mark.parametrize("hits", [0.0, 1.0])
def test_values_that_are_all_alike_are_drawn(hits: float) -> None:
    _, circles = drawn({"uniform": {OURS: figures(1, hits)}})
    assert len(circles) == 1 + 6
