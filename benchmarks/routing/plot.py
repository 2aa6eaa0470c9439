"""The picture: a panel for each figure, in it a row for each workload and a dot for each policy.

A few SVG elements need no plotting library.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import chain
from math import floor, log10

from benchmarks.routing.case import OURS, Figures

COLUMNS = 3
PANEL, LEFT, GAP = 372, 76, 20
"""Pixels: width of a panel's axis, room for the workloads' names, room between panels."""
ROW, HEAD, FOOT, TOP = 30, 34, 30, 74
"""Pixels: height of a row, of a panel's title, of its axis, and of the title and legend above all."""
ORACLE = "oracle"
COLOURS = ("#7f7f7f", "#bcbd22", "#8c564b", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
"""Of the peers, in their order; ours is red, the oracle a black ring."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure: its title with the unit, how to read it, and whether its axis is logarithmic."""

    title: str
    value: Callable[[Figures], float]
    logarithmic: bool


PANELS = (
    Panel("TTFT p50, ms", lambda f: f.ttft_p50 * 1e3, True),
    Panel("TTFT p99, ms", lambda f: f.ttft_p99 * 1e3, True),
    Panel("end to end p99, s", lambda f: f.total_p99, True),
    Panel("goodput: within the SLO, %", lambda f: f.goodput * 100, False),
    Panel("prefix cache hits, % of prompt tokens", lambda f: f.hits * 100, False),
    Panel("imbalance: fullest instance over the mean", lambda f: f.imbalance, False),
)

Workloads = Mapping[str, Mapping[str, Figures]]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values to pixels within a panel."""

    low: float
    high: float
    logarithmic: bool

    def x(self, value: float) -> float:
        """Pixels from the panel's left edge."""
        if self.logarithmic:
            return PANEL * log10(value / self.low) / log10(self.high / self.low)
        return PANEL * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values on the axis: 1, 2 and 5 of each decade, or about six steps."""
        if self.logarithmic:
            decades = range(floor(log10(self.low)), floor(log10(self.high)) + 1)
            return [t * 10**e for e in decades for t in (1, 2, 5) if self.low <= t * 10**e <= self.high]
        rough = (self.high - self.low) / 6
        unit = 10 ** floor(log10(rough))
        step = next(unit * s for s in (1, 2, 5, 10) if unit * s >= rough)
        first = -(-self.low // step) * step
        count = int((self.high - first) / step + 1e-9) + 1
        return [round(first + step * n, 6) for n in range(count)]


def dots(workloads: Workloads) -> str:
    """An SVG document with the six panels."""
    policies = list(next(iter(workloads.values())))
    peers = [p for p in policies if p not in (OURS, ORACLE)]
    colours = {OURS: "#d62728", ORACLE: "none", **dict(zip(peers, COLOURS, strict=False))}
    tall = HEAD + ROW * len(workloads) + FOOT
    width = COLUMNS * (LEFT + PANEL + GAP)
    height = TOP + tall * -(-len(PANELS) // COLUMNS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        '<text x="12" y="24" font-size="16">Placement in a simulated fleet, by workload</text>',
    ]
    for number, policy in enumerate(policies):
        left = 20 + number * (width - 20) / len(policies)
        parts += [_dot(left, 52, colours[policy], policy), f'<text x="{left + 11:.0f}" y="56">{escape(policy)}</text>']
    for number, panel in enumerate(PANELS):
        left = LEFT + number % COLUMNS * (LEFT + PANEL + GAP)
        top = TOP + number // COLUMNS * tall
        parts += [f'<g transform="translate({left} {top})">', *_panel(panel, workloads, colours), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(panel: Panel, workloads: Workloads) -> Axis:
    values = list(chain.from_iterable(map(panel.value, rows.values()) for rows in workloads.values()))
    low, high = min(values), max(values)
    if panel.logarithmic:
        return Axis(low / 1.15, high * 1.15, True)
    room = max(high - low, 1e-3) * 0.04
    return Axis(low - room, high + room, False)


def _panel(panel: Panel, workloads: Workloads, colours: Mapping[str, str]) -> list[str]:
    axis = _axis(panel, workloads)
    bottom = HEAD + ROW * len(workloads)
    parts = [f'<text y="20" font-size="14">{escape(panel.title)}</text>']
    for tick in axis.ticks():
        x = axis.x(tick)
        parts.append(f'<path d="M{x:.1f} {HEAD}V{bottom}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle" fill="#555555">{_short(tick)}</text>')
    for number, (name, rows) in enumerate(workloads.items()):
        y = HEAD + ROW * (number + 0.5)
        parts.append(f'<path d="M0 {y}H{PANEL}" stroke="#c4c4c4"/>')
        parts.append(f'<text x="-8" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        for policy in sorted(rows, key=lambda p: (p == ORACLE, p == OURS)):  # the last lie on top
            value = panel.value(rows[policy])
            parts.append(_dot(axis.x(value), y, colours[policy], policy, f"{policy}: {value:.3g}"))
    return parts


def _short(tick: float) -> str:
    return f"{tick / 1000:g}k" if tick >= 10_000 else f"{tick:,g}"


def _dot(x: float, y: float, colour: str, policy: str, title: str = "") -> str:
    radius = {OURS: 6.5, ORACLE: 8.5}.get(policy, 4.5)
    edge = ' stroke="#111111" stroke-width="1.5"' if policy == ORACLE else ""
    about = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85"{edge}>{about}</circle>'
