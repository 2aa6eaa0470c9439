"""The torch engine alone, in this process: reads jobs from standard input, one JSON line each, and answers with a line.

A job is `{"prompts": [[ids]], "length": n}`; all its prompts run at once. The answer is `{"tokens": n, "seconds": s}`.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from llm_engine.parameters import build
from llm_engine.request import Request
from llm_engine.torch_engine import TorchEngine, TorchOptions


class Counter:
    """A Sink that counts."""

    def __init__(self) -> None:
        self.tokens = 0
        self.error = ""
        self.over = threading.Event()

    def began(self, reused_blocks: int) -> None:
        """See Sink."""

    def token(self, token: int, *, last: bool, log_prob: float | None = None) -> None:
        """See Sink."""
        self.tokens += 1
        if last:
            self.over.set()

    def end(self) -> None:
        """See Sink."""
        self.over.set()

    def fail(self, message: str) -> None:
        """See Sink."""
        self.error = message
        self.over.set()


def run(engine: TorchEngine, prompts: Sequence[list[int]], length: int) -> dict[str, Any]:
    """All prompts at once, greedy."""
    started, sinks = time.monotonic(), [Counter() for _ in prompts]
    for key, (prompt, sink) in enumerate(zip(prompts, sinks, strict=True)):
        engine.submit(key, Request(input_ids=prompt, max_tokens=length, streaming=True, end_id=-1), sink)
    for sink in sinks:
        sink.over.wait()
    return {
        "tokens": sum(sink.tokens for sink in sinks),
        "seconds": time.monotonic() - started,
        "errors": [sink.error for sink in sinks if sink.error],
    }


def main() -> None:
    """Serve jobs until standard input ends."""
    engine = TorchEngine(build(TorchOptions, json.loads(sys.argv[1])), log=lambda text: print(text, file=sys.stderr))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(run(engine, job["prompts"], job["length"])), flush=True)
    engine.close()


if __name__ == "__main__":
    main()
