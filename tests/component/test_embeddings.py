"""`/v1/embeddings`: texts and tokens, numbers and base64, and what happens when an instance fails."""

import base64
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from gateway.knowledge.chunking import embedding_folder
from gateway.retrieval.embedding import passes
from gateway.triton.fake_answers import DIMENSION, Script, vector_of
from tests.support.running import EMBEDDING, Fleet

PATH = "/v1/embeddings"


async def _vectors(fleet: Fleet, given: Any, **fields: Any) -> list[list[float]]:
    reply = await fleet.post({"model": EMBEDDING, "input": given, **fields}, path=PATH)
    assert reply.status == 200, reply.raw
    assert [each["index"] for each in reply.json["data"]] == list(range(len(reply.json["data"])))
    return [each["embedding"] for each in reply.json["data"]]


async def test_one_text(fleet: Fleet) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": "Thirty days."}, path=PATH)
    (item,) = reply.json["data"]
    assert item["object"] == "embedding"
    assert item["embedding"] == pytest.approx(vector_of("Thirty days."))
    assert reply.json["model"] == EMBEDDING
    assert reply.json["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_more_texts_than_one_batch_takes_keep_their_order(fleet: Fleet) -> None:
    texts = [f"text {n}" for n in range(150)]
    vectors = await _vectors(fleet, texts)
    assert vectors == [pytest.approx(vector_of(text)) for text in texts]
    assert len(fleet.calls("embedding")) == 3


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=200), st.integers(1, 200))
def test_passes_have_every_piece_once_and_are_small(pieces: list[str], most: int) -> None:
    found = passes(pieces, most)
    assert [at for part in found for at in part] == list(range(len(pieces)))
    for part in found:
        assert 1 <= len(part) <= 64
        assert len(part) == 1 or sum(len(pieces[at]) for at in part) <= most


async def test_what_needs_several_passes_lets_other_requests_go_before(fleet: Fleet) -> None:
    await _vectors(fleet, ["word " * 50] * 24)
    await _vectors(fleet, "Thirty days.")
    *bulk, single = fleet.calls("embedding")
    assert len(bulk) == 3
    assert [call.body.get("parameters") for call in bulk] == [{"priority": 2}] * 3
    assert "parameters" not in single.body


async def test_base64_is_the_same_vector(fleet: Fleet) -> None:
    (raw,) = await _vectors(fleet, "Thirty days.", encoding_format="base64")
    values = struct.unpack(f"<{DIMENSION}f", base64.b64decode(str(raw)))
    assert values == pytest.approx(vector_of("Thirty days."))


async def test_tokens_are_those_of_the_embedding_model(fleet: Fleet) -> None:
    tokenizer = Tokenizer.from_file(str(embedding_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in ("thirty days", "a receipt")]
    one = await _vectors(fleet, ids[0])
    two = await _vectors(fleet, ids)
    assert one == [pytest.approx(vector_of("thirty days"))]
    assert two == [*one, pytest.approx(vector_of("a receipt"))]


async def test_long_text_is_embedded_whole_in_pieces(fleet: Fleet) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": "one two three four " * 200}, path=PATH)
    assert reply.json["usage"]["total_tokens"] == 800
    (item,) = reply.json["data"]
    assert sum(value**2 for value in item["embedding"]) == pytest.approx(1, abs=1e-5)
    words = [
        word for call in fleet.calls("embedding") for text in call.body["inputs"][0]["data"] for word in text.split()
    ]
    assert sorted(words) == sorted(["one", "two", "three", "four"] * 200)


async def test_other_instance_is_asked_when_one_fails(fleet: Fleet) -> None:
    fleet.answers.script("embedding", Script(status=500, error="out of memory"), Script(reset_after=0))
    assert await _vectors(fleet, "Thirty days.") == [pytest.approx(vector_of("Thirty days."))]
    assert len(fleet.calls("embedding")) == 3


async def test_only_instances_with_that_model_are_asked(fleet: Fleet) -> None:
    first, second = fleet.tritons
    fleet.change(first, instance=replace(fleet.member(first).instance, embedding_model="other"))
    for _ in range(6):
        await _vectors(fleet, "Thirty days.")
    assert (len(first.made("embedding")), len(second.made("embedding"))) == (0, 6)


async def test_every_instance_is_full(fleet: Fleet) -> None:
    for triton in fleet.tritons:
        triton.always["embedding"] = Script(status=503, error="Exceeds maximum queue size")
    reply = await fleet.post({"model": EMBEDDING, "input": "x"}, path=PATH)
    assert reply.status == 503
    assert "retry-after" in reply.headers
    assert not fleet.gateway.detector.ejected()


async def test_model_is_listed(fleet: Fleet) -> None:
    assert EMBEDDING in [model["id"] for model in (await fleet.get("/v1/models")).json["data"]]


async def test_gateway_without_the_tokenizer_says_what_is_missing(start: Any, tmp_path: Path) -> None:
    fleet = await start(embedding_dir=tmp_path)
    reply = await fleet.post({"model": EMBEDDING, "input": "x"}, path=PATH)
    assert reply.status == 503
    assert "RAGFLEET_EMBEDDING_DIR" in reply.error["message"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "tiny"}, 404, "model"),
        ({"input": ""}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": ["x", ""]}, 400, "input.1"),
        ({"input": ["x"] * 2049}, 400, "input"),
        ({"input": [2**30]}, 400, "input"),
        ({"input": [["x"]]}, 400, "input"),
        ({"input": {"text": "x"}}, 400, "input"),
        ({"dimensions": 0}, 400, "dimensions"),
        ({"encoding_format": "int8"}, 400, "encoding_format"),
        ({"surprise": 1}, 400, "surprise"),
    ],
)
async def test_what_is_refused(fleet: Fleet, fields: dict[str, Any], status: int, param: str) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": "x", **fields}, path=PATH)
    assert reply.status == status
    assert (reply.error["param"] or "").startswith(param)
    assert not fleet.calls("embedding")


async def test_key_is_asked_for(start: Any) -> None:
    fleet = await start(api_key="secret")
    assert (await fleet.post({"model": EMBEDDING, "input": "x"}, path=PATH)).status == 401


@pytest.mark.parametrize(("dimensions", "status"), [(3, 400), (8, 200)])
async def test_dimensions_are_the_models_own(fleet: Fleet, dimensions: int, status: int) -> None:
    reply = await fleet.post({"model": EMBEDDING, "input": "x", "dimensions": dimensions}, path=PATH)
    assert reply.status == status
    if status == 200:
        assert len(reply.json["data"][0]["embedding"]) == dimensions
    else:
        assert (reply.error["param"], reply.error["code"]) == ("dimensions", "unsupported_value")
