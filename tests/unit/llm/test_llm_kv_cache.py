"""Blocks: shared, private, cached, given up in the right order."""

import pytest

from llm_engine.kv_cache import BlockPool, KvLease


def hold(pool: BlockPool, keys: list[int], blocks: int) -> KvLease:
    lease = pool.reserve(keys, blocks)
    assert lease is not None
    return lease


def test_a_published_prefix_is_shared_and_counted_once() -> None:
    pool = BlockPool(10)
    first = hold(pool, [1, 2], 4)
    pool.publish(first, [1, 2])
    second = hold(pool, [1, 2, 3], 5)
    assert (pool.used, pool.reused) == (7, 2)
    pool.release(first)
    assert pool.used == 5
    pool.release(second)
    assert (pool.used, pool.cached) == (0, 2)


def test_no_room_changes_nothing() -> None:
    pool = BlockPool(4)
    lease = hold(pool, [], 2)
    pool.publish(lease, [7])
    pool.release(lease)
    hold(pool, [], 2)
    # The cached block would be woken, so it is no room for others.
    assert pool.reserve([7], 4) is None
    assert (pool.used, pool.cached, pool.reused) == (2, 1, 0)
    assert pool.reserve([7], 2) is not None


def test_ends_go_before_beginnings_and_old_before_new() -> None:
    pool = BlockPool(4)
    for keys in ([1, 2], [8, 9]):
        lease = hold(pool, keys, 2)
        pool.publish(lease, keys)
        pool.release(lease)
    hold(pool, [], 1)
    assert [pool.cached_prefix([1, 2]), pool.cached_prefix([8, 9])] == [1, 2]
    hold(pool, [], 2)
    assert [pool.cached_prefix([1, 2]), pool.cached_prefix([8, 9])] == [0, 1]


def test_what_two_computed_at_once_is_kept_once() -> None:
    pool = BlockPool(10)
    leases = [hold(pool, [1], 2), hold(pool, [1], 2)]
    for lease in leases:
        pool.publish(lease, [1])
    assert pool.used == 3
    for lease in leases:
        pool.release(lease)
    assert (pool.used, pool.cached) == (0, 1)


@pytest.mark.parametrize("reuse", [True, False])
def test_reuse_can_be_switched_off(reuse: bool) -> None:
    pool = BlockPool(10, reuse=reuse)
    lease = hold(pool, [1], 2)
    pool.publish(lease, [1])
    pool.release(lease)
    assert pool.cached_prefix([1]) == int(reuse)
