"""One suite for the fake index and the real one, and what only the real one has."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import DataType, Function, FunctionType, MilvusClient

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.embedder import FakeEmbedder
from gateway.knowledge.index import ChunkIndex, MemoryIndex, MilvusIndex, Owner, Row, RowsRefused, collection_name
from gateway.knowledge.index.schema import ANALYZER, collection_schema
from tokens.keywords import keyword_query

pytestmark = pytest.mark.fleet

NASTY = ["plain", 'quote "', "back\\", "' or 1==1 or '", '" or tenant != "', "line\nend", "tab\t", "ünï 🦔", "a%_b"]


def rows(file_id: str, *texts: str, tenant: str = "acme", store: str = "vs_1", generation: int = 1) -> list[Row]:
    return [
        Row(
            tenant=tenant, store=store, file_id=file_id, filename="n.md", index=at, text=text, page=2, start=at, end=at + 1,
            attributes={"year": 2020 + at}, generation=generation,
        )
        for at, text in enumerate(texts)
    ]  # fmt: skip


def owner(file_id: str | None = None, *, tenant: str = "acme", store: str = "vs_1") -> Owner:
    return Owner(tenant=tenant, store=store, file_id=file_id)


async def put(index: ChunkIndex, collection: str, *made: Row) -> None:
    await index.ensure(collection, 384)
    await index.upsert(collection, made, FakeEmbedder().embed([row.text for row in made]))


@pytest.fixture
def collection() -> str:
    return f"test_{uuid4().hex}"


@pytest.fixture
async def milvus(milvus_uri: str, collection: str) -> AsyncIterator[MilvusIndex]:
    index = MilvusIndex(milvus_uri)
    yield index
    await index.drop(collection)
    await index.close()


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


async def test_before_anything_was_written(index: ChunkIndex, collection: str) -> None:
    assert await index.count(collection, owner()) == 0
    assert await index.members(collection) == {}
    assert await index.vectors(collection, owner("f")) == {}
    await index.delete(collection, owner("f"))
    await index.flush(collection)
    await index.drop(collection)
    await index.ensure(collection, 384)
    await index.ensure(collection, 384)
    await index.upsert(collection, [], np.empty((0, 384), np.float32))
    assert await index.count(collection, owner()) == 0


async def test_rows_are_there_at_once_and_after_a_flush(index: ChunkIndex, collection: str) -> None:
    await put(index, collection, *rows("f1", "a", "b"), *rows("f2", "c"), *rows("f3", "d", store="vs_2"))
    for _ in range(2):
        assert [await index.count(collection, owner(store=store)) for store in ("vs_1", "vs_2", "vs_3")] == [3, 1, 0]
        assert [await index.count(collection, owner(file)) for file in ("f1", "f3")] == [2, 0]
        await index.flush(collection)


async def test_writing_again_replaces(index: ChunkIndex, collection: str) -> None:
    await put(index, collection, *rows("f1", "a", "b"))
    await index.flush(collection)
    await put(index, collection, *rows("f1", "a", "b"))
    assert await index.count(collection, owner()) == 2


async def test_what_an_older_generation_had_more_goes_last(index: ChunkIndex, collection: str) -> None:
    await put(index, collection, *rows("f1", "a", "b", "c"), *rows("f2", "x"))
    await index.flush(collection)
    await put(index, collection, *rows("f1", "new", generation=2))
    assert await index.members(collection) == {("acme", "vs_1", "f1"): {2: 1, 1: 2}, ("acme", "vs_1", "f2"): {1: 1}}
    await index.delete(collection, owner("f1"), before=2)
    assert await index.members(collection) == {("acme", "vs_1", "f1"): {2: 1}, ("acme", "vs_1", "f2"): {1: 1}}


async def test_deleting_takes_one_file_or_a_whole_store(index: ChunkIndex, collection: str) -> None:
    await put(
        index,
        collection,
        *rows("f1", "a", "b"),
        *rows("f2", "c"),
        *rows("f1", "a", store="vs_2"),
        *rows("f1", "a", store="vs_3", tenant="b"),
    )  # fmt: skip
    await index.flush(collection)
    await index.delete(collection, owner("f1"))
    assert sorted(await index.members(collection)) == [
        ("acme", "vs_1", "f2"), ("acme", "vs_2", "f1"), ("b", "vs_3", "f1"),
    ]  # fmt: skip
    await index.delete(collection, owner())
    assert sorted(await index.members(collection)) == [("acme", "vs_2", "f1"), ("b", "vs_3", "f1")]


async def test_tenants_with_special_characters_stay_apart(index: ChunkIndex, collection: str) -> None:
    owners = [owner(tenant=tenant, store=f"vs_{number}") for number, tenant in enumerate(NASTY)]
    for each in owners:
        await put(index, collection, *rows("f", "text", tenant=each.tenant, store=each.store))
    await index.flush(collection)
    assert [await index.count(collection, each) for each in owners] == [1] * len(NASTY)
    await index.delete(collection, owners[4])
    assert [await index.count(collection, each) for each in owners] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    swapped = [replace(each, store=owners[0].store) for each in owners[1:]]
    assert [await index.count(collection, each) for each in swapped] == [0] * len(swapped)


async def test_vectors_come_back_by_text(index: ChunkIndex, collection: str) -> None:
    texts = [f"word{number}" for number in range(1100)]  # more than a page of them
    await put(index, collection, *rows("f1", *texts), *rows("f2", "other"))
    found = await index.vectors(collection, owner("f1"))
    assert sorted(found) == sorted(texts)
    (expected,) = FakeEmbedder().embed(["word1099"])
    np.testing.assert_allclose(found["word1099"], expected, atol=1e-6)


async def test_every_member_is_listed(index: ChunkIndex, collection: str) -> None:
    made = [row for number in range(40) for row in rows(f"f{number}", *(["text"] * 60))]  # over several pages
    await put(index, collection, *made)
    await index.flush(collection)
    assert await index.members(collection) == {("acme", "vs_1", f"f{number}"): {1: 60} for number in range(40)}


async def test_vectors_of_another_model_are_refused(index: ChunkIndex, collection: str) -> None:
    await index.ensure(collection, 384)
    with pytest.raises(ValueError, match="384 dimensions"):
        await index.ensure(collection, 8)


def test_each_embedding_model_has_a_collection_of_its_own() -> None:
    names = {collection_name(model) for model in ("all-MiniLM-L6-v2", "all-MiniLM-L12-v2")}
    assert len(names) == 2
    assert all(name.startswith("ragfleet_chunks_") for name in names)


async def test_the_collection_is_the_one_of_the_contract(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    await milvus.ensure(collection, 384)
    described = client.describe_collection(collection)
    fields = {field["name"]: field for field in described["fields"]}
    assert list(fields) == [
        "id", "tenant", "store", "file_id", "filename", "index", "text", "keywords", "page", "start", "end", "attributes",
        "generation", "dense", "sparse",
    ]  # fmt: skip
    assert fields["id"]["is_primary"]
    assert fields["tenant"]["is_partition_key"]
    assert int(fields["dense"]["params"]["dim"]) == 384
    assert client.describe_index(collection, "dense")["metric_type"] == "COSINE"
    assert client.describe_index(collection, "sparse")["metric_type"] == "BM25"


async def test_a_row_comes_back_as_it_went_in(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    attributes = {"year": 2024.5, "draft": True, "author": 'A. "Nother'}
    row = replace(
        rows("f1", "Title › Part\nthe body")[0], filename="sub/ñ.md", index=7, start=40, end=48, attributes=attributes
    )
    await put(milvus, collection, row)
    await milvus.flush(collection)
    names = [name for name in Row.__slots__ if name != "id"]
    (found,) = client.query(collection, owner("f1").filter, output_fields=["id", *names])
    assert found["id"] == "vs_1/f1/7"
    assert Row(**{name: found[name] for name in names}) == row
    assert found["text"][row.start - row.end :] == "the body"
    assert client.query(collection, 'attributes["year"] > 2024 and attributes["draft"] == true', output_fields=["id"])


async def test_both_searches_stay_in_their_store(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    await put(milvus, collection, *rows("f1", "red apple", "green pear"), *rows("f2", "red apple", store="vs_2"))
    await milvus.flush(collection)
    only = owner().filter
    (vector,) = FakeEmbedder().embed(["red apple"])
    (dense,) = client.search(collection, [vector], anns_field="dense", filter=only, limit=5)
    assert [hit["id"] for hit in dense] == ["vs_1/f1/0", "vs_1/f1/1"]
    assert dense[0]["distance"] == pytest.approx(1, abs=1e-4)
    (words,) = client.search(collection, [keyword_query("apple")], anns_field="sparse", filter=only, limit=5)
    assert [hit["id"] for hit in words] == ["vs_1/f1/0"]


async def test_a_small_store_beside_a_large_one_finds_its_nearest(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    """An index of all rows that is walked from neighbour to neighbour would meet few of the small store's."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(64, 384))
    vectors = (centres[rng.integers(64, size=3000)] + 0.7 * rng.normal(size=(3000, 384))).astype(np.float32)
    await milvus.ensure(collection, 384)
    large, small = (f"large {n}" for n in range(2970)), (f"small {n}" for n in range(30))
    await milvus.upsert(collection, [*rows("f1", *large), *rows("f2", *small, store="vs_2")], vectors)
    await milvus.flush(collection)
    client.release_collection(collection)
    client.load_collection(collection)  # with its indices made
    (hits,) = client.search(
        collection,
        [vectors[0]],
        anns_field="dense",
        filter=owner(store="vs_2").filter,
        limit=10,
        output_fields=["index"],
    )
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = np.argsort(-(units[2970:] @ units[0]))[:10]
    assert [hit["entity"]["index"] for hit in hits] == nearest.tolist()


async def test_stop_words_do_not_count(milvus: MilvusIndex, client: MilvusClient, collection: str) -> None:
    await put(milvus, collection, *rows("f1", "the hub and the light", "a valve of brass"))
    await milvus.flush(collection)
    assert client.search(collection, ["the and of a"], anns_field="sparse", limit=5)[0] == []
    (hits,) = client.search(collection, [keyword_query("what is the light")], anns_field="sparse", limit=5)
    assert [hit["id"] for hit in hits] == ["vs_1/f1/0"]


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("保修期多久", "水泵的保修期为二十六个月，请保留发票。"),
        ("吸気バルブの在庫", "吸気バルブの在庫は本社倉庫にあります。"),
        ("ปิดไฟกี่โมง", "หอพักปิดไฟเวลาห้าทุ่ม"),
        ("보증 기간", "펌프의 보증기간은 26개월입니다."),
        ("the oﬃce", "our office opens at eight"),
        ("Straßen", "Eine Straße der Stadt"),
    ],
)
async def test_words_of_any_script_are_found(
    milvus: MilvusIndex, client: MilvusClient, collection: str, question: str, passage: str
) -> None:
    await put(
        milvus, collection, *rows("f1", "Nothing of it.", passage, "员工宿舍晚上十一点熄灯", "門の鍵は事務所です")
    )
    await milvus.flush(collection)
    (hits,) = client.search(collection, [keyword_query(question)], anns_field="sparse", limit=5, output_fields=["text"])
    assert hits[0]["entity"]["text"] == passage


async def test_the_longest_text_that_milvus_takes_can_be_written(milvus: MilvusIndex, collection: str) -> None:
    await put(milvus, collection, *rows("f1", "水" * 21_000))
    assert await milvus.count(collection, owner()) == 1


async def test_a_collection_of_the_schema_before_is_written_and_searched_as_it_is(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    now, indices = collection_schema(384)
    before = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    for field in now.fields:
        if field.name == "text":
            before.add_field("text", DataType.VARCHAR, max_length=65535, enable_analyzer=True, analyzer_params=ANALYZER)
        elif field.name != "keywords":
            before.fields.append(field)
    before.add_function(Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["sparse"]))
    client.create_collection(collection, schema=before, index_params=indices)
    await put(milvus, collection, *rows("f1", "red apple", "green pear"))
    await milvus.flush(collection)
    (words,) = client.search(collection, [keyword_query("an apple")], anns_field="sparse", limit=5)
    assert [hit["id"] for hit in words] == ["vs_1/f1/0"]


async def test_an_alias_moves_from_one_collection_to_another(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    alias, second = f"alias_{collection}", f"{collection}_b"
    await put(milvus, collection, *rows("f1", "old"))
    await put(milvus, second, *rows("f1", "new"))
    for target, text in ((collection, "old"), (second, "new"), (collection, "old")):
        await milvus.point(alias, target)
        assert [row["text"] for row in client.query(alias, owner().filter, output_fields=["text"])] == [text]
    client.drop_alias(alias)
    await milvus.drop(second)


async def test_a_collection_that_has_the_name_of_the_alias_stays(
    milvus: MilvusIndex, client: MilvusClient, collection: str
) -> None:
    await milvus.ensure(collection, 384)
    await put(milvus, f"{collection}_b", *rows("f1", "new"))
    await milvus.point(collection, f"{collection}_b")
    assert client.query(collection, owner().filter, output_fields=["id"]) == []
    await milvus.drop(f"{collection}_b")


async def test_a_restarted_milvus_has_the_collection_loaded_again(
    milvus: MilvusIndex, client: MilvusClient, milvus_uri: str, collection: str
) -> None:
    await put(milvus, collection, *rows("f1", "a", "b"))
    client.release_collection(collection)  # the state that Milvus Lite starts in
    fresh = MilvusIndex(milvus_uri)
    assert await fresh.count(collection, owner()) == 2
    await fresh.close()
    client.release_collection(collection)
    with pytest.raises(KnowledgeUnavailable):
        await milvus.count(collection, owner())  # it did not know; from now on it does
    await put(milvus, collection, *rows("f1", "c"))
    assert await milvus.count(collection, owner()) == 2


async def test_a_connection_that_was_closed_is_made_anew(milvus: MilvusIndex, collection: str) -> None:
    """As by a server that ends idle ones; pymilvus itself would go on with it for ever."""
    await put(milvus, collection, *rows("f1", "a", "b"))
    milvus._client._get_connection()._channel.close()
    with pytest.raises(KnowledgeUnavailable, match="closed"):
        await milvus.count(collection, owner())
    assert await milvus.count(collection, owner()) == 2
    await put(milvus, collection, *rows("f2", "c"))
    assert await milvus.count(collection, owner()) == 3


async def test_milvus_away_is_unavailable_in_time() -> None:
    start = time.monotonic()
    index = MilvusIndex("http://127.0.0.1:9", timeout_s=2)
    with pytest.raises(KnowledgeUnavailable, match=r"127\.0\.0\.1:9"):
        await index.count("any", owner())
    await index.close()
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("wrong", [{"text": "x" * 70_000}, {"filename": "n" * 5000}])
async def test_a_row_that_is_refused_is_no_absence_and_others_go_in(
    index: ChunkIndex, collection: str, wrong: dict[str, str]
) -> None:
    await index.ensure(collection, 384)
    (bad,) = rows("f1", "bad")
    with pytest.raises(RowsRefused):
        await put(index, collection, *rows("f2", "good"), replace(bad, **wrong))  # type: ignore[arg-type]  # two strings
    await put(index, collection, *rows("f2", "good"))
    assert await index.count(collection, owner("f2")) == 1


async def test_a_milvus_that_is_away_is_no_refusal() -> None:
    index = MilvusIndex("http://127.0.0.1:1", timeout_s=1)
    with pytest.raises(KnowledgeUnavailable):
        await index.upsert("any", rows("f1", "words"), FakeEmbedder().embed(["words"]))
    await index.close()
