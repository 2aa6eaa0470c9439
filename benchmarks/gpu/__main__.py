"""`make gpu-check`: this project on one NVIDIA GPU, part by part; where there is none, on the CPU with tiny models (docs/gpu.md).

A part that fails hides no other: its error stands in the table and in `var/bench/gpu.json`, and the next one runs.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.gpu import machine, weights
from benchmarks.gpu.parts import PARTS, Check
from benchmarks.report import Figure, print_table, write_json


def main() -> int:
    """1 where a part failed or missed its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas (default: all)")
    parser.add_argument("--tiny", action="store_true", help="tiny models also on a GPU")
    parser.add_argument("--port-base", type=int, default=29200)
    parser.add_argument("--keep", type=Path, default=Path(os.environ.get("RAGFLEET_BENCH_DIR", "var/bench")) / "gpu")
    args = parser.parse_args()
    gpu = machine.has_gpu()
    if not gpu:
        print("There is no NVIDIA GPU here: every part runs on the CPU with tiny models, and no figure means anything.")
    args.keep.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="ragfleet-gpu-"))
    check = Check(home=home, port=args.port_base, tiny=args.tiny or not gpu, gpu=gpu, keep=args.keep.resolve())
    results = {name: _run(name, check) for name in args.only.split(",")}
    for log in home.glob("*.log"):
        (check.keep / log.name).write_bytes(log.read_bytes()[-1_000_000:])
    weights.remove(home)
    host = machine.describe()
    print_table(
        f"{host['gpu'] or 'no GPU'}, torch {host['versions']['torch']}, commit {host['commit'] or 'unknown'}",
        ["part", "result", "seconds", "what"],
        [[name, result["verdict"], result["seconds"], _words(result)] for name, result in results.items()],
    )
    failed = sum(result["verdict"] == "failed" for result in results.values())
    figures = [Figure("parts that failed or missed their bar", failed, at_most=0)]
    figures += [Figure(f"{name}, beside the same alone", r["ratio"]) for name, r in results.items() if "ratio" in r]
    write_json("gpu", {"host": host, "tiny": check.tiny, "gpu": gpu, "parts": results}, figures=figures)
    return 1 if failed else 0


def _run(name: str, check: Check) -> dict[str, Any]:
    print(f"{name} …", flush=True)
    started = time.monotonic()
    try:
        result = PARTS[name](check)
        verdict = "skipped" if "skipped" in result else "ok" if result["ok"] else "failed"
    except Exception as error:  # noqa: BLE001 - the next part runs whatever this one met
        traceback.print_exc()
        result, verdict = {"error": f"{type(error).__name__}: {error}"}, "failed"
    result |= {"verdict": verdict, "seconds": round(time.monotonic() - started, 1)}
    print(f"{name}: {result}", flush=True)
    return result


def _words(result: dict[str, Any]) -> str:
    """One line for the table; the JSON has the rest."""
    if "error" in result:
        return str(result["error"]).splitlines()[0][:70]
    if "identical" in result:
        return f"{result['identical']} of {result['streams']} identical, {result['moved']} moved"
    if "ratio" in result:
        speeds = result.get("tokens_per_second") or result["texts_per_second"]
        ours, theirs = (sorted(values)[len(values) // 2] for values in speeds.values())
        return f"{ours:,.0f}/s, alone {theirs:,.0f}/s: ratio {result['ratio']:.3f}"
    if "load" in result:
        return (
            f"{len(result['families'])} nv_gpu_ families, memory {result['load']['gpu_memory_used_bytes'] or 0:.3g} B"
        )
    return str(result.get("pytest") or result.get("skipped") or result.get("devices") or "")


if __name__ == "__main__":
    sys.exit(main())
