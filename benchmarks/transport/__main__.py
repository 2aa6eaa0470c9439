"""`make bench-transport`: CPU of the reading process per token, 16 streams of 64 tokens, one each 5 ms.

Our HTTP client (gateway/triton/llm.py, with and without gathering) and tritonclient's gRPC, in turn, in one process, from one
real Triton with the simulated engine. The decision that rests on it is in docs/transport.md.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
import uvloop

from benchmarks.report import Figure, print_table, write_json
from gateway.triton.connection import Pool
from gateway.triton.llm import GenerateRequest, TokenStreams
from tests.support.embedded_fleet import embedded

STREAMS, TOKENS = 16, 64
ENGINE = '{"decode_step_ms": 5, "decode_step_ms_per_sequence": 0, "slots": 16}'
PROMPT = list(range(200, 232))


async def over_http(port: int, gather_s: float) -> int:
    """All streams through our client; the number of tokens read."""
    streams = TokenStreams(Pool(), first_token_deadline_s=30, token_deadline_s=10, gather_s=gather_s)

    async def one(number: int) -> int:
        request = GenerateRequest(id=f"http-{number}", input_ids=PROMPT, request_output_len=TOKENS)
        stream = await streams.open("127.0.0.1", port, request)
        count = 0
        while ids := await stream.next():
            count += len(ids)
        stream.close()
        return count

    return sum(await asyncio.gather(*(one(n) for n in range(STREAMS))))


def _tensor(name: str, value: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", kind: str) -> triton.InferInput:
    tensor = triton.InferInput(name, list(value.shape), kind)
    tensor.set_data_from_numpy(value)
    return tensor


async def over_grpc(port: int) -> int:
    """All streams through tritonclient.grpc.aio, one gRPC stream each."""

    async def one(number: int) -> int:
        inputs = [
            _tensor("input_ids", np.array([PROMPT], np.int32), "INT32"),
            _tensor("input_lengths", np.array([[len(PROMPT)]], np.int32), "INT32"),
            _tensor("request_output_len", np.array([[TOKENS]], np.int32), "INT32"),
            _tensor("streaming", np.array([[True]]), "BOOL"),
        ]

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": "llm", "inputs": inputs, "request_id": f"grpc-{number}"}

        count = 0
        async for result, error in client.stream_infer(requests()):
            if error is not None:
                raise error
            ids = result.as_numpy("output_ids")
            count += 0 if ids is None else ids.size
            if count >= TOKENS:
                break
        return count

    async with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        return sum(await asyncio.gather(*(one(n) for n in range(STREAMS))))


def cost(run: Callable[[], Awaitable[int]]) -> float:
    """CPU microseconds of this process per token."""

    async def main() -> float:
        started = time.process_time()
        count = await run()
        assert count == STREAMS * TOKENS, f"{count} tokens came"
        return (time.process_time() - started) * 1e6 / count

    spent: float = uvloop.run(main())
    return spent


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--port-base", type=int, default=26000)
    args = parser.parse_args()
    figures: dict[str, list[float]] = {}
    with embedded(
        instances=1, flavour="simulated", port_base=args.port_base, env={"RAGFLEET_LLM_PARAMS": ENGINE}
    ) as fleet:
        http, grpc = fleet.instances[0]["http_port"], fleet.instances[0]["grpc_port"]
        ways: dict[str, Callable[[], Awaitable[int]]] = {
            "HTTP, ours, gathering 1 ms": lambda: over_http(http, 0.001),
            "HTTP, ours": lambda: over_http(http, 0.0),
            "gRPC, tritonclient.grpc.aio": lambda: over_grpc(grpc),
        }
        for number in range(args.rounds + 1):
            for name, run in ways.items():
                value = cost(run)
                if number:
                    figures.setdefault(name, []).append(value)
    base = statistics.median(figures["HTTP, ours"])
    print_table(
        "CPU of the reader per token, µs (16 streams, one token each 5 ms)",
        ["transport", "median", "min", "max", "× HTTP"],
        [[n, statistics.median(v), min(v), max(v), statistics.median(v) / base] for n, v in figures.items()],
    )
    theirs = statistics.median(figures["gRPC, tritonclient.grpc.aio"])
    write_json(
        "transport",
        {"us_per_token": figures},
        figures=[Figure("CPU of reading a token over HTTP", base, "µs", "gRPC, tritonclient", theirs, at_most=1)],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
