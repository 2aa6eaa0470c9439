"""`make bench-engine`: tokens per second through gateway and Triton, against llama.cpp called directly, 8 at once.

Both are up for the whole run and take turns (A B A B …) with the same prompts, the same number of tokens (no end before
it) and the same engine settings; the idle one uses no CPU. The ratio is taken pair by pair.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from typing import Any

from benchmarks.report import Figure, print_table, write_json
from build_scripts.tokenizer import default_gguf
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet, embedded, run_stoppable

QUESTIONS = (
    "Explain how a lighthouse works to a child who has never seen the sea.",
    "Write a short letter from a baker to a town that has forgotten bread.",
    "List the steps of repairing a bicycle tyre and why each one matters.",
    "Describe the difference between weather and climate with examples.",
    "Tell me about the history of paper and how it is made today.",
    "What should a new captain know before leaving the harbour?",
    "Compare a river and a road as ways to carry goods.",
    "Invent a game for two players with ten stones and explain it.",
)


def prompt_ids(fleet: EmbeddedFleet, messages: list[dict[str, str]]) -> list[int]:
    """The token ids that the fleet's own `prompt` model makes of a conversation."""
    inputs = [
        ("messages", "BYTES", json.dumps(messages)),
        ("passages", "BYTES", "[]"),
        ("max_prompt_tokens", "INT32", 1500),
        ("grounded", "BOOL", False),
    ]
    body = {"inputs": [{"name": n, "datatype": d, "shape": [1, 1], "data": [v]} for n, d, v in inputs]}
    url = f"http://127.0.0.1:{fleet.instances[0]['http_port']}/v2/models/prompt/infer"
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as response:
        outputs: list[dict[str, Any]] = json.load(response)["outputs"]
    ids: list[int] = next(o["data"] for o in outputs if o["name"] == "input_ids")
    return ids


async def through(
    client: Client, model: str, conversations: list[list[dict[str, str]]], tokens: int
) -> dict[str, float]:
    """All conversations at once through the gateway."""
    started = time.monotonic()
    seen = await asyncio.gather(
        *(client.ask(model, messages, max_tokens=tokens, min_tokens=tokens) for messages in conversations)
    )
    seconds = time.monotonic() - started
    if bad := [s.error for s in seen if not s.ok]:
        raise RuntimeError(f"{len(bad)} failed: {bad[0]}")
    return {"tokens": sum(s.completion_tokens for s in seen), "seconds": seconds}


async def measure(
    fleet: EmbeddedFleet, bare: "subprocess.Popen[str]", rounds: int, tokens: int
) -> dict[str, list[float]]:
    """Tokens per second of each, round by round; the first round only warms up."""
    assert bare.stdin is not None
    assert bare.stdout is not None
    speeds: dict[str, list[float]] = {"gateway + Triton": [], "llama.cpp": []}
    async with Client(fleet.port, fleet.key) as client:
        for number in range(rounds + 1):
            conversations = [[{"role": "user", "content": f"({number}) {q}"}] for q in QUESTIONS]
            ids = [prompt_ids(fleet, c) for c in conversations]
            ours = await through(client, fleet.model, conversations, tokens)
            bare.stdin.write(json.dumps({"prompts": ids, "max_tokens": tokens}) + "\n")
            bare.stdin.flush()
            theirs = json.loads(bare.stdout.readline())
            if theirs["tokens"] != ours["tokens"]:
                print(f"note: {ours['tokens']} tokens here, {theirs['tokens']} there", file=sys.stderr)
            if number:
                speeds["gateway + Triton"].append(ours["tokens"] / ours["seconds"])
                speeds["llama.cpp"].append(theirs["tokens"] / theirs["seconds"])
    return speeds


def main() -> int:
    """Run the rounds, print the table. 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--port-base", type=int, default=29000)
    args = parser.parse_args()
    with embedded(instances=1, port_base=args.port_base, env={"RAGFLEET_LLM_PARAMS": '{"n_threads": 2}'}) as fleet:
        argv = [sys.executable, "-m", "benchmarks.engine.bare", str(default_gguf()), "8", "2048", "2"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
            assert bare.stdout is not None
            assert bare.stdin is not None
            bare.stdout.readline()
            speeds = run_stoppable(measure(fleet, bare, args.rounds, args.tokens))
            bare.stdin.close()
            bare.wait(30)
    ratios = [a / b for a, b in zip(speeds["gateway + Triton"], speeds["llama.cpp"], strict=True)]
    print_table(
        f"Tokens per second, {len(QUESTIONS)} at once, {args.tokens} tokens each",
        ["path", "median", "min", "max"],
        [[name, statistics.median(v), min(v), max(v)] for name, v in speeds.items()],
    )
    ratio = statistics.median(ratios)
    print(f"ratio, median of {len(ratios)} pairs: {ratio:.3f} ({min(ratios):.3f} to {max(ratios):.3f}; bar 0.90)")
    ours, theirs = (statistics.median(each) for each in speeds.values())
    write_json(
        "engine",
        {"tokens_per_second": speeds, "ratios": ratios, "ratio": ratio, "bar_met": ratio >= 0.9},
        figures=[
            Figure("tokens per second through gateway and Triton", ours, "/s", "llama.cpp", theirs, ratio, at_least=0.9)
        ],
    )
    return 0 if ratio >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
