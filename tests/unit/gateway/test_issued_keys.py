"""Keys that the catalog issued: what opens, until when, and what is said to the others."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CatalogUnavailable, PermissionDenied, Unauthenticated
from gateway.tenants import api_key
from gateway.tenants.directory import AWAY_S, GRACE_S, Directory
from gateway.tenants.key import USER_SCOPES, Key, Scope
from gateway.tenants.limits import TenantLimits
from gateway.tenants.records import DirectoryChanges, KeyRecord, TenantRecord
from gateway.tenants.tenant import Tenant

NEW = api_key.generate()
ACME = TenantRecord(name="acme", weight=2.0, limits=TenantLimits(requests_per_minute=3))
RECORD = KeyRecord(id=NEW.id, tenant="acme", digest=api_key.digest(NEW.text), scopes=USER_SCOPES)


class Times:
    """Both clocks of a directory."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.clock = 50.0


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def directory(times: Times) -> Directory:
    made = Directory({"configured": Tenant("red")}, wall=lambda: times.wall, clock=lambda: times.clock)
    _apply(made, RECORD)
    made.confirm(times.clock)
    return made


def _apply(directory: Directory, *keys: KeyRecord, tenant: TenantRecord = ACME, complete: bool = False) -> None:
    directory.apply(DirectoryChanges(revision=1, complete=complete, tenants=[tenant], keys=keys))


def _ask(directory: Directory, text: str = NEW.text) -> Tenant:
    return directory.authenticate(f"Bearer {text}")


def test_key_brings_its_tenant_with_scopes_groups_and_limits(directory: Directory) -> None:
    assert _ask(directory) == Tenant("acme", 2.0, limits=TenantLimits(requests_per_minute=3), key=Key(NEW.id))
    limited = replace(
        RECORD, scopes=frozenset({Scope.CHAT}), groups=frozenset({"hr"}), limits=TenantLimits(tokens_per_day=9)
    )
    _apply(directory, limited)
    assert _ask(directory).key == Key(
        NEW.id, frozenset({Scope.CHAT}), frozenset({"hr"}), TenantLimits(tokens_per_day=9)
    )


def test_key_shows_its_secret_nowhere(directory: Directory) -> None:
    secret = NEW.text.rpartition("-")[2]
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in repr(NEW) + repr(RECORD) + str(vars(directory))
    assert RECORD.digest.hex() not in repr(RECORD) + str(RECORD.describe(0.0))


def test_unknown_id_and_wrong_secret_are_answered_alike(directory: Directory, times: Times) -> None:
    others = api_key.generate().text, api_key.generate(NEW.id).text, f"{NEW.text}0", NEW.text[:-1], "sk-rf-"
    for away in (False, True):
        if away:
            directory.lose()
        told = []
        for text in others[:2]:
            with pytest.raises((Unauthenticated, CatalogUnavailable)) as caught:
                _ask(directory, text)
            told.append((type(caught.value), str(caught.value)))
        assert told[0] == told[1]
        assert told[0][0] is (CatalogUnavailable if away else Unauthenticated)
    directory.confirm(times.clock)
    times.clock += AWAY_S + 0.1
    for text in others[:2]:
        with pytest.raises(CatalogUnavailable):
            _ask(directory, text)
    for text in others[2:]:
        with pytest.raises(Unauthenticated):
            _ask(directory, text)


@given(st.text(max_size=120))
def test_whatever_is_shown_is_refused_or_let_in(text: str) -> None:
    directory = Directory({"configured": Tenant("red")})
    directory.confirm(0.0)
    with pytest.raises((Unauthenticated, CatalogUnavailable)):
        directory.authenticate(f"Bearer {text}!", f"{text}!")


def test_expired_key_is_told_so_and_only_to_who_has_it(directory: Directory, times: Times) -> None:
    _apply(directory, replace(RECORD, expires_at=int(times.wall) + 10))
    assert _ask(directory).name == "acme"
    times.wall += 10
    with pytest.raises(Unauthenticated, match="expired"):
        _ask(directory)
    with pytest.raises(Unauthenticated, match="Incorrect"):
        _ask(directory, api_key.generate(NEW.id).text)


def test_secret_before_a_rotation_is_good_for_the_overlap(directory: Directory, times: Times) -> None:
    new = api_key.generate(NEW.id)
    _apply(
        directory,
        replace(
            RECORD,
            digest=api_key.digest(new.text),
            previous_digest=RECORD.digest,
            previous_until=int(times.wall) + 60,
        ),
    )
    assert _ask(directory).key == _ask(directory, new.text).key
    times.wall += 60
    assert _ask(directory, new.text).name == "acme"
    with pytest.raises(Unauthenticated):
        _ask(directory)


def test_revoked_key_and_suspended_tenant_are_refused(directory: Directory) -> None:
    _apply(directory, tenant=replace(ACME, suspended=True))
    with pytest.raises(PermissionDenied, match="suspended"):
        _ask(directory)
    _apply(directory, replace(RECORD, revoked_at=1))
    with pytest.raises(Unauthenticated):
        _ask(directory)


def test_with_the_catalog_away_known_keys_live_on_for_a_minute(directory: Directory, times: Times) -> None:
    directory.lose()
    times.clock += GRACE_S
    assert _ask(directory).name == "acme"
    times.clock += 0.1
    with pytest.raises(CatalogUnavailable) as caught:
        _ask(directory)
    assert caught.value.retry_after_s
    assert _ask(directory, "configured").name == "red", "what is configured needs no catalog"
    directory.confirm(times.clock)
    assert _ask(directory).name == "acme"


def test_configured_tenant_is_as_the_catalog_has_it() -> None:
    directory = Directory({"configured": Tenant("acme", weight=9.0)})
    assert _ask(directory, "configured").weight == 9.0
    _apply(directory)
    assert _ask(directory, "configured").limits == TenantLimits(requests_per_minute=3)
    assert [each.weight for each in directory.tenants()] == [2.0]
    _apply(directory, tenant=replace(ACME, suspended=True))
    with pytest.raises(PermissionDenied):
        _ask(directory, "configured")


def test_everything_anew_forgets_what_is_not_in_it(directory: Directory) -> None:
    _apply(directory, complete=True)
    with pytest.raises(Unauthenticated):
        _ask(directory)


def test_use_is_told_once(directory: Directory, times: Times) -> None:
    _ask(directory)
    assert directory.take_use() == {NEW.id: times.wall}
    assert directory.take_use() == {}


def test_admin_key_is_nobody_elses() -> None:
    directory = Directory.from_settings("", None, "admins")
    admin = directory.authenticate("Bearer admins")
    assert admin.key.scopes == {Scope.ADMIN}
    assert directory.tenants() == []
    with pytest.raises(Unauthenticated):
        directory.authenticate("Bearer other")
