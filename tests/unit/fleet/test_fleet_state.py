"""One writer, immutable views, and who is told of what."""

from dataclasses import replace

import pytest

from gateway.fleet.fleet_state import FleetState
from gateway.fleet.view import FleetMember, FleetView, Instance, LoadSample


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def member(name: str, **changes: object) -> FleetMember:
    return replace(FleetMember(Instance(name, "127.0.0.1", 1, 2, 3, "m")), **changes)  # type: ignore[arg-type]


def test_it_begins_empty_and_without_a_source() -> None:
    view = FleetState().view
    assert (view.version, dict(view.members), view.source_alive) == (0, {}, False)


def test_views_are_replaced_and_never_change() -> None:
    store = FleetState()
    store.set_members([member("a")])
    before = store.view
    assert store.view is before
    store.set_load("a", LoadSample(1.0, waiting=3))
    store.set_members([member("a"), member("b")])
    assert list(before.members) == ["a"]
    assert before.members["a"].load is None
    with pytest.raises(TypeError):
        store.view.members["c"] = member("c")  # type: ignore[index]


def test_the_version_counts_changes_of_membership_and_health_only() -> None:
    store = FleetState()
    seen = []
    for step in (
        lambda: store.set_members([member("a"), member("b")]),
        lambda: store.set_members([member("a"), member("b")]),
        lambda: store.set_load("a", LoadSample(1.0)),
        lambda: store.set_members([member("a", healthy=False, reason="x"), member("b")]),
        lambda: store.set_members([member("a", healthy=False, reason="y"), member("b")]),
        lambda: store.set_members([member("a", healthy=False, draining=True), member("b")]),
        lambda: store.set_members([member("b")]),
        lambda: store.set_source_alive(False),
    ):
        step()
        seen.append(store.view.version)
    assert seen == [1, 1, 1, 2, 2, 3, 4, 4]


def test_new_words_are_visible_without_a_new_version() -> None:
    store = FleetState()
    store.set_members([member("a", healthy=False, reason="x")])
    store.set_members([member("a", healthy=False, reason="y")])
    assert store.view.members["a"].reason == "y"


def test_an_unchanged_answer_leaves_the_very_same_view() -> None:
    store = FleetState()
    store.set_members([member("a")])
    view = store.view
    store.set_members([member("a")])
    assert store.view is view


def test_a_known_instance_keeps_its_load_unless_it_moved() -> None:
    store = FleetState()
    store.set_members([member("a"), member("b")])
    store.set_load("a", LoadSample(1.0, waiting=3))
    store.set_load("b", LoadSample(1.0, waiting=4))
    moved = replace(member("b").instance, metrics_port=99)
    store.set_members([member("a", healthy=False), FleetMember(moved)])
    assert store.view.members["a"].load == LoadSample(1.0, waiting=3)
    assert store.view.members["b"].load is None


def test_the_load_of_who_left_is_ignored() -> None:
    store = FleetState()
    view = store.view
    store.set_load("ghost", LoadSample(1.0))
    assert store.view is view


def test_ages() -> None:
    clock = Clock()
    store = FleetState(clock)
    assert store.source_age() is None
    store.set_members([member("a")])
    assert store.load_age("a") is None
    store.set_load("a", LoadSample(clock.now))
    clock.now += 2
    assert store.load_age("a") == 2
    assert store.source_age() == 2
    store.set_source_alive(False)
    assert store.source_age() == 2
    store.set_load("a", None)
    assert store.load_age("a") is None
    assert store.load_age("ghost") is None


def test_subscribers_hear_of_the_fleet_but_not_of_loads() -> None:
    store = FleetState()
    heard: list[FleetView] = []
    unsubscribe = store.subscribe(heard.append)
    store.set_members([member("a")])
    store.set_load("a", LoadSample(1.0))
    store.set_members([member("a")])
    store.set_source_alive(False)
    store.set_source_alive(False)
    assert [(v.version, v.source_alive) for v in heard] == [(0, False), (1, True), (1, False)]
    unsubscribe()
    unsubscribe()
    store.set_members([])
    assert len(heard) == 3


def test_losing_the_source_keeps_the_members() -> None:
    store = FleetState()
    store.set_members([member("a")])
    store.set_source_alive(False)
    assert list(store.view.members) == ["a"]
    assert not store.view.source_alive


def test_serving_leaves_out_the_unhealthy_and_the_draining() -> None:
    store = FleetState()
    store.set_members([member("a"), member("b", healthy=False), member("c", draining=True)])
    assert [m.instance.name for m in store.view.serving] == ["a"]
    assert store.view.serving is store.view.serving
