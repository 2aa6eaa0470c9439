"""Shows parts on their way: a live table in a terminal, one line for each change elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ragfleet.launch import ServiceProgress

COLOURS = {"ready": "green", "starting": "cyan", "waiting": "dim", "restarting": "red", "lost": "red", "hung": "red"}


class StepsDisplay:
    """Use it as a context manager, and give `show` the steps as often as you like."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None
        self._begun = time.monotonic()
        self._told: dict[str, ServiceProgress] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def show(self, steps: list[ServiceProgress]) -> None:
        """Brings the display up to date."""
        seconds = time.monotonic() - self._begun
        if self._live:
            self._live.update(self._table(steps, seconds))
            return
        for step in steps:
            if self._told.get(step.name) != step:
                self._told[step.name] = step
                self._console.print(
                    f"{seconds:5.1f} s  {step.name:10} {step.state} {escape(clip(step.reason))}".rstrip()
                )

    def _table(self, steps: list[ServiceProgress], seconds: float) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for step in steps:
            colour = COLOURS.get(step.state, "yellow")
            table.add_row(step.name, f"[{colour}]{step.state}[/{colour}]", escape(clip(step.reason)))
        table.add_row("", f"[dim]{seconds:.0f} s[/dim]", "")
        return table


def clip(text: str, limit: int = 100) -> str:
    """At most `limit` characters of the first line."""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= limit else line[: limit - 1] + "…"
