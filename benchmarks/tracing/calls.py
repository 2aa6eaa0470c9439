"""Calls of functions for a request, which no load on the machine changes: a gateway in this process over fake Tritons."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from tests.support.running import Fleet, ask, make_tokenizer, settings_for

REQUESTS = 100
NOBODY = "http://127.0.0.1:9"
KINDS: Mapping[str, Mapping[str, Any]] = {
    "off": {},
    "on, not traced": {"trace_endpoint": NOBODY, "trace_sample": 0.0},
    "on, traced": {"trace_endpoint": NOBODY, "trace_sample": 1.0},
}


def count() -> dict[str, int]:
    """By what traces are: calls of Python's and C's functions in the event loop's thread for a streamed chat of 16 tokens."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # nobody receives the spans
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = make_tokenizer(Path(folder) / "tokenizer")
        return {name: asyncio.run(_least(Path(folder), tokenizer, more)) for name, more in KINDS.items()}


async def _least(folder: Path, tokenizer: Path, more: Mapping[str, Any]) -> int:
    counted = 0

    def seen(_: FrameType, event: str, __: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(Fleet(settings_for(folder, tokenizer, **more), instances=1))
        found = []
        for number in range(REQUESTS + 5):
            counted = 0
            sys.setprofile(seen)
            try:
                await fleet.post(ask("Hello?", stream=True))
            finally:
                sys.setprofile(None)
            if number >= 5:  # the first ones fill caches
                found.append(counted)
        return min(found)


if __name__ == "__main__":
    print(count())
