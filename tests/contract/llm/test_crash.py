"""An engine that crashes: what its clients and its worker see."""

import contextlib
import json
import time
from http.client import IncompleteRead
from pathlib import Path

import pytest

from tests.contract import triton_server
from tests.contract.llm.llm_client import GrpcClient, HttpClient, Llm, Refused
from tests.contract.triton_server import TritonServer
from tests.support import ports

REPOSITORY = Path(__file__).parents[3] / "model_repository"


@pytest.mark.skipif(not triton_server.available(), reason="tritonserver is not installed: pip install nvidia-pytriton")
@pytest.mark.parametrize("client", [HttpClient, GrpcClient])
def test_a_crash_ends_its_streams_and_its_server(client: type[HttpClient] | type[GrpcClient]) -> None:
    """Triton alone would stay "ready", with streams that never end."""
    env = {"RAGFLEET_LLM_PARAMS": json.dumps({"die_at_token": 5, "decode_step_ms": 20})}
    with TritonServer(REPOSITORY, http_port=ports.CRASHING, models=["llm"], config_name="simulated", env=env) as triton:
        llm = Llm("simulated", triton, client(triton))
        began, tokens = time.monotonic(), list[int]()
        # What a broken connection looks like is the client's own affair; http.client takes it for an end.
        with contextlib.suppress(Refused, OSError, IncompleteRead):
            tokens.extend(token for response in llm.open(length=200) for token in response.ids)
        assert len(tokens) <= 5
        llm.calls[0].close()
        while triton.running and time.monotonic() - began < 10:
            time.sleep(0.05)
        assert not triton.running
