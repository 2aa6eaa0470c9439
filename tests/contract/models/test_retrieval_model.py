"""`retrieval` in a real Triton on a real Milvus Lite, also when that is gone."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from tests.contract.models.conftest import DIARY, TEXTS, Infer, MilvusServer
from tests.contract.triton_server import TritonServer

Search = Callable[..., list[dict[str, Any]]]

pytestmark = pytest.mark.timeout(240)  # the first test waits for everything to start


@pytest.fixture(scope="session")
def search(infer: Infer) -> Search:
    """`search(question, **inputs)` with the question's own vector, in store "a"."""

    def call(question: str, **changes: Any) -> list[dict[str, Any]]:
        inputs: dict[str, Any] = {
            "query": question,
            "embedding": infer("embedding", text=question)["embedding"],
            "collection": "ragfleet_chunks",
            "filter": 'store == "a"',
            "top_k": 3,
            "min_score": -1.0,
            "rerank": False,
            **changes,
        }
        passages: list[dict[str, Any]] = json.loads(infer("retrieval", **inputs)["passages"][0, 0])
        return passages

    return call


def names(passages: list[dict[str, Any]]) -> list[str]:
    return [passage["filename"] for passage in passages]


def test_the_vector_finds_what_is_meant(search: Search, embed: Callable[[list[str]], NDArray[np.float32]]) -> None:
    question = "What is the depth of the shaft with water?"
    passages = search(question)

    assert passages[0] == {
        "id": "a/a-well.md/0",
        "store": "a",
        "file_id": "a-well.md",
        "filename": "well.md",
        "index": 0,
        "text": TEXTS["well.md"],
        "score": passages[0]["score"],
        "page": 2,
        "start": 0,
        "end": len(TEXTS["well.md"]),
        "attributes": {"kind": "note"},
    }
    asked, found = embed([question, TEXTS["well.md"]])
    assert passages[0]["score"] == pytest.approx(float(asked @ found), abs=1e-4)
    assert len(passages) == 3


def test_the_words_find_what_a_vector_does_not(
    search: Search, embed: Callable[[list[str]], NDArray[np.float32]]
) -> None:
    """A vector that means tea, and a code that only BM25 knows: the fusion has both in front."""
    passages = search("QX-7781", embedding=embed([TEXTS["tea.md"]]), top_k=2)
    assert set(names(passages)) == {"code.md", "tea.md"}


@pytest.mark.parametrize(
    ("ranking", "first"),
    [
        ({"ranker": "dense"}, "tea.md"),
        ({"ranker": "bm25"}, "code.md"),
        ({"dense_weight": 0.9}, "tea.md"),
        ({"dense_weight": 0.1}, "code.md"),
        ({"ranker": "rrf"}, "code.md"),  # the only one that both searches find
    ],
)
def test_the_ranking_is_the_callers_choice(
    search: Search,
    embed: Callable[[list[str]], NDArray[np.float32]],
    ranking: dict[str, Any],
    first: str,
) -> None:
    assert names(search("QX-7781", embedding=embed([TEXTS["tea.md"]]), **ranking))[0] == first


def test_the_search_ensemble_needs_the_question_only(infer: Infer, search: Search) -> None:
    question = "How deep is the old well behind the library?"
    inputs = {
        "query": question,
        "collection": "ragfleet_chunks",
        "filter": 'store == "a"',
        "top_k": 3,
        "min_score": -1.0,
        "rerank": False,
    }
    assert json.loads(infer("search", **inputs)["passages"][0, 0]) == search(question)
    by_words = json.loads(infer("search", **inputs, ranker="bm25")["passages"][0, 0])
    assert by_words == search(question, ranker="bm25")
    assert names(by_words)[0] == "well.md"


def test_a_filter_keeps_stores_apart(search: Search) -> None:
    passages = search("well", filter='store == "b"', top_k=10)
    assert [passage["id"] for passage in passages] == ["b/b-well.md/0"]
    assert search("well", filter='store == "none"') == []


def test_weak_passages_are_left_out(search: Search) -> None:
    assert names(search("How deep is the old well behind the library?", min_score=0.5)) == ["well.md"]
    assert search("zebra astronomy", min_score=0.9) == []


def test_a_code_is_found_under_the_threshold(search: Search) -> None:
    assert names(search("Where is QX 7781?", min_score=0.99)) == ["code.md"]
    assert search("Where is QX-7782?", min_score=0.99) == []


def test_a_question_behind_a_long_mail_is_found_by_its_sentence(search: Search) -> None:
    mail = (
        "Thank you for the quick delivery last month; my colleagues were happy with how well all of it was packed. " * 6
    )
    question = "How deep is the old well behind the library?"
    (alone,) = search(question, top_k=1)
    (found,) = search(mail + question, top_k=1)
    assert found["filename"] == "well.md"
    assert found["score"] == pytest.approx(alone["score"], abs=1e-3)


def test_optional_inputs_have_defaults(infer: Infer) -> None:
    vector = np.zeros((1, 384), np.float32)
    assert json.loads(infer("retrieval", query="x", embedding=vector)["passages"][0, 0]) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"collection": "nowhere"}, "retrieval: not found: collection 'nowhere'"),
        ({"filter": "store ==== 1"}, "retrieval: bad query: "),
        ({"ranker": "best"}, "retrieval: bad query: ranker 'best' is none of minmax, rrf, dense, bm25"),
    ],
)
def test_mistakes_are_told(search: Search, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InferenceServerException) as failure:
        search("well", **changes)
    assert str(failure.value.message()).startswith(message)


def test_a_hit_comes_with_its_neighbours_from_milvus(search: Search) -> None:
    wish = {"filter": 'store == "c"', "top_k": 1}
    (alone,) = search("What did the heron eat at the pond?", **wish)
    assert (alone["index"], alone["text"]) == (1, f"Diary\n{DIARY[1]}")
    assert "hit" not in alone

    (passage,) = search("What did the heron eat at the pond?", **wish, neighbours=1)
    assert passage["text"] == "Diary\n" + "\n".join(DIARY[:3])
    assert (passage["id"], passage["score"]) == (alone["id"], alone["score"])
    assert (passage["start"], passage["end"]) == (0, len(" ".join(DIARY[:3])))
    assert (passage["page"], passage["last_page"]) == (1, 3)
    assert passage["hit"] == {
        "text": alone["text"], "page": 2, "last_page": 2, "start": alone["start"], "end": alone["end"]
    }  # fmt: skip


def test_hits_that_touch_are_one_passage(search: Search) -> None:
    (passage,) = search("the heron and the ladder", filter='store == "c"', top_k=4, neighbours=0)
    assert passage["text"] == "Diary\n" + "\n".join(DIARY)
    assert len(search("the heron and the ladder", filter='store == "c"', top_k=4)) == 4


def test_a_copy_in_another_store_is_given_once(search: Search) -> None:
    passages = search("How deep is the old well?", filter='store in ["a", "b"]', top_k=10)
    assert sorted(names(passages)) == sorted(TEXTS)


def test_the_cross_encoder_orders_what_was_found(search: Search, rerank_dir: Path) -> None:
    import torch  # not above: each process that collects tests would take seconds for it
    from sentence_transformers import CrossEncoder

    question = "How deep is the old well behind the library?"
    passages = search(question, rerank=True, top_k=4)
    scores = CrossEncoder(str(rerank_dir), local_files_only=True).predict(
        [(question, passage["text"]) for passage in passages], activation_fn=torch.nn.Sigmoid()
    )
    assert [passage["rerank_score"] for passage in passages] == pytest.approx(scores.tolist(), abs=1e-4)
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    assert sorted(names(passages)) == sorted(names(search(question, top_k=4)))
    assert not any("rerank_score" in passage for passage in search(question))


def test_a_cross_encoder_that_is_late_says_so_and_rerankings_are_counted(
    search: Search, infer: Infer, triton: TritonServer
) -> None:
    texts = np.array([[text.encode() for text in [*TEXTS.values(), *DIARY] * 4]], np.object_)
    assert infer("rerank", query="well", texts=texts)["scores"].shape == (1, 32)
    with pytest.raises(InferenceServerException, match=r"rerank: late: no time for any of 32 texts"):
        infer("rerank", query="well", texts=texts, deadline_ms=0)

    search("well", rerank=True)
    counted = dict(re.findall(r'ragfleet_rerank\{outcome="(\w+)"\} (\d+)', triton.metrics()))
    assert int(counted["done"]) + int(counted["partly"]) >= 1
    assert (counted["late"], counted["failed"]) == ("0", "0")


def test_milvus_frozen_is_an_error_within_the_deadline_and_does_not_block_the_rest(
    search: Search, infer: Infer, milvus: MilvusServer
) -> None:
    milvus.send(signal.SIGSTOP)
    try:
        with pytest.raises(InferenceServerException, match=r"retrieval: unavailable: .* did not answer within 5 s"):
            search("frozen")
    finally:
        milvus.send(signal.SIGCONT)
    assert names(search("old well", top_k=1)) == ["well.md"]


def test_milvus_gone_is_an_error_at_once_and_its_return_is_noticed(search: Search, milvus: MilvusServer) -> None:
    milvus.kill()
    try:
        for _ in range(3):  # both instances
            with pytest.raises(InferenceServerException, match="retrieval: unavailable: "):
                search("gone")
    finally:
        milvus.start()

    until = time.monotonic() + 20
    while True:
        try:
            assert names(search("old well", top_k=1)) == ["well.md"]
            break
        except InferenceServerException:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    for _ in range(4):
        assert names(search("old well", top_k=1)) == ["well.md"]
