"""API key → tenant."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        """One key for `default`, and those of a YAML file: `tenants: [{name, keys, weight, priority}]`."""
        keys = {api_key: DEFAULT} if api_key else {}
        if tenants_file is not None:
            keys |= _read(tenants_file)
        return cls(keys)

    def authenticate(self, authorization: str | None) -> Tenant:
        """The tenant of an `Authorization: Bearer KEY` header. With no keys configured everyone is `default`."""
        if not self._by_digest:
            return DEFAULT
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise Unauthenticated("No API key given. Send it as 'Authorization: Bearer KEY'.")
        tenant = self._by_digest.get(_digest(key.strip()))
        if tenant is None:
            raise Unauthenticated("Incorrect API key. `ragfleet status --json` prints the embedded fleet's key.")
        return tenant


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _read(path: Path) -> dict[str, Tenant]:
    try:
        entries: list[dict[str, Any]] = yaml.safe_load(path.read_text())["tenants"]
        found: dict[str, Tenant] = {}
        for entry in entries:
            tenant = Tenant(entry["name"], float(entry.get("weight", 1.0)), int(entry.get("priority", 0)))
            if tenant.weight <= 0:
                raise ConfigError(f"{path}: tenant {tenant.name}: weight must be above 0")
            found |= dict.fromkeys(entry["keys"], tenant)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a tenants file: {error!r}") from error
    return found
