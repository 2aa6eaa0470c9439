"""An instance that has just joined: its first answer is slow, for caches are cold and graphs are still being captured."""

from tests.unit.routing.small_fleet import Fleet, load

NEW = "triton-2"


def test_one_slow_first_answer_does_not_keep_an_instance_idle_for_good() -> None:
    fleet = Fleet("predicted_ttft", 3)
    fleet.change(2, healthy=False)
    for _ in range(20):
        fleet.serve(fleet.place(64), 0.1)
    fleet.change(2, healthy=True, load=load(fleet.now))
    while (first := fleet.place(64)).instance.name != NEW:
        fleet.serve(first, 0.1)
    fleet.serve(first, 1.0)
    places = []
    for _ in range(600):  # one minute of an instance that would answer as fast as the others
        ticket = fleet.place(64)
        places.append(ticket.instance.name)
        fleet.serve(ticket, 0.1)
        for number in range(3):
            fleet.change(number, load=load(fleet.now))
    assert places.count(NEW) >= 60, f"{places.count(NEW)} of 600"
