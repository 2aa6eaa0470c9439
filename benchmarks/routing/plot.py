"""The picture: one row for each workload, one dot for each policy; a few SVG elements need no plotting library."""

from collections.abc import Mapping
from math import log10

from benchmarks.routing.case import OURS, Figures

WIDTH, LEFT, RIGHT, TOP, ROW = 860, 96, 24, 86, 40
COLOURS = ("#d62728", "#7f7f7f", "#bcbd22", "#8c564b", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#111111")


def dots(workloads: Mapping[str, Mapping[str, Figures]]) -> str:
    """An SVG document: p99 TTFT of each policy in each workload, on a logarithmic axis in milliseconds."""
    policies = list(next(iter(workloads.values())))
    colours = dict(zip(policies, COLOURS, strict=False))
    values = [f.ttft_p99 * 1e3 for rows in workloads.values() for f in rows.values()]
    low, high = log10(min(values)) - 0.05, log10(max(values)) + 0.05
    height = TOP + ROW * len(workloads) + 34

    def x(milliseconds: float) -> float:
        return LEFT + (log10(milliseconds) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="12" y="22" font-size="15">p99 time to first token, ms (left is better)</text>',
    ]
    for number, (policy, colour) in enumerate(colours.items()):
        left, top = LEFT + number % 5 * 152, 42 + number // 5 * 18
        parts.append(_dot(left, top, colour, policy == OURS, policy))
        parts.append(f'<text x="{left + 10}" y="{top + 4}">{policy}</text>')
    for tick in (t * 10**e for e in range(5) for t in (1, 2, 5)):
        if low <= log10(tick) <= high:
            parts.append(f'<path d="M{x(tick):.1f} {TOP}V{height - 28}" stroke="#dddddd"/>')
            parts.append(f'<text x="{x(tick):.1f}" y="{height - 12}" text-anchor="middle">{tick:,}</text>')
    for number, (name, rows) in enumerate(workloads.items()):
        y = TOP + ROW * (number + 0.5)
        parts.append(f'<text x="12" y="{y + 4}">{name}</text><path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#bbbbbb"/>')
        for policy, f in sorted(rows.items(), key=lambda item: item[0] == OURS):
            title = f"{policy}: {f.ttft_p99 * 1e3:.0f} ms"
            parts.append(_dot(x(f.ttft_p99 * 1e3), y, colours[policy], policy == OURS, title))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _dot(x: float, y: float, colour: str, ours: bool, title: str) -> str:
    radius = 7 if ours else 5
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85"><title>{title}</title></circle>'
