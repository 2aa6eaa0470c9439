"""Searches in Milvus for keys with groups find what the catalog lets them see now, while Milvus knows nothing of it."""

import random
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from pymilvus import MilvusClient

from gateway.knowledge.catalog import members
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import FileScope, NewMember
from gateway.knowledge.filters import search_filter
from gateway.knowledge.index import MilvusIndex, Row
from gateway.tenants.key import Key
from gateway.tenants.tenant import Tenant

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

FILES = [f"file-{number:02}" for number in range(24)]
OWNER = Tenant("acme")
USERS = [frozenset(), frozenset({"hr"}), frozenset({"hr", "sales"}), frozenset({"HR"})]
LISTS = [None, [], ["hr"], ["sales"], ["HR", "hr"]]


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[Catalog]:
    made = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    for name in FILES:
        await made.of(OWNER).files.add(file_id=name, filename="n.md", purpose="assistants", size=1, sha256="0")
    yield made
    await made.close()


@pytest.mark.parametrize("few", [1000, 5])
async def test_grants_and_revocations_count_with_the_next_search(
    milvus_uri: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """few: 1000 has filters name the files that are seen, 5 also those that are not."""
    monkeypatch.setattr(members, "FEW_FILES", few)
    store = (await catalog.of(OWNER).stores.create(name="s")).id
    await catalog.of(OWNER).members.attach(store, [NewMember(file_id=name) for name in FILES])
    collection, index, rng = f"test_{uuid4().hex}", MilvusIndex(milvus_uri), random.Random(few)
    rows = [
        Row(tenant="acme", store=store, file_id=name, filename="n.md", index=0, text=f"the word {name}", page=0, start=0, end=1)
        for name in FILES
    ]  # fmt: skip
    await index.ensure(collection, 4)
    await index.upsert(collection, rows, np.ones((len(FILES), 4), np.float32))
    await index.flush(collection)
    await index.close()
    allow: dict[str, list[str] | None] = dict.fromkeys(FILES)
    kinds = set()
    with closing(MilvusClient(milvus_uri)) as client:
        try:
            for _ in range(40):
                name, groups = rng.choice(FILES), rng.choice(LISTS)
                await catalog.of(OWNER).members.set_allow(store, name, groups)
                allow[name] = groups
                user = rng.choice(USERS)
                scope = await catalog.of(Tenant("acme", key=Key(groups=user))).members.scope([store])
                assert scope is not None
                kinds.add(scope.inverted)
                expression = search_filter("acme", [store], None, scope)
                seen = {name for name, groups in allow.items() if groups is None or user & set(groups)}
                for field, data in (("dense", [[1.0] * 4]), ("sparse", ["word"])):
                    metric = "BM25" if field == "sparse" else "COSINE"
                    (hits,) = client.search(
                        collection, data, filter=expression, limit=100, output_fields=["file_id"],
                        anns_field=field, search_params={"metric_type": metric}, consistency_level="Strong",
                    )  # fmt: skip
                    assert {hit["entity"]["file_id"] for hit in hits} == seen
            hidden = search_filter("acme", [store], None, FileScope([]))
            assert client.query(collection, hidden, output_fields=["file_id"], limit=100) == []
        finally:
            client.drop_collection(collection)
    assert kinds == ({False} if few == 1000 else {False, True})
