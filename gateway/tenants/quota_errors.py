"""What a client hears whose request is over a limit: which one, whose, and what to do."""

import math
from datetime import UTC, datetime

from gateway.errors import CatalogUnavailable, InsufficientQuota, RagfleetError, RateLimited
from gateway.tenants.budgets import Budget, BudgetCounter, Period, Resource

_UNITS = {
    Resource.REQUESTS: "requests",
    Resource.TOKENS: "tokens",
    Resource.EMBEDDING_TOKENS: "embedding tokens",
    Resource.ANSWERS: "answers",
}
SEAT_RETRY_S = 1.0


def name_of(counter: BudgetCounter) -> str:
    """Short, for metrics: `tenant tokens/minute`."""
    return f"{counter.subject.partition('/')[0]} {counter.resource}/{counter.period}"


def used_up(budget: Budget, begin: int, now: float) -> RagfleetError:
    """The limit is reached. begin: of the period that it is reached in."""
    period = budget.counter.period
    if period is Period.NOW:
        return RateLimited(
            f"Rate limit reached: {_limit(budget)}. Wait until one has ended.", retry_after_s=SEAT_RETRY_S
        )
    wait_s = max(0.001, period.end(begin) - now)
    if period is Period.MINUTE:
        return RateLimited(
            f"Rate limit reached: {_limit(budget)}. Try again in {math.ceil(wait_s)} s.", retry_after_s=wait_s
        )
    until = datetime.fromtimestamp(period.end(begin), UTC)
    return InsufficientQuota(
        f"The quota is used up: {_limit(budget)}, less what running requests may still take. "
        f"It is renewed on {until:%Y-%m-%d} at 00:00 UTC."
    )


def too_large(budget: Budget, n: int) -> RagfleetError:
    """The request is more than the limit by itself."""
    what = _UNITS[budget.counter.resource]
    hint = ""
    if budget.counter.resource is Resource.TOKENS:
        hint = " Shorten the prompt, or ask for fewer tokens with max_tokens."
    elif budget.counter.resource is Resource.EMBEDDING_TOKENS:
        hint = " Send fewer texts at a time."
    return RateLimited(f"The request may take {n} {what}, more than the limit: {_limit(budget)}.{hint}")


def away() -> CatalogUnavailable:
    """The store does not answer, and the gateway has nothing in hand."""
    return CatalogUnavailable("The limits' database does not answer; try again shortly.", retry_after_s=1)


def _limit(budget: Budget) -> str:
    counter = budget.counter
    kind, _, name = counter.subject.partition("/")
    whose = f"the tenant {name}" if kind == "tenant" else "this API key"
    per = "at a time" if counter.period is Period.NOW else f"per {counter.period}"
    return f"{budget.cap} {_UNITS[counter.resource]} {per} for {whose}"
