"""The placement policies by their configured names. One file each; `predicted_ttft` is the default."""

from collections.abc import Callable
from random import Random
from types import MappingProxyType

from gateway.routing.policies.least_loaded import LeastLoaded
from gateway.routing.policies.policy import Policy
from gateway.routing.policies.power_of_two import PowerOfTwo
from gateway.routing.policies.predicted_ttft import PredictedTtft
from gateway.routing.policies.random_choice import RandomChoice
from gateway.routing.policies.round_robin import RoundRobin

DEFAULT = "predicted_ttft"

BY_NAME: MappingProxyType[str, Callable[[Random], Policy]] = MappingProxyType(
    {
        "predicted_ttft": PredictedTtft,
        "power_of_two": PowerOfTwo,
        "least_loaded": LeastLoaded,
        "random": RandomChoice,
        "round_robin": RoundRobin,
    }
)


def build(name: str, rng: Random) -> Policy:
    """The policy of that name; ValueError names the known ones."""
    make = BY_NAME.get(name)
    if make is None:
        raise ValueError(f"unknown placement policy {name!r}; known: {', '.join(BY_NAME)}")
    return make(rng)


__all__ = [
    "BY_NAME",
    "DEFAULT",
    "LeastLoaded",
    "Policy",
    "PowerOfTwo",
    "PredictedTtft",
    "RandomChoice",
    "RoundRobin",
    "build",
]
