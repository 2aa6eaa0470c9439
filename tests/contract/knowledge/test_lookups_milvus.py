"""Look-ups of codes, numbers, dates and names in a real Milvus Lite, each asked for in another spelling than it is written."""

from contextlib import closing
from random import Random
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import MilvusClient

from gateway.knowledge.index import MilvusIndex, Row
from tests.support.lookups import KINDS
from tokens.keywords import keyword_query

pytestmark = pytest.mark.fleet
EACH = 8
"""Passages of a kind; of those from a list as many as it has at the most."""


async def test_words_alone_find_each_thing_in_each_spelling(milvus_uri: str) -> None:
    chance = Random(12)
    things = [dict.fromkeys(kind(chance) for _ in range(EACH)) for kind in KINDS]
    written = [(spellings, chance.choice(spellings)) for each in things for spellings in each]
    rows = [
        Row(
            tenant="acme", store="vs_1", file_id="f", filename="n.md", index=at, text=f"Entry {at}: see {form} on the list.",
            page=0, start=0, end=1,
        )
        for at, (_, form) in enumerate(written)
    ]  # fmt: skip
    collection = f"test_{uuid4().hex}"
    index = MilvusIndex(milvus_uri)
    await index.ensure(collection, 8)
    await index.upsert(collection, rows, np.eye(8, dtype=np.float32)[np.arange(len(rows)) % 8])
    await index.flush(collection)
    missed = []
    with closing(MilvusClient(milvus_uri)) as client:
        asked = [(at, spelling) for at, (spellings, _) in enumerate(written) for spelling in spellings]
        for first in range(0, len(asked), 100):
            part = asked[first : first + 100]
            questions = [keyword_query(f"Where is {spelling}?") for _, spelling in part]
            answers = client.search(collection, questions, anns_field="sparse", limit=3, output_fields=["index"])
            for (at, spelling), hits in zip(part, answers, strict=True):
                if at not in [hit["entity"]["index"] for hit in hits]:
                    missed.append((spelling, written[at][1]))
    await index.drop(collection)
    await index.close()
    assert len(asked) > 300
    assert missed == []
