"""docs/metrics.md is what the code declares."""

from ragfleet.metrics_page import page
from ragfleet.paths import PROJECT


def test_the_page_is_up_to_date() -> None:
    assert (PROJECT / "docs" / "metrics.md").read_text("utf-8") == page(), (
        "run: python -m ragfleet.metrics_page > docs/metrics.md"
    )


def test_each_metric_has_a_meaning() -> None:
    lines = [line for line in page().splitlines() if line.startswith(("| `ragfleet_", "| `gen_ai_"))]
    assert len(lines) > 40
    assert all(line.split("|")[-2].strip() for line in lines)
