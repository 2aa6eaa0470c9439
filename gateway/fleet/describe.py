"""The fleet in words and numbers, for people, `ragfleet status` and the gauges."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gateway.fleet.outlier_detection import OutlierDetector
from gateway.fleet.view import FleetMember, FleetView


def states(view: FleetView, detector: OutlierDetector) -> dict[str, str]:
    """The state of every member by name: `ready`, `draining`, `unhealthy` or `ejected`."""
    ejected = detector.ejected()
    return {name: _state(member, name in ejected) for name, member in view.members.items()}


def describe_members(
    view: FleetView, detector: OutlierDetector, placements: Callable[[str], Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Every member with its state, load and reason, for /fleet. `placements(name)`: what we gave it."""
    ejected = detector.ejected()
    return [
        {
            "name": name,
            "state": _state(member, name in ejected),
            "reason": ejected.get(name, member.reason),
            "outlier": asdict(detector.standing(name)),
            "model": member.instance.model,
            "flavour": member.instance.flavour,
            "version": member.instance.version,
            "device": member.instance.device,
            "address": member.instance.address,
            "http_port": member.instance.http_port,
            "grpc_port": member.instance.grpc_port,
            "metrics_port": member.instance.metrics_port,
            "slots": member.instance.slots,
            "max_context": member.instance.max_context,
            **placements(name),
            "load": None if member.load is None else asdict(member.load),
        }
        for name, member in view.members.items()
    ]


def _state(member: FleetMember, ejected: bool) -> str:
    if member.draining:
        return "draining"
    if not member.healthy:
        return "unhealthy"
    return "ejected" if ejected else "ready"
