"""Accounts in buckets of standing work, so that the least loaded of thousands are found without looking at all.

A change moves one account in O(1); asking for the `k` least costs O(k). Within a bucket the pick is random, which
is also what keeps several gateways from picking the same one.
"""

from random import Random

from gateway.routing.instance_load import InstanceLoad

BUCKETS = 1024


class BucketQueue:
    """Bucket `b` holds the accounts whose standing work is in [b·grain, (b+1)·grain); the last one all beyond."""

    def __init__(self, grain: float) -> None:
        self._grain = grain
        self._buckets: list[list[InstanceLoad]] = [[] for _ in range(BUCKETS)]
        self._filled = 0
        """Bit b is set while bucket b holds someone."""

    def put(self, account: InstanceLoad, work: float) -> None:
        """Place an account, or move it, by its standing work (in the unit of the grain)."""
        bucket = min(max(int(work / self._grain), 0), BUCKETS - 1)
        if bucket == account.bucket:
            return
        self.remove(account)
        seats = self._buckets[bucket]
        account.bucket, account.seat = bucket, len(seats)
        seats.append(account)
        self._filled |= 1 << bucket

    def remove(self, account: InstanceLoad) -> None:
        """Take an account out; nothing happens when it is not in."""
        if account.bucket < 0:
            return
        seats = self._buckets[account.bucket]
        last = seats.pop()
        if last is not account:
            seats[account.seat] = last
            last.seat = account.seat
        if not seats:
            self._filled &= ~(1 << account.bucket)
        account.bucket = account.seat = -1

    def least(self, count: int, rng: Random) -> list[InstanceLoad]:
        """About the `count` accounts with the least work, random within the last bucket that is touched."""
        found: list[InstanceLoad] = []
        filled = self._filled
        while filled and len(found) < count:
            lowest = filled & -filled
            filled ^= lowest
            seats = self._buckets[lowest.bit_length() - 1]
            room = count - len(found)
            if len(seats) <= room:
                found += seats
            else:  # a window at a random place: as fair as a sample, and without its cost
                start = int(rng.random() * len(seats))
                found += seats[start : start + room]
                found += seats[: room - (len(seats) - start)] if start + room > len(seats) else []
        return found
