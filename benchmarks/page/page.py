"""The page: the figures of all files, in one table."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.page.running import Outcome, Run
from benchmarks.report import Figure, commit, machine

WIDTH = 170
VERDICTS = {True: "held", False: "MISSED", None: ""}


def page(runs: Sequence[Run], folder: Path, *, quick: bool = False) -> dict[str, Any]:
    """Machine, load, commit and time; a row for each figure of these benchmarks; how each one went, and of when its file is."""
    rows: list[dict[str, Any]] = []
    went: dict[str, dict[str, Any]] = {}
    for run in runs:
        name = run.benchmark.name
        stored = _stored(folder / f"{name}.json")
        # A file of before says nothing of a run that came to no end.
        counts = stored if run.outcome in (Outcome.RAN, Outcome.NOT_RUN) else {}
        went[name] = {
            "outcome": run.outcome.value,
            "seconds": run.seconds,
            "exit_status": run.exit_status,
            "log": run.log,
            "at": counts.get("at"),
            "commit": counts.get("commit"),
            "load": (counts.get("machine") or {}).get("load_average", [None])[0],
        }
        rows += [_row(name, Figure(**each)) for each in counts.get("figures", [])]
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "quick": quick,
        "rows": rows,
        "benchmarks": went,
    }


def show(whole: Mapping[str, Any]) -> None:
    """The page for people."""
    console = Console(width=WIDTH)
    host, loads = whole["machine"], [each["load"] for each in whole["benchmarks"].values() if each["load"] is not None]
    load = f"load {min(loads):.1f}–{max(loads):.1f}" if loads else "no load noted"
    cores = f"{host['cpu_count']} cores ({host['cpu']}), {host['memory_gib']:.0f} GiB, Python {host['python']}"
    table = Table(title=f"{whole['at']}, commit {whole['commit'] or 'unknown'}; {cores}; {load}", title_justify="left")
    table.add_column("claim", ratio=1)
    for column in ("ours", "beside", "ratio", "bar", ""):
        table.add_column(
            column, justify="right" if column in ("ours", "ratio", "bar") else "left", no_wrap=column != "beside"
        )
    for name, went in whole["benchmarks"].items():
        rows = [row for row in whole["rows"] if row["benchmark"] == name]
        for row in rows:
            theirs = "" if row["theirs"] is None else f"{row['rival']} {_number(row['theirs'])}"
            table.add_row(f"{name}: {row['claim']}", f"{_number(row['ours'])} {row['unit']}".strip(), theirs or row["rival"],
                          _number(row["ratio"]), row["bar"], VERDICTS[row["held"]])  # fmt: skip
        if not rows:
            table.add_row(f"{name}", "", "", "", "", _without_figures(went["outcome"]))
        table.add_section()
    console.print(table)
    if whole["quick"]:
        console.print("Quick runs: whether they work, no figures.")
    old = sorted(
        {str(went["commit"]) for went in whole["benchmarks"].values() if went["commit"] not in (None, whole["commit"])}
    )
    if old:
        console.print(f"Some files are of other commits: {', '.join(old)}")
    missed = sum(row["held"] is False for row in whole["rows"])
    bad = [name for name, went in whole["benchmarks"].items() if went["outcome"] in (Outcome.FAILED, Outcome.LATE)]
    failed = f"; FAILED: {', '.join(bad)}" if bad else ""
    console.print(f"{len(whole['rows'])} figures, {missed} missed their bar{failed}")


def _row(name: str, figure: Figure) -> dict[str, Any]:
    bounds = ((f"≤ {_number(figure.at_most)}", figure.at_most), (f"≥ {_number(figure.at_least)}", figure.at_least))
    return {
        "benchmark": name,
        "claim": figure.claim,
        "ours": figure.ours,
        "unit": figure.unit,
        "rival": figure.rival,
        "theirs": figure.theirs,
        "ratio": figure.ratio,
        "bar": ", ".join(words for words, bound in bounds if bound is not None),
        "held": figure.held,
    }


def _stored(path: Path) -> dict[str, Any]:
    """What a benchmark wrote; {} where it wrote nothing that can be read."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_figures(outcome: str) -> str:
    return (
        "no figures"
        if outcome in (Outcome.RAN, Outcome.NOT_RUN)
        else outcome.upper()
        if outcome != "skipped"
        else outcome
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
