"""What administrators do with tenants and keys, what processes learn of it, and what the audit says."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.errors import BadRequest, Conflict, NotFound, Unavailable
from gateway.knowledge.catalog.administration import Administration, Administrator, TenantSettings
from gateway.knowledge.catalog.catalog import Catalog
from gateway.tenants import api_key
from gateway.tenants.directory import Directory
from gateway.tenants.directory_sync import DirectorySync
from gateway.tenants.key import USER_SCOPES, Scope
from gateway.tenants.limits import TenantLimits
from gateway.tenants.tenant import Tenant

_NOBODY = Tenant("nobody")


@pytest.fixture
def administration(catalog: Catalog, tmp_path: Path) -> Administration:
    return Administration(catalog.database, tmp_path / "audit.jsonl")


@pytest.fixture
def administrator(administration: Administration) -> Administrator:
    return administration.by("cli:a test")


async def test_tenants_are_made_changed_suspended_and_resumed(administrator: Administrator) -> None:
    made = await administrator.create_tenant("acme", TenantSettings(weight=2, limits={"tokens_per_day": 9}))
    assert made == await administrator.tenant("acme")
    assert made.limits == TenantLimits(tokens_per_day=9)
    with pytest.raises(Conflict):
        await administrator.create_tenant("acme", TenantSettings())
    changes = TenantSettings(placement="gold", limits={"tokens_per_day": None, "documents": 0})
    changed = await administrator.change_tenant("acme", changes)
    assert (changed.weight, changed.placement, changed.limits) == (2.0, "gold", TenantLimits(documents=0))
    assert (await administrator.suspend("acme")).suspended
    assert not (await administrator.resume("acme")).suspended
    assert [each.name for each in await administrator.tenants()] == ["acme"]


async def test_a_catalog_without_any_change_is_asked_for_its_revision_alone(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await catalog.tenants.changes(None)
    assert first is not None
    assert first.revision == 0

    def read() -> None:
        pytest.fail("a transaction, twice a second, of every gateway without tenants")

    monkeypatch.setattr(catalog.database, "read", read)
    assert await catalog.tenants.changes(first.revision) is None


async def test_keys_are_made_rotated_and_revoked(catalog: Catalog, administrator: Administrator, clock: Any) -> None:
    await administrator.create_tenant("acme", TenantSettings())
    plain, text_of_plain = await administrator.create_key("acme")
    assert plain.scopes == USER_SCOPES
    assert plain.groups is None
    later = int(clock()) + 60
    made, new = await administrator.create_key(
        "acme", scopes=["chat"], groups=[], limits={"requests_per_minute": 1}, expires_at=later
    )
    assert made == await administrator.key(made.id)
    assert (made.scopes, made.groups, made.expires_at) == ({Scope.CHAT}, frozenset(), later)
    rotated, newer = await administrator.rotate_key(made.id, overlap_s=30)
    assert rotated.id == made.id == api_key.id_of(newer.text)
    now = clock()
    assert rotated.opened_by(api_key.digest(new.text), now + 29)
    assert not rotated.opened_by(api_key.digest(new.text), now + 30)
    assert rotated.opened_by(api_key.digest(newer.text), now + 30)
    at_once, _ = await administrator.rotate_key(plain.id, overlap_s=0)
    assert not at_once.opened_by(api_key.digest(text_of_plain.text), now)
    revoked = await administrator.revoke_key(made.id)
    assert revoked == await administrator.revoke_key(made.id), "twice is fine"
    with pytest.raises(Conflict):
        await administrator.rotate_key(made.id)
    assert {each.id for each in await administrator.keys("acme")} == {plain.id, made.id}
    stored = await _dump(catalog)
    for secret in (new.text, newer.text, text_of_plain.text):
        assert secret.rpartition("-")[2] not in stored


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        (TenantSettings(weight=0), "weight"),
        (TenantSettings(weight=float("nan")), "weight"),
        (TenantSettings(weight=float("inf")), "weight"),
        (TenantSettings(priority=21), "priority"),
        (TenantSettings(placement="a b"), "class"),
        (TenantSettings(limits={"tokens": 1}), "limits.tokens"),
        (TenantSettings(limits={"documents": -1}), "limits.documents"),
        (TenantSettings(limits={"documents": 2**63}), "limits.documents"),
    ],
)
async def test_what_no_tenant_can_be_is_refused(
    administrator: Administrator, settings: TenantSettings, param: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        await administrator.create_tenant("acme", settings)
    assert caught.value.param == param
    assert await administrator.tenants() == []


@pytest.mark.parametrize("name", ["", "a b", "-a", "a" * 65, "ä", "a\0", "../a", "a\n"])
async def test_names_that_no_tenant_can_have(administrator: Administrator, name: str) -> None:
    with pytest.raises(BadRequest):
        await administrator.create_tenant(name, TenantSettings())
    for call in (administrator.tenant, administrator.suspend, administrator.create_key, administrator.keys):
        with pytest.raises(NotFound):
            await call(name)
    for call in (administrator.key, administrator.rotate_key, administrator.revoke_key):
        with pytest.raises(NotFound):
            await call(name)


async def test_keys_that_cannot_be_are_refused(administrator: Administrator, clock: Any) -> None:
    await administrator.create_tenant("acme", TenantSettings())
    wrong: list[dict[str, Any]] = [
        {"scopes": []},
        {"scopes": ["chats"]},
        {"groups": [""]},
        {"groups": ["a\0"]},
        {"groups": ["\ud800"]},
        {"groups": map(str, range(300))},
        {"limits": {"x": 1}},
        {"expires_at": int(clock())},
        {"expires_at": 2**70},
    ]
    for wishes in wrong:
        with pytest.raises(BadRequest):
            await administrator.create_key("acme", **wishes)
    assert await administrator.keys() == []


async def test_each_change_reaches_a_directory_that_follows(catalog: Catalog, administrator: Administrator) -> None:
    directory = Directory({"configured": _NOBODY})
    sync = DirectorySync(directory, catalog.tenants)
    await sync.look()
    await administrator.create_tenant("acme", TenantSettings())
    made, new = await administrator.create_key("acme")
    await sync.look()
    assert directory.authenticate(f"Bearer {new.text}").name == "acme"
    await administrator.change_tenant("acme", TenantSettings(weight=3, limits={"documents": 1}))
    await sync.look()
    tenant = directory.authenticate(f"Bearer {new.text}")
    assert (tenant.weight, tenant.limits) == (3.0, TenantLimits(documents=1))
    late = Directory({"configured": _NOBODY})
    await DirectorySync(late, catalog.tenants).look()
    assert late.authenticate(f"Bearer {new.text}") == tenant
    await administrator.revoke_key(made.id)
    await sync.look()
    for each in (directory, late):
        assert each.revision is not None
    assert await catalog.tenants.changes(directory.revision) is None
    changes = await catalog.tenants.changes(late.revision)
    assert changes is not None
    assert [each.id for each in changes.keys] == [made.id], "only what is new"
    whole = await catalog.tenants.changes((directory.revision or 0) + 5)
    assert whole is not None
    assert whole.complete, "a database from a backup is read anew"
    assert whole.keys == []


async def test_use_is_recorded_and_never_goes_back(catalog: Catalog, administrator: Administrator) -> None:
    await administrator.create_tenant("acme", TenantSettings())
    made, _ = await administrator.create_key("acme")
    await catalog.tenants.record_use({made.id: 1000.7, "nobodys": 1.0})
    await catalog.tenants.record_use({made.id: 900.0})
    assert (await administrator.key(made.id)).last_used_at == 1000


async def test_audit_tells_who_did_what_from_what_to_what(
    administration: Administration, administrator: Administrator, tmp_path: Path
) -> None:
    await administrator.create_tenant("acme", TenantSettings(limits={"documents": 1}))
    await administration.by("key-of-an-admin").change_tenant("acme", TenantSettings(limits={"documents": 2}))
    await administrator.change_tenant("acme", TenantSettings(limits={"documents": 2}))  # changes nothing
    made, new = await administrator.create_key("acme")
    _, newer = await administrator.rotate_key(made.id)
    await administrator.revoke_key(made.id)
    await administrator.suspend("acme")
    acts = list(await administration.trail.list(limit=100))
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert {each["id"] for each in lines} == {each.id for each in acts}
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    told = [(each["actor"], each["act"], each["subject"]) for each in lines]
    assert told == [
        ("cli:a test", "tenant.create", "tenant:acme"),
        ("key-of-an-admin", "tenant.change", "tenant:acme"),
        ("cli:a test", "key.create", f"key:{made.id}"),
        ("cli:a test", "key.rotate", f"key:{made.id}"),
        ("cli:a test", "key.revoke", f"key:{made.id}"),
        ("cli:a test", "tenant.suspend", "tenant:acme"),
    ]
    assert lines[0]["before"] is None
    assert (lines[1]["before"]["limits"], lines[1]["after"]["limits"]) == ({"documents": 1}, {"documents": 2})
    whole = (tmp_path / "audit.jsonl").read_text() + str(acts)
    for text_of_key in (new.text, newer.text):
        assert text_of_key.rpartition("-")[2] not in whole
        assert api_key.digest(text_of_key).hex() not in whole
    (behind,) = await administration.trail.list(limit=1, after=acts[0].id)
    assert behind == acts[1]
    with pytest.raises(NotFound):
        await administration.trail.list(limit=1, after="nobodys")


async def test_what_cannot_be_audited_is_not_done(catalog: Catalog, tmp_path: Path) -> None:
    administrator = Administration(catalog.database, tmp_path).by("cli:a test")  # a folder is no file
    with pytest.raises(Unavailable):
        await administrator.create_tenant("acme", TenantSettings())
    assert await administrator.tenants() == []


async def _dump(catalog: Catalog) -> str:
    async with catalog.database.read() as connection:
        tables = [await connection.execute(text(f"SELECT * FROM {table}")) for table in ("api_keys", "audit")]
        return "".join(str(rows.all()) for rows in tables)
