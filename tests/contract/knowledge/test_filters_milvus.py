"""What a client's filter finds in Milvus is what a plain reading of it in Python finds, for whatever filter and attributes."""

import asyncio
import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus import MilvusClient

from gateway.knowledge.filters import search_filter
from gateway.knowledge.index import MilvusIndex, Row

pytestmark = pytest.mark.fleet

VALUES: list[Any] = [
    "",
    "a",
    "B",
    'quo"te',
    "back\\",
    "line\nend",
    "ünï 🦔",
    "10",
    2,
    -3,
    2.5,
    -0.25,
    1e-7,
    10**15,
    True,
    False,
]
KEYS = ["year", "topic", "na me", "päth/~.$x"]
ROWS: list[dict[str, Any]] = [
    {},
    *({key: value} for key in KEYS for value in VALUES),
    *({"year": first, "topic": second} for first in VALUES[::2] for second in VALUES[1::2]),
]

ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}

values = st.sampled_from(VALUES)
keys = st.sampled_from([*KEYS, "nowhere"])
comparisons = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": keys, "value": values}),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(sorted(ORDERS)),
            "key": keys,
            "value": st.sampled_from([value for value in VALUES if not isinstance(value, bool)]),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["in", "nin"]), "key": keys, "value": st.lists(values, min_size=1, max_size=4)}
    ),
)
filters = st.recursive(
    comparisons,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def matches(given: Mapping[str, Any], attributes: Mapping[str, Any]) -> bool:
    """The oracle. As in Python, true is 1 and false 0 for Milvus Lite."""
    kind: str = given["type"]
    if kind in ("and", "or"):
        return (all if kind == "and" else any)(matches(part, attributes) for part in given["filters"])
    value, held = given["value"], attributes.get(given["key"])
    if kind in ("eq", "ne"):
        return bool(held == value) == (kind == "eq")
    if kind in ("in", "nin"):
        return bool(held in value) == (kind == "in")
    return (
        isinstance(held, str | int | float)
        and isinstance(held, str) == isinstance(value, str)
        and ORDERS[kind](held, value)
    )


@pytest.fixture(scope="module")
def collection(milvus_uri: str) -> Iterator[str]:
    """One row for each of ROWS, by index, in store `vs_1` of the tenant `acme`."""
    name = f"test_{uuid4().hex}"

    async def fill() -> None:
        index = MilvusIndex(milvus_uri)
        rows = [
            Row(
                tenant="acme", store="vs_1", file_id="file-1", filename="n.md", index=at, text="t", page=0, start=0, end=1,
                attributes=attributes,
            )
            for at, attributes in enumerate(ROWS)
        ]  # fmt: skip
        await index.ensure(name, 4)
        await index.upsert(name, rows, np.ones((len(ROWS), 4), np.float32))
        await index.flush(name)
        await index.close()

    asyncio.run(fill())
    yield name
    with closing(MilvusClient(milvus_uri)) as client:
        client.drop_collection(name)


@pytest.fixture(scope="module")
def client(milvus_uri: str) -> Iterator[MilvusClient]:
    with closing(MilvusClient(milvus_uri)) as client:
        yield client


@pytest.mark.timeout(240)
@given(wanted=filters)
@settings(deadline=None, max_examples=80)  # each is a query over a socket
def test_milvus_finds_what_the_filter_says(client: MilvusClient, collection: str, wanted: dict[str, Any]) -> None:
    expression = search_filter("acme", ["vs_1"], wanted)
    found = client.query(collection, expression, output_fields=["index"], limit=1000)
    assert sorted(row["index"] for row in found) == [at for at, held in enumerate(ROWS) if matches(wanted, held)]


def test_a_filter_that_is_true_for_all_finds_nothing_of_others(client: MilvusClient, collection: str) -> None:
    everything = {"type": "or", "filters": [{"type": "ne", "key": "nowhere", "value": 2}] * 2}
    assert (
        client.query(collection, search_filter("other", ["vs_1"], everything), output_fields=["index"], limit=1000)
        == []
    )
    assert (
        client.query(collection, search_filter("acme", ["vs_2"], everything), output_fields=["index"], limit=1000) == []
    )
