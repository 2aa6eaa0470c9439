"""`ragfleet status --watch`: the fleet live in the terminal, from the gateway's /fleet and /metrics."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ragfleet import loopback, status
from ragfleet.display import COLOURS, clip
from ragfleet.paths import Home
from ragfleet.status import FleetStatus, InstanceStatus

PERIOD = 1.0
WINDOW = 10
"""Frames over which shares and speeds are taken: over one alone a share of few requests would jump."""
COLUMNS = ("instance", "state", "queue", "running", "kv", "gpu", "streams", "tok/s", "share", "ejected", "restarts")


@dataclass(frozen=True, slots=True)
class Counters:
    """The gateway's counters at one moment."""

    at: float = 0.0
    """Monotonic seconds."""
    placements: Mapping[str, float] = field(default_factory=dict)
    """By instance, as are ejections and tokens."""
    ejections: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    migrations: Mapping[str, float] = field(default_factory=dict)
    """By cause."""
    requests: float = 0.0
    in_flight: float = 0.0
    waiting: float = 0.0


def read_counters(text: str, at: float, tokens: Mapping[str, float]) -> Counters:
    """Reads the gateway's exposition text; `tokens` of each instance are from /fleet."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kept = found.setdefault(sample.name.removesuffix("_total"), {})
            label = sample.labels.get("instance") or sample.labels.get("cause") or ""
            kept[label] = kept.get(label, 0.0) + sample.value
    one = {name: sum(kept.values()) for name, kept in found.items()}
    return Counters(
        at,
        placements=found.get("ragfleet_placements", {}),
        ejections=found.get("ragfleet_ejections", {}),
        tokens=tokens,
        migrations=found.get("ragfleet_migrations", {}),
        requests=one.get("ragfleet_requests", 0.0),
        in_flight=one.get("ragfleet_in_flight", 0.0),
        waiting=one.get("ragfleet_admission_waiting", 0.0),
    )


def picture(seen: FleetStatus, before: Counters, now: Counters) -> RenderableType:
    """One frame. Shares and speeds are those since `before`."""
    if not seen.running:
        return "The fleet is not running. Start it with: ragfleet up"
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns are enough for it
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in {"instance", "state"} else "right")
    seconds = max(now.at - before.at, 0.001)
    placed = {entry.name: _since(before.placements, now.placements, entry.name) for entry in seen.instances}
    speeds = {entry.name: _since(before.tokens, now.tokens, entry.name) / seconds for entry in seen.instances}
    total = sum(placed.values())
    for entry in seen.instances:
        share = f"{placed[entry.name] / total:.0%}" if total else ""
        table.add_row(*_row(entry, f"{speeds[entry.name]:.0f}", share, now.ejections.get(entry.name, 0.0)))
    others = [f"{part['name']} {part['state']}" for part in seen.parts if part["name"] not in placed]
    rate = max(0.0, now.requests - before.requests) / seconds
    line = (
        f"{rate:.1f} requests/s, {sum(speeds.values()):.0f} tokens/s, {now.in_flight:.0f} in flight, "
        f"{now.waiting:.0f} waiting for a place, {_migrations(now.migrations)}; {', '.join(others)}"
    )
    says = [f"[yellow]{escape(f'{e.name}: {clip(e.reason)}')}[/yellow]" for e in seen.instances if e.reason]
    return Group(table, *says, f"\n[dim]{escape(line)}[/dim]")


def follow(home: Home, console: Console) -> None:
    """Shows frames until Ctrl-C."""
    frames: deque[Counters] = deque(maxlen=WINDOW)
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                seen = status.gather(home)
                now = _ask(seen)
                if now is None:
                    frames.clear()  # another gateway counts from zero
                else:
                    frames.append(now)
                live.update(picture(seen, *_ends(frames)), refresh=True)
                time.sleep(PERIOD)
    except KeyboardInterrupt:
        return


def _ends(frames: Sequence[Counters]) -> tuple[Counters, Counters]:
    return (frames[0], frames[-1]) if frames else (Counters(), Counters())


def _migrations(by_cause: Mapping[str, float]) -> str:
    causes = ", ".join(f"{number:.0f} {cause}" for cause, number in sorted(by_cause.items()))
    return f"{sum(by_cause.values()):.0f} migrations in all" + (f" ({causes})" if causes else "")


def _row(entry: InstanceStatus, speed: str, share: str, ejections: float) -> list[str]:
    load = entry.load or {}
    blocks, memory = load.get("kv_max_blocks"), load.get("gpu_memory_total_bytes")
    colour = COLOURS.get(entry.state, "yellow")
    return [
        entry.name,
        f"[{colour}]{entry.state}[/{colour}]",
        _text(load.get("waiting")),
        f"{load['active']}/{entry.slots}" if "active" in load and entry.slots else _text(load.get("active")),
        f"{load['kv_used_blocks'] / blocks:.0%}" if blocks else "",
        f"{load['gpu_memory_used_bytes'] / memory:.0%}" if memory else "",
        str(entry.streams),
        speed,
        share,
        f"{ejections:.0f}",
        str(entry.restarts),
    ]


def _ask(seen: FleetStatus) -> Counters | None:
    """None where the gateway does not answer."""
    tokens = {entry.name: float(entry.tokens) for entry in seen.instances}
    status, body = loopback.get(f"{seen.gateway_url}/metrics")
    if status != HTTPStatus.OK:
        return None
    try:
        return read_counters(body.decode("utf-8", errors="replace"), time.monotonic(), tokens)
    except ValueError:  # something else has its port
        return None


def _since(before: Mapping[str, float], now: Mapping[str, float], name: str) -> float:
    return max(0.0, now.get(name, 0.0) - before.get(name, 0.0))


def _text(value: object) -> str:
    return "" if value is None else str(value)
