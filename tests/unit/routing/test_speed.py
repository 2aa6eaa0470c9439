"""Measured speeds: a line through the prefills, and what other gateways' prompts in between do to it."""

from random import Random

import pytest

from gateway.routing.speed import PrefillSpeed
from tests.unit.routing.small_fleet import Fleet, load, predicted_s

OVERHEAD, TOKEN = 0.02, 0.0002


def learned(*, disturbed: float, slower: float, factor: float = 1.0) -> PrefillSpeed:
    """A line after 400 prompts, of which so many had prompts of others before them, of 0 to 500 ms."""
    rng = Random(1)
    speed = PrefillSpeed()
    for _ in range(400):
        tokens = rng.randint(20, 1500)
        others = rng.random() * 0.5 if rng.random() < disturbed else 0.0
        speed.learn(tokens, factor * (OVERHEAD + tokens * TOKEN) + others, slower=slower)
    return speed


def test_alone_the_line_is_what_was_measured() -> None:
    speed = learned(disturbed=0.0, slower=1.0)
    assert speed.token_s == pytest.approx(TOKEN, rel=0.05)
    assert speed.overhead_s == pytest.approx(OVERHEAD, rel=0.25)


def test_prompts_of_others_in_between_do_not_make_an_instance_seem_slow() -> None:
    speed = learned(disturbed=0.75, slower=1 / 64)
    assert speed.overhead_s + 1000 * speed.token_s == pytest.approx(OVERHEAD + 1000 * TOKEN, rel=0.2)
    assert speed.token_s == pytest.approx(TOKEN, rel=0.4)


def test_an_instance_that_is_slow_is_seen_to_be_slow_among_others_prompts() -> None:
    speed = learned(disturbed=0.75, slower=1 / 64, factor=3.0)
    assert speed.overhead_s + 1000 * speed.token_s > 2.4 * (OVERHEAD + 1000 * TOKEN)


def test_slow_answers_count_less_where_samples_show_other_gateways() -> None:
    alone, shared = Fleet("predicted_ttft", 1), Fleet("predicted_ttft", 1)
    for fleet, others in ((alone, 0), (shared, 6)):
        for round_ in range(12):
            ticket = fleet.place(200)
            fleet.change(0, load=load(fleet.now, active=1 + others, scheduled=1 + others))
            fleet.serve(ticket, 1.0 if round_ % 2 else 0.1)
            fleet.change(0, load=load(fleet.now, active=others, scheduled=others))
    slow, quick = (sum(f.placer.account("triton-0").prefill(f.now)) for f in (alone, shared))
    assert predicted_s(alone.place(200)) > 0.3
    assert slow > 2 * quick
