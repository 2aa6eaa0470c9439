"""Who may see a document: a random walk of uploads, grants, revocations and deletions over every path, and what it may not meet.

The index is as far behind as it can be: it has every passage that ever was, and knows of filters only which files they name.
"""

import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.triton.fake_answers import Script
from tests.support.ingesting import bring_in, clear_away, ingestion
from tests.support.replies import Reply
from tests.support.running import MODEL, Fleet

FILES, STORES = "/v1/files", "/v1/vector_stores"
GROUPS: Mapping[str, frozenset[str] | None] = {
    "all": None,
    "hr": frozenset({"hr"}),
    "both": frozenset({"hr", "sales"}),
    "upper": frozenset({"HR"}),
    "none": frozenset(),
}
TENANTS = """
tenants:
  - name: acme
    keys:
      - all-key
      - {key: hr-key, groups: [hr]}
      - {key: both-key, groups: [hr, sales]}
      - {key: upper-key, groups: [HR]}
      - {key: none-key, groups: []}
  - {name: other, keys: [other-key]}
"""


def index_holds(expression: str, passage: Mapping[str, Any]) -> bool:
    """Of a filter, what it says of stores and files."""
    stores = re.search(r"store in \[([^]]*)\]", expression)
    assert stores is not None
    if passage["store"] not in re.findall(r'"([^"]*)"', stores[1]):
        return False
    files = re.search(r"file_id (not )?in \[([^]]*)\]", expression)
    return files is None or (passage["file_id"] in re.findall(r'"([^"]*)"', files[2])) != bool(files[1])


@pytest.fixture
async def fleet(start: Any, tmp_path: Path) -> Fleet:
    (tmp_path / "tenants.yaml").write_text(TENANTS)
    running: Fleet = await start(tenants_file=tmp_path / "tenants.yaml", rag_top_k=50, max_context=1 << 16)
    running.answers.passages = []
    running.answers.holds = index_holds
    return running


@dataclass
class Document:
    """What the walk knows of one file."""

    id: str
    word: str
    """In its name and its text, and in no other."""
    allow: Sequence[str] | None
    stores: set[str] = field(default_factory=set)

    def seen_by(self, user: str) -> bool:
        groups = GROUPS[user]
        return groups is None or self.allow is None or not groups.isdisjoint(self.allow)


class World:
    """A tenant with users, and what is true of its documents."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.fleet = fleet
        self.rng = rng
        self.documents: dict[str, Document] = {}
        self.gone: list[Document] = []
        self.stores: list[str] = []
        self.answers: dict[str, set[str]] = {}
        """Stored ones, and the files that they were made from."""
        self.log: list[str] = []

    async def call(self, user: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Whatever comes back; nothing in it is of a document that the user may not see."""
        headers = {"authorization": f"Bearer {user}-key", **headers}
        data = body if body is None or isinstance(body, aiohttp.FormData) else json.dumps(body).encode()
        async with self.fleet.http.request(method, path, data=data, headers=headers) as response:
            reply = Reply(response.status, response.headers, await response.read())
        self.log.append(f"{user} {method} {path} {'' if isinstance(body, aiohttp.FormData) else body} → {reply.status}")
        said = reply.raw.decode()
        if method != "DELETE" and not (method == "POST" and path.startswith((FILES, STORES)) and "search" not in path):
            for each in self.hidden(user):
                assert each.word not in said, self.trace(f"{user} may not see {each}: {said}")
                assert each.id in path or each.id not in said, self.trace(f"{user} may not know of {each}: {said}")
        return reply

    def hidden(self, user: str) -> list[Document]:
        """What the user must not meet. What a key without groups finds in the index is not looked up again."""
        if GROUPS[user] is None:
            return []
        return [*(each for each in self.documents.values() if not each.seen_by(user)), *self.gone]

    def trace(self, what: str) -> str:
        return "\n".join([*self.log[-12:], what])

    async def upload(self, user: str, allow: Sequence[str] | None) -> Document:
        word = f"word{len(self.documents) + len(self.gone):05}x"
        form = aiohttp.FormData()
        form.add_field("purpose", "assistants")
        if allow is not None:
            form.add_field("allow", ",".join(allow))
        form.add_field("file", f"This text has {word}.".encode(), filename=f"{word}.md")
        made = (await self.call(user, "POST", FILES, form)).json
        groups = GROUPS[user]
        expected = sorted(groups) or None if allow is None and groups else allow
        assert made.get("allow") == expected, self.trace(f"{made}")
        document = self.documents[made["id"]] = Document(made["id"], word, expected)
        return document

    async def attach(self, user: str, document: Document, allow: Sequence[str] | None) -> None:
        store = self.rng.choice(self.stores)
        said = {} if allow is None else {"allow": allow}
        one = {"file_id": document.id, **said}
        if self.rng.random() < 0.5:
            reply = await self.call(user, "POST", f"{STORES}/{store}/files", one)
        else:
            reply = await self.call(user, "POST", f"{STORES}/{store}/file_batches", {"files": [one]})
        assert reply.status == (200 if document.seen_by(user) else 404), self.trace(reply.raw.decode())
        if reply.status == 200:
            document.allow = document.allow if allow is None else sorted(allow)
            document.stores.add(store)
            await bring_in(self.fleet.gateway)
            text, row = f"This text has {document.word}.", f"{store}/{document.id}/0"
            self.fleet.answers.passages = [
                *(each for each in self.fleet.answers.passages if each["id"] != row),
                {
                    "id": row, "store": store, "file_id": document.id, "index": 0, "text": text,
                    "filename": f"{document.word}.md", "score": 0.9, "page": 0, "start": 0, "end": len(text),
                    "attributes": {},
                },
            ]  # fmt: skip

    async def change(self, user: str, document: Document, allow: Sequence[str] | None) -> None:
        store = self.rng.choice(sorted(document.stores))
        reply = await self.call(user, "POST", f"{STORES}/{store}/files/{document.id}", {"allow": allow})
        assert reply.status == (200 if document.seen_by(user) else 404), self.trace(reply.raw.decode())
        if reply.status == 200:
            document.allow = None if allow is None else sorted(allow)

    async def delete(self, user: str, document: Document) -> None:
        self.fleet.gateway.catalog.database.on_commit = lambda: None
        async with ingestion(self.fleet.gateway):
            reply = await self.call(user, "DELETE", f"{FILES}/{document.id}")
        assert reply.status == (200 if document.seen_by(user) else 404), self.trace(reply.raw.decode())
        if reply.status == 200:
            self.gone.append(self.documents.pop(document.id))

    async def detach(self, user: str, document: Document) -> None:
        store = self.rng.choice(sorted(document.stores))
        async with ingestion(self.fleet.gateway):
            reply = await self.call(user, "DELETE", f"{STORES}/{store}/files/{document.id}")
        assert reply.status == (200 if document.seen_by(user) else 404), self.trace(reply.raw.decode())
        if reply.status == 200:
            document.stores.remove(store)

    async def look(self, user: str) -> None:
        """One of the ways to read, with what it must show."""
        store = self.rng.choice(self.stores)
        inside = {each.id for each in self.documents.values() if store in each.stores and each.seen_by(user)}
        way = self.rng.choice(
            ("files", "members", "store", "one", "search", "chat", "stream", "responses", "rag", "stored")
        )
        if way == "files":
            listed = (await self.call(user, "GET", FILES)).json["data"]
            shown = {each.id for each in self.documents.values() if each.seen_by(user)}
            assert {each["id"] for each in listed} == shown, self.trace("")
        elif way == "members":
            listed = (await self.call(user, "GET", f"{STORES}/{store}/files?limit=100")).json["data"]
            assert {each["id"] for each in listed} == inside, self.trace("")
        elif way == "store":
            counts = (await self.call(user, "GET", f"{STORES}/{store}")).json["file_counts"]
            assert counts["total"] == len(inside), self.trace(f"{counts}")
            (listed,) = [e for e in (await self.call(user, "GET", STORES)).json["data"] if e["id"] == store]
            assert listed["file_counts"] == counts
        elif way == "one" and self.documents:
            document = self.rng.choice(list(self.documents.values()))
            of_file, of_member = f"{FILES}/{document.id}", f"{STORES}/{store}/files/{document.id}"
            for path in (of_file, f"{of_file}/content"):
                reply = await self.call(user, "GET", path)
                assert reply.status == (200 if document.seen_by(user) else 404), self.trace("")
            for path in (of_member, f"{of_member}/content"):
                assert (await self.call(user, "GET", path)).status == (200 if document.id in inside else 404)
        elif way == "search":
            body = {"query": "Which words?", "max_num_results": 50}
            found = (await self.call(user, "POST", f"{STORES}/{store}/search", body)).json["data"]
            if GROUPS[user] is not None:  # for the others the index alone decides, which is behind here
                assert {each["file_id"] for each in found} == inside, self.trace(f"{found}")
        elif way == "stored" and self.answers:
            await self._look_at_an_answer(user)
        else:
            await self._ask(user, way, store)

    async def _look_at_an_answer(self, user: str) -> None:
        answer = self.rng.choice(list(self.answers))
        gone = {each.id for each in self.hidden(user)}
        expected = 404 if gone & self.answers[answer] else 200
        path = f"/v1/responses/{answer}"
        for each in (path, f"{path}/input_items"):
            assert (await self.call(user, "GET", each)).status == expected, self.trace(f"{self.answers[answer]}")
        if expected == 200:
            asked = {"model": MODEL, "input": "And?", "previous_response_id": answer, "max_output_tokens": 16}
            following = (await self.call(user, "POST", "/v1/responses", asked)).json
            self.answers[following["id"]] = self.answers[answer]

    async def _ask(self, user: str, way: str, store: str) -> None:
        tool = {"type": "file_search", "vector_store_ids": [store]}
        messages = [{"role": "user", "content": "Which words?"}]
        before = len(self.fleet.calls("llm"))
        if way == "responses":
            asked = {"model": MODEL, "input": "Which words?", "tools": [tool], "include": ["file_search_call.results"]}
            reply = await self.call(user, "POST", "/v1/responses", {**asked, "max_output_tokens": 16})
            if reply.status == 200:
                search = reply.json["output"][0]
                assert set(search["file_ids"]) == {each["file_id"] for each in search["results"]}
                self.answers[reply.json["id"]] = set(search["file_ids"])
        elif way == "rag":
            asked = {"model": f"rag:{store}", "messages": messages, "max_tokens": 2}
            reply = await self.call(user, "POST", "/v1/chat/completions", asked)
        else:
            asked = {"model": MODEL, "messages": messages, "tools": [tool], "max_tokens": 2, "stream": way == "stream"}
            reply = await self.call(user, "POST", "/v1/chat/completions", asked)
        assert reply.status in (200, 404), self.trace(reply.raw.decode())  # 404: nothing was ever brought in
        for call in self.fleet.calls("llm")[before:]:
            prompt = self.fleet.table.decode(call.body["input_ids"])
            assert "Which words?" in prompt
            assert not any(each.word in prompt for each in self.hidden(user)), self.trace(prompt)


@pytest.mark.parametrize("steps", [120, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
async def test_a_random_walk_meets_nothing_that_it_may_not_see(fleet: Fleet, steps: int) -> None:
    rng = random.Random(steps)
    world = World(fleet, rng)
    for name in ("first", "second"):
        world.stores.append((await world.call("all", "POST", STORES, {"name": name})).json["id"])
    # A first document, before anybody looks: that there is no index at all is remembered for a moment.
    await world.attach("all", await world.upload("all", None), None)
    users = list(GROUPS)
    lists: Sequence[Sequence[str] | None] = (None, [], ["hr"], ["sales"], ["hr", "sales"], ["HR"], ["none"])
    for _ in range(steps):
        user, allow = rng.choice(users), rng.choice(lists)
        documents = list(world.documents.values())
        joined = [each for each in documents if each.stores]
        step = rng.choice(("upload", "attach", "change", "change", "delete", "detach", *["look"] * 9))
        if step == "upload" and len(documents) < 12:
            await world.attach("all", await world.upload(user, allow), None)
        elif step == "attach" and documents:
            await world.attach(user, rng.choice(documents), allow)
        elif step == "change" and joined:
            await world.change(user, rng.choice(joined), allow)
        elif step == "delete" and len(documents) > 4:
            await world.delete(user, rng.choice(documents))
        elif step == "detach" and joined and rng.random() < 0.3:
            await world.detach(user, rng.choice(joined))
        else:
            await world.look(user)
    await clear_away(fleet.gateway)


async def world_with(fleet: Fleet, allow: Sequence[str] | None) -> tuple[World, Document]:
    """A store with one document."""
    world = World(fleet, random.Random(1))
    world.stores.append((await world.call("all", "POST", STORES, {"name": "first"})).json["id"])
    document = await world.upload("all", allow)
    await world.attach("all", document, None)
    return world, document


async def test_who_loses_a_document_while_its_question_is_searched_does_not_get_it(fleet: Fleet) -> None:
    world, document = await world_with(fleet, ["hr"])
    fleet.answers.script("context", Script(stall_after=0))
    path = f"{STORES}/{world.stores[0]}/files/{document.id}"
    asking = asyncio.create_task(world._ask("hr", "chat", world.stores[0]))
    await fleet.until(lambda: len(fleet.calls("context")) == 1)
    await world.call("all", "POST", path, {"allow": ["sales"]})
    document.allow = ["sales"]
    for triton in fleet.tritons:
        triton.resume()
    await asking
    assert len(fleet.calls("context")) == 2


async def test_a_replayed_answer_ends_with_the_right_to_see_it(fleet: Fleet) -> None:
    world, document = await world_with(fleet, ["hr"])
    path, body, key = f"{STORES}/{world.stores[0]}/files", {"file_id": document.id}, {"idempotency-key": "k"}
    first = await world.call("hr", "POST", path, body, **key)
    again = await world.call("hr", "POST", path, body, **key)
    assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
    assert (await world.call("upper", "POST", path, body, **key)).status == 404
    await world.call("all", "POST", f"{path}/{document.id}", {"allow": []})
    document.allow = []
    assert (await world.call("hr", "POST", path, body, **key)).status == 404


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, None),
        ({"allow": "sales,hr"}, ["hr", "sales"]),
        ({"allow[]": ["sales", "hr", "hr"]}, ["hr", "sales"]),
        ({"allow": ""}, []),
        ({"allow": "/hr/managers"}, ["/hr/managers"]),
        ({"allow": "hr sales"}, 400),
        ({"allow": "h" * 65}, 400),
        ({"allow": ",".join(f"g{number}" for number in range(17))}, 400),
    ],
)
async def test_an_upload_says_who_may_see_it(fleet: Fleet, fields: Mapping[str, Any], shown: Any) -> None:
    form = aiohttp.FormData({"purpose": "assistants"})
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            form.add_field(name, each)
    form.add_field("file", b"Words.", filename="a.md")
    reply = await World(fleet, random.Random(1)).call("all", "POST", FILES, form)
    if shown == 400:
        assert (reply.status, reply.error["param"]) == (400, "allow")
    else:
        assert reply.json.get("allow") == shown


@pytest.mark.parametrize("allow", [["a b"], ["h" * 65], [""], [1], "hr", [f"g{number}" for number in range(17)]])
async def test_a_list_that_cannot_be_meant_is_refused(fleet: Fleet, allow: Any) -> None:
    world, document = await world_with(fleet, None)
    path = f"{STORES}/{world.stores[0]}/files"
    for asked, body in ((f"{path}/{document.id}", {"allow": allow}), (path, {"file_id": document.id, "allow": allow})):
        reply = await world.call("all", "POST", asked, body)
        assert reply.status == 400
        assert reply.error["param"].startswith("allow")


async def test_attributes_and_groups_change_alone_or_together(fleet: Fleet) -> None:
    world, document = await world_with(fleet, None)
    path = f"{STORES}/{world.stores[0]}/files/{document.id}"
    assert (await world.call("all", "POST", path, {"attributes": {"x": 1}})).json["attributes"] == {"x": 1}
    changed = (await world.call("all", "POST", path, {"allow": ["hr"]})).json
    assert (changed["allow"], changed["attributes"]) == (["hr"], {"x": 1})
    both = (await world.call("hr", "POST", path, {"allow": [], "attributes": {"y": 2}})).json
    assert (both["allow"], both["attributes"]) == ([], {"y": 2})
    assert "allow" not in (await world.call("all", "POST", path, {"allow": None})).json
    nothing = await world.call("all", "POST", path, {})
    assert (nothing.status, nothing.error["code"]) == (400, "missing_required_parameter")


BODIES: Mapping[str, Any] = {
    "/v1/vector_stores/{store_id}/files": {"file_id": "{file_id}"},
    "/v1/vector_stores/{store_id}/files/{file_id}": {"attributes": {"mine": True}, "allow": None},
    "/v1/vector_stores/{store_id}/file_batches": {"file_ids": ["{file_id}"]},
}


async def test_no_path_tells_a_hidden_file_from_one_that_nobody_has(fleet: Fleet) -> None:
    """Each path of the router with the id of a file in it, or in its body: the same words, and nothing changes."""
    world, document = await world_with(fleet, ["sales"])
    ids = {"store_id": world.stores[0], "file_id": document.id}
    nobodys = {**ids, "file_id": "file-" + "0" * 24}
    paths = [
        (method.upper(), path)
        for path, methods in (await fleet.get("/openapi.json")).json["paths"].items()
        for method in methods
        if "{file_id}" in path or (path in BODIES and method == "post")
    ]
    assert len(paths) >= 9
    for user in ("hr", "none", "upper"):
        for method, path in paths:
            replies = []
            for mixed in (ids, nobodys):
                asked, body = path, json.dumps(BODIES.get(path) if method == "POST" else None)
                for name, value in mixed.items():
                    asked, body = (text.replace(f"{{{name}}}", value) for text in (asked, body))
                reply = await world.call(user, method, asked, json.loads(body))
                replies.append((reply.status, reply.raw.decode().replace(mixed["file_id"], "{file_id}")))
            assert replies[0] == replies[1], (method, path)
            assert replies[0][0] == 404, (method, path, replies[0])
        for param in ("after", "before"):
            listed = (FILES, f"{STORES}/{world.stores[0]}/files")
            for path in listed:
                assert (await world.call(user, "GET", f"{path}?{param}={document.id}")).status == 404
    assert (await world.call("both", "GET", f"{FILES}/{document.id}")).json["allow"] == ["sales"]
