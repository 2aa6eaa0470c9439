"""`ragfleet status --watch`: the fleet live in the terminal, from the gateway's /fleet and /metrics."""

import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ragfleet import status
from ragfleet.display import COLOURS, clip
from ragfleet.home import Home
from ragfleet.status import ANSWER_SECONDS, FleetStatus, InstanceStatus

PERIOD = 1.0
COLUMNS = ("instance", "state", "queue", "running", "kv", "gpu", "streams", "share", "ejected", "restarts", "says")
SAMPLE = re.compile(r"^(ragfleet_\w+?)(?:_total)?(?:\{([^}]*)\})? ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Counters:
    """The gateway's counters at one moment."""

    at: float = 0.0
    """Monotonic seconds."""
    placements: Mapping[str, float] = field(default_factory=dict)
    ejections: Mapping[str, float] = field(default_factory=dict)
    migrations: float = 0.0
    completion_tokens: float = 0.0
    requests: float = 0.0


def read_counters(text: str, at: float) -> Counters:
    """Reads the gateway's exposition text."""
    placements: dict[str, float] = {}
    ejections: dict[str, float] = {}
    by_instance = {"ragfleet_placements": placements, "ragfleet_ejections": ejections}
    sums = {"ragfleet_migrations": 0.0, "ragfleet_tokens": 0.0, "ragfleet_requests": 0.0}
    for name, labels, value in SAMPLE.findall(text):
        if name in by_instance:
            if found := re.search(r'instance="([^"]*)"', labels):
                by_instance[name][found[1]] = float(value)
        elif name in sums and (name != "ragfleet_tokens" or 'kind="completion"' in labels):
            sums[name] += float(value)
    return Counters(at, placements, ejections, *sums.values())


def picture(seen: FleetStatus, before: Counters, now: Counters) -> RenderableType:
    """One frame. Shares and speeds are those since `before`."""
    if not seen.running:
        return "The fleet is not running. Start it with: ragfleet up"
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(
            column, no_wrap=column != "says", justify="left" if column in {"instance", "says"} else "right"
        )
    placed = {entry.name: _since(before.placements, now.placements, entry.name) for entry in seen.instances}
    for entry in seen.instances:
        total = sum(placed.values())
        share = f"{placed[entry.name] / total:.0%}" if total else ""
        table.add_row(*_row(entry, share, now.ejections.get(entry.name, 0.0)))
    others = [f"{part['name']} {part['state']}" for part in seen.parts if part["name"] not in placed]
    seconds = max(now.at - before.at, 0.001)
    speed = (now.completion_tokens - before.completion_tokens) / seconds
    rate = (now.requests - before.requests) / seconds
    line = f"{rate:.1f} requests/s, {speed:.0f} tokens/s, {now.migrations:.0f} migrations in all; {', '.join(others)}"
    return Group(table, f"\n[dim]{escape(line)}[/dim]")


def follow(home: Home, console: Console) -> None:
    """Shows frames until Ctrl-C."""
    before = Counters(time.monotonic())
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                seen = status.gather(home)
                now = _ask(seen) if seen.running else Counters(time.monotonic())
                live.update(picture(seen, before if before.placements else now, now), refresh=True)
                before = now
                time.sleep(PERIOD)
    except KeyboardInterrupt:
        return


def _row(entry: InstanceStatus, share: str, ejections: float) -> list[str]:
    load = entry.load or {}
    blocks, memory = load.get("kv_max_blocks"), load.get("gpu_memory_total_bytes")
    colour = COLOURS.get(entry.state, "yellow")
    return [
        entry.name,
        f"[{colour}]{entry.state}[/{colour}]",
        _text(load.get("waiting")),
        f"{_text(load.get('active'))}/{entry.slots}" if entry.slots else _text(load.get("active")),
        f"{load['kv_used_blocks'] / blocks:.0%}" if blocks else "",
        f"{load['gpu_memory_used_bytes'] / memory:.0%}" if memory else "",
        str(entry.streams),
        share,
        f"{ejections:.0f}",
        str(entry.restarts),
        escape(clip(entry.reason, 60)),
    ]


def _ask(seen: FleetStatus) -> Counters:
    try:
        with urllib.request.urlopen(f"{seen.gateway_url}/metrics", timeout=ANSWER_SECONDS) as response:  # noqa: S310
            return read_counters(response.read().decode("utf-8", errors="replace"), time.monotonic())
    except OSError:
        return Counters(time.monotonic())


def _since(before: Mapping[str, float], now: Mapping[str, float], name: str) -> float:
    return max(0.0, now.get(name, 0.0) - before.get(name, 0.0))


def _text(value: object) -> str:
    return "" if value is None else str(value)
