"""Turns, shares and who makes room."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.fair_queue import RATIO, Entry, FairQueue, QueueFull, Room


def filled(*tenants: tuple[str, float, int, int], limit: int = 10_000, cost: float = 1.0) -> FairQueue:
    """(tenant, weight, priority, how many)"""
    queue = FairQueue(limit)
    for tenant, weight, priority, count in tenants:
        for _ in range(count):
            queue.push(Entry(tenant, weight, priority, cost))
    return queue


def turns(queue: FairQueue, count: int) -> list[str]:
    return [entry.tenant for _ in range(count) if (entry := queue.pop())]


def crowd(queue: FairQueue, like: Entry) -> None:
    """Push entries of one kind until refused."""
    for _ in range(1000):
        try:
            queue.push(replace(like))
        except QueueFull:
            return
    pytest.fail("never full")


def test_empty() -> None:
    queue = FairQueue(3)
    assert len(queue) == 0
    assert queue.pop() is None


def test_equals_alternate() -> None:
    assert turns(filled(("a", 1, 0, 3), ("b", 1, 0, 3)), 6) == ["a", "b", "a", "b", "a", "b"]


def test_places_are_shared_by_weight() -> None:
    shares = Counter(turns(filled(("a", 1, 0, 500), ("b", 2, 0, 500), ("c", 5, 0, 500)), 400))
    assert [round(shares[tenant], -1) for tenant in "abc"] == [50, 100, 250]


def test_cost_counts_in_the_share() -> None:
    queue = FairQueue(1000)
    for _ in range(200):
        queue.push(Entry("long", cost=300))
        queue.push(Entry("short", cost=100))
    shares = Counter(turns(queue, 200))
    assert abs(shares["short"] - 3 * shares["long"]) <= 4


def test_order_within_a_tenant_is_kept() -> None:
    queue = FairQueue(100)
    entries = [Entry("a" if n % 3 else "b", weight=1 + n % 5, cost=1 + n % 7) for n in range(60)]
    for entry in entries:
        queue.push(entry)
    popped = [queue.pop() for _ in entries]
    for tenant in "ab":
        assert [e for e in popped if e.tenant == tenant] == [e for e in entries if e.tenant == tenant]


def test_one_that_was_idle_neither_saved_up_nor_owes() -> None:
    queue = filled(("a", 1, 0, 200))
    turns(queue, 100)
    for _ in range(100):
        queue.push(Entry("b"))
    assert Counter(turns(queue, 100)) == {"a": 50, "b": 50}


def test_when_nobody_waits_the_past_is_forgotten() -> None:
    queue = filled(("a", 1, 0, 50))
    turns(queue, 50)
    for _ in range(10):
        queue.push(Entry("a"))
        queue.push(Entry("b"))
    assert turns(queue, 10).count("b") == 5


def test_a_higher_class_goes_before_but_starves_nobody() -> None:
    shares = Counter(turns(filled(("low", 1, 0, 500), ("high", 1, 1, 500)), 450))
    assert shares == {"high": 400, "low": 50}
    assert shares["high"] / shares["low"] == RATIO


def test_absurd_priorities_are_clamped() -> None:
    queue = filled(("low", 1, -10_000, 2), ("high", 1, 10_000, 2))
    assert Counter(turns(queue, 4)) == {"high": 2, "low": 2}


def test_what_is_taken_out_gets_no_turn() -> None:
    queue = FairQueue(10)
    entries = [Entry("a"), Entry("a"), Entry("b")]
    for entry in entries:
        queue.push(entry)
    queue.remove(entries[0])
    queue.remove(entries[2])
    assert queue.waiting() == {"a": 1}
    assert queue.pop() is entries[1]


def test_who_may_not_have_more_is_passed_over_and_owes_nothing() -> None:
    queue = filled(("a", 1, 1, 3), ("b", 1, 0, 3), ("c", 1, 0, 3))
    assert [entry.tenant for _ in range(4) if (entry := queue.pop(lambda tenant: tenant != "a"))] == [
        "b",
        "c",
        "b",
        "c",
    ]
    assert queue.pop(lambda tenant: False) is None
    assert turns(queue, 9).count("a") == 3


def test_a_full_queue_refuses_who_has_its_share() -> None:
    queue = filled(("a", 1, 0, 4), limit=4)
    with pytest.raises(QueueFull):
        queue.push(Entry("a"))
    assert len(queue) == 4


def test_a_flood_makes_room_for_others_newest_first() -> None:
    queue = FairQueue(4)
    flood = [Entry("a") for _ in range(4)]
    for entry in flood:
        queue.push(entry)
    assert queue.push(Entry("b")) == [flood[3]]
    assert queue.push(Entry("c")) == [flood[2]]
    with pytest.raises(QueueFull):
        queue.push(Entry("b"))
    assert queue.waiting() == {"a": 2, "b": 1, "c": 1}


def test_room_is_shared_by_weight_too() -> None:
    queue = filled(("a", 1, 0, 90), limit=90)
    crowd(queue, Entry("b", weight=2))
    assert queue.waiting() == {"a": 30, "b": 60}


def test_classes_share_the_room_and_neither_pushes_the_other_out() -> None:
    for first, second in ((0, 1), (1, 0)):
        queue = filled(("x", 1, first, 90), limit=90)
        crowd(queue, Entry("y", priority=second))
        held = queue.waiting()
        high, low = (held["x"], held["y"]) if first else (held["y"], held["x"])
        assert (high, low) == (80, 10)


def test_no_room_at_all() -> None:
    with pytest.raises(QueueFull):
        FairQueue(0).push(Entry("a"))


def test_drain_takes_all() -> None:
    queue = filled(("a", 1, 0, 3), ("b", 1, 1, 3))
    assert len(queue.drain()) == 6
    assert len(queue) == 0


def test_ahead_knows_ones_own_line_and_the_others_shares() -> None:
    queue = filled(("a", 1, 0, 100))
    assert queue.ahead(Entry("a")) == 100
    assert queue.ahead(Entry("b")) == 1
    assert queue.ahead(Entry("b", weight=10)) == 0
    assert FairQueue(1).ahead(Entry("a")) == 0
    both = filled(("a", 1, 0, 10), ("b", 1, 0, 100))
    assert both.ahead(Entry("a")) == 21


def test_memory_is_given_back_with_the_last_waiter() -> None:
    queue = FairQueue(500)
    for n in range(500):
        queue.push(Entry(f"tenant-{n}", priority=n % 3))
    assert len(set(turns(queue, 500))) == 500
    assert not queue._classes


@given(
    st.dictionaries(st.sampled_from("abcde"), st.sampled_from([1.0, 2.0, 3.0, 7.5]), min_size=1),
    st.integers(1, 200),
)
def test_nobodys_share_is_off_by_more_than_a_turn(weights: dict[str, float], served: int) -> None:
    queue = filled(*[(tenant, weight, 0, 200) for tenant, weight in weights.items()])
    shares = Counter(turns(queue, served))
    for tenant, weight in weights.items():
        fair = served * weight / sum(weights.values())
        assert abs(shares[tenant] - fair) <= len(weights)


def test_a_flood_of_large_ones_makes_room_by_its_bytes() -> None:
    queue = FairQueue(100)
    queue.room = Room(100, 1000)
    large = [Entry("a", size=300) for _ in range(3)]
    for entry in large:
        queue.push(entry)
    assert queue.push(Entry("b", size=200)) == [large[2]]
    with pytest.raises(QueueFull):
        queue.push(Entry("a", size=300))
    assert queue.waiting() == {"a": 2, "b": 1}


def test_where_the_room_shrinks_no_more_goes_than_comes() -> None:
    queue = FairQueue(100)
    for _ in range(50):
        queue.push(Entry("a", size=10))
    queue.room = Room(5, 40)
    assert len(queue.push(Entry("b", size=10))) == 1
    assert queue.waiting() == {"a": 49, "b": 1}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 60)), max_size=60),
    st.integers(1, 8),
    st.integers(1, 100),
)
def test_neither_bound_is_passed_and_a_refusal_changes_nothing(
    asked: list[tuple[str, int, int]], requests: int, size: int
) -> None:
    queue = FairQueue(requests)
    queue.room = Room(requests, size)
    held: list[Entry] = []
    for tenant, priority, each in asked:
        entry = Entry(tenant, priority=priority, size=each)
        try:
            evicted = queue.push(entry)
        except QueueFull:
            continue
        held = [*(one for one in held if one not in evicted), entry]
        assert len(held) <= requests
        assert sum(one.size for one in held) <= size
    assert queue.waiting() == Counter(one.tenant for one in held)
    assert sorted(map(id, queue.drain())) == sorted(map(id, held))
