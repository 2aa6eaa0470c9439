"""Names in source code, on both databases: found exactly, by whoever may see their files, and gone with them."""

import pytest

from gateway.knowledge.catalog import code_names
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.code_types import NameRecord, NameRole
from gateway.knowledge.catalog.types import ChunkRecord, NewMember
from gateway.tenants.key import Key
from gateway.tenants.tenant import Tenant

CHUNKS = [ChunkRecord(index=i, text=f"a.py\ndef f{i}", page=0, start=10 * i, end=10 * i + 6) for i in range(2)]


def named(name: str, role: NameRole = NameRole.DEFINITION, *, chunk: int = 0, scope: str = "") -> NameRecord:
    kind = "function" if role is NameRole.DEFINITION else ""
    return NameRecord(role=role, name=name, scope=scope, kind=kind, line=3, last_line=5, chunk=chunk)


NAMES = [
    named("open", scope="Door"),
    named("Open", chunk=1),
    named("close", NameRole.CALL, chunk=1),
    named("open", NameRole.CALL, chunk=1),
    named("os.path", NameRole.IMPORT),
    named("nul\0"),
]


async def filled(catalog: Catalog) -> str:
    """The id of a store with two files that have the same names, `hr` for a group alone."""
    await catalog.collections.add("c1", embedding_model="m", dimension=3)
    own = catalog.of(Tenant("a"))
    store = await own.stores.create(name="code")
    for name, allow in (("free", None), ("hr", ["hr"])):
        await own.files.add(
            file_id=name, filename=f"{name}.py", purpose="assistants", size=1, sha256="0", allow=allow
        )  # fmt: skip
    await own.members.attach(
        store.id, [NewMember(file_id=name, attributes={"path": f"src/{name}.py"}) for name in ("free", "hr")]
    )
    for job in await catalog.queue.claim("w", limit=9, lease_s=60):
        await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9, names=NAMES)
        await catalog.queue.complete(job, "c1")
    return store.id


async def test_a_name_is_found_exactly_with_its_chunk(catalog: Catalog) -> None:
    store = await filled(catalog)
    names = catalog.of(Tenant("a")).code_names
    found = await names.find([store], [("open", "")])
    assert [each.file_id for each in found] == ["free", "hr"]
    assert (found[0].record, found[0].chunk) == (NAMES[0], CHUNKS[0])
    assert found[0].attributes == {"path": "src/free.py"}
    assert {each.record.name for each in await names.find([store], [("Open", ""), ("ope", ""), ("open%", "")])} == {
        "Open"
    }
    for outer, there in (("Door", 2), ("house.Door", 0), ("oor", 0), ("free", 0), ("%", 0)):
        assert len(await names.find([store], [("open", outer)])) == there, outer
    assert [each.file_id for each in await names.find([store], [("Open", "hr"), ("Open", "h%")])] == ["hr"]
    called = await names.find([store], [("close", ""), ("open", "")], [NameRole.CALL])
    assert {(each.record.name, each.chunk.index) for each in called} == {("close", 1), ("open", 1)}
    assert [each.record.name for each in await names.find([store], [("os.path", "")], [NameRole.IMPORT])] == [
        "os.path"
    ] * 2
    assert (
        await names.find([], [("open", "")])
        == await names.find([store], [])
        == await names.find(["vs_x"], [("open", "")])
        == []
    )
    assert list(await names.called_in([(store, "free", 1), (store, "free", 0)])) == ["close", "open"]
    assert list(await names.called_in([])) == []


async def test_names_are_those_of_files_that_the_key_sees(catalog: Catalog) -> None:
    store = await filled(catalog)
    for groups, seen in ((frozenset[str](), ["free"]), (frozenset({"hr"}), ["free", "hr"])):
        names = catalog.of(Tenant("a", key=Key(groups=groups))).code_names
        assert [each.file_id for each in await names.find([store], [("open", "")])] == seen
        assert bool(await names.called_in([(store, "hr", 1)])) == ("hr" in seen)
    other = catalog.of(Tenant("b")).code_names
    assert await other.find([store], [("open", "")]) == []
    assert list(await other.called_in([(store, "free", 1)])) == []


async def test_names_are_replaced_with_the_chunks_and_leave_with_the_file(catalog: Catalog) -> None:
    store = await filled(catalog)
    own = catalog.of(Tenant("a"))
    await own.members.attach(store, [NewMember(file_id="free", attributes={"path": "b.py"})])
    assert [each.file_id for each in await own.code_names.find([store], [("open", "")])] == ["hr"], "it is in progress"
    (job,) = await catalog.queue.claim("w", limit=9, lease_s=60)
    await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9, names=[named("other")])
    await catalog.queue.complete(job, "c1")
    assert [each.file_id for each in await own.code_names.find([store], [("open", "")])] == ["hr"]
    assert [each.file_id for each in await own.code_names.find([store], [("other", "")])] == ["free"]
    await own.files.delete("free")
    assert await own.code_names.find([store], [("other", "")]) == []


async def test_of_many_of_one_name_the_one_that_is_meant_is_found(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_names, "MOST", 1)
    store = await filled(catalog)
    own = catalog.of(Tenant("a"))
    await own.members.attach(store, [NewMember(file_id="free", attributes={"path": "b.py"})])
    (job,) = await catalog.queue.claim("w", limit=9, lease_s=60)
    many = [named("__init__", scope=f"C{n}") for n in range(5)]
    await catalog.queue.put_chunks(job, CHUNKS, usage_bytes=9, names=many)
    await catalog.queue.complete(job, "c1")
    for n in range(5):
        (found,) = await own.code_names.find([store], [("__init__", f"C{n}")])
        assert found.record.scope == f"C{n}"
    assert len(await own.code_names.find([store], [("__init__", ""), ("open", "")])) == 2, "one of each"
