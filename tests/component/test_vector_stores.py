"""`/v1/vector_stores` with its files and batches: what is made, found, changed, refused and deleted, by whom."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.knowledge.catalog.ingestion_types import Pause
from tests.support.ingesting import bring_in, ingestion
from tests.support.replies import Reply
from tests.support.running import Fleet

PATH = "/v1/vector_stores"
NOBODYS = {"store": "vs_" + "0" * 24, "file": "file-" + "0" * 24, "batch": "vsfb_" + "0" * 24}
TENANTS = """
tenants:
  - {name: acme, keys: [acme-key]}
  - {name: globex, keys: [globex-key]}
"""


class Client:
    """One tenant."""

    def __init__(self, fleet: Fleet, tenant: str) -> None:
        self.fleet = fleet
        self._headers = {"authorization": f"Bearer {tenant}-key", "openai-beta": "assistants=v2"}

    async def call(self, method: str, path: str, body: Any = None) -> Reply:
        """Whatever comes back."""
        data = None if body is None else json.dumps(body).encode()
        async with self.fleet.http.request(method, path, data=data, headers=self._headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The body of a good answer."""
        reply = await self.call(method, path, body)
        assert reply.status == 200, reply.raw
        return reply.json

    async def upload(self, content: bytes = b"Thirty days.", name: str = "returns.md") -> str:
        """The id of a new file."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("purpose", "assistants")
        form.add_field("file", content, filename=name)
        async with self.fleet.http.post("/v1/files", data=form, headers=self._headers) as response:
            return str((await response.json())["id"])

    async def store(self, **fields: Any) -> str:
        """The id of a new store."""
        return str((await self.ask("POST", PATH, fields))["id"])


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> Fleet:
    """With two tenants."""
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    running: Fleet = await start(tenants_file=tmp_path / "tenants.yaml")
    return running


@pytest.fixture
def acme(fleet: Fleet) -> Client:
    """The tenant that does something."""
    return Client(fleet, "acme")


@pytest.fixture
def globex(fleet: Fleet) -> Client:
    """The tenant that must see nothing of it."""
    return Client(fleet, "globex")


@pytest.fixture
async def cleaner(fleet: Fleet) -> AsyncIterator[None]:
    """Somebody who does the jobs and the removals."""
    async with ingestion(fleet.gateway):
        yield


async def test_store_and_how_it_changes(acme: Client) -> None:
    made = await acme.ask(
        "POST",
        PATH,
        {"name": "handbook", "metadata": {"team": "sales"}, "expires_after": {"anchor": "last_active_at", "days": 7}},
    )
    assert made["object"] == "vector_store"
    assert (made["name"], made["status"], made["usage_bytes"]) == ("handbook", "completed", 0)
    assert made["file_counts"] == {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}
    assert made["expires_at"] == made["last_active_at"] + 7 * 86_400
    path = f"{PATH}/{made['id']}"
    assert await acme.ask("GET", path) == made
    changed = await acme.ask("POST", path, {"name": "manual", "metadata": None})
    used = {
        key: changed[key] for key in ("last_active_at", "expires_at")
    }  # a change is a use, and a second may have passed
    assert changed == {**made, **used, "name": "manual", "metadata": {}}
    assert (await acme.ask("POST", path, {"expires_after": None}))["expires_at"] is None
    assert (await acme.ask("POST", path, {"description": "x"}))["name"] == "manual"
    assert (await acme.ask("POST", path, {"name": None}))["name"] == ""


async def test_file_joins_and_can_be_read_as_it_is_searched(fleet: Fleet, acme: Client) -> None:
    store, file = await acme.store(), await acme.upload()
    path = f"{PATH}/{store}/files"
    attributes = {"year": 2024, "draft": False, "by": "Ada"}
    first = await acme.call("POST", path, {"file_id": file, "attributes": attributes})
    assert first.json["status"] == "in_progress"
    assert int(first.headers["openai-poll-after-ms"]) > 0
    assert first.json["attributes"] == attributes
    assert first.json["chunking_strategy"]["type"] == "static"
    assert (await acme.ask("GET", f"{PATH}/{store}"))["status"] == "in_progress"
    assert await bring_in(fleet.gateway) == 1
    member = await acme.call("GET", f"{path}/{file}")
    assert (member.json["status"], member.json["last_error"], member.json["usage_bytes"]) == ("completed", None, 12)
    assert "openai-poll-after-ms" not in member.headers
    assert member.json["receipt"] == {"characters": 12, "skipped": []}
    page = await acme.ask("GET", f"{path}/{file}/content")
    assert page["data"] == [{"type": "text", "text": "Thirty days."}]
    counts = (await acme.ask("GET", f"{PATH}/{store}"))["file_counts"]
    assert (counts["completed"], counts["total"]) == (1, 1)


async def test_a_file_that_is_added_again_keeps_its_attributes(fleet: Fleet, acme: Client) -> None:
    store, file = await acme.store(), await acme.upload()
    path = f"{PATH}/{store}"
    await acme.ask("POST", f"{path}/files", {"file_id": file, "attributes": {"team": "red"}})
    for again in ("files", {"file_id": file}), ("file_batches", {"file_ids": [file]}):
        await acme.ask("POST", f"{path}/{again[0]}", again[1])
        assert (await acme.ask("GET", f"{path}/files/{file}"))["attributes"] == {"team": "red"}
    await acme.ask("POST", f"{path}/files", {"file_id": file, "attributes": {}})
    assert (await acme.ask("GET", f"{path}/files/{file}"))["attributes"] == {}


async def test_file_that_cannot_be_read_says_why(fleet: Fleet, acme: Client) -> None:
    file = await acme.upload(b"\xff\xfe")
    store = await acme.store(file_ids=[file])
    await bring_in(fleet.gateway)
    member = await acme.ask("GET", f"{PATH}/{store}/files/{file}")
    assert (member["status"], member["last_error"]["code"]) == ("failed", "invalid_file")
    again = await acme.ask("POST", f"{PATH}/{store}/files", {"file_id": file})
    assert (again["status"], again["last_error"]) == ("in_progress", None)


async def test_attributes_change_and_the_file_stays_searchable(fleet: Fleet, acme: Client) -> None:
    file = await acme.upload()
    store = await acme.store(file_ids=[file])
    await bring_in(fleet.gateway)
    member = await acme.ask("POST", f"{PATH}/{store}/files/{file}", {"attributes": {"year": 2025}})
    assert (member["status"], member["attributes"]) == ("completed", {"year": 2025})


async def test_batch_with_settings_for_each_file(fleet: Fleet, acme: Client) -> None:
    store, files = await acme.store(), [await acme.upload(name=f"{n}.md") for n in range(3)]
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
    batch = await acme.ask(
        "POST",
        f"{PATH}/{store}/file_batches",
        {"files": [{"file_id": files[0], "chunking_strategy": strategy}, *({"file_id": f} for f in files[1:])]},
    )
    assert (batch["object"], batch["status"], batch["file_counts"]["total"]) == (
        "vector_store.files_batch",
        "in_progress",
        3,
    )
    path = f"{PATH}/{store}/file_batches/{batch['id']}"
    await bring_in(fleet.gateway)
    done = await acme.ask("GET", path)
    assert (done["status"], done["file_counts"]["completed"]) == ("completed", 3)
    listed = await acme.ask("GET", f"{path}/files?filter=completed&order=asc")
    assert {member["id"] for member in listed["data"]} == set(files)
    assert (await acme.ask("GET", f"{path}/files?filter=failed"))["data"] == []
    assert (await acme.ask("GET", f"{PATH}/{store}/files/{files[0]}"))["chunking_strategy"] == strategy
    assert await acme.ask("POST", f"{path}/cancel") == done, "there is nothing left to cancel"


async def test_cancelled_batch_comes_in_no_more(fleet: Fleet, acme: Client) -> None:
    store, file = await acme.store(), await acme.upload()
    batch = await acme.ask("POST", f"{PATH}/{store}/file_batches", {"file_ids": [file, file]})
    path = f"{PATH}/{store}/file_batches/{batch['id']}"
    assert (await acme.ask("POST", f"{path}/cancel"))["status"] == "cancelled"
    assert await bring_in(fleet.gateway) == 0
    assert (await acme.ask("GET", path))["file_counts"]["cancelled"] == 1


@pytest.mark.usefixtures("cleaner")
async def test_what_is_deleted_and_what_stays(acme: Client) -> None:
    kept, gone = await acme.upload(name="kept.md"), await acme.upload(name="gone.md")
    one, other = await acme.store(file_ids=[kept, gone]), await acme.store(file_ids=[gone])
    reply = await acme.ask("DELETE", f"{PATH}/{one}/files/{kept}")
    assert reply == {"id": kept, "object": "vector_store.file.deleted", "deleted": True}
    assert (await acme.call("GET", f"{PATH}/{one}/files/{kept}")).status == 404
    assert (await acme.call("GET", f"/v1/files/{kept}")).status == 200
    await acme.ask("DELETE", f"/v1/files/{gone}")
    for store in (one, other):
        assert (await acme.ask("GET", f"{PATH}/{store}/files"))["data"] == []
    reply = await acme.ask("DELETE", f"{PATH}/{other}")
    assert reply == {"id": other, "object": "vector_store.deleted", "deleted": True}
    assert (await acme.call("GET", f"{PATH}/{other}")).status == 404
    assert [store["id"] for store in (await acme.ask("GET", PATH))["data"]] == [one]


async def test_lists_go_page_by_page(acme: Client) -> None:
    stores = {await acme.store(name=f"s{n}") for n in range(5)}
    files = {await acme.upload(name=f"{n}.md") for n in range(5)}
    store = await acme.store(file_ids=sorted(files))
    for path, expected in ((PATH, stores | {store}), (f"{PATH}/{store}/files", files)):
        seen: list[str] = []
        after = ""
        while True:
            page = await acme.ask("GET", f"{path}?limit=2{after}")
            seen += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                break
            after = f"&after={page['last_id']}"
        assert len(seen) == len(expected)
        assert set(seen) == expected
        before = await acme.ask("GET", f"{path}?limit=2&before={seen[-1]}")
        assert [each["id"] for each in before["data"]] == seen[-3:-1]


async def test_other_tenants_things_are_as_unknown_as_any(acme: Client, globex: Client) -> None:
    file = await acme.upload()
    store = await acme.store(file_ids=[file])
    batch = (await acme.ask("POST", f"{PATH}/{store}/file_batches", {"file_ids": [file]}))["id"]
    acmes = {"store": store, "file": file, "batch": batch}
    calls: list[tuple[str, str, Any]] = [
        ("GET", "{store}", None),
        ("POST", "{store}", {"name": "mine"}),
        ("DELETE", "{store}", None),
        ("GET", "{store}/files", None),
        ("POST", "{store}/files", {"file_id": file}),
        ("GET", "{store}/files/{file}", None),
        ("POST", "{store}/files/{file}", {"attributes": {}}),
        ("DELETE", "{store}/files/{file}", None),
        ("GET", "{store}/files/{file}/content", None),
        ("POST", "{store}/file_batches", {"file_ids": [file]}),
        ("GET", "{store}/file_batches/{batch}", None),
        ("POST", "{store}/file_batches/{batch}/cancel", None),
        ("GET", "{store}/file_batches/{batch}/files", None),
    ]
    for method, path, body in calls:
        theirs = await globex.call(method, f"{PATH}/{path.format(**acmes)}", body)
        nobodys = await globex.call(method, f"{PATH}/{path.format(**NOBODYS)}", body)
        assert (theirs.status, nobodys.status) == (404, 404), (method, path)
        said = theirs.raw.decode()
        for kind, ident in acmes.items():
            said = said.replace(ident, NOBODYS[kind])
        assert said == nobodys.raw.decode().replace(file, NOBODYS["file"]), (method, path)
    own = await globex.store()
    for path, name, asked in (("files", "file_id", file), ("file_batches", "file_ids", [file])):
        reply = await globex.call("POST", f"{PATH}/{own}/{path}", {name: asked})
        assert (reply.status, reply.error["param"]) == (404, name)
    reply = await globex.call("POST", PATH, {"file_ids": [file]})
    assert reply.status == 404
    assert [each["id"] for each in (await globex.ask("GET", PATH))["data"]] == [own], "all of it or nothing"
    assert (await globex.call("GET", f"{PATH}?after={store}")).status == 404
    assert (await acme.ask("GET", f"{PATH}/{store}"))["name"] == ""


_LONG = "x" * 513
_STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": 7}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"surprise": 1}, "surprise"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"expires_after": {"anchor": "now", "days": 1}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
        ({"file_ids": "x"}, "file_ids"),
        ({"file_ids": ["../x"]}, "file_ids.0"),
        ({"chunking_strategy": _STATIC}, "chunking_strategy"),
        ({"chunking_strategy": {"type": "static"}}, "chunking_strategy"),
    ],
)
async def test_bad_store(acme: Client, body: Any, param: str) -> None:
    reply = await acme.call("POST", PATH, body)
    assert reply.status == 400
    assert (reply.error["param"] or "").startswith(param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file_id"),
        ({"file_id": 1}, "file_id"),
        ({"file_id": "x", "attributes": {"a": [1]}}, "attributes"),
        ({"file_id": "x", "attributes": {"a": _LONG}}, "attributes"),
        ({"file_id": "x", "attributes": {str(n): 1 for n in range(17)}}, "attributes"),
        ({"file_id": "x", "attributes": {"a": 1e308}}, "attributes"),
        ({"file_id": "x", "chunking_strategy": {"type": "other"}}, "chunking_strategy.type"),
    ],
)
async def test_bad_file_of_a_store(acme: Client, body: Any, param: str) -> None:
    reply = await acme.call("POST", f"{PATH}/{await acme.store()}/files", body)
    assert reply.status == 400
    assert (reply.error["param"] or "").startswith(param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file_ids"),
        ({"file_ids": []}, "file_ids"),
        ({"file_ids": ["x"], "files": [{"file_id": "x"}]}, "file_ids"),
        ({"files": [{"file_id": "x"}, {"file_id": "x"}]}, "files"),
        ({"files": [{"file_id": "x"}], "attributes": {"a": 1}}, "attributes"),
        ({"files": [{"surprise": "x"}]}, "files.0"),
        ({"file_ids": ["x"] * 2001}, "file_ids"),
    ],
)
async def test_bad_batch(acme: Client, body: Any, param: str) -> None:
    reply = await acme.call("POST", f"{PATH}/{await acme.store()}/file_batches", body)
    assert reply.status == 400
    assert (reply.error["param"] or "").startswith(param)


@pytest.mark.parametrize("query", ["limit=101", "filter=lost", "before=%2e%2e", "surprise=1"])
async def test_bad_list_of_files(acme: Client, query: str) -> None:
    reply = await acme.call("GET", f"{PATH}/{await acme.store()}/files?{query}")
    assert (reply.status, reply.error["param"]) == (400, query.partition("=")[0])


async def test_path_that_is_no_id(acme: Client) -> None:
    assert (await acme.call("GET", f"{PATH}/a%00b")).status == 404


async def test_database_that_is_away_is_a_503(start: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_bytes(b"this is no database, but it is long enough to be read as one. " * 40)
    fleet = await start(catalog_url=f"sqlite:///{tmp_path / 'broken.db'}")
    reply = await fleet.get(PATH)
    assert (reply.status, reply.error["code"]) == (503, "catalog_unavailable")
    assert int(reply.headers["retry-after"]) >= 1
    assert (await fleet.chat()).status == 200, "the bare model needs no catalog"


async def test_a_file_that_waits_for_a_part_of_the_system_says_for_which(acme: Client) -> None:
    store, file = await acme.store(), await acme.upload()
    path = f"{PATH}/{store}/files"
    assert (await acme.ask("POST", path, {"file_id": file}))["status_details"] is None
    pauses = acme.fleet.gateway.catalog.pauses
    await pauses.add(Pause(cause="index", message="Milvus at http://10.0.0.7:19530: password", since=17.5))
    for found in (await acme.ask("GET", f"{path}/{file}"), (await acme.ask("GET", path))["data"][0]):
        assert (found["status"], found["last_error"]) == ("in_progress", None)
        assert (found["status_details"]["reason"], found["status_details"]["since"]) == ("index_unavailable", 17)
        assert "10.0.0.7" not in json.dumps(found), "addresses are for operators"
    await pauses.clear()
    assert (await acme.ask("GET", f"{path}/{file}"))["status_details"] is None
