"""One suite for the fake index and the real one, and what only the real one has."""

import time
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import MilvusClient

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.embedder import FakeEmbedder
from gateway.knowledge.filters import file_filter, store_filter
from gateway.knowledge.index import ChunkIndex, MemoryIndex, MilvusIndex, Row

pytestmark = pytest.mark.fleet

NASTY = ["plain", 'quote "', "back\\", "' or 1==1 or '", '" or store != "', "line\nend", "tab\t", "ünï 🦔", "a%_b"]


def rows(store: str, file_id: str, *texts: str) -> list[Row]:
    return [Row(f"{file_id}:{at}", store, file_id, "n.md", at, text, 2, at, at + 1) for at, text in enumerate(texts)]


def put(index: ChunkIndex, *made: Row) -> None:
    index.upsert(made, FakeEmbedder().embed([row.text for row in made]))


@pytest.fixture
def collection() -> str:
    return f"test_{uuid4().hex}"


@pytest.fixture
def milvus(milvus_uri: str, collection: str) -> Iterator[MilvusIndex]:
    with closing(MilvusIndex(milvus_uri, collection=collection)) as index:
        yield index


@pytest.fixture
def client(milvus_uri: str) -> Iterator[MilvusClient]:
    with closing(MilvusClient(milvus_uri)) as client:
        yield client


@pytest.fixture(params=["memory", "milvus"])
def index(request: pytest.FixtureRequest) -> ChunkIndex:
    if request.param == "memory":
        return MemoryIndex()
    made: MilvusIndex = request.getfixturevalue("milvus")
    return made


def test_before_anything_was_written(index: ChunkIndex) -> None:
    assert index.count("demo") == 0
    index.delete_file("demo", "f")
    index.flush()
    index.upsert([], np.empty((0, 0), np.float32))
    assert index.count("demo") == 0


def test_rows_are_counted_at_once_and_after_a_flush(index: ChunkIndex) -> None:
    put(index, *rows("demo", "f1", "a", "b"), *rows("demo", "f2", "c"), *rows("other", "f3", "d"))
    for _ in range(2):
        assert (index.count("demo"), index.count("other"), index.count("none")) == (3, 1, 0)
        assert (index.count("demo", "f1"), index.count("demo", "f3")) == (2, 0)
        index.flush()


def test_writing_again_replaces(index: ChunkIndex) -> None:
    put(index, *rows("demo", "f1", "a", "b"))
    index.flush()
    put(index, *rows("demo", "f1", "a", "b"))
    assert index.count("demo") == 2


def test_deleting_takes_one_file(index: ChunkIndex) -> None:
    put(index, *rows("demo", "f1", "a", "b"), *rows("demo", "f2", "c"))
    index.flush()
    index.delete_file("demo", "f1")
    assert (index.count("demo"), index.count("demo", "f1"), index.count("demo", "f2")) == (1, 0, 1)


def test_names_with_special_characters_stay_apart(index: ChunkIndex) -> None:
    for number, store in enumerate(NASTY):
        put(index, *rows(store, f"file-{number}", "text"))
    index.flush()
    assert [index.count(store) for store in NASTY] == [1] * len(NASTY)
    index.delete_file(NASTY[4], "file-4")
    assert [index.count(store) for store in NASTY] == [1, 1, 1, 1, 0, 1, 1, 1, 1]


def test_the_collection_is_the_one_of_the_contract(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    put(milvus, *rows("demo", "f1", "a"))
    described = client.describe_collection(collection)
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == [
        "id", "store", "file_id", "filename", "index", "text", "page", "start", "end", "dense", "sparse",
    ]  # fmt: skip
    assert fields["id"]["is_primary"]
    assert fields["store"]["is_partition_key"]
    assert int(fields["dense"]["params"]["dim"]) == 384
    assert client.describe_index(collection, "dense")["metric_type"] == "COSINE"
    assert client.describe_index(collection, "sparse")["metric_type"] == "BM25"


def test_a_row_comes_back_as_it_went_in(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    row = Row("f1:7", 'de"mo', "f1", "sub/ñ.md", 7, "Title › Part\nthe body", 3, 40, 48)
    put(milvus, row)
    milvus.flush()
    names = ["id", "store", "file_id", "filename", "index", "text", "page", "start", "end"]
    (found,) = client.query(collection, file_filter(row.store, row.file_id), output_fields=names)
    assert Row(**{name: found[name] for name in names}) == row
    assert found["text"][row.start - row.end :] == "the body"


def test_both_searches_stay_in_their_store(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    put(milvus, *rows("one", "f1", "red apple", "green pear"), *rows("two", "f2", "red apple"))
    milvus.flush()
    only = store_filter("one")
    (vector,) = FakeEmbedder().embed(["red apple"])
    (dense,) = client.search(collection, [vector], anns_field="dense", filter=only, limit=5)
    assert [hit["id"] for hit in dense] == ["f1:0", "f1:1"]
    assert dense[0]["distance"] == pytest.approx(1, abs=1e-4)
    (words,) = client.search(collection, ["apple"], anns_field="sparse", filter=only, limit=5)
    assert [hit["id"] for hit in words] == ["f1:0"]


def test_stop_words_do_not_count(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    put(milvus, *rows("demo", "f1", "the hub and the light", "a valve of brass"))
    milvus.flush()
    assert client.search(collection, ["the and of a"], anns_field="sparse", limit=5)[0] == []
    (hits,) = client.search(collection, ["what is the light"], anns_field="sparse", limit=5)
    assert [hit["id"] for hit in hits] == ["f1:0"]


def test_a_restarted_milvus_has_the_collection_loaded_again(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    put(milvus, *rows("demo", "f1", "a", "b"))
    client.release_collection(collection)  # the state that Milvus Lite starts in
    assert milvus.count("demo") == 2
    client.release_collection(collection)
    milvus.delete_file("demo", "f1")
    put(milvus, *rows("demo", "f1", "c"))
    assert milvus.count("demo") == 1


def test_vectors_of_another_model_are_refused(milvus: MilvusIndex) -> None:
    put(milvus, *rows("demo", "f1", "a"))
    with pytest.raises(ValueError, match="384 dimensions"):
        milvus.upsert(rows("demo", "f2", "b"), FakeEmbedder(8).embed(["b"]))


def test_milvus_away_is_unavailable_in_time() -> None:
    start = time.monotonic()
    with pytest.raises(KnowledgeUnavailable, match=r"127\.0\.0\.1:9"):
        MilvusIndex("http://127.0.0.1:9", timeout_s=2)
    assert time.monotonic() - start < 10
