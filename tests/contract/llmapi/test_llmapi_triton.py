"""`llm`'s GPU flavours on a real Triton: the LLM API with the stand-in behind it, and the C++ backend's configuration."""

from __future__ import annotations

import json
import queue
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

from tests.contract.llmapi.standin_model import with_stand_in, write_model
from tests.contract.triton_server import TritonFailed, TritonServer, available
from tests.support import ports

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(not available(), reason="the wheel nvidia-pytriton is not installed"),
]

REPOSITORY = Path(__file__).parents[3] / "model_repository"
WAIT_S = 20.0


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("llmapi")
    repository, model = with_stand_in(folder / "repository"), write_model(folder / "model")
    settings = {"model_dir": str(model), "slots": 4, "max_context": 2048}
    environment = {"RAGFLEET_LLM_PARAMS": json.dumps(settings)}
    with TritonServer(
        repository, http_port=ports.LLMAPI, models=["llm"], config_name="llmapi", env=environment
    ) as server:
        yield server


def generate(triton: TritonServer, **fields: Any) -> list[dict[str, Any]]:
    """The events of Triton's HTTP generate_stream."""
    ids = fields.pop("input_ids")
    body = {"input_ids": ids, "input_lengths": len(ids), "request_output_len": 8, "streaming": True, **fields}
    request = urllib.request.Request(
        f"{triton.http_url}/v2/models/llm/generate_stream",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Connection": "close"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as response:
        lines = response.read().decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def load(triton: TritonServer, kind: str) -> float:
    return triton.gauge("nv_trt_llm_request_metrics", model="llm", request_type=kind)


def test_tokens_stream_one_by_one(triton: TritonServer) -> None:
    events = generate(triton, input_ids=[100, 101], end_id=-1)
    assert [event["output_ids"] for event in events if "output_ids" in event] == [
        102,
        103,
        104,
        105,
        106,
        107,
        108,
        109,
    ]
    assert all(event["sequence_length"] == 1 for event in events if "output_ids" in event)


def test_the_models_end_token_ends_the_stream(triton: TritonServer) -> None:
    events = generate(triton, input_ids=[4])
    assert [event["output_ids"] for event in events if "output_ids" in event] == [5, 6]


def test_a_bad_request_is_told_in_words(triton: TritonServer) -> None:
    body = {"input_ids": [4], "input_lengths": 1, "request_output_len": 4000, "streaming": True}
    status, text = triton.post("/v2/models/llm/generate_stream", body)
    assert status == 400
    assert "llm: bad request: request_output_len:" in text.decode()


def tensor(name: str, values: Any, kind: str) -> grpcclient.InferInput:
    array = np.array(values, dtype={"INT32": np.int32, "BOOL": np.bool_}[kind])
    made = grpcclient.InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array)
    return made


def inputs(prompt: list[int], length: int, *more: grpcclient.InferInput) -> list[grpcclient.InferInput]:
    return [
        tensor("input_ids", [prompt], "INT32"),
        tensor("input_lengths", [[len(prompt)]], "INT32"),
        tensor("request_output_len", [[length]], "INT32"),
        tensor("streaming", [[True]], "BOOL"),
        tensor("end_id", [[-1]], "INT32"),
        *more,
    ]


def test_stop_ends_the_running_request_and_the_load_is_told(triton: TritonServer) -> None:
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with grpcclient.InferenceServerClient(triton.grpc_url) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        client.async_stream_infer("llm", inputs([200], 1900), request_id="long", enable_empty_final_response=True)
        result, error = came.get(timeout=WAIT_S)
        assert error is None
        assert result.as_numpy("output_ids").tolist() == [[[201]]]
        assert eventually(lambda: load(triton, "active") == 1)
        blocks = triton.gauge("nv_trt_llm_kv_cache_block_metrics", model="llm", kv_cache_block_type="max")
        assert blocks == 512

        stop = inputs([200], 1, tensor("stop", [[True]], "BOOL"))
        with grpcclient.InferenceServerClient(triton.grpc_url) as second:
            stopped: queue.Queue[tuple[Any, Any]] = queue.Queue()
            second.start_stream(lambda result, error: stopped.put((result, error)))
            second.async_stream_infer("llm", stop, request_id="long", enable_empty_final_response=True)
            assert stopped.get(timeout=WAIT_S)[1] is None
            second.stop_stream()

        count = 1
        while not came.get(timeout=WAIT_S)[0].get_response().parameters["triton_final_response"].bool_param:
            count += 1
        assert count < 1900
        client.stop_stream()
    assert eventually(lambda: load(triton, "active") == 0 and load(triton, "waiting") == 0)


def test_a_client_that_leaves_frees_its_place(triton: TritonServer) -> None:
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with grpcclient.InferenceServerClient(triton.grpc_url) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        client.async_stream_infer("llm", inputs([300], 1900))
        came.get(timeout=WAIT_S)
        assert eventually(lambda: load(triton, "active") == 1)
        client.stop_stream(cancel_requests=True)
    assert eventually(lambda: load(triton, "active") == 0)


def test_only_the_backend_is_missing_for_the_tensorrtllm_flavour(tmp_path: Path) -> None:
    # Triton reads and checks a model's configuration before it looks for the backend's library.
    server = TritonServer(
        REPOSITORY, http_port=ports.TENSORRTLLM, models=["llm"], config_name="tensorrtllm",
        flags=["--disable-auto-complete-config"], log=tmp_path / "triton.log",
    )  # fmt: skip
    with pytest.raises(TritonFailed) as raised:
        server.start()
    assert "unable to find backend library for backend 'tensorrtllm'" in str(raised.value)
