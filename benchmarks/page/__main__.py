"""`make bench`: runs the benchmarks one after the other, and puts their figures on one page; each beside its rival and its bar.

Every benchmark is a process of its own with a deadline: one that fails costs its own lines. The page is printed after the last
one and written to var/bench/page.json after each. Exit status: 0, 1 where a bar is missed, 2 where a benchmark failed.
`ARGS=--list` lists them; `--from-files` prints what was measured before.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import catalog
from benchmarks.page.catalog import Benchmark
from benchmarks.page.page import page, show
from benchmarks.page.running import Outcome, Run, run
from benchmarks.report import bench_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these, and no others")
    parser.add_argument("--quick", action="store_true", help="small runs, to see that they work; into var/bench/quick")
    parser.add_argument("--from-files", action="store_true", help="no runs: what lies in var/bench")
    parser.add_argument(
        "--json", action="store_true", help="the page as JSON on standard output, and nothing else there"
    )
    parser.add_argument("--list", action="store_true", help="the benchmarks, and about how long each takes")
    parser.add_argument("--port-base", type=int, help="of the fleets that are started, for those that have this option")
    given = parser.parse_args(arguments)
    try:
        benchmarks = catalog.wanted(given.only)
    except ValueError as error:
        parser.error(str(error))
    if given.list:
        _list(benchmarks if given.only else catalog.ALL)
        return 0
    folder = bench_folder() / "quick" if given.quick else bench_folder()
    runs: list[Run] = []
    for number, benchmark in enumerate(benchmarks, 1):
        if given.from_files:
            runs.append(Run(benchmark, Outcome.NOT_RUN))
            continue
        print(f"{number} of {len(benchmarks)}: {benchmark.name}: {benchmark.about} …", file=sys.stderr, flush=True)
        runs.append(run(benchmark, folder, quick=given.quick, port_base=given.port_base))
        print(f"  {runs[-1].outcome} after {runs[-1].seconds:.0f} s ({runs[-1].log})", file=sys.stderr, flush=True)
        _write(folder, page(runs, folder, quick=given.quick))
    whole = page(runs, folder, quick=given.quick)
    if given.json:
        print(json.dumps(whole, indent=1))
    else:
        show(whole)
        if not given.from_files:
            print(f"written: {folder / 'page.json'}")
    if any(each.outcome in (Outcome.FAILED, Outcome.LATE) for each in runs):
        return 2
    return 1 if any(row["held"] is False for row in whole["rows"]) else 0


def _list(benchmarks: Sequence[Benchmark]) -> None:
    for each in benchmarks:
        aside = f"; only where named: {each.asked_for}" if each.asked_for else ""
        print(f"  {each.name:14} {each.about} ({each.minutes:g} min{aside})")
    print('One of them: make bench ARGS="--only NAME"; with its own options: make help has the targets.')


def _write(folder: Path, whole: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "page.json").write_text(json.dumps(whole, indent=2), "utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the benchmark that runs is ended, too
    sys.exit(main())
