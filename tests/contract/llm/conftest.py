"""One Triton for each flavour of `llm`, and a client for each transport."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from llm_engine.gguf_file import open_with_ids
from llm_engine.llama_model import find_gguf
from tests.contract import triton_server
from tests.contract.llm.llm_client import CONTEXT, HELLO, QUEUE, SLOTS, GrpcClient, HttpClient, Llm
from tests.contract.llmapi.standin_model import with_stand_in, write_model
from tests.contract.triton_server import TritonServer
from tests.support import ports
from tests.support.running import make_tokenizer
from tests.support.tiny_llama import make_llama
from tokens import TokenTable

REPOSITORY = Path(__file__).parents[3] / "model_repository"
SETTINGS: dict[str, dict[str, Any]] = {
    "simulated": {"decode_step_ms": 10, "decode_step_ms_per_sequence": 0, "kv_blocks": 128},
    # Several threads of llama.cpp on cores that other tests use too would wait for each other.
    "llamacpp": {"n_threads": 1},
    "llmapi": {},
    # On a GPU this model would be done before anybody can look at its queue, were its steps replayed as graphs.
    "torch": {"n_threads": 1, "dtype": "float32", "cuda_graphs": False},
}

# pytest orders tests by the number of a parameter: that of a flavour is the same in each list (test_guided_contract.py).
FLAVOURS = ["simulated", "llamacpp", "torch", "llmapi"]


@pytest.fixture(scope="session", params=FLAVOURS)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, TritonServer]]:
    """A flavour and its server, for the whole session."""
    if not triton_server.available():
        pytest.skip("tritonserver is not installed: pip install nvidia-pytriton")
    flavour: str = request.param
    folder, repository = tmp_path_factory.mktemp(flavour), REPOSITORY
    settings = SETTINGS[flavour] | {"slots": SLOTS, "max_queue_size": QUEUE, "max_context": CONTEXT}
    if flavour == "llmapi":
        repository = with_stand_in(folder / "repository")
        settings["model_dir"] = str(write_model(folder / "model"))
    elif flavour == "torch":
        settings["model_dir"] = str(make_llama(folder / "model", prompt=HELLO))
        make_tokenizer(folder / "model")
    elif flavour == "simulated":
        settings["tokenizer_dir"] = str(make_tokenizer(folder / "tokenizer"))
    triton = TritonServer(
        repository,
        http_port=ports.LLM[flavour],
        models=["llm"],
        config_name="" if flavour == "llamacpp" else flavour,
        env={"RAGFLEET_LLM_PARAMS": json.dumps(settings)},
        log=folder / "triton.log",
    )
    with triton:
        yield flavour, triton
        assert triton.stop(), "it did not end by itself: a thread of the model lives on"
    assert " E " not in triton.log_text()


@pytest.fixture(scope="session")
def spelled(served: tuple[str, TritonServer], tmp_path_factory: pytest.TempPathFactory) -> Sequence[bytes]:
    """What each id of the flavour's vocabulary spells."""
    if served[0] != "llamacpp":
        return TokenTable.load(make_tokenizer(tmp_path_factory.mktemp("tokenizer"))).bytes_of
    copy, vocabulary = open_with_ids(find_gguf("", {}))
    os.close(copy)
    return vocabulary.token_bytes()


@pytest.fixture(params=["grpc", "http"])
def llm(request: pytest.FixtureRequest, served: tuple[str, TritonServer], spelled: Sequence[bytes]) -> Iterator[Llm]:
    """Each flavour over each transport."""
    flavour, triton = served
    client = GrpcClient(triton) if request.param == "grpc" else HttpClient(triton)
    made = Llm(flavour, triton, client, spelled)
    yield made
    for call in made.calls:
        call.close()
