"""Groups of documents by OpenAI's own client, and by `ragfleet ingest` on top of it."""

import asyncio
from pathlib import Path

from openai import AsyncOpenAI

from ragfleet.local_files import LocalDocument
from ragfleet.vector_store import GatewayStore
from tests.support.openai_service import KEY
from tests.support.running import Fleet


async def test_the_client_says_who_may_see_a_file(fleet: Fleet) -> None:
    async with AsyncOpenAI(base_url=f"{fleet.url}/v1", api_key=KEY) as client:
        said = {"allow": ["hr", "board"]}
        file = await client.files.create(file=("a.md", b"Words."), purpose="assistants", extra_body=said)
        assert (file.model_extra or {})["allow"] == ["board", "hr"]
        store = await client.vector_stores.create(name="s")
        member = await client.vector_stores.files.create(
            vector_store_id=store.id, file_id=file.id, extra_body={"allow": ["hr"]}
        )
        assert (member.model_extra or {})["allow"] == ["hr"]
        open_to_all = await client.vector_stores.files.update(
            file.id, vector_store_id=store.id, attributes={"a": "b"}, extra_body={"allow": None}
        )
        assert "allow" not in (open_to_all.model_extra or {})


async def test_an_ingestion_says_who_may_see_its_files(fleet: Fleet, tmp_path: Path) -> None:
    """Uploaded so, and changed later; [] is sent as a list, too."""
    (tmp_path / "a.md").write_text("Words.")
    document = LocalDocument("docs", "a.md", tmp_path / "a.md")

    def ingest() -> list[object]:
        store = GatewayStore(fleet.url, KEY, "s")
        seen: list[object] = []
        try:
            for allow in (["hr"], [], None):
                file_id = store.upload(document, allow)
                store.attach({file_id: {"folder": "docs", "path": "a.md", "sha256": "0"}})
                seen.append({held.file_id: held.allow for held in store.held()}[file_id])
            store.allow(file_id, ["board"])
            seen.append({held.file_id: held.allow for held in store.held()}[file_id])
        finally:
            store.close()
        return seen

    assert await asyncio.to_thread(ingest) == [("hr",), (), None, ("board",)]
