"""Homes: gateways that do not speak with each other send the same conversation to the same instance."""

from collections import Counter
from random import Random

from gateway.routing.consistent_hash import BAR, ConsistentHash
from gateway.routing.prefix_index import PrefixIndex
from tests.unit.routing.small_fleet import Fleet, load

NAMES = [f"triton-{number}" for number in range(16)]


def homes() -> ConsistentHash:
    ring = ConsistentHash()
    for name in NAMES:
        ring.add(name)
    return ring


def chain(rng: Random, blocks: int) -> list[int]:
    return [rng.getrandbits(63) for _ in range(blocks)]


def gateway(seed: int) -> Fleet:
    """A gateway that has seen from samples that it is one of several, and that prompts come again."""
    fleet = Fleet("predicted_ttft", 8, seed=seed)
    for _ in range(3):
        tickets = [fleet.place([10_000 * prompt + n for n in range(64)]) for prompt in range(8)]
        fleet.now += 0.01
        for number in range(8):
            fleet.change(number, load=load(fleet.now, active=4, scheduled=4))
        for ticket in tickets:
            fleet.serve(ticket, 0.01)
    return fleet


def test_two_gateways_send_the_turns_of_a_conversation_to_one_instance() -> None:
    one, two = gateway(1), gateway(2)
    places = Counter()
    for conversation in range(20):
        first = [1_000_000 + conversation * 1_000 + n for n in range(512)]
        here = one.place(first)
        there = two.place([*first, *range(700, 828)])
        places[here.instance.name] += 1
        assert there.instance.name == here.instance.name
        assert there.choice.cached_tokens > 256
        for fleet, ticket in ((one, here), (two, there)):
            fleet.serve(ticket, 0.05)
            for number in range(8):
                fleet.change(number, load=load(fleet.now, active=4, scheduled=4))
    assert len(places) >= 4


def test_a_gateway_alone_expects_only_what_it_sent_itself() -> None:
    fleet = Fleet("predicted_ttft", 8)
    assert {fleet.place(512).choice.cached_tokens for _ in range(8)} == {0}


def test_a_rare_prefix_has_one_home_and_a_frequent_one_as_many_as_it_has_conversations() -> None:
    ring, rng = homes(), Random(1)
    frequent, rare = chain(rng, 40), chain(rng, 40)
    for _ in range(BAR * 8):  # blocks become frequent a few at a time
        ring.home([*frequent, *chain(rng, 3)])
    assert len({ring.home([*frequent, *chain(rng, 3)]) for _ in range(40)}) >= 8
    assert len({ring.home([*rare, *chain(rng, 3)]) for _ in range(BAR - 1)}) == 1


def test_all_gateways_agree_and_only_the_prefixes_of_one_that_leaves_move() -> None:
    one, two, rng = homes(), homes(), Random(2)
    prompts = [chain(rng, 4) for _ in range(200)]
    before = [one.home(p) for p in prompts]
    assert set(before) == set(NAMES)
    assert [two.home(p) for p in reversed(prompts)] == before[::-1]
    one.remove("triton-3")
    after = [one.home(p) for p in prompts]
    assert "triton-3" not in after
    assert all(a == b for a, b in zip(after, before, strict=True) if b != "triton-3")


def test_what_is_remembered_is_bounded() -> None:
    ring, rng = homes(), Random(3)
    for _ in range(3000):
        ring.home(chain(rng, 50))
    assert len(ring._seen) + len(ring._before) < 6000


def test_keys_are_the_same_in_every_process() -> None:
    assert PrefixIndex().keys(range(64)) == [-897165419548459398, 436789826201063324]


def test_prompts_that_share_nothing_are_expected_nowhere() -> None:
    ring, rng = homes(), Random(4)
    for _ in range(200):
        ring.home(chain(rng, 10))
    assert ring.repeated(0.9) == 0.0
    repeated = [chain(rng, 10) for _ in range(20)]
    for number in range(200):
        ring.home(repeated[number % 20])
    assert ring.repeated(0.0) > 0.5
    assert ring.repeated(0.9) == 1.0
