"""Which documents a key sees, on both databases: one list for each file, and the key's groups."""

from collections.abc import Sequence

import pytest

from gateway.errors import NotFound
from gateway.knowledge.catalog.answer_types import ResponseRecord
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.members import FEW_FILES
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import Counts, FileScope, NewMember, PageQuery, StoredReply
from gateway.tenants.key import Key
from gateway.tenants.tenant import Tenant

LISTS: dict[str, Sequence[str] | None] = {
    "open": None, "nobody": [], "hr": ["hr"], "HR": ["HR"], "both": ["hr", "sales"], "quoted": ["it's", "%"],
}  # fmt: skip


def seen_by(catalog: Catalog, *groups: str) -> TenantCatalog:
    return catalog.of(Tenant("a", key=Key(groups=frozenset(groups))))


async def filled(catalog: Catalog) -> str:
    """The id of a store with a file for each of LISTS."""
    own = catalog.of(Tenant("a"))
    for name, allow in LISTS.items():
        await own.files.add(file_id=name, filename=f"{name}.md", purpose="assistants", size=1, sha256="0", allow=allow)
    store = await own.stores.create(name="books")
    await own.members.attach(store.id, [NewMember(file_id=name) for name in LISTS])
    return store.id


@pytest.mark.parametrize(
    ("groups", "shown"),
    [
        ((), {"open"}),
        (("hr",), {"open", "hr", "both"}),
        (("HR",), {"open", "HR"}),
        (("sales", "it's"), {"open", "both", "quoted"}),
        (("h_", "hr,sales", "h%"), {"open"}),
    ],
)
async def test_a_key_sees_what_its_groups_may(catalog: Catalog, groups: tuple[str, ...], shown: set[str]) -> None:
    store = await filled(catalog)
    mine = seen_by(catalog, *groups)
    assert {each.id for each in (await mine.files.page(PageQuery())).items} == shown
    assert {each.file_id for each in (await mine.members.page(store, PageQuery())).items} == shown
    assert (await mine.stores.get(store)).counts == Counts(in_progress=len(shown))
    assert await mine.members.hidden((store, name) for name in [*LISTS, "gone"]) == {*LISTS, "gone"} - shown
    scope = await mine.members.scope([store])
    assert scope is not None
    assert (set(scope.ids), scope.inverted) == (shown, False)
    for name in LISTS:
        for asked in (mine.files.get(name), mine.members.get(store, name), mine.members.chunks(store, name)):
            if name in shown:
                await asked
            else:
                with pytest.raises(NotFound):
                    await asked


async def test_a_key_without_groups_sees_all_and_asks_nothing(catalog: Catalog) -> None:
    store = await filled(catalog)
    own = catalog.of(Tenant("a"))
    assert await own.members.scope([store]) is None
    assert await own.members.hidden([(store, "never was")]) == frozenset()
    assert len((await own.files.page(PageQuery())).items) == len(LISTS)
    assert (await own.files.get("both")).allow == ["hr", "sales"]
    assert (await own.files.get("open")).allow is None


async def test_what_is_hidden_cannot_be_changed_joined_or_deleted(catalog: Catalog) -> None:
    store = await filled(catalog)
    mine = seen_by(catalog, "sales")
    for refused in (
        mine.members.set_allow(store, "hr", ["sales"]),
        mine.members.set_attributes(store, "hr", {"x": True}),
        mine.members.attach(store, [NewMember(file_id="hr", allow=["sales"])]),
        mine.members.detach(store, "hr"),
        mine.files.delete("hr"),
    ):
        with pytest.raises(NotFound):
            await refused
    assert (await catalog.of(Tenant("a")).files.get("hr")).allow == ["hr"]


async def test_a_grant_and_its_end_count_at_once_in_every_store(catalog: Catalog) -> None:
    store = await filled(catalog)
    own, mine = catalog.of(Tenant("a")), seen_by(catalog, "sales")
    other = await own.stores.create(name="other")
    await own.members.attach(other.id, [NewMember(file_id="hr", allow=["sales"])])
    assert (await mine.members.get(store, "hr")).allow == ["sales"]
    assert (await own.members.set_allow(other.id, "hr", ["hr"])).allow == ["hr"]
    with pytest.raises(NotFound):
        await mine.members.get(store, "hr")
    await own.members.set_allow(store, "hr", None)
    assert (await mine.files.get("hr")).allow is None
    assert (await own.members.attach(store, [NewMember(file_id="hr")]))[0].allow is None


async def test_no_tombstone_tells_of_what_was_hidden(catalog: Catalog) -> None:
    store = await filled(catalog)
    own, mine = catalog.of(Tenant("a")), seen_by(catalog, "sales")
    await own.members.detach(store, "hr")
    await own.members.detach(store, "open")
    for gone in ("hr", "both"):
        await own.files.delete(gone)
    for name, known in (("open", True), ("hr", False)):
        page = mine.members.page(store, PageQuery(after=name))
        if known:
            await page
        else:
            with pytest.raises(NotFound):
                await page
    await mine.files.page(PageQuery(after="both"))
    with pytest.raises(NotFound):
        await mine.files.page(PageQuery(after="hr"))


async def test_a_store_where_nothing_is_seen_is_no_model(catalog: Catalog) -> None:
    own = catalog.of(Tenant("a"))
    await own.files.add(file_id="f", filename="x.md", purpose="assistants", size=1, sha256="0", allow=["hr"])
    store = await own.stores.create(name="books")
    await own.members.attach(store.id, [NewMember(file_id="f")])
    await catalog.collections.add("c1", embedding_model="m", dimension=3)
    for job in await catalog.queue.claim("w", limit=1, lease_s=60):
        await catalog.queue.put_chunks(job, [], usage_bytes=9)
        await catalog.queue.complete(job, "c1")
    assert list(await seen_by(catalog, "hr").stores.names()) == ["books"]
    assert await seen_by(catalog, "sales").stores.names() == {}
    assert await seen_by(catalog, "sales").stores.newest(9) == []


async def test_an_upload_without_a_word_is_for_the_keys_own_groups(catalog: Catalog) -> None:
    new = {"filename": "x.md", "purpose": "assistants", "size": 1, "sha256": "0"}
    assert (await seen_by(catalog, "hr", "b").files.add(file_id="f", **new)).allow == ["b", "hr"]  # type: ignore[arg-type]
    assert (await seen_by(catalog).files.add(file_id="g", **new)).allow is None  # type: ignore[arg-type]
    assert (await seen_by(catalog, "hr").files.add(file_id="h", allow=[], **new)).allow == []  # type: ignore[arg-type]


async def test_a_replay_is_for_who_sees_the_same(catalog: Catalog) -> None:
    first, other = seen_by(catalog, "hr"), seen_by(catalog, "sales")
    async with first.transaction() as inner:
        assert await inner.keys.claim("k", "request") is None
        await inner.keys.keep("k", StoredReply(200, "{}"))
    async with other.transaction() as inner:
        assert await inner.keys.claim("k", "another request") is None
        await inner.keys.keep("k", StoredReply(200, "{}"))
    async with seen_by(catalog, "hr").transaction() as inner:
        assert await inner.keys.claim("k", "request") == StoredReply(200, "{}")


async def test_of_many_files_a_scope_names_the_fewer(catalog: Catalog) -> None:
    store = await filled(catalog)
    own, mine = catalog.of(Tenant("a")), seen_by(catalog, "hr")
    many = [f"open-{number}" for number in range(FEW_FILES)]
    async with own.transaction() as inner:
        for name in many:
            await inner.files.add(file_id=name, filename="x.md", purpose="assistants", size=1, sha256="0")
        await inner.members.attach(store, [NewMember(file_id=name) for name in many])
    scope = await mine.members.scope([store])
    assert scope == FileScope(scope.ids if scope else [], inverted=True)
    assert set(scope.ids) == {"nobody", "HR", "quoted"}
    assert set(scope.without({"hr"}).ids) == {"nobody", "HR", "quoted", "hr"}
    assert FileScope(["a", "b"]).without({"a"}) == FileScope(["b"])


def answer(number: int, *file_ids: str, previous: str | None = None, conversation: str | None = None) -> ResponseRecord:
    """One that was made from these files."""
    search = {"type": "file_search_call", "id": f"fs_{number}", "file_ids": list(file_ids)}
    message = {"type": "message", "id": f"msg_{number}"}
    return ResponseRecord(
        body={
            "id": f"resp_{number}", "created_at": number, "status": "completed", "background": False,
            "output": [search, message] if file_ids else [message],
        },
        input=[{"type": "message", "id": f"q_{number}"}],
        chain=[] if previous is None else [previous],
        conversation_id=conversation,
    )  # fmt: skip


async def test_an_answer_is_there_for_who_sees_all_that_it_was_made_from(catalog: Catalog) -> None:
    store = await filled(catalog)
    own, mine = catalog.of(Tenant("a")), seen_by(catalog, "hr")
    await own.responses.add(answer(1, "hr", "open"), keep_s=99)
    await own.responses.add(answer(2, previous="resp_1"), keep_s=99)  # it may repeat what the first one said
    await own.responses.add(answer(3, "open", previous="resp_2"), keep_s=99)
    await own.responses.add(answer(4, "open"), keep_s=99)

    async def shown(to: TenantCatalog) -> set[int]:
        found = set()
        for number in range(1, 5):
            try:
                await to.responses.get(f"resp_{number}")
                await to.responses.input_items(f"resp_{number}", PageQuery())
            except NotFound:
                continue
            found.add(number)
        return found

    assert await shown(own) == await shown(mine) == {1, 2, 3, 4}
    assert await shown(seen_by(catalog, "sales")) == {4}
    await own.members.set_allow(store, "hr", ["sales"])
    assert (await shown(mine), await shown(seen_by(catalog, "sales"))) == ({4}, {1, 2, 3, 4})
    with pytest.raises(NotFound):
        await mine.responses.delete("resp_1")
    _, items = await mine.responses.chain("resp_3")
    assert [item["id"] for item in items] == ["q_1", "q_2", "q_3"], "it goes on without what was hidden"
    assert set(await mine.responses.items(["msg_1", "fs_1", "q_1", "msg_4"])) == {"q_1", "msg_4"}
    await own.files.delete("hr")
    assert await shown(seen_by(catalog, "sales")) == {4}, "nobody can say any more who might see it"
    assert await shown(own) == {1, 2, 3, 4}


async def test_a_conversation_goes_on_without_what_is_hidden(catalog: Catalog) -> None:
    store = await filled(catalog)
    own, mine = catalog.of(Tenant("a")), seen_by(catalog, "hr")
    made = await own.conversations.create({}, [{"type": "message", "id": "hello"}], keep_s=99)
    await own.responses.add(answer(1, "hr", conversation=made.id), keep_s=99)
    await own.responses.add(answer(2, conversation=made.id), keep_s=99)
    copy = await own.conversations.create({}, [{"type": "message", "id": "msg_1"}], keep_s=99)  # by its reference
    assert len(await mine.conversations.all_items(made.id)) == 6
    await own.members.set_allow(store, "hr", [])
    asked = ["hello", "q_1", "q_2"]
    assert [item["id"] for item in await mine.conversations.all_items(made.id)] == asked
    page = await mine.conversations.items(made.id, PageQuery(order="asc"))
    assert [item["id"] for item in page.items] == asked
    assert await mine.conversations.all_items(copy.id) == []
    for refused in (
        mine.conversations.item(made.id, "msg_2"),
        mine.conversations.delete_item(made.id, "msg_1"),
        mine.conversations.items(made.id, PageQuery(after="fs_1")),
    ):
        with pytest.raises(NotFound):
            await refused
