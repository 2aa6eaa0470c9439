"""What keeps a tenant's entries in the fleet's caches apart: by the time of an answer nobody learns what another has asked."""

import hashlib

from gateway.tenants.tenant import Tenant


class CacheSalts:
    """One for the life of the application."""

    def __init__(self, *, shared: bool) -> None:
        """shared: tenants share all caches."""
        self._shared = shared

    def of(self, tenant: Tenant) -> int:
        """The same number for the same tenant at every gateway, 1…2^63-1; 0 where all share."""
        if self._shared:
            return 0
        digest = hashlib.blake2b(tenant.name.encode(), digest_size=8, person=b"cache salt").digest()
        return int.from_bytes(digest) >> 1 or 1
