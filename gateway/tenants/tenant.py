"""Who is asking."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway.tenants.key import TENANTS_OWN, Key
from gateway.tenants.limits import UNLIMITED, TenantLimits


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant, and the key by which it came. The value travels with its request through every path."""

    name: str
    weight: float = 1.0
    """Share of the fleet's places under contention, relative to the others'."""
    priority: int = 0
    """Under contention a class gets 8 places for each one of the class below; none starves."""
    placement: str = ""
    """The tenant class by which instances are kept for some (`class` in the tenants file); empty: the tenant's name."""
    limits: TenantLimits = UNLIMITED
    key: Key = TENANTS_OWN

    def smallest(self, limit: Callable[[TenantLimits], int | None]) -> int | None:
        """Of a limit of the tenant and its key's; None where neither has one."""
        ours, of_key = limit(self.limits), limit(self.key.limits)
        return ours if of_key is None else of_key if ours is None else min(ours, of_key)

    @property
    def tenant_class(self) -> str:
        """What an instance's `tenant_classes` is compared with."""
        return self.placement or self.name
