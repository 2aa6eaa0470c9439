"""What limits come to: budgets, each so many units of a resource within a period; and which of them a request draws on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from gateway.tenants.limits import UNLIMITED, TenantLimits
from gateway.tenants.tenant import Tenant


class Resource(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    EMBEDDING_TOKENS = "embedding_tokens"
    ANSWERS = "answers"
    """Given at the same time."""


class Period(StrEnum):
    """What a budget is for: a stretch of UTC's calendar, or this moment."""

    MINUTE = "minute"
    DAY = "day"
    MONTH = "month"
    NOW = "now"
    """What is taken is given back."""

    def begin(self, now: float) -> int:
        """Unix seconds of the present one's begin; 0 for NOW."""
        if self is Period.NOW:
            return 0
        if self is not Period.MONTH:
            return int(now - now % (60 if self is Period.MINUTE else 86_400))
        return int(_month(now).timestamp())

    def end(self, begin: int) -> float:
        """Unix seconds of the end of one that began then."""
        if self is Period.NOW:
            return 0.0
        if self is not Period.MONTH:
            return begin + (60 if self is Period.MINUTE else 86_400)
        return _month(begin + 32 * 86_400).timestamp()


def _month(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class BudgetCounter:
    """What has been used of something, by somebody, is counted under this name."""

    subject: str
    """`tenant/<name>` or `key/<id>`."""
    resource: Resource
    period: Period


@dataclass(frozen=True, slots=True)
class Budget:
    """So much may be used within each period."""

    counter: BudgetCounter
    cap: int


Needs = Mapping[Budget, int]
"""What a request draws on, and how much."""

_LIMITS: Sequence[tuple[str, Resource, Period]] = (
    ("requests_per_minute", Resource.REQUESTS, Period.MINUTE),
    ("tokens_per_minute", Resource.TOKENS, Period.MINUTE),
    ("tokens_per_day", Resource.TOKENS, Period.DAY),
    ("tokens_per_month", Resource.TOKENS, Period.MONTH),
    ("embedding_tokens_per_minute", Resource.EMBEDDING_TOKENS, Period.MINUTE),
    ("concurrent_answers", Resource.ANSWERS, Period.NOW),
)


def budgets_of(tenant: Tenant) -> Sequence[Budget]:
    """Those of the tenant and of its key; none where nothing is limited."""
    limits, key = tenant.limits, tenant.key
    if limits is UNLIMITED and key.limits is UNLIMITED:
        return ()
    return _budgets(tenant.name, limits, key.id, key.limits)


@lru_cache(maxsize=4096)
def _budgets(tenant: str, limits: TenantLimits, key_id: str, key_limits: TenantLimits) -> Sequence[Budget]:
    subjects = ((f"tenant/{tenant}", limits), (f"key/{key_id}", key_limits))
    return tuple(
        Budget(BudgetCounter(subject, resource, period), cap)
        for subject, given in subjects
        for field, resource, period in _LIMITS
        if (cap := getattr(given, field)) is not None
    )


def needs_of(tenant: Tenant, charge: Mapping[Resource, int]) -> Needs:
    """Which budgets of the tenant and its key a charge draws on."""
    return {each: n for each in budgets_of(tenant) if (n := charge.get(each.counter.resource)) is not None}
