"""API key → tenant."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import yaml

from gateway.config import ConfigError
from gateway.errors import Unauthenticated
from gateway.tenants.tenant import Tenant

DEFAULT = Tenant("default")


class Directory:
    """Finds the tenant of a key. Keys are kept as SHA-256 digests, so that a dump of memory or a log shows none."""

    def __init__(self, tenants_by_key: Mapping[str, Tenant]) -> None:
        self._by_digest = {_digest(key): tenant for key, tenant in tenants_by_key.items()}

    @classmethod
    def from_settings(cls, api_key: str, tenants_file: Path | None) -> "Directory":
        """One key for `default`, and those of a YAML file: `tenants: [{name, keys, weight, priority, class}]`."""
        keys = {api_key: DEFAULT} if api_key else {}
        if tenants_file is not None:
            keys |= _read(tenants_file)
        return cls(keys)

    def tenants(self) -> list[Tenant]:
        """All that have a key, sorted by name; of a name that is there twice, the last."""
        return [tenant for _, tenant in sorted({each.name: each for each in self._by_digest.values()}.items())]

    def authenticate(self, authorization: str | None, api_key: str | None = None) -> Tenant:
        """The tenant of an `Authorization: Bearer KEY` header, or of `api-key: KEY`. With no keys configured everyone is
        `default`. Raises Unauthenticated."""
        if not self._by_digest:
            return DEFAULT
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            key = api_key or ""
        if not key.strip():
            raise Unauthenticated("No API key given. Send it as 'Authorization: Bearer KEY'.")
        tenant = self._by_digest.get(_digest(key.strip()))
        if tenant is None:
            raise Unauthenticated("Incorrect API key. `ragfleet status --json` prints the embedded fleet's key.")
        return tenant


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


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
            tenant = Tenant(name, float(entry.get("weight", 1.0)), int(entry.get("priority", 0)), placement)
            keys = entry["keys"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{where}: wants name, keys, and numbers for weight and priority: {error!r}") from error
        if not 0 < tenant.weight < math.inf:
            raise ConfigError(f"{where} ({tenant.name}): weight must be above 0")
        if not isinstance(keys, list) or not all(isinstance(key, str) and key.strip() == key != "" for key in keys):
            raise ConfigError(
                f"{where} ({tenant.name}): keys must be a list of strings; quote those that look like numbers"
            )
        if shared := found.keys() & keys:
            raise ConfigError(f"{where} ({tenant.name}): {len(shared)} of its keys belong to another tenant already")
        found |= dict.fromkeys(keys, tenant)
    if not found:
        raise ConfigError(f"{path}: no tenant has a key; without keys everybody would be let in")
    return found
