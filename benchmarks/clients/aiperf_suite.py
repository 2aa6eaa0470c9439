"""AIPerf, NVIDIA's load generator and the successor of GenAI-Perf, against each path that it knows and that is here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REQUESTS, TOKENS = 8, 32


@pytest.mark.parametrize("kind", ["chat", "completions", "responses", "embeddings"])
def test_no_request_of_a_run_fails(kind: str, tmp_path: Path) -> None:
    embeds = kind == "embeddings"
    model = os.environ["RAGFLEET_EMBEDDING_MODEL" if embeds else "RAGFLEET_MODEL"]
    command = [
        Path(sys.executable).with_name("aiperf"), "profile", "--ui", "none",
        "-m", model, "--endpoint-type", kind, *(() if embeds else ("--streaming",)),
        "--url", os.environ["RAGFLEET_URL"].removesuffix("/v1"), "--api-key", os.environ["RAGFLEET_KEY"],
        "--tokenizer", os.environ["RAGFLEET_TOKENIZER"],
        "--request-count", str(REQUESTS), "--concurrency", "4", "--random-seed", "1",
        "--synthetic-input-tokens-mean", "64", "--output-tokens-mean", str(TOKENS),
        "--output-artifact-dir", tmp_path,
    ]  # fmt: skip
    # When it is told to stay offline it looks for the tokenizer's folder in Hugging Face's cache.
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    subprocess.run(command, check=True, timeout=200, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL)
    run = json.loads((tmp_path / "profile_export_aiperf.json").read_text("utf-8"))
    assert run["is_complete"]
    assert run["request_count"]["avg"] == REQUESTS
    assert run["request_error_rate"]["avg"] == 0
    assert not run["error_summary"]
    if not embeds:
        assert run["time_to_first_token"]["count"] == REQUESTS
    # Of responses it reads the usage of completed ones alone, and these end at their limit.
    if kind in ("chat", "completions"):
        tokens = run["usage_completion_tokens"]
        assert (tokens["count"], tokens["max"]) == (REQUESTS, TOKENS)
