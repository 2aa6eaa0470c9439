"""Both searches over whatever was written, replaced and deleted, beside a plain look at what should be there."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from milvus_lite import CollectionSchema, DataType, FieldSchema, Function, FunctionType, MilvusLite

from ragfleet.milvus_lite.search import search_dense, search_sparse

WORDS = ["pump", "valve", "shaft", "rotor", "seal", "gear"]
DIMENSION = 4


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Any]:
    schema = CollectionSchema(
        fields=[
            FieldSchema("id", DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema("store", DataType.VARCHAR, max_length=64),
            FieldSchema(
                "text",
                DataType.VARCHAR,
                max_length=999,
                enable_analyzer=True,
                analyzer_params={"tokenizer": "standard"},
            ),
            FieldSchema("dense", DataType.FLOAT_VECTOR, dim=DIMENSION),
            FieldSchema("sparse", DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
        ],
        functions=[Function("bm25", FunctionType.BM25, ["text"], ["sparse"])],
    )
    with MilvusLite(str(tmp_path)) as database:
        made = database.create_collection("rows", schema)
        made.create_index("sparse", {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"})
        made.create_index("dense", {"index_type": "FLAT", "metric_type": "COSINE"})
        made.load()
        yield made


def dense(collection: Any, vector: np.ndarray, expr: str) -> list[dict[str, Any]]:
    segments, deleted = collection._read_snapshot()
    (hits,) = search_dense(
        vector, segments, collection._memtable, deleted, 5, "COSINE", "id", "dense",
        compiled_filter=collection._compile_filter(expr), output_fields=["text"], project_record_fn=dict,
    )  # fmt: skip
    return hits


def sparse(collection: Any, question: str, expr: str | None) -> list[dict[str, Any]]:
    (hits,) = search_sparse(collection, [question], "sparse", 5, "BM25", None, expr, ["text"])
    return hits


@pytest.mark.parametrize("seed", range(6))
def test_what_is_found_is_what_is_there(collection: Any, seed: int) -> None:
    rng = random.Random(seed)
    there: dict[str, dict[str, Any]] = {}
    for _ in range(40):
        step = rng.random()
        if step < 0.55:
            keys = rng.sample(range(30), rng.randint(1, 6))
            rows = [
                {
                    "id": f"k{key}", "store": rng.choice("ab"), "text": " ".join(rng.choices(WORDS, k=rng.randint(1, 6))),
                    "dense": [rng.gauss(0, 1) for _ in range(DIMENSION)],
                }
                for key in keys
            ]  # fmt: skip
            collection.upsert(rows)
            there |= {row["id"]: row for row in rows}
        elif step < 0.75 and there:
            keys = rng.sample(sorted(there), min(len(there), rng.randint(1, 4)))
            collection.delete(keys)
            for key in keys:
                del there[key]
        else:
            collection.flush()
        store = rng.choice("ab")
        rows = [row for row in there.values() if row["store"] == store]
        vector = np.array([rng.gauss(0, 1) for _ in range(DIMENSION)], np.float32)
        near = sorted(rows, key=lambda row: -cosine(vector, row["dense"]))[:5]
        hits = dense(collection, vector, f'store == "{store}"')
        assert [hit["id"] for hit in hits] == [row["id"] for row in near]
        assert [hit["entity"] for hit in hits] == [{"text": row["text"]} for row in near]
        assert [1 - hit["distance"] for hit in hits] == pytest.approx(
            [cosine(vector, row["dense"]) for row in near], abs=1e-5
        )
        word = rng.choice(WORDS)
        having = [row for row in rows if word in row["text"]]
        found = sparse(collection, word, f'store == "{store}"')
        assert {hit["id"] for hit in found} <= {row["id"] for row in having}
        assert len(found) == min(5, len(having))
        assert all(hit["entity"]["text"] == there[hit["id"]]["text"] for hit in found)


def test_the_weight_of_a_word_is_that_of_the_rows_searched(collection: Any) -> None:
    """Flushed apart, each segment would have weights of its own; and another store's rows would count."""
    texts = ["pump valve", "pump shaft", "pump seal", "pump rotor pump rotor", "gear"]
    vector = [1.0] * DIMENSION
    for number, text in enumerate(texts):
        collection.insert([{"id": f"a{number}", "store": "a", "text": text, "dense": vector}])
        collection.flush()
    alone = sparse(collection, "pump valve", None)
    collection.insert([{"id": f"b{n}", "store": "b", "text": "valve", "dense": vector} for n in range(50)])
    collection.flush()
    beside = sparse(collection, "pump valve", 'store == "a"')
    assert alone[0]["id"] == "a0"
    assert [(hit["id"], hit["distance"]) for hit in beside] == [(hit["id"], hit["distance"]) for hit in alone]


def cosine(a: Any, b: Any) -> float:
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))
