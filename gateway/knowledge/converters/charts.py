"""Charts of Office Open XML (DrawingML) as tables of their numbers. No I/O."""

from typing import Any

from gateway.knowledge.converters.tables import markdown_table


def chart_table(root: Any) -> str:
    """A row for each label of the chart in `root`, a column for each series; nothing where it has none."""
    series = [_series(each) for each in root.iter("{*}ser")]
    if not series:
        return ""
    labels = max((each[1] for each in series), key=len)
    return markdown_table(
        [
            ["", *(title for title, _, _ in series)],
            *(
                [labels.get(at, ""), *(values.get(at, "") for _, _, values in series)]
                for at in sorted({*labels}.union(*(values for _, _, values in series)))
            ),
        ]
    )[0]


def _series(series: Any) -> tuple[str, dict[int, str], dict[int, str]]:
    """Its title, and the labels and values of its points by number, as the chart showed them last."""

    def points(*tags: str) -> dict[int, str]:
        return {
            int(point.get("idx") or 0): next((value.text or "" for value in point.iter("{*}v")), "")
            for part in series.iterchildren(*tags)
            for point in part.iter("{*}pt")
        }

    title = " ".join(points("{*}tx").values())
    return title, points("{*}cat", "{*}xVal"), points("{*}val", "{*}yVal")
