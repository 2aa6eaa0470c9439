"""`Idempotency-Key`: a request sent again with its key changes nothing more and gets the first answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ingesting import ingestion
from tests.support.replies import Reply
from tests.support.running import Fleet

STORES, FILES = "/v1/vector_stores", "/v1/files"
TENANTS = """
tenants:
  - {name: acme, keys: [acme-key]}
  - {name: globex, keys: [globex-key]}
"""


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> AsyncIterator[Fleet]:
    """With two tenants, and somebody who clears away what is deleted."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    fleet = await start(tenants_file=tmp_path / "tenants.yaml")
    async with ingestion(fleet.gateway):
        yield fleet


def _headers(key: str | None, tenant: str = "acme") -> dict[str, str]:
    return {"authorization": f"Bearer {tenant}-key"} | ({} if key is None else {"idempotency-key": key})


async def _post(fleet: Fleet, path: str, body: Any, key: str | None = "k", tenant: str = "acme") -> Reply:
    return await fleet.post(body, path=path, headers=_headers(key, tenant))


async def _upload(
    fleet: Fleet, key: str | None = "k", *, content: bytes = b"Thirty days.", name: str = "a.md", tenant: str = "acme"
) -> Reply:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("purpose", "assistants")
    form.add_field("file", content, filename=name)
    async with fleet.http.post(FILES, data=form, headers=_headers(key, tenant)) as response:
        return Reply(response.status, response.headers, await response.read())


async def _listed(fleet: Fleet, path: str, tenant: str = "acme") -> list[str]:
    reply = await fleet.get(path, headers=_headers(None, tenant))
    return [each["id"] for each in reply.json["data"]]


async def test_upload_that_is_repeated_makes_one_file(fleet: Fleet, tmp_path: Path) -> None:
    first = await _upload(fleet)
    again = await _upload(fleet)
    assert (again.status, again.json) == (200, first.json)
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert await _listed(fleet, FILES) == [first.json["id"]]
    (content,) = (tmp_path / "objects").rglob("content")
    assert first.json["id"] in str(content)


async def test_uploads_at_the_same_time_make_one_file(fleet: Fleet, tmp_path: Path) -> None:
    replies = await asyncio.gather(*(_upload(fleet) for _ in range(4)))
    assert {(reply.status, reply.json["id"]) for reply in replies} == {(200, replies[0].json["id"])}
    assert len(list((tmp_path / "objects").rglob("content"))) == 1


@pytest.mark.parametrize("changed", [{"content": b"Forty days."}, {"name": "b.md"}])
async def test_key_of_another_upload_is_refused_and_leaves_nothing(
    fleet: Fleet, tmp_path: Path, changed: dict[str, Any]
) -> None:
    await _upload(fleet)
    reply = await _upload(fleet, **changed)
    assert (reply.status, reply.error["code"]) == (409, "idempotency_key_reused")
    assert "retry-after" not in reply.headers
    assert reply.headers["x-should-retry"] == "false", "the openai client repeats a 409 by itself"
    assert len(list((tmp_path / "objects").rglob("content"))) == 1


async def test_everything_that_is_made_is_made_once(fleet: Fleet) -> None:
    file = (await _upload(fleet, "file")).json["id"]
    body = {"name": "handbook", "file_ids": [file], "metadata": {"a": "1", "b": "2"}}
    store = await _post(fleet, STORES, body)
    assert store.status == 200, store.raw
    reordered = dict(reversed(body.items()))
    assert (await _post(fleet, STORES, reordered)).json == store.json, "however the client orders its fields"
    assert await _listed(fleet, STORES) == [store.json["id"]]
    path = f"{STORES}/{store.json['id']}"
    for number, (where, body) in enumerate(
        [
            (f"{path}/files", {"file_id": file, "attributes": {"year": 2024}}),
            (f"{path}/file_batches", {"file_ids": [file]}),
            (path, {"name": "manual"}),
            (f"{path}/files/{file}", {"attributes": {"year": 2025}}),
        ]
    ):
        first = await _post(fleet, where, body, f"key-{number}")
        again = await _post(fleet, where, body, f"key-{number}")
        assert (first.status, again.status, again.json) == (200, 200, first.json), where
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers.get("openai-poll-after-ms") == first.headers.get("openai-poll-after-ms")
        assert (await _post(fleet, where, body, f"new-{number}")).headers.get("idempotent-replayed") is None


async def test_delayed_repeat_undoes_nothing(fleet: Fleet) -> None:
    path = f"{STORES}/{(await _post(fleet, STORES, {'name': 'first'}, None)).json['id']}"
    await _post(fleet, path, {"name": "second"})
    await _post(fleet, path, {"name": "third"}, None)
    assert (await _post(fleet, path, {"name": "second"})).json["name"] == "second"
    assert (await fleet.get(path, headers=_headers(None))).json["name"] == "third"


async def test_key_of_another_request_is_refused(fleet: Fleet) -> None:
    store = (await _post(fleet, STORES, {"name": "a"})).json["id"]
    for path, body in (
        (STORES, {"name": "b"}),
        (STORES, {}),
        (f"{STORES}/{store}", {"name": "a"}),
    ):
        reply = await _post(fleet, path, body)
        assert (reply.status, reply.error["param"]) == (409, "Idempotency-Key")
    assert (await _upload(fleet)).status == 409


async def test_keys_belong_to_a_tenant(fleet: Fleet) -> None:
    acmes = await _post(fleet, STORES, {"name": "a"})
    globexs = await _post(fleet, STORES, {"name": "a"}, tenant="globex")
    assert globexs.status == 200
    assert globexs.json["id"] != acmes.json["id"]
    assert "idempotent-replayed" not in globexs.headers
    assert (await _upload(fleet, "file")).json["id"] != (await _upload(fleet, "file", tenant="globex")).json["id"]


async def test_what_failed_may_be_mended_and_sent_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    for body in ({"file_ids": ["file-0"]}, {"surprise": 1}):
        assert (await _post(fleet, STORES, body)).status in (400, 404)
    from gateway.api import vector_stores

    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(vector_stores, "_shape", broken)
        assert (await _post(fleet, STORES, {"name": "a"})).status == 500
    assert await _listed(fleet, STORES) == [], "all of it or nothing"
    assert (await _post(fleet, STORES, {"name": "a"})).status == 200


async def test_keys_outlive_the_gateway(start: Any, tokenizer_dir: Path, tmp_path: Path) -> None:
    fleet = await start()
    store = await fleet.post({"name": "a"}, path=STORES, headers={"idempotency-key": "k"})
    restarted = await start()
    again = await restarted.post({"name": "a"}, path=STORES, headers={"idempotency-key": "k"})
    assert again.json == store.json
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_unusable_key(fleet: Fleet, key: str) -> None:
    reply = await _post(fleet, STORES, {}, key)
    assert (reply.status, reply.error["param"]) == (400, "Idempotency-Key")


async def test_generating_takes_no_notice_of_a_key(fleet: Fleet) -> None:
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hello?"}], "max_tokens": 4}
    replies = [await _post(fleet, "/v1/chat/completions", asked) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert len({json.dumps(reply.json["id"]) for reply in replies}) == 2
