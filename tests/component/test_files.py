"""`/v1/files`: uploads, lists, contents, deletion, and what is refused."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.storage_reserve import StorageReserve
from tests.support.ingesting import ingestion
from tests.support.replies import Reply
from tests.support.running import Fleet

PATH = "/v1/files"
TENANTS = """
tenants:
  - {name: acme, keys: [acme-key]}
  - {name: globex, keys: [globex-key]}
"""


def _as(tenant: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tenant}-key"}


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> AsyncIterator[Fleet]:
    """With two tenants and small files, and somebody who clears away what is deleted."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    fleet = await start(tenants_file=tmp_path / "tenants.yaml", max_file_bytes=100_000)
    async with ingestion(fleet.gateway):
        yield fleet


async def _send(fleet: Fleet, form: aiohttp.FormData, tenant: str = "acme") -> Reply:
    async with fleet.http.post(PATH, data=form, headers=_as(tenant)) as response:
        return Reply(response.status, response.headers, await response.read())


async def upload(
    fleet: Fleet, content: bytes = b"Thirty days.", name: str = "returns.md", tenant: str = "acme", **fields: str
) -> Reply:
    """A file with a purpose."""
    form = aiohttp.FormData(quote_fields=False)
    for field, value in ({"purpose": "assistants"} | fields).items():
        form.add_field(field, value)
    form.add_field("file", content, filename=name)
    return await _send(fleet, form, tenant)


async def _get(fleet: Fleet, path: str, tenant: str = "acme") -> Reply:
    return await fleet.get(path, headers=_as(tenant))


async def _delete(fleet: Fleet, path: str, tenant: str = "acme") -> Reply:
    async with fleet.http.delete(path, headers=_as(tenant)) as response:
        return Reply(response.status, response.headers, await response.read())


async def test_what_is_uploaded_can_be_read_again(fleet: Fleet) -> None:
    content = bytes(range(256)) * 300
    made = await upload(fleet, content, "Größe & Preis – 価格.bin")
    assert made.status == 200, made.raw
    file = made.json
    assert file.keys() == {"id", "object", "bytes", "created_at", "filename", "purpose", "status"}
    assert (file["object"], file["bytes"], file["purpose"]) == ("file", len(content), "assistants")
    assert file["filename"] == "Größe & Preis – 価格.bin"
    assert (await _get(fleet, f"{PATH}/{file['id']}")).json == file
    read = await _get(fleet, f"{PATH}/{file['id']}/content")
    assert read.raw == content
    assert read.headers["content-disposition"] == "attachment"


async def test_file_before_its_purpose_and_with_an_expiry(fleet: Fleet) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", b"x", filename="../../etc/passwd")
    form.add_field("purpose", "user_data")
    form.add_field("expires_after[anchor]", "created_at")
    form.add_field("expires_after[seconds]", "3600")
    file = (await _send(fleet, form)).json
    assert file["filename"] == "passwd"
    assert 3595 <= file["expires_at"] - file["created_at"] <= 3605


async def test_a_content_that_is_lost_or_cut_is_an_error_that_says_so(fleet: Fleet, tmp_path: Path) -> None:
    file_id = (await upload(fleet)).json["id"]
    (content,) = (tmp_path / "objects").rglob(f"{file_id}/content")
    content.write_bytes(b"Thir")
    for _ in range(2):
        read = await _get(fleet, f"{PATH}/{file_id}/content")
        assert (read.status, read.json["error"]["code"]) == (404, "content_lost")
        content.unlink(missing_ok=True)
    assert (await _get(fleet, f"{PATH}/{file_id}")).status == 200


async def test_deleted_file_is_gone_with_its_content(fleet: Fleet, tmp_path: Path) -> None:
    file_id = (await upload(fleet)).json["id"]
    assert list((tmp_path / "objects").rglob(f"{file_id}/content"))
    reply = await _delete(fleet, f"{PATH}/{file_id}")
    assert reply.json == {"id": file_id, "object": "file", "deleted": True}
    for path in (f"{PATH}/{file_id}", f"{PATH}/{file_id}/content"):
        assert (await _get(fleet, path)).status == 404
    assert (await _delete(fleet, f"{PATH}/{file_id}")).status == 404
    assert not list((tmp_path / "objects").rglob(f"{file_id}/*"))


async def test_other_tenants_file_is_as_unknown_as_any(fleet: Fleet) -> None:
    file_id = (await upload(fleet)).json["id"]
    for path in (f"{PATH}/%s", f"{PATH}/%s/content"):
        theirs = await _get(fleet, path % file_id, "globex")
        nobodys = await _get(fleet, path % ("file-" + "0" * 24), "globex")
        assert theirs.status == nobodys.status == 404
        assert theirs.raw.replace(file_id.encode(), b"") == nobodys.raw.replace(b"file-" + b"0" * 24, b"")
    assert (await _delete(fleet, f"{PATH}/{file_id}", "globex")).status == 404
    assert (await _get(fleet, PATH, "globex")).json["data"] == []
    assert (await _get(fleet, f"{PATH}?after={file_id}", "globex")).status == 404
    assert (await _get(fleet, f"{PATH}/{file_id}")).status == 200


async def test_list_goes_page_by_page(fleet: Fleet) -> None:
    ids = {(await upload(fleet, name=f"{n}.md")).json["id"] for n in range(5)}
    for order in ("asc", "desc"):
        seen: list[str] = []
        after = ""
        while True:
            page = (await _get(fleet, f"{PATH}?limit=2&order={order}{after}")).json
            seen += [file["id"] for file in page["data"]]
            assert (page["object"], page["last_id"]) == ("list", seen[-1])
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert len(seen) == 5
        assert set(seen) == ids


async def test_list_of_one_purpose(fleet: Fleet) -> None:
    await upload(fleet)
    other = (await upload(fleet, purpose="user_data")).json["id"]
    assert [f["id"] for f in (await _get(fleet, f"{PATH}?purpose=user_data")).json["data"]] == [other]


@pytest.mark.parametrize(
    ("query", "param"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("order=up", "order"), ("after=%00", "after"), ("page=2", "page")],
)
async def test_bad_list(fleet: Fleet, query: str, param: str) -> None:
    reply = await _get(fleet, f"{PATH}?{query}")
    assert (reply.status, reply.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({"surprise": "1"}, "surprise"),
        ({"expires_after[anchor]": "now", "expires_after[seconds]": "3600"}, "expires_after.anchor"),
        ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "1"}, "expires_after.seconds"),
        ({"purpose": "x" * 10_000}, "purpose"),
    ],
)
async def test_bad_fields_leave_nothing(fleet: Fleet, tmp_path: Path, fields: dict[str, str], param: str) -> None:
    reply = await upload(fleet, **fields)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert not list((tmp_path / "objects").rglob("content"))
    assert (await _get(fleet, PATH)).json["data"] == []


async def test_form_without_file_or_purpose(fleet: Fleet) -> None:
    form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    form.add_field("purpose", "assistants")
    reply = await _send(fleet, form)
    assert (reply.status, reply.error["param"]) == (400, "file")
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", b"x", filename="x.md")
    reply = await _send(fleet, form)
    assert (reply.status, reply.error["param"]) == (400, "purpose")


async def test_file_over_the_limit(fleet: Fleet, tmp_path: Path) -> None:
    reply = await upload(fleet, b"x" * 100_001)
    assert (reply.status, reply.error["param"]) == (413, "file")
    assert not list((tmp_path / "objects").rglob("content"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"garbage"),
        ("multipart/form-data; boundary=b", b""),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nbroken off',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nno head\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n'  # noqa: ISC004
            b"Content-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--b--\r\n",
        ),
    ],
)
async def test_bodies_that_are_no_form(fleet: Fleet, kind: str, body: bytes) -> None:
    async with fleet.http.post(PATH, data=body, headers={**_as("acme"), "content-type": kind}) as response:
        reply = Reply(response.status, response.headers, await response.read())
    assert (reply.status, reply.error["param"]) == (400, "file")


async def test_client_that_leaves_in_the_middle_leaves_nothing(fleet: Fleet, tmp_path: Path) -> None:
    head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def half() -> AsyncIterator[bytes]:
        yield head + b"x" * 1000
        raise ConnectionAbortedError

    headers = {**_as("acme"), "content-type": "multipart/form-data; boundary=b"}
    with pytest.raises((ConnectionAbortedError, aiohttp.ClientError)):
        await fleet.http.post(PATH, data=half(), headers=headers)
    await fleet.settled()
    assert not list((tmp_path / "objects").rglob("content"))
    assert (await _get(fleet, PATH)).json["data"] == []


@pytest.mark.parametrize("recorded", [True, False])
async def test_content_stays_where_only_the_answer_of_the_database_was_lost(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    """A database that goes away in the end may have recorded the file, or not."""
    whole = TenantCatalog.transaction

    @asynccontextmanager
    async def transaction(catalog: TenantCatalog) -> AsyncIterator[TenantCatalog]:
        gone = CatalogUnavailable("The connection is gone.", retry_after_s=1)
        async with whole(catalog) as inner:
            yield inner
            if not recorded:
                raise gone
        raise gone

    with monkeypatch.context() as patch:
        patch.setattr(TenantCatalog, "transaction", transaction)
        assert (await upload(fleet)).status == 503
    listed = (await _get(fleet, PATH)).json["data"]
    contents = list((tmp_path / "objects").rglob("content"))
    assert len(listed) == len(contents) == recorded
    for file in listed:
        assert (await _get(fleet, f"{PATH}/{file['id']}/content")).raw == b"Thirty days."


async def test_key_is_asked_for(fleet: Fleet) -> None:
    assert (await fleet.get(PATH)).status == 401


async def test_a_full_disk_refuses_what_comes_keeps_what_is_there_and_takes_again_by_itself(
    fleet: Fleet, tmp_path: Path
) -> None:
    kept = (await upload(fleet)).json["id"]
    room = {"free": 1 << 20}
    fleet.gateway.reserve = StorageReserve({"contents": tmp_path}, 2 << 20, free=lambda _: room["free"])
    refused = await upload(fleet)
    assert (refused.status, refused.error["code"], refused.error["type"]) == (
        507,
        "insufficient_storage",
        "server_error",
    )
    assert refused.headers["x-should-retry"] == "false"
    assert str(tmp_path) not in refused.error["message"]
    assert (await _get(fleet, f"{PATH}/{kept}/content")).raw == b"Thirty days."
    room["free"] = 3 << 20
    assert (await upload(fleet)).status == 200


async def test_a_disk_that_fills_during_an_upload_leaves_nothing_of_it(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("gateway.knowledge.objects.folder.os.fsync", full)
        refused = await upload(fleet)
    assert (refused.status, refused.error["code"]) == (507, "insufficient_storage")
    assert (await _get(fleet, PATH)).json["data"] == []
    assert not [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]


async def test_marks_that_turn_the_direction_of_writing_are_no_part_of_a_name(fleet: Fleet) -> None:
    name = "\u202egpj.\u2066exe\ufeff"
    form = (
        '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
        f'--b\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\nx\r\n--b--\r\n'
    )
    headers = {**_as("acme"), "content-type": "multipart/form-data; boundary=b"}
    async with fleet.http.post(PATH, data=form.encode(), headers=headers) as response:
        assert (await response.json())["filename"] == "gpj.exe"
