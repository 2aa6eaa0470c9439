"""How every benchmark here reports: a table for people, `var/bench/NAME.json` for machines."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row))
    Console(width=150).print(table)


def write_json(name: str, result: Mapping[str, Any], *, tell: bool = True) -> Path:
    """Write a result with where and when it was measured, and say so."""
    path = Path(os.environ.get("RAGFLEET_BENCH_DIR", "var/bench")) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cpu_count": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(),
               "load_average": os.getloadavg()}  # fmt: skip
    path.write_text(
        json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine, **result}, indent=2)
    )
    if tell:
        print(f"written: {path}")
    return path
