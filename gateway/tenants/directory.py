"""API key → tenant."""

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from gateway.environment import ConfigError
from gateway.errors import CatalogUnavailable, PermissionDenied, Unauthenticated
from gateway.tenants import api_key as api_keys
from gateway.tenants.key import GROUP_PATTERN, TENANTS_OWN, USER_SCOPES, Key, Scope
from gateway.tenants.limits import MOST, TenantLimits, wrong_limit
from gateway.tenants.records import DirectoryChanges, KeyRecord, TenantRecord
from gateway.tenants.tenant import Tenant

DEFAULT = Tenant("default")
ADMIN = Tenant("admin", key=Key("admin", frozenset({Scope.ADMIN})))
"""Who comes with the key of RAGFLEET_ADMIN_KEY: it administers, and asks for nothing else."""
GRACE_S = 60.0
"""While the catalog is away, keys that were known are taken as they were for so long."""
AWAY_S = 10.0
"""A catalog that has not answered for so long is away, also where it hangs and says nothing."""
MAX_NAME = 64
"""Characters of a tenant's name in the tenants file."""
_NOBODYS = KeyRecord(id="", tenant="", digest=bytes(32), scopes=frozenset())
"""No secret has this digest."""


class Directory:
    """Finds the tenant of a key. Keys are kept as SHA-256 digests, so that a dump of memory or a log shows none.

    Some keys are configured (the tenants file, RAGFLEET_API_KEY, RAGFLEET_ADMIN_KEY). The others are the catalog's, whose changes
    a DirectorySync brings; a tenant that both know is as the catalog has it.

    is_open: whether everybody is let in; None: where no key is configured.
    wall: Unix seconds, for expiry. clock: for the age of what the catalog said.
    """

    def __init__(
        self,
        tenants_by_key: Mapping[str, Tenant],
        *,
        is_open: bool | None = None,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configured = {api_keys.digest(key): tenant for key, tenant in tenants_by_key.items()}
        self._open = not tenants_by_key if is_open is None else is_open
        self._wall = wall
        self._clock = clock
        self._tenants: dict[str, TenantRecord] = {}
        self._keys: dict[str, KeyRecord] = {}
        self._used: dict[str, float] = {}
        self._names = {tenant.name for tenant in self.tenants()}
        self._confirmed_at: float | None = None
        self.lost = False
        """Whether the last look at the catalog failed."""
        self.revision: int | None = None
        """Of the catalog, up to which this has every change; None before the first."""

    @classmethod
    def from_settings(
        cls, api_key: str, tenants_file: Path | None, admin_key: str = "", *, oidc: bool = False
    ) -> "Directory":
        """oidc: whether tokens of an identity provider are let in, too.

        One key for `default`, one for administrators, and those of a YAML file:
        `tenants: [{name, keys, weight, priority, class}]`, where a key is a string or
        `{key, groups, scopes}`. Raises ConfigError."""
        keys = {api_key: DEFAULT} if api_key else {}
        if tenants_file is not None:
            keys |= _read(tenants_file)
        if admin_key in keys:
            raise ConfigError("RAGFLEET_ADMIN_KEY is the key of a tenant, too. Make another one for administrators.")
        if admin_key:
            keys[admin_key] = ADMIN
        return cls(keys, is_open=not keys and not oidc)

    def tenants(self) -> list[Tenant]:
        """All that can ask, sorted by name; of a name that is configured twice, the last."""
        configured = {each.name: each for each in self._configured.values() if each is not ADMIN}
        known = {name: record.tenant(Key()) for name, record in self._tenants.items() if not record.suspended}
        return [tenant for _, tenant in sorted((configured | known).items())]

    @property
    def several(self) -> bool:
        """Whether there is more than one tenant."""
        return len(self._names) > 1

    def authenticate(self, authorization: str | None, api_key: str | None = None) -> Tenant:
        """The tenant of an `Authorization: Bearer KEY` header, or of `api-key: KEY`. With no keys configured whoever shows no
        issued key is `default`. Raises Unauthenticated, PermissionDenied; CatalogUnavailable where it alone could tell."""
        text = shown_key(authorization, api_key)
        digest = api_keys.digest(text)
        if (configured := self._configured.get(digest)) is not None:
            return self._as_catalog_has_it(configured)
        if (key_id := api_keys.id_of(text)) is not None:
            return self._issued(key_id, digest)
        if self._open:
            return DEFAULT
        if not text:
            raise Unauthenticated("No API key given. Send it as 'Authorization: Bearer KEY'.")
        raise _incorrect()

    def tenant(self, name: str, key: Key) -> Tenant:
        """A tenant by its name, for whoever has shown otherwise that it may ask for it. Raises what `authenticate` raises."""
        if (record := self._tenants.get(name)) is not None:
            self._check_age()
            _check_suspended(record)
            return record.tenant(key)
        for configured in self._configured.values():
            if configured.name == name and configured is not ADMIN:
                return replace(configured, key=key)
        self._check_age()
        raise _unknowable() if self.away else Unauthenticated(f"There is no tenant '{name}'.")

    def present(self, tenant: Tenant) -> Tenant:
        """A tenant that came with a key some time ago, both as they are now. Raises PermissionDenied where it is suspended,
        Unauthenticated where its key is revoked, CatalogUnavailable where nobody knows. One that has expired since was good."""
        key = tenant.key
        if api_keys.is_id(key.id):
            self._check_age()
            if (record := self._keys.get(key.id)) is None:
                raise _unknowable() if self.away else Unauthenticated("The API key was revoked.")
            key = record.key
        if tenant.name in self._tenants:
            return self.tenant(tenant.name, key)
        return tenant

    def apply(self, changes: DirectoryChanges) -> None:
        """The catalog's news."""
        if changes.complete:
            self._tenants.clear()
            self._keys.clear()
        self._tenants |= {each.name: each for each in changes.tenants}
        for each in changes.keys:
            if each.revoked_at is None:
                self._keys[each.id] = each
            else:
                self._keys.pop(each.id, None)
        self.revision = changes.revision
        self._names = {tenant.name for tenant in self.tenants()}

    @property
    def away(self) -> bool:
        """Whether the catalog does not answer any more, so that what it has now cannot be known."""
        return self.lost or (self._confirmed_at is not None and self._clock() - self._confirmed_at > AWAY_S)

    def confirm(self, at: float) -> None:
        """At this moment (of `clock`) the catalog had nothing that is not here."""
        self._confirmed_at, self.lost = at, False

    def lose(self) -> None:
        """The catalog does not answer."""
        self.lost = True

    def take_use(self) -> Mapping[str, float]:
        """When keys were last used since the last call, by id."""
        used, self._used = self._used, {}
        return used

    def _as_catalog_has_it(self, configured: Tenant) -> Tenant:
        record = self._tenants.get(configured.name)
        if record is None or configured is ADMIN:
            return configured
        _check_suspended(record)
        return record.tenant(configured.key)

    def _check_age(self) -> None:
        if self._confirmed_at is None or self._clock() - self._confirmed_at > GRACE_S:
            raise _unknowable()

    def _issued(self, key_id: str, digest: bytes) -> Tenant:
        """Everything is looked at before anything is said, so that an id that nobody has takes as long as a wrong secret."""
        now, record = self._wall(), self._keys.get(key_id)
        self._check_age()
        opened = (record or _NOBODYS).opened_by(digest, now)
        if record is None or not opened:
            raise _unknowable() if self.away else _incorrect()
        if record.expired(now):
            raise Unauthenticated("This API key has expired. Ask an administrator for a new one.")
        tenant = self._tenants[record.tenant]
        _check_suspended(tenant)
        self._used[key_id] = now
        return tenant.tenant(record.key)


def shown_key(authorization: str | None, api_key: str | None) -> str:
    """The key in the headers of a request; empty where there is none."""
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        key = api_key or ""
    return key.strip()


def _check_suspended(record: TenantRecord) -> None:
    if record.suspended:
        raise PermissionDenied(f"The tenant '{record.name}' is suspended.", code="tenant_suspended")


def _incorrect() -> Unauthenticated:
    return Unauthenticated("Incorrect API key. `ragfleet status --json` prints the embedded fleet's key.")


def _unknowable() -> CatalogUnavailable:
    return CatalogUnavailable("The catalog does not answer, and it knows the keys; try again shortly.", retry_after_s=2)


def _read(path: Path) -> dict[str, Tenant]:
    """Tenants by key. Raises ConfigError that names the entry at fault, and for a file without any key."""
    try:
        entries = yaml.safe_load(path.read_text())["tenants"]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a tenants file: {error!r}") from error
    found: dict[str, Tenant] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        where = f"{path}: tenant {number}"
        try:
            name, placement = str(entry["name"]), str(entry.get("class") or "")
            limits = TenantLimits(**(given := entry.get("limits") or {}))
            tenant = Tenant(name, float(entry.get("weight", 1.0)), int(entry.get("priority", 0)), placement, limits)
            keys = entry["keys"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where}: wants name, keys, and numbers for weight and priority: {error!r}") from error
        if not (0 < len(name) <= MAX_NAME and name.isprintable()):
            raise ConfigError(f"{where}: a name has 1 to {MAX_NAME} characters that can be printed")
        if (wrong := wrong_limit(given)) is not None:
            raise ConfigError(f"{where} ({tenant.name}): the limit {wrong} must be a whole number from 0 to {MOST}")
        if not 0 < tenant.weight < math.inf:
            raise ConfigError(f"{where} ({tenant.name}): weight must be above 0")
        made = [_key(each, f"{where} ({tenant.name})") for each in keys] if isinstance(keys, list) else []
        if not isinstance(keys, list) or not all(text.strip() == text != "" for text, _ in made):
            raise ConfigError(
                f"{where} ({tenant.name}): keys must be a list of strings; quote those that look like numbers"
            )
        if shared := found.keys() & {text for text, _ in made}:
            raise ConfigError(f"{where} ({tenant.name}): {len(shared)} of its keys belong to another tenant already")
        found |= {text: replace(tenant, key=key) for text, key in made}
    if not found:
        raise ConfigError(f"{path}: no tenant has a key; without keys everybody would be let in")
    return found


def _key(entry: object, where: str) -> tuple[str, Key]:
    """A key's text, "" where that is none, and what it is good for: of a string, or of `{key, groups, scopes}`.

    Raises ConfigError.
    """
    if not isinstance(entry, dict):
        return (entry if isinstance(entry, str) else ""), TENANTS_OWN
    text, groups, scopes = entry.get("key"), entry.get("groups"), entry.get("scopes")
    lists = [each for each in (groups, scopes) if each is not None]
    if entry.keys() - {"key", "groups", "scopes"} or not all(
        isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists
    ):
        raise ConfigError(f"{where}: a key is a string, or has key, and groups and scopes as lists of strings")
    try:
        good_for = USER_SCOPES if scopes is None else frozenset(map(Scope, scopes))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; there are {', '.join(Scope)}") from error
    if wrong := [name for name in groups or () if not re.fullmatch(GROUP_PATTERN, name)]:
        raise ConfigError(f"{where}: a group is 1 to 64 letters, digits and _.:@/+=-, and {wrong[0]!r} is not")
    key = Key(scopes=good_for, groups=None if groups is None else frozenset(groups))
    return (text if isinstance(text, str) else ""), key
