"""guidellm, the load generator of the vLLM project, against each path that it knows and that is here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REQUESTS, TOKENS = 12, 32
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")


@pytest.mark.parametrize("path", PATHS)
def test_no_request_of_a_run_fails(path: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    embeds = path == "/v1/embeddings"
    model = os.environ["RAGFLEET_EMBEDDING_MODEL" if embeds else "RAGFLEET_MODEL"]
    target, key = os.environ["RAGFLEET_URL"].removesuffix("/v1"), os.environ["RAGFLEET_KEY"]
    command = [
        Path(sys.executable).with_name("guidellm"), "run", "--disable-console",
        "--backend", f"kind=openai_http,target={target},api_key={key},model={model},request_format={path}",
        "--profile", "kind=concurrent,streams=4",
        "--constraint", f"kind=max_requests,count={REQUESTS}",
        "--tokenizer", f"kind=huggingface_auto,model={os.environ['RAGFLEET_TOKENIZER']}",
        "--data", f"kind=synthetic_text,prompt_tokens=64,output_tokens={TOKENS}",
        "--output", f"kind=json,path={report}",
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=200)
    (run,) = json.loads(report.read_text("utf-8"))["benchmarks"]
    found = run["metrics"]["request_totals"]
    assert (found["errored"], found["incomplete"]) == (0, 0), found
    assert found["successful"] >= REQUESTS - 1  # of requests without a stream it does not count the first one
    if not embeds:
        tokens = run["metrics"]["output_token_count"]["successful"]
        assert (tokens["min"], tokens["max"]) == (TOKENS, TOKENS), "ignore_eos holds, and usage says so"
        assert run["metrics"]["time_to_first_token_ms"]["successful"]["count"] == found["successful"]
