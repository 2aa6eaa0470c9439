"""What each policy does that a user would notice."""

from collections import Counter

import pytest

from gateway.routing import TicketOutcome, policies
from tests.unit.routing.small_fleet import Fleet, load


def names(fleet: Fleet, count: int) -> Counter[str]:
    """Where the next so many go while none of them ends."""
    return Counter(fleet.place().instance.name for _ in range(count))


def test_an_unknown_policy_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"fastest.*predicted_ttft"):
        Fleet("fastest")


@pytest.mark.parametrize("policy", sorted(policies.BY_NAME))
def test_each_choice_says_why(policy: str) -> None:
    assert Fleet(policy).place().reason


def test_round_robin_takes_turns() -> None:
    assert names(Fleet("round_robin"), 30) == {"triton-0": 10, "triton-1": 10, "triton-2": 10}


def test_random_reaches_everyone() -> None:
    assert len(names(Fleet("random"), 60)) == 3


@pytest.mark.parametrize("policy", ["least_loaded", "predicted_ttft"])
def test_each_dispatch_counts_at_once_so_a_burst_between_two_scrapes_is_spread(policy: str) -> None:
    assert set(names(Fleet(policy), 24).values()) == {8}


@pytest.mark.parametrize("policy", ["least_loaded", "power_of_two", "predicted_ttft"])
def test_what_others_have_sent_counts(policy: str) -> None:
    fleet = Fleet(policy, 2)
    fleet.change(0, load=load(active=8, waiting=6, scheduled=8))
    assert names(fleet, 4) == {"triton-1": 4}


@pytest.mark.parametrize("policy", ["least_loaded", "power_of_two", "predicted_ttft"])
def test_what_ended_counts_no_more(policy: str) -> None:
    fleet = Fleet(policy, 2)
    tickets = [fleet.place() for _ in range(10)]
    for ticket in tickets:
        if ticket.instance.name == "triton-0":
            ticket.release(TicketOutcome.CANCELLED)
            ticket.release(TicketOutcome.CANCELLED)
    idle = fleet.placer.account("triton-0")
    assert idle
    assert idle.ours == 0
    assert names(fleet, 3) == {"triton-0": 3}


@pytest.mark.parametrize("policy", ["least_loaded", "power_of_two", "predicted_ttft"])
@pytest.mark.parametrize("lacking", [None, load(active=None, waiting=None, scheduled=None, kv_used_blocks=None)])
def test_metrics_missing_from_one_are_held_for_or_against_nobody(policy: str, lacking: object) -> None:
    fleet = Fleet(policy, 3)
    fleet.change(0, load=lacking)
    for number in (1, 2):
        fleet.change(number, load=load(active=5, scheduled=5, kv_used_blocks=300))
    spread = names(fleet, 90)
    assert min(spread.values()) >= 20
    assert max(spread.values()) <= 40


@pytest.mark.parametrize("policy", sorted(policies.BY_NAME))
def test_a_fleet_without_any_metrics_is_still_used_whole(policy: str) -> None:
    fleet = Fleet(policy, 3)
    for number in range(3):
        fleet.change(number, load=None)
    assert len(names(fleet, 60)) == 3


def test_a_kv_cache_of_unknown_block_size_is_not_compared() -> None:
    fleet = Fleet("predicted_ttft", 2)
    fleet.change(0, load=load(kv_block_tokens=None))
    assert fleet.place().instance.name in {"triton-0", "triton-1"}


@pytest.mark.parametrize("policy", sorted(policies.BY_NAME))
def test_the_same_seed_makes_the_same_choices(policy: str) -> None:
    runs = [
        [fleet.place().instance.name for _ in range(30)] for fleet in (Fleet(policy, seed=7), Fleet(policy, seed=7))
    ]
    assert runs[0] == runs[1]
