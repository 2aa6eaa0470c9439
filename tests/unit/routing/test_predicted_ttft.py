"""The default policy: seconds, prefix hits and their end, slow instances, several gateways."""

from collections import Counter

import pytest

from gateway.routing import TicketOutcome
from tests.unit.routing.small_fleet import Fleet, instance, load, predicted_s

PROMPT = list(range(1024))


def taught(count: int = 3) -> Fleet:
    """A fleet whose instances have all shown a prefill of 1 ms a token."""
    fleet = Fleet("predicted_ttft", count)
    for round_ in range(8):
        tickets = [fleet.place(128 * (1 + round_ % 3)) for _ in range(count)]
        start = fleet.now
        for ticket in tickets:
            fleet.now = start
            fleet.serve(ticket, 0.01 + len(ticket.job.prompt_ids) * 0.001)
        for number in range(count):
            fleet.change(number, load=load(fleet.now))
    return fleet


def test_the_prediction_is_in_seconds_and_learned() -> None:
    ticket = taught().place(500)
    assert predicted_s(ticket) == pytest.approx(0.51, rel=0.15)


def test_a_conversation_stays_where_its_prefix_is() -> None:
    fleet = taught()
    first = fleet.place(PROMPT)
    fleet.serve(first, 1.0)
    again = fleet.place([*PROMPT, *range(5000, 5040)])
    assert again.instance == first.instance
    assert again.choice.cached_tokens == 1024
    assert "1024 of 1064 prompt tokens cached" in again.reason


def two_ahead(fleet: Fleet, decoding: int) -> str:
    """Two prompts queue where the fleet's one conversation is cached, and all decode so many; the name of that instance."""
    first = fleet.place(PROMPT)
    fleet.serve(first, 1.0)
    for number in range(3):
        fleet.change(number, load=load(fleet.now, active=decoding, scheduled=decoding))
    for _ in range(2):
        ahead = fleet.placer.place(fleet.job(600), frozenset(f"triton-{n}" for n in range(3)) - {first.instance.name})
        assert ahead.instance == first.instance
    return first.instance.name


def test_a_short_queue_is_no_reason_to_compute_a_prefix_twice_where_others_would_wait_for_it() -> None:
    fleet = taught()
    holder = two_ahead(fleet, decoding=5)
    assert fleet.place(PROMPT).instance.name == holder


def test_an_idle_instance_takes_what_would_queue_elsewhere_though_it_has_nothing_cached() -> None:
    fleet = taught()
    holder = two_ahead(fleet, decoding=0)
    assert fleet.place(PROMPT).instance.name != holder


def test_a_hot_spot_loses_the_conversation_when_its_queue_costs_more_than_the_prefix_saves() -> None:
    fleet = taught()
    first = fleet.place(PROMPT)
    fleet.serve(first, 1.0)
    fleet.change(
        int(first.instance.name.removeprefix("triton-")), load=load(fleet.now, active=8, scheduled=8, waiting=30)
    )
    assert fleet.place(PROMPT).instance != first.instance


def test_a_short_question_does_not_wait_for_a_slot_that_long_answers_hold() -> None:
    fleet = taught(2)
    short = [*PROMPT[:64], 7]
    fleet.serve(fleet.placer.place(fleet.job(short, max_tokens=8), {"triton-1"}), 0.1, tokens=8)
    long = [fleet.placer.place(fleet.job(40, max_tokens=3900), {"triton-1"}) for _ in range(8)]
    long += [fleet.placer.place(fleet.job(40, max_tokens=3900), {"triton-0"}) for _ in range(4)]
    for ticket in long:
        ticket.first_token(fleet.now)
        ticket.tokens(400)
    assert fleet.place(short, max_tokens=8).instance.name == "triton-1"


@pytest.mark.parametrize("given", [0, 1, 8, 20])
def test_a_tenants_question_does_not_wait_behind_anothers_answers_that_have_just_begun(given: int) -> None:
    """They have shown nothing of their length yet, and all answers before them were short."""
    fleet = taught(2)
    short = [*PROMPT[:40], 7]
    for _ in range(30):
        fleet.serve(fleet.placer.place(fleet.job(short, max_tokens=8), {"triton-1"}), 0.1, tokens=8)
    for number in range(2):
        fleet.change(number, load=load(fleet.now))
    long = [fleet.placer.place(fleet.job(40, max_tokens=3900), {"triton-1"}) for _ in range(8)]
    long += [fleet.placer.place(fleet.job(40, max_tokens=3900), {"triton-0"}) for _ in range(4)]
    for ticket in long:
        fleet.now += 0.05
        ticket.first_token(fleet.now)
        ticket.tokens(given)
    ticket = fleet.place(short, max_tokens=8)
    assert ticket.instance.name == "triton-0", "one that may wait goes where its prefix is"
    ticket.release(TicketOutcome.CANCELLED)
    assert fleet.place(short, max_tokens=8, may_queue=False).instance.name == "triton-1"


def test_one_hot_prefix_spreads_over_the_fleet_instead_of_drowning_one_instance() -> None:
    fleet = taught()
    spread = Counter(fleet.place(PROMPT).instance.name for _ in range(60))
    assert len(spread) == 3
    assert max(spread.values()) <= 30


def test_an_instance_that_restarted_is_not_credited_with_its_old_cache() -> None:
    fleet = taught(1)
    fleet.serve(fleet.place(PROMPT), 1.0)
    fleet.change(0, healthy=False)
    fleet.change(0, healthy=True)
    assert fleet.place(PROMPT).choice.cached_tokens == 0


def test_a_slow_instance_gets_its_share_of_work_and_no_more() -> None:
    fleet = Fleet("predicted_ttft", 2)
    for _ in range(12):
        for name, factor in (("triton-0", 4), ("triton-1", 1)):
            other = frozenset({"triton-0", "triton-1"} - {name})
            ticket = fleet.placer.place(fleet.job(256), other)
            fleet.serve(ticket, factor * 0.1)
    spread = Counter(fleet.place().instance.name for _ in range(10))
    assert spread["triton-1"] >= 7
    assert spread["triton-0"] >= 1


def test_a_full_kv_cache_is_avoided() -> None:
    fleet = Fleet("predicted_ttft", 2)
    fleet.change(0, load=load(active=4, scheduled=4, kv_used_blocks=512))
    fleet.change(1, load=load(active=4, scheduled=4, kv_used_blocks=100))
    assert {fleet.place(max_tokens=512).instance.name for _ in range(3)} == {"triton-1"}


@pytest.mark.parametrize("gateways", [4, 16])
def test_gateways_that_see_the_same_stale_sample_do_not_all_pick_the_same_instance(gateways: int) -> None:
    fleets = [Fleet("predicted_ttft", 8, seed=seed) for seed in range(gateways)]
    spread = Counter(fleet.place().instance.name for fleet in fleets for _ in range(32 // gateways * 4))
    fair = sum(spread.values()) / 8
    assert len(spread) == 8
    assert max(spread.values()) <= 2 * fair


def test_an_old_sample_fades_towards_what_the_other_gateways_usually_have_in_an_instance() -> None:
    fleet = Fleet("predicted_ttft", 2)
    fleet.change(0, load=load(active=8, scheduled=8))
    fleet.change(1, load=load(active=2, scheduled=2))
    busy, idle = (fleet.placer.account(f"triton-{n}") for n in range(2))
    assert (busy.others(0.0), idle.others(0.0)) == (8.0, 2.0)
    assert busy.others(60.0) == pytest.approx(5.0)
    assert idle.others(60.0) == pytest.approx(5.0)
    fleet.change(0, healthy=False)
    assert idle.others(60.0) == pytest.approx(2.0)


def test_the_one_with_a_lora_is_found_in_a_large_fleet() -> None:
    rare = instance(217, loras=frozenset({"law"}))
    fleet = Fleet("predicted_ttft", 300, instances={217: rare})
    assert {fleet.place(lora="law").instance.name for _ in range(20)} == {"triton-217"}


def test_a_prefix_is_found_in_a_large_fleet() -> None:
    fleet = Fleet("predicted_ttft", 300)
    holder = fleet.place(PROMPT)
    fleet.serve(holder, 0.5)
    assert fleet.place(PROMPT).instance == holder.instance
