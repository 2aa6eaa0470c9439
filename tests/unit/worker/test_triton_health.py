"""What Consul is told about a Triton in each state."""

import pytest

from worker.load import LoadReport, SteadyWords
from worker.state import WorkerPhase
from worker.triton_health import Pulse, judge, span

READY = LoadReport(0, 1, 8, 10, 100)


def pulse(**changes: object) -> Pulse:
    made = Pulse(phase=WorkerPhase.READY, answered=100.0, ready=True, load=READY)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_healthy_triton_passes_with_its_load() -> None:
    beat = judge(pulse(), SteadyWords(), 100.5)
    assert (beat.status, beat.words) == ("passing", "queue 0, running 1/8, kv 10%")


@pytest.mark.parametrize(("silence", "words"), [(3.0, "3 s"), (9.9, "3 s"), (10.0, "10 s"), (75.0, "1 min")])
def test_silence_is_critical_and_told_in_steps(silence: float, words: str) -> None:
    beat = judge(pulse(), SteadyWords(), 100.0 + silence)
    assert (beat.status, beat.words) == ("critical", f"Triton does not answer since {words}")


def test_a_short_silence_is_not() -> None:
    assert judge(pulse(), SteadyWords(), 102.9).status == "passing"


def test_models_that_are_not_ready_are_critical() -> None:
    assert judge(pulse(ready=False), SteadyWords(), 100.0).status == "critical"


def test_starting_is_a_warning() -> None:
    beat = judge(pulse(phase=WorkerPhase.STARTING, phase_since=88.0), SteadyWords(), 100.0)
    assert (beat.status, beat.words) == ("warning", "starting since 10 s")
    again = judge(pulse(phase=WorkerPhase.STARTING, phase_since=99.0, reason="Triton died"), SteadyWords(), 100.0)
    assert again.words == "starting since 0 s; before: Triton died"


def test_a_dead_triton_is_critical_with_its_cause() -> None:
    beat = judge(pulse(phase=WorkerPhase.RESTARTING, reason="Triton was killed by SIGKILL"), SteadyWords(), 100.0)
    assert (beat.status, beat.words) == ("critical", "Triton was killed by SIGKILL")


def test_missing_metrics_do_not_take_an_instance_out() -> None:
    assert judge(pulse(load=None), SteadyWords(), 100.0).status == "passing"


def test_draining_still_passes_and_says_so() -> None:
    beat = judge(pulse(phase=WorkerPhase.DRAINING), SteadyWords(), 100.0)
    assert beat.status == "passing"
    assert beat.words.startswith("draining: ")


def test_spans_are_few() -> None:
    assert len({span(seconds) for seconds in range(20_000)}) == 10
    assert span(4000) == "over 1 h"
