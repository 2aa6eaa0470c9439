"""What is kept of an account between two choices is thrown away when something changes there."""

import pytest

from gateway.routing.load_snapshot import FRESH_S
from tests.unit.routing.small_fleet import Fleet, load


def test_an_snapshot_is_kept_while_nothing_happens_and_for_no_longer_than_said() -> None:
    fleet = Fleet("predicted_ttft", 1)
    fleet.change(0, load=load(active=6, scheduled=6))
    account = fleet.placer.account("triton-0")
    first = account.snapshot(0.0)
    assert account.snapshot(FRESH_S / 2) is first
    later = account.snapshot(60.0)
    assert later is not first
    assert first.requests == 6.0


def test_each_event_of_a_dispatch_is_seen_at_once() -> None:
    fleet = Fleet("predicted_ttft", 1)
    account = fleet.placer.account("triton-0")
    ticket = fleet.place(400)
    assert (account.snapshot(0.0).requests, account.snapshot(0.0).ahead) == (1.0, 400.0)
    before = account.snapshot(0.0).token_s
    ticket.first_token(0.03)
    assert account.snapshot(0.0).ahead == 0.0
    assert account.snapshot(0.0).token_s != before
    fleet.serve(ticket, 0.0)
    assert account.snapshot(0.0).requests == 0.0
    fleet.change(0, load=load(active=3, scheduled=3, kv_used_blocks=256))
    assert account.snapshot(0.0).requests == 3.0
    assert account.snapshot(0.0).kv_free == pytest.approx(256 * 32)
