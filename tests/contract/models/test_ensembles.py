"""`context` and `rag` end to end: real embedding, real Milvus Lite, real prompt; `llm` is its simulated flavour."""

from __future__ import annotations

import json
import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from tests.contract.models.conftest import DIARY, SIGNER, TEXTS, Infer, tensors
from tests.contract.triton_server import TritonServer
from tokens import TokenTable

pytestmark = pytest.mark.timeout(240)  # the first test waits for everything to start


@pytest.fixture
def asked() -> dict[str, Any]:
    question = "How deep is the old well behind the library?"
    return {
        "messages": json.dumps([{"role": "user", "content": question}]),
        "query": question,
        "collection": "ragfleet_chunks",
        "filter": 'store == "a"',
        "top_k": 3,
        "min_score": 0.3,
        "max_prompt_tokens": 1000,
        "grounded": True,
        "rerank": False,
    }


SIGNATURES = {
    "none": "",
    "made up": "v1.9999999999.00",
    "of another filter": SIGNER.sign("ragfleet_chunks", 'store == "b"'),
}


@pytest.mark.parametrize("signature", SIGNATURES.values(), ids=SIGNATURES.keys())
def test_another_tenants_rows_cannot_be_had_without_the_gateways_signature(infer: Infer, signature: str) -> None:
    """Whoever reaches Triton asks for everything."""
    wish = {"query": "well", "collection": "ragfleet_chunks", "filter": 'tenant != ""', "top_k": 9, "min_score": -1.0}
    for model, more in (
        ("search", {}),
        ("context", {"messages": "[]", "max_prompt_tokens": 100, "grounded": True}),
    ):
        with pytest.raises(InferenceServerException, match="retrieval: filter refused:"):
            infer(model, **wish, **more, filter_signature=signature)


def test_context_gives_the_prompt_and_its_sources(infer: Infer, table: TokenTable, asked: dict[str, Any]) -> None:
    result = infer("context", **asked)

    used = json.loads(result["used"][0, 0])
    assert (used[0]["n"], used[0]["filename"]) == (1, "well.md")
    text = table.decode(result["input_ids"][0].tolist())
    assert TEXTS["well.md"] in text
    assert text.index(TEXTS["well.md"]) < text.rindex("How deep is the old well")
    assert result["input_lengths"].tolist() == [[result["input_ids"].shape[1]]]


def test_context_takes_the_way_of_searching(infer: Infer, table: TokenTable, asked: dict[str, Any]) -> None:
    diary = {**asked, "query": "What did the heron eat?", "filter": 'store == "c"', "min_score": 0.0, "top_k": 1}
    (one,) = json.loads(infer("context", **diary)["used"][0, 0])
    assert one["text"].endswith(DIARY[1])

    result = infer("context", **diary, ranker="bm25", dense_weight=0.25, neighbours=1)
    (joined,) = json.loads(result["used"][0, 0])
    assert (joined["index"], joined["page"], joined["last_page"]) == (1, 1, 3)
    assert "hit" not in joined
    text = table.decode(result["input_ids"][0].tolist())
    assert all(sentence in text for sentence in DIARY[:3])

    room = int(result["input_lengths"][0, 0]) - 1
    (narrow,) = json.loads(infer("context", **{**diary, "max_prompt_tokens": room}, neighbours=1)["used"][0, 0])
    assert (narrow["text"], narrow["page"]) == (one["text"], 2)


def test_context_without_a_collection_is_the_bare_conversation(infer: Infer, asked: dict[str, Any]) -> None:
    bare = infer("context", **{**asked, "collection": "", "grounded": False})
    alone = infer("prompt", messages=asked["messages"], max_prompt_tokens=1000)
    assert bare["input_ids"].tolist() == alone["input_ids"].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"collection": "nowhere"}, "retrieval: not found: collection 'nowhere'"),
        ({"max_prompt_tokens": 5}, "prompt: too long: "),
        ({"messages": "nonsense"}, "prompt: bad messages: "),
    ],
)
def test_a_steps_error_comes_through(
    infer: Infer, asked: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InferenceServerException) as failure:
        infer("context", **{**asked, **changes})
    assert failure.value.message().startswith(f"in ensemble 'context', {message}")


def stream(triton: TritonServer, inputs: dict[str, Any], request_id: str) -> tuple[list[str], list[int]]:
    """The texts and the ids of all responses of one gRPC stream."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    with triton_grpc.InferenceServerClient(triton.grpc_url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("rag", tensors(inputs), request_id=request_id, enable_empty_final_response=True)
        texts: list[str] = []
        ids: list[int] = []
        while True:
            result, error = answers.get(timeout=20)
            if error:
                raise error
            if (text := result.as_numpy("text")) is not None:
                texts.append(text[0, 0].decode())
                ids += result.as_numpy("output_ids").reshape(-1).tolist()
            if result.get_response().parameters["triton_final_response"].bool_param:
                client.stop_stream()
                return texts, ids


def test_rag_streams_an_answer(triton: TritonServer, table: TokenTable, asked: dict[str, Any]) -> None:
    inputs = {**asked, "request_output_len": 24, "streaming": True, "seed": np.array([[7]], np.uint64)}
    texts, ids = stream(triton, inputs, "rag-stream")

    assert len(ids) == 24
    assert len(texts) > 4
    # An answer that stops within a character: that beginning of one is never shown.
    assert table.decode(ids).startswith("".join(texts))
    assert len(table.decode(ids).removeprefix("".join(texts)).replace("\ufffd", "")) == 0


def test_rag_streamed_and_at_once_are_the_same_answer(
    triton: TritonServer, table: TokenTable, asked: dict[str, Any]
) -> None:
    inputs = {**asked, "request_output_len": 16, "seed": np.array([[3]], np.uint64)}
    _, streamed = stream(triton, {**inputs, "streaming": True}, "rag-same")
    texts, whole = stream(triton, inputs, "")
    assert whole == streamed
    assert texts == [table.decode(whole)]


def test_rag_tells_why_it_cannot(triton: TritonServer, asked: dict[str, Any]) -> None:
    with pytest.raises(InferenceServerException, match="retrieval: not found: collection 'nowhere'"):
        stream(triton, {**asked, "collection": "nowhere", "request_output_len": 4}, "rag-lost")
