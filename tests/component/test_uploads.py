"""`/v1/uploads`: a file in parts becomes an ordinary file, its owner's alone, and whatever does not fit is refused by name."""

import hashlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.knowledge.catalog import uploads
from tests.support.replies import Reply
from tests.support.running import Fleet

PATH = "/v1/uploads"
TENANTS = """
tenants:
  - {name: acme, keys: [acme-key], limits: {stored_bytes: 5000}}
  - {name: globex, keys: [globex-key]}
"""
CONTENT = bytes(range(256)) * 8
HALF = len(CONTENT) // 2


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> Fleet:
    """With two tenants and small files."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    running: Fleet = await start(tenants_file=tmp_path / "tenants.yaml", max_file_bytes=100_000)
    return running


def _as(tenant: str, **headers: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tenant}-key", **headers}


async def _begin(fleet: Fleet, tenant: str = "acme", **fields: Any) -> Reply:
    announced = {"filename": "book.txt", "purpose": "assistants", "bytes": len(CONTENT), "mime_type": "text/plain"}
    return await fleet.post({**announced, **fields}, path=PATH, headers=_as(tenant))


async def _part(fleet: Fleet, upload: str, content: bytes, tenant: str = "acme", **fields: str) -> Reply:
    form = aiohttp.FormData()
    form.add_field("data", content, filename="upload")
    for name, value in fields.items():
        form.add_field(name, value)
    async with fleet.http.post(f"{PATH}/{upload}/parts", data=form, headers=_as(tenant)) as response:
        return Reply(response.status, response.headers, await response.read())


async def _complete(fleet: Fleet, upload: str, parts: list[str], tenant: str = "acme", **fields: Any) -> Reply:
    headers = _as(tenant, **fields.pop("headers", {}))
    return await fleet.post({"part_ids": parts, **fields}, path=f"{PATH}/{upload}/complete", headers=headers)


async def _sent(fleet: Fleet, **fields: Any) -> tuple[str, list[str]]:
    """An upload whose second half came first."""
    upload = (await _begin(fleet, **fields)).json["id"]
    second, first = [(await _part(fleet, upload, each)).json["id"] for each in (CONTENT[HALF:], CONTENT[:HALF])]
    return upload, [first, second]


async def test_parts_become_a_file_in_the_order_that_is_told(fleet: Fleet) -> None:
    begun = (await _begin(fleet, expires_after={"anchor": "created_at", "seconds": 3600})).json
    assert (begun["object"], begun["status"], begun["bytes"]) == ("upload", "pending", len(CONTENT))
    assert begun["expires_at"] - begun["created_at"] == uploads.UPLOAD_S
    second = (await _part(fleet, begun["id"], CONTENT[HALF:])).json
    assert (second["object"], second["upload_id"]) == ("upload.part", begun["id"])
    lost = (await _part(fleet, begun["id"], CONTENT[:HALF])).json["id"]
    first = (await _part(fleet, begun["id"], CONTENT[:HALF])).json[
        "id"
    ]  # it was sent again, and the other is not named
    assert lost != first
    wrong = await _complete(fleet, begun["id"], [first, second["id"]], md5="0" * 32)
    assert (wrong.status, wrong.error["param"], wrong.error["code"]) == (400, "md5", "checksum_mismatch")
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    key = {"Idempotency-Key": "once"}
    done = await _complete(fleet, begun["id"], [first, second["id"]], md5=md5.upper(), headers=key)
    assert done.status == 200, done.raw
    file = done.json["file"]
    assert (done.json["status"], file["bytes"], file["filename"]) == ("completed", len(CONTENT), "book.txt")
    assert file["expires_at"] >= begun["created_at"] + 3600
    content = await fleet.get(f"/v1/files/{file['id']}/content", headers=_as("acme"))
    assert content.raw == CONTENT
    again = await _complete(fleet, begun["id"], [first, second["id"]], md5=md5.upper(), headers=key)
    assert (again.json, again.headers["idempotent-replayed"]) == (done.json, "true")
    files = (await fleet.get("/v1/files", headers=_as("acme"))).json["data"]
    assert [each["id"] for each in files] == [file["id"]]
    kept = [
        each.key
        async for each in fleet.gateway.objects.listed("files/")
        if not each.key.startswith(f"files/{begun['id']}")
    ]
    assert kept == [f"files/{file['id']}/content"], "of what failed and what was said twice nothing is left"


async def test_another_tenant_finds_none(fleet: Fleet) -> None:
    upload, parts = await _sent(fleet)
    for reply in (
        await _part(fleet, upload, b"x", "globex"),
        await _complete(fleet, upload, parts, "globex"),
        await fleet.post({}, path=f"{PATH}/{upload}/cancel", headers=_as("globex")),
    ):
        nobodys = await fleet.post({}, path=f"{PATH}/upload_0/cancel", headers=_as("globex"))
        assert (reply.status, reply.json) == (404, {"error": {**nobodys.error, "message": reply.error["message"]}})
    assert (await _complete(fleet, upload, parts)).status == 200


async def test_what_does_not_fit_is_refused_by_name(fleet: Fleet) -> None:
    upload, parts = await _sent(fleet)
    _, others = await _sent(fleet)
    for given, named in (
        (parts[:1], "part_ids"),
        ([parts[0], parts[0]], "part_ids.1"),
        ([parts[0], others[1]], "part_ids.1"),
        ([], "part_ids"),
        (["../x"], "part_ids.0"),
        ("x", "part_ids"),
    ):
        reply = await _complete(fleet, upload, given)  # type: ignore[arg-type]
        assert (reply.status, reply.error["param"]) == (400, named), given
    for fields, named in (
        ({"bytes": 100_001}, "bytes"),
        ({"bytes": 0}, "bytes"),
        ({"purpose": "fine-tune"}, "purpose"),
        ({"filename": ".."}, "filename"),
        ({"expires_after": {"anchor": "created_at", "seconds": 5}}, "expires_after.seconds"),
    ):
        reply = await _begin(fleet, **fields)
        assert (reply.status, reply.error["param"]) == (400, named), fields
    assert (await _begin(fleet, bytes=5000)).status == 429, "what was announced counts as stored"
    for content, fields, named in ((CONTENT + b"x", {}, "data"), (b"x", {"surprise": "1"}, "surprise")):
        reply = await _part(fleet, upload, content, **fields)
        assert (reply.status, reply.error["param"]) == (400, named)
    form = aiohttp.FormData({"data": "no file"})
    async with fleet.http.post(f"{PATH}/{upload}/parts", data=form, headers=_as("acme")) as response:
        assert (response.status, (await response.json())["error"]["param"]) in ((400, "data"), (415, "data"))
    assert (await _complete(fleet, upload, parts)).status == 200


async def test_what_was_given_up_takes_nothing_more(fleet: Fleet) -> None:
    upload, parts = await _sent(fleet)
    cancelled = await fleet.post({}, path=f"{PATH}/{upload}/cancel", headers=_as("acme"))
    assert cancelled.json["status"] == "cancelled"
    for reply in (await _part(fleet, upload, b"x"), await _complete(fleet, upload, parts)):
        assert (reply.status, reply.error["code"]) == (400, "upload_not_pending")
    assert (await fleet.get("/v1/files", headers=_as("acme"))).json["data"] == []


async def test_a_tenant_has_so_many_at_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_PENDING", 1)
    upload, parts = await _sent(fleet)
    assert (await _begin(fleet, bytes=1)).status == 429
    assert (await _begin(fleet, "globex", bytes=1)).status == 200
    await _complete(fleet, upload, parts)
    assert (await _begin(fleet, bytes=1)).status == 200
