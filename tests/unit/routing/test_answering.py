"""Which hosts answer somebody, as the ingestion is told."""

from gateway.routing.placer import ANSWERED_S
from gateway.routing.types import Answering
from tests.unit.routing.small_fleet import Fleet, instance


def hosts(fleet: Fleet) -> dict[str, Answering]:
    return fleet.placer.answering()


def test_a_host_waits_until_the_first_token_and_is_told_of_for_a_while() -> None:
    fleet = Fleet("least_loaded", 2, instances={n: instance(n, address="10.0.0.1") for n in range(2)})
    assert hosts(fleet) == {}  # whatever the clock says
    fleet.now = 100.0
    first, second = fleet.place(), fleet.place()
    assert first.instance.name != second.instance.name
    assert hosts(fleet) == {"10.0.0.1": Answering(True, 0.0)}
    first.first_token(fleet.now)
    assert hosts(fleet)["10.0.0.1"].waits
    second.first_token(fleet.now)
    assert hosts(fleet) == {"10.0.0.1": Answering(False, 0.0)}
    fleet.serve(first, 0)
    fleet.serve(second, 0)
    fleet.now += 2.0
    assert hosts(fleet) == {"10.0.0.1": Answering(False, 2.0)}
    fleet.now += ANSWERED_S
    assert hosts(fleet) == {}


def test_hosts_are_told_apart() -> None:
    fleet = Fleet("least_loaded", 2, instances={n: instance(n, address=f"10.0.0.{n}") for n in range(2)})
    fleet.now = 100.0
    ticket = fleet.place()
    assert hosts(fleet) == {ticket.instance.address: Answering(True, 0.0)}
