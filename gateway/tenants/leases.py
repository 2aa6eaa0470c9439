"""How much of a budget a gateway takes at a time. Pure.

A gateway takes more than it needs now, a *lease*, so that most requests find what they want in its hand. What lies in a hand is
missing elsewhere: it is at most a twentieth of the budget, and nothing when few are left, so that the last units go to whoever
asks, one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.tenants.budgets import Budget, Needs

LEASE_SHARE = 20
"""A hand holds at most one part of so many of a budget,"""
LEFT_SHARE = 8
"""and one of so many of what is left of it."""


@dataclass(frozen=True, slots=True)
class HeldBudget:
    """What a gateway has taken of a budget."""

    begin: int
    """The period that it belongs to."""
    in_hand: int
    """Not given to a request."""
    given: int = 0
    """What running requests have of a budget that is for the moment; 0 for one of a calendar's period."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a gateway got of a budget."""

    begin: int
    """The period that it belongs to; later than the gateway thought where its clock is late."""
    amount: int
    used: int
    """By all gateways together, this amount included, and what lies in hands."""


def most_in_hand(cap: int, used: int) -> int:
    """What a gateway may keep for requests to come. It takes, and keeps where it has more, half of that."""
    return max(0, min(cap // LEASE_SHARE, (cap - used) // LEFT_SHARE))


def allot(needs: Sequence[Needs], in_hand: Mapping[Budget, int], used: Mapping[Budget, int]) -> dict[Budget, int]:
    """What to take of each budget: enough for the needs, in their order, as far as each fits in as a whole; and some more.

    in_hand: what the gateway has already, which is part of `used`. Never so much that a cap is passed.
    """
    wanted = dict.fromkeys(used, 0)
    for need in needs:
        if all(wanted[each] + n <= each.cap - used[each] + in_hand.get(each, 0) for each, n in need.items()):
            for each, n in need.items():
                wanted[each] += n
    taken = {}
    for each, total in wanted.items():
        short = max(0, total - in_hand.get(each, 0))
        left_in_hand = in_hand.get(each, 0) + short - total
        spare = max(0, most_in_hand(each.cap, used[each] + short) // 2 - left_in_hand) if short else 0
        taken[each] = short + spare
    return taken
