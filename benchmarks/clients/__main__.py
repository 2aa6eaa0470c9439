"""`make test-clients`: runs each suite in an environment of its own, and prints a table of what passed.

Environments lie in .cache/clients and are kept; a suite has ten minutes. Without --url an embedded fleet is started for it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from openai import OpenAI

from benchmarks.report import Figure, write_json
from ragfleet.paths import PROJECT
from tests.support.embedded_fleet import embedded

HERE = Path(__file__).parent
PYTEST = ("pytest==9.2.0", "pytest-asyncio==1.5.0")
SUITES: Mapping[str, tuple[str, ...]] = {
    "langchain": ("langchain-openai==1.7.4", "langchain-tests==1.1.9"),
    "pydantic_ai": ("pydantic-ai-slim[openai]==2.38.0",),
    "openai_agents": ("openai-agents==0.24.0",),
    "instructor": ("instructor==1.17.0",),
    "llama_index": ("llama-index-core==0.14.25", "llama-index-llms-openai-like==0.8.1"),
    "haystack": ("haystack-ai==3.4.1",),
    "guidellm": ("guidellm==0.8.1",),
    "aiperf": ("aiperf==0.13.0",),
    "ai_sdk": ("ai@7.0.173", "@ai-sdk/openai@4.0.118", "zod@4.6.7"),
}
IN_JAVASCRIPT = {"ai_sdk"}
BIG = {"guidellm", "aiperf"}
UV = "uv==0.13.9"
"""Installs them: pip tries versions of AIPerf's packages for longer than the bound."""
SUITE_S = 600
INSTALL_S = 600


@contextmanager
def _served(url: str, key: str, port_base: int) -> Iterator[tuple[str, str]]:
    if url:
        yield url, key
        return
    with embedded(instances=1, port_base=port_base) as fleet:
        yield f"http://127.0.0.1:{fleet.port}/v1", fleet.key


def _installed(name: str, packages: Sequence[str], *commands: Sequence[str | Path]) -> Path:
    """The folder of a suite's environment, which the commands make where there is none with these packages."""
    folder = PROJECT / ".cache" / "clients" / name
    done, wanted = folder / "installed.txt", "\n".join(packages)
    if not done.is_file() or done.read_text("utf-8") != wanted:
        print(f"{name}: installing {' '.join(SUITES[name])}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        for command in commands:
            subprocess.run(command, check=True, timeout=INSTALL_S, cwd=folder)
        done.write_text(wanted, "utf-8")
    return folder


def _pytest(name: str) -> list[str | Path]:
    """The command of a suite in Python."""
    packages = [*PYTEST, *SUITES[name]]
    pip = ["bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    ways = (
        [[*pip, UV], ["bin/uv", "pip", "install", "-q", "-p", "bin/python", *packages]]
        if name in BIG
        else [[*pip, *packages]]
    )
    folder = _installed(name, packages, [sys.executable, "-m", "venv", "--clear", "."], *ways)
    return [
        folder / "bin" / "python", "-m", "pytest", "-q", "--tb=short", "-rf", "-p", "no:cacheprovider", "-c", os.devnull,
        "--rootdir", HERE, "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session",
        "-o", "asyncio_default_test_loop_scope=session", HERE / f"{name}_suite.py",
    ]  # fmt: skip


def _node(name: str) -> list[str | Path]:
    """The command of a suite in JavaScript, which finds its packages where it lies."""
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", ".", *SUITES[name]]
    folder = _installed(name, SUITES[name], npm)
    suite = shutil.copy(HERE / f"{name}_suite.mjs", folder)
    return ["node", "--test", "--test-reporter=spec", f"--test-timeout={SUITE_S * 1000}", suite]


def _run(name: str, environment: Mapping[str, str]) -> tuple[str, bool]:
    """What a suite counts at its end, and whether all of it passed."""
    if name in IN_JAVASCRIPT and shutil.which("npm") is None:
        return "not run: there is no npm", True
    command = _node(name) if name in IN_JAVASCRIPT else _pytest(name)
    try:
        run = subprocess.run(
            command, env={**os.environ, **environment}, timeout=SUITE_S, text=True, capture_output=True, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not done within {SUITE_S} s", False
    if run.returncode:
        print(run.stdout[-8000:], run.stderr[-2000:], sep="\n", flush=True)
    if name in IN_JAVASCRIPT:
        counts = [f"{number} {word}ed" for word, number in re.findall(r"ℹ (pass|fail) (\d+)", run.stdout)]
    else:
        last = run.stdout.splitlines()[-1] if run.stdout else ""
        counts = re.findall(r"\d+ (?:passed|failed|skipped|xfailed|xpassed|error)", last)
    return ", ".join(counts) or "it did not run", run.returncode == 0


def main() -> int:
    """Exit status: 0 where all that ran has passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="without: all")
    parser.add_argument("--url", default="", help="of a gateway that runs, …/v1; without: an embedded fleet is started")
    parser.add_argument("--key", default="", help="for that gateway")
    parser.add_argument(
        "--tokenizer", type=Path, default=PROJECT / "var" / "models" / "smollm2", help="the model's folder"
    )
    parser.add_argument("--port-base", type=int, default=24800)
    given = parser.parse_args()
    with _served(given.url, given.key, given.port_base) as (url, key):
        models = OpenAI(base_url=url, api_key=key or "none").models.list().data
        model = models[0].id
        environment = {
            "RAGFLEET_URL": url,
            "RAGFLEET_KEY": key,
            "RAGFLEET_MODEL": model,
            "RAGFLEET_EMBEDDING_MODEL": models[-1].id,
            "RAGFLEET_TOKENIZER": str(given.tokenizer),
        }
        found = {name: _run(name, environment) for name in given.suites or SUITES}
    print(f"| suite | packages | {model} |\n|---|---|---|")
    for name, (counts, _) in found.items():
        print(f"| {name} | {', '.join(SUITES[name])} | {counts} |")
    failed = [name for name, (_, passed) in found.items() if not passed]
    claim = Figure(f"suites of {len(found)} frameworks that failed", len(failed), at_most=0)
    write_json(
        "clients", {"suites": {name: counts for name, (counts, _) in found.items()}, "failed": failed}, figures=[claim]
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
