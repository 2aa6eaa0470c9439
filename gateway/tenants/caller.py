"""A tenant and its key as JSON, for work that is done for them when their request is over, by another process perhaps."""

from dataclasses import asdict
from functools import lru_cache

import orjson

from gateway.tenants.key import Key, Scope
from gateway.tenants.limits import TenantLimits
from gateway.tenants.tenant import Tenant


@lru_cache(
    maxsize=1024
)  # a value that every request of a key has alike, and that costs as much as several tokens to write
def dump_caller(tenant: Tenant) -> str:
    """The tenant as a request showed it. No secret is in it."""
    return orjson.dumps(asdict(tenant), default=sorted).decode()


def load_caller(text: str) -> Tenant:
    """The same tenant."""
    fields = orjson.loads(text)
    key = fields.pop("key")
    groups = key.pop("groups")
    return Tenant(
        **{**fields, "limits": TenantLimits(**fields["limits"])},
        key=Key(
            id=key["id"],
            scopes=frozenset(map(Scope, key["scopes"])),
            groups=None if groups is None else frozenset(groups),
            limits=TenantLimits(**key["limits"]),
        ),
    )
