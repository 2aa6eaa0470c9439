"""The share is exact, and a conversation stays where it began."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.rollouts.traffic_split import SLACK, TrafficSplit

SHARES = st.floats(0.001, 0.5)


@given(SHARES, st.lists(st.integers(0, 2**64 - 1), max_size=300))
def test_so_many_go_to_the_candidate_whatever_comes(share: float, conversations: list[int]) -> None:
    split, taken = TrafficSplit(share), 0
    for count, conversation in enumerate(conversations, 1):
        taken += split.take(conversation, begins=True)
        assert abs(taken - share * count) <= SLACK + 1


@given(SHARES, st.integers(0, 2**64 - 1))
def test_so_it_is_where_all_begin_with_the_same_words(share: float, conversation: int) -> None:
    split = TrafficSplit(share)
    taken = sum(split.take(conversation, begins=True) for _ in range(1000))
    assert abs(taken - share * 1000) <= SLACK + 1


@given(SHARES, st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=100))
def test_further_turns_stay_on_their_side(share: float, conversations: list[int]) -> None:
    split = TrafficSplit(share)
    first = [split.take(each, begins=True) for each in conversations]
    for _ in range(3):
        assert [split.take(each, begins=False) for each in conversations] == first


def test_gateways_agree_about_nearly_all_without_asking() -> None:
    rng = random.Random(1)
    conversations = [rng.getrandbits(64) for _ in range(5000)]
    one, two = TrafficSplit(0.05), TrafficSplit(0.05)
    begun = [one.take(each, begins=True) for each in conversations]
    rng.shuffle(conversations)
    went_on = {each: two.take(each, begins=False) for each in conversations}
    rng = random.Random(1)
    agreed = sum(went_on[rng.getrandbits(64)] == side for side in begun)
    assert agreed > 4900
