"""The autoscaler in a simulated fleet: a short form of `make bench-autoscaling`."""

from benchmarks.autoscaling.policies import Ours
from benchmarks.autoscaling.simulation import Simulation
from benchmarks.autoscaling.traffic import made
from gateway.fleet.autoscaling import AutoscalingOptions


def test_in_a_simulated_fleet_most_requests_are_within_the_slo() -> None:
    end = Simulation(made(5, seconds=300, rate=4.0), Ours(AutoscalingOptions(), most=12)).run()
    assert end.good > 0.5 * end.requests
    assert end.instance_hours < 12 * 300 / 3600
