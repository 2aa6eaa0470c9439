"""Ejection, probing and their caps, with the time in the test's hand."""

import random
from types import MappingProxyType

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.fleet.outlier_detection import (
    DispatchOutcome,
    DispatchPass,
    OutlierDetector,
    OutlierSettings,
    OutlierState,
    Transition,
)
from gateway.fleet.view import FleetMember, FleetView, Instance

FAIL, TIMEOUT, OK, IGNORED = (
    DispatchOutcome.FAILURE,
    DispatchOutcome.TIMEOUT,
    DispatchOutcome.SUCCESS,
    DispatchOutcome.IGNORED,
)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fleet(*names: str, down: tuple[str, ...] = ()) -> FleetView:
    members = {n: FleetMember(Instance(n, "127.0.0.1", 1, 2, 3, "m"), healthy=n not in down) for n in names}
    return FleetView(1, MappingProxyType(members), True)


class Case:
    """A detector over five members, with what it told."""

    def __init__(self, *names: str, **overrides: object) -> None:
        self.clock = Clock()
        self.told: list[Transition] = []
        chosen = OutlierSettings(**{"jitter": 0.0, **overrides})  # type: ignore[arg-type]
        self.detector = OutlierDetector(chosen, self.clock, on_transition=self.told.append, rng=random.Random(1))
        self.detector.follow(fleet(*(names or "abcde")))

    def record(self, name: str, outcome: DispatchOutcome) -> None:
        """What became of a dispatch to an instance that is trusted."""
        if self.detector.standing(name).state is OutlierState.TRUSTED:
            given = self.detector.try_acquire(name)
            assert given is not None
            given.record(outcome)

    def fails(self, name: str, times: int, outcome: DispatchOutcome = FAIL) -> None:
        for _ in range(times):
            self.record(name, outcome)

    def probes(self, name: str) -> list[DispatchPass]:
        passes = iter(lambda: self.detector.try_acquire(name), None)
        return [p for _, p in zip(range(100), passes, strict=False)]


def test_a_stranger_is_trusted() -> None:
    case = Case()
    assert "a" not in case.detector.ejected()
    assert case.detector.ejected() == {}
    assert case.detector.standing("a").state is OutlierState.TRUSTED


def test_failures_in_a_row_eject_and_the_reason_says_so() -> None:
    case = Case(consecutive_failures=3)
    case.fails("a", 2)
    assert "a" not in case.detector.ejected()
    case.fails("a", 1)
    assert "a" in case.detector.ejected()
    assert case.detector.try_acquire("a") is None
    assert case.detector.ejected() == {"a": "3 failures in a row"}
    assert case.told == [Transition("a", OutlierState.TRUSTED, OutlierState.EJECTED, "3 failures in a row", 2.0)]


def test_a_success_breaks_the_row() -> None:
    case = Case(consecutive_failures=3, error_rate=2.0)
    for _ in range(5):
        case.fails("a", 2)
        case.record("a", OK)
    assert case.detector.ejected() == {}


def test_missed_deadlines_eject_sooner_than_failures() -> None:
    case = Case(consecutive_failures=5, consecutive_timeouts=2)
    case.fails("a", 2, TIMEOUT)
    assert case.detector.ejected() == {"a": "2 deadlines in a row missed"}


def test_an_error_rate_ejects_without_any_row() -> None:
    case = Case(error_rate=0.5, error_rate_least=10, window_s=10)
    for _ in range(4):
        case.record("a", OK)
        case.record("a", FAIL)
    assert case.detector.ejected() == {}  # eight are no evidence
    case.record("a", OK)
    case.record("a", FAIL)
    assert case.detector.ejected() == {"a": "5 of 10 requests failed within 10 s"}


def test_old_errors_leave_the_window() -> None:
    case = Case(error_rate=0.5, error_rate_least=4, window_s=10)
    for outcome in (OK, FAIL, OK):
        case.record("a", outcome)
    case.clock.now += 11
    for outcome in (FAIL, OK, FAIL):
        case.record("a", outcome)
    assert case.detector.ejected() == {}


@pytest.mark.parametrize("times", [1, 1000])
def test_client_errors_never_count(times: int) -> None:
    case = Case(consecutive_failures=1, error_rate_least=1)
    case.fails("a", times, IGNORED)
    assert case.detector.ejected() == {}
    assert case.told == []


def test_client_errors_do_not_break_a_row_of_failures() -> None:
    case = Case(consecutive_failures=3)
    for outcome in (FAIL, IGNORED, FAIL, IGNORED, FAIL):
        case.record("a", outcome)
    assert "a" in case.detector.ejected()


def test_exactly_n_probes_pass_half_open() -> None:
    case = Case(probes=3)
    case.fails("a", 3)
    case.clock.now += 1.99
    assert case.probes("a") == []
    case.clock.now += 0.01
    assert "a" not in case.detector.ejected()
    assert len(case.probes("a")) == 3
    assert case.detector.try_acquire("a") is None


def test_all_probes_must_succeed() -> None:
    case = Case(probes=3)
    case.fails("a", 3)
    case.clock.now += 2
    first, second, third = case.probes("a")
    first.record(OK)
    second.record(OK)
    assert case.detector.try_acquire("a") is None
    third.record(OK)
    assert case.detector.standing("a").state is OutlierState.TRUSTED
    assert case.told[-1].reason == "3 probes succeeded"
    assert len(case.probes("a")) == 100


def test_one_failed_probe_ejects_for_longer_and_the_others_reports_are_stale() -> None:
    case = Case(probes=3)
    case.fails("a", 3)
    case.clock.now += 2
    first, second, third = case.probes("a")
    first.record(FAIL)
    assert case.told[-1] == Transition("a", OutlierState.PROBING, OutlierState.EJECTED, "a probe failed (failure)", 4.0)
    second.record(FAIL)
    third.record(OK)
    assert len(case.told) == 3
    assert case.detector.standing("a").remaining_s == 4.0


def test_a_probe_that_fails_after_its_first_token_counts() -> None:
    case = Case(probes=2)
    case.fails("a", 3)
    case.clock.now += 2
    first, _second = case.probes("a")
    first.record(OK)
    first.record(FAIL)
    assert "a" in case.detector.ejected()


def test_a_probe_whose_client_left_is_free_again() -> None:
    case = Case(probes=1)
    case.fails("a", 3)
    case.clock.now += 2
    (probe,) = case.probes("a")
    probe.record(IGNORED)
    probe.record(IGNORED)
    assert len(case.probes("a")) == 1


def test_a_probe_that_nobody_reports_on_is_given_up_at_last() -> None:
    case = Case(probes=1, probe_patience_s=120)
    case.fails("a", 3)
    case.clock.now += 2
    (lost,) = case.probes("a")
    case.clock.now += 119
    assert case.detector.try_acquire("a") is None
    case.clock.now += 2
    (again,) = case.probes("a")
    lost.record(FAIL)  # too late to say anything
    again.record(OK)
    assert case.detector.standing("a").state is OutlierState.TRUSTED


def test_reports_from_before_an_ejection_say_nothing_new() -> None:
    case = Case(probes=1)
    before = [case.detector.try_acquire("a") for _ in range(20)]
    for each in before[:10]:
        assert each is not None
        each.record(FAIL)
    case.clock.now += 2
    (probe,) = case.probes("a")
    for each in before[10:15]:
        assert each is not None
        each.record(FAIL)
    probe.record(OK)
    for each in before[15:]:
        assert each is not None
        each.record(FAIL)
    assert [t.after for t in case.told] == [OutlierState.EJECTED, OutlierState.PROBING, OutlierState.TRUSTED]


def test_each_ejection_is_twice_as_long_up_to_the_cap() -> None:
    case = Case(base_ejection_s=2, max_ejection_s=10, probes=1)
    case.fails("a", 3)
    for _ in range(4):
        case.clock.now += 10
        (probe,) = case.probes("a")
        probe.record(FAIL)
    assert [t.for_s for t in case.told if t.after is OutlierState.EJECTED] == [2, 4, 8, 10, 10]


def test_trust_decays_the_memory_of_ejections() -> None:
    case = Case(base_ejection_s=2, decay_s=30, probes=1)
    for quiet in (0, 29, 31, 200):
        case.clock.now += quiet
        case.fails("a", 3)
        case.clock.now += 60
        (probe,) = case.probes("a")
        probe.record(OK)
    # first; once remembered; twice remembered less one; nothing remembered
    assert [t.for_s for t in case.told if t.after is OutlierState.EJECTED] == [2, 4, 4, 2]


def test_jitter_spreads_ejections_by_its_share() -> None:
    case = Case(*map(str, range(400)), jitter=0.1, base_ejection_s=10, max_ejected_fraction=1.0)
    for name in map(str, range(200)):
        case.fails(name, 3)
    lengths = [t.for_s for t in case.told]
    assert min(lengths) >= 9
    assert max(lengths) <= 11
    assert max(lengths) - min(lengths) > 1


@pytest.mark.parametrize(("members", "most"), [("a", 0), ("ab", 1), ("abc", 1), ("abcd", 2), ("abcdefgh", 4)])
def test_only_a_share_of_the_fleet_is_ejected(members: str, most: int) -> None:
    case = Case(*members, max_ejected_fraction=0.5)
    for name in members:
        case.fails(name, 10)
    assert len(case.detector.ejected()) == most


def test_even_a_full_share_leaves_one() -> None:
    case = Case(*"abcd", max_ejected_fraction=1.0)
    for name in "abcd":
        case.fails(name, 10)
    assert len(case.detector.ejected()) == 3


def test_who_was_spared_is_ejected_when_there_is_room() -> None:
    case = Case(*"ab", probes=1)
    case.fails("a", 3)
    case.fails("b", 3)
    assert set(case.detector.ejected()) == {"a"}
    case.clock.now += 2
    (probe,) = case.probes("a")
    probe.record(OK)
    case.fails("b", 1)
    assert set(case.detector.ejected()) == {"b"}


def test_members_that_consul_calls_unhealthy_do_not_count_as_fleet() -> None:
    case = Case(*"abcd", max_ejected_fraction=0.5)
    case.detector.follow(fleet(*"abcd", down=("a", "b")))
    case.fails("a", 3)  # is out anyhow
    case.fails("c", 3)
    case.fails("d", 3)
    assert set(case.detector.ejected()) == {"a", "c"}


def test_the_ejected_come_back_when_the_others_are_gone() -> None:
    case = Case(*"abc")
    case.fails("a", 3)
    case.detector.follow(fleet(*"abc", down=("b", "c")))
    assert "a" not in case.detector.ejected()
    assert case.told[-1].reason == "too few others are left"
    assert len(case.probes("a")) == 100


def test_a_failed_probe_of_the_last_one_keeps_it_in_work() -> None:
    case = Case(*"ab", probes=1)
    case.fails("a", 3)
    case.clock.now += 2
    (probe,) = case.probes("a")
    case.fails("b", 3)  # spared: a is still on probation
    probe.record(FAIL)
    assert set(case.detector.ejected()) == {"a"}
    assert "b" not in case.detector.ejected()


def test_who_leaves_is_forgotten_and_its_reports_do_not_reach_a_namesake() -> None:
    case = Case(*"abc")
    old = [case.detector.try_acquire("a") for _ in range(9)]
    case.fails("a", 3)
    case.detector.follow(fleet(*"bc"))
    assert case.detector.ejected() == {}
    case.detector.follow(fleet(*"abc"))
    assert case.detector.try_acquire("a") is not None
    for each in old:
        assert each is not None
        each.record(FAIL)
    assert "a" not in case.detector.ejected()


def test_silence_ejects_an_idle_instance_for_as_long_as_it_lasts() -> None:
    case = Case(consecutive_silences=3)
    for _ in range(3):
        case.detector.scraped("a", False)
    assert case.detector.ejected() == {"a": "3 metric scrapes in a row unanswered"}
    for _ in range(100):
        case.clock.now += 1
        case.detector.scraped("a", False)
        assert "a" in case.detector.ejected()
    case.detector.scraped("a", True)
    assert "a" not in case.detector.ejected()
    assert case.told[-1].after is OutlierState.PROBING
    assert case.told[-1].reason == "it answers again"


def test_all_but_the_only_one_that_is_heard_are_ejected_for_silence() -> None:
    case = Case(*"abc", consecutive_silences=3, probes=1)
    for _ in range(3):
        case.detector.scraped("a", True)
        case.detector.scraped("b", False)
        case.detector.scraped("c", False)
    assert set(case.detector.ejected()) == {"b", "c"}
    case.detector.follow(fleet(*"abc"))
    assert set(case.detector.ejected()) == {"b", "c"}
    case.fails("a", 10)
    assert set(case.detector.ejected()) == {"b", "c"}, "the last one stays in work, whatever it does"
    for name in "bc":
        case.detector.scraped(name, True)
        (probe,) = case.probes(name)
        probe.record(OK)
    assert {case.detector.standing(name).state for name in "abc"} == {OutlierState.TRUSTED}


def test_silence_of_all_ejects_no_more_than_a_share() -> None:
    case = Case(*"abcd", consecutive_silences=3, max_ejected_fraction=0.5)
    for _ in range(9):
        for name in "abcd":
            case.detector.scraped(name, False)
    assert len(case.detector.ejected()) == 2


def test_when_the_only_one_that_was_heard_falls_silent_too_a_share_comes_back() -> None:
    case = Case(*"abc", consecutive_silences=3)
    for answered in (True, False):
        for _ in range(3):
            case.detector.scraped("a", answered)
            case.detector.scraped("b", False)
            case.detector.scraped("c", False)
    assert len(case.detector.ejected()) == 1
    assert case.told[-1].reason == "too few others are left"


def test_the_silent_ones_leave_room_for_the_share_of_the_others() -> None:
    case = Case(*"abcdef", consecutive_silences=3, max_ejected_fraction=0.5)
    for _ in range(3):
        for name in "abcdef":
            case.detector.scraped(name, name in "abcd")
    case.fails("a", 10)
    case.fails("b", 10)
    case.fails("c", 10)
    assert set(case.detector.ejected()) == {"a", "b", "e", "f"}


def test_a_planned_restart_is_no_silence() -> None:
    case = Case(consecutive_silences=3)
    case.detector.follow(fleet(*"abcde", down=("a",)))
    for _ in range(10):
        case.detector.scraped("a", False)
    case.detector.follow(fleet(*"abcde"))
    case.detector.scraped("a", False)
    assert "a" not in case.detector.ejected()
    assert case.told == []


def test_without_more_news_even_silence_runs_out() -> None:
    case = Case(consecutive_silences=1)
    case.detector.scraped("a", False)
    case.clock.now += 2
    assert "a" not in case.detector.ejected()


def test_requests_that_succeed_outweigh_silent_metrics() -> None:
    case = Case(consecutive_silences=3)
    for _ in range(20):
        case.detector.scraped("a", False)
        case.detector.scraped("a", False)
        case.record("a", OK)
    assert case.detector.ejected() == {}


def test_answered_scrapes_do_not_excuse_failed_requests() -> None:
    case = Case(consecutive_failures=3)
    for _ in range(3):
        case.detector.scraped("a", True)
        case.record("a", FAIL)
    case.detector.scraped("a", True)
    assert "a" in case.detector.ejected()


def test_silence_can_be_switched_off() -> None:
    case = Case(consecutive_silences=0)
    for _ in range(100):
        case.detector.scraped("a", False)
    assert case.detector.ejected() == {}


class Machine(RuleBasedStateMachine):
    """Any order of events: the caps hold, and every ejection ends."""

    names = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.case = Case(*"abcd", probes=2)
        self.down: set[str] = set()
        self.passes: list[DispatchPass] = []

    @rule(name=names, outcome=st.sampled_from(list(DispatchOutcome)))
    def record(self, name: str, outcome: DispatchOutcome) -> None:
        self.case.record(name, outcome)

    @rule(name=names)
    def acquire(self, name: str) -> None:
        ejected = name in self.case.detector.ejected()
        trusted = self.case.detector.standing(name).state is OutlierState.TRUSTED
        given = self.case.detector.try_acquire(name)
        assert not (ejected and given)
        assert given or not trusted
        if given is not None:
            self.passes.append(given)

    @precondition(lambda self: self.passes)
    @rule(data=st.data(), outcome=st.sampled_from(list(DispatchOutcome)), twice=st.booleans())
    def report(self, data: st.DataObject, outcome: DispatchOutcome, twice: bool) -> None:
        given = data.draw(st.sampled_from(self.passes))
        given.record(outcome)
        if not twice:
            self.passes.remove(given)

    @rule(name=names, answered=st.booleans())
    def heard(self, name: str, answered: bool) -> None:
        self.case.detector.scraped(name, answered)

    @rule(name=names)
    def flap(self, name: str) -> None:
        self.down ^= {name}
        self.case.detector.follow(fleet(*"abcd", down=tuple(self.down)))

    @rule(seconds=st.floats(0, 70))
    def wait(self, seconds: float) -> None:
        self.case.clock.now += seconds

    @invariant()
    def enough_are_left(self) -> None:
        serving = set("abcd") - self.down
        kept = {n for n in serving if self.case.detector.standing(n).state is not OutlierState.TRUSTED}
        assert len(kept) <= max(0, len(serving) - 1)
        failing = {n for n in kept if not self.case.detector._records[n].for_silence}
        assert len(failing) <= max(0, min(len(serving) - 1, max(1, len(serving) // 2)))

    @invariant()
    def no_more_probes_than_n(self) -> None:
        for record in self.case.detector._records.values():
            assert 0 <= record.probes_issued <= 2

    @invariant()
    def ejections_end(self) -> None:
        for name in "abcd":
            assert self.case.detector.standing(name).remaining_s <= 60


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
