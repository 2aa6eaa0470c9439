"""The dashboard as an SVG picture: its panels in their places, with lines, legends and units. It is not Grafana's drawing."""

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from benchmarks.dashboard.panels import Answer, Panel, panels
from benchmarks.prometheus import Series

COLUMN, ROW = 50, 24
"""Pixels of a step of the grid."""
GAP = 8
LEGEND_ROWS = 3
COLOURS = ("#3750c8", "#b3541e", "#25794b", "#8a3fa0", "#8a6d00", "#0f7c8a", "#b3265c", "#5f6670")
STYLE = (
    "text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:#59616c}.t{font-weight:600;font-size:12.5px;fill:#1c2026}"
    ".p{fill:#fff;stroke:#e1e3e6}.g{stroke:#eceef0}polyline{fill:none;stroke-width:1.5}"
)


def picture(answers: Sequence[Answer], begin: float, end: float, heading: str) -> str:
    """begin, end: unix seconds, the same for all panels."""
    by_panel: dict[str, list[Answer]] = {}
    for answer in answers:
        by_panel.setdefault(answer.panel.title, []).append(answer)
    all_panels = panels()
    width = COLUMN * 24
    height = 34 + ROW * max(panel.y + panel.height for panel in all_panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#f7f7f5"/>',
        f'<text class="t" x="{GAP}" y="21">{escape(heading)}</text>',
    ]
    for panel in all_panels:
        parts += _panel(panel, by_panel.get(panel.title, ()), begin, end)
    return "\n".join([*parts, "</svg>\n"])


def _panel(panel: Panel, answers: Sequence[Answer], begin: float, end: float) -> Iterator[str]:
    left, top = panel.x * COLUMN + GAP / 2, 30 + panel.y * ROW + GAP / 2
    width, height = panel.width * COLUMN - GAP, panel.height * ROW - GAP
    yield f'<g transform="translate({left:g} {top:g})"><rect class="p" width="{width:g}" height="{height:g}" rx="4"/>'
    yield f'<text class="t" x="10" y="18">{escape(panel.title)}</text>'
    lines = [(answer.query.name(series), series) for answer in answers for series in answer.series]
    if not lines:
        why = (
            "Triton tells this of GPUs; here is none." if all(each.wants_a_gpu for each in panel.queries) else "no rows"
        )
        yield f'<text x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle">{why}</text></g>'
        return
    plot_left, plot_right, plot_top, plot_bottom = 52, width - 12, 30, height - 24 - 15 * LEGEND_ROWS
    most = max(value for _, series in lines for _, value in series.points)
    steps = _steps(most)
    told = _told(panel.unit, steps[-1])

    def y(value: float) -> float:
        return plot_bottom - (plot_bottom - plot_top) * max(0.0, value) / steps[-1]

    def x(at: float) -> float:
        return plot_left + (plot_right - plot_left) * (at - begin) / (end - begin)

    for step in steps:
        yield f'<line class="g" x1="{plot_left}" x2="{plot_right:g}" y1="{y(step):.1f}" y2="{y(step):.1f}"/>'
        yield f'<text x="{plot_left - 5}" y="{y(step) + 4:.1f}" text-anchor="end">{told(step)}</text>'
    for share in (0.0, 0.5, 1.0):
        at = begin + share * (end - begin)
        anchor = {0.0: "start", 0.5: "middle", 1.0: "end"}[share]
        clock = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
        yield f'<text x="{x(at):.1f}" y="{plot_bottom + 15:g}" text-anchor="{anchor}">{clock}</text>'
    for index, (_, series) in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        for stretch in _stretches(series, (end - begin) / 40):
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in stretch)
            yield f'<polyline stroke="{colour}" points="{points}"/>'
    yield from _legend(lines, plot_bottom + 32, width)
    yield "</g>"


def _legend(lines: Sequence[tuple[str, Series]], top: float, width: float) -> Iterator[str]:
    x, row = 10.0, 0
    for index, (name, _) in enumerate(lines):
        takes = 24 + 6.8 * len(name)
        if x > 10 and x + takes > width:
            x, row = 10.0, row + 1
        if row == LEGEND_ROWS - 1 and x + takes + 70 > width and index < len(lines) - 1:
            yield f'<text x="{x:g}" y="{top + 15 * row:g}">{len(lines) - index} more</text>'
            return
        colour = COLOURS[index % len(COLOURS)]
        yield f'<rect x="{x:g}" y="{top + 15 * row - 8:g}" width="9" height="9" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 13:g}" y="{top + 15 * row:g}">{escape(name)}</text>'
        x += takes


def _stretches(series: Series, most_s: float) -> Iterator[list[tuple[float, float]]]:
    """Where it says nothing for longer than `most_s`, the line is broken."""
    stretch: list[tuple[float, float]] = []
    for point in series.points:
        if stretch and point[0] - stretch[-1][0] > most_s:
            yield stretch
            stretch = []
        stretch.append(point)
    yield stretch


def _steps(most: float) -> list[float]:
    """Round numbers from zero to at least `most`."""
    rough = (most or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))
    return [step * index for index in range(math.ceil(most / step - 1e-9) + 1 or 1)] if most else [0.0, 1.0]


def _told(unit: str, top: float) -> Callable[[float], str]:
    """How a value is written, on an axis that ends at `top`."""
    if unit == "percentunit":
        return lambda value: f"{value:.0%}"
    if unit == "s":
        return (lambda value: f"{1000 * value:g} ms") if top < 1 else (lambda value: f"{value:g} s")
    after = "/s" if unit == "reqps" else ""
    return (lambda value: f"{value / 1000:g}k{after}") if top >= 10_000 else (lambda value: f"{value:g}{after}")
