"""`ragfleet setup`: what the fleet needs beside Python packages. What is there already is skipped."""

from collections.abc import Callable
from pathlib import Path

from ragfleet import consul_binary
from ragfleet.consul_binary import ConsulMissingError, Found
from ragfleet.download import Progress
from ragfleet.paths import Home


class PrepareError(Exception):
    """Something could not be had; the text says what to do."""


def prepare(home: Home, cache: Path, say: Callable[[str], None], progress: Progress | None = None) -> None:
    """Consul into the cache, the tokenizer and chat template into the state folder. Raises PrepareError."""
    from build_scripts import tokenizer  # numpy, tokenizers: slow, and of no use to the other commands

    try:
        found: Found = consul_binary.obtain(cache, progress)
    except ConsulMissingError as error:
        raise PrepareError(str(error)) from error
    say(f"Consul: {found.path} ({found.origin})")
    try:
        made = tokenizer.prepare(home.tokenizer)
    except tokenizer.PreparationFailed as error:
        raise PrepareError(f"The tokenizer could not be made: {error}") from error
    say(f"Tokenizer: {home.tokenizer} ({'made from the model file' if made else 'there already'})")
