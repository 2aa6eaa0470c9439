"""A Milvus behind TLS is reached with the authority's certificate, by the ingestion's client and by the retrieval model's."""

from pathlib import Path

import pytest

from gateway.errors import KnowledgeUnavailable
from gateway.knowledge.index import MilvusIndex
from retrieval_search.milvus import pymilvus_client
from tests.support.tls import Authority, terminated


async def test_both_clients_know_it_by_the_authority(milvus_uri: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    behind = int(milvus_uri.rsplit(":", 1)[1])
    async with terminated(behind, authority.server(protocols=("h2",))) as port:
        uri = f"https://localhost:{port}"
        index = MilvusIndex(uri, ca_file=authority.ca_file, timeout_s=20)
        await index.ensure("over_tls", 4)
        await index.drop("over_tls")
        await index.close()
        client = pymilvus_client(uri, "", ca_file=str(authority.ca_file), deadline_s=20)
        assert "over_tls" not in await client.list_collections()  # type: ignore[attr-defined]
        await client.close()
        stranger = MilvusIndex(uri, timeout_s=2)
        with pytest.raises(KnowledgeUnavailable):
            await stranger.ensure("over_tls", 4)
        await stranger.close()
