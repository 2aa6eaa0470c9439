"""What a gateway tells of itself and its fleet: readiness, the text of `/fleet`, the gauges that mirror state."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from gateway.container import Container
from gateway.errors import CatalogUnavailable
from gateway.fleet.describe import describe_members, states
from gateway.rollouts.rollout import describe as describe_rollout
from gateway.routing import Placer
from gateway.siblings import ProcessReport, merged_metrics, summed_demand

GATEWAY_SHOWN_S = 300.0
"""A gateway is told of for so long after its last sign of life."""


def readiness(gateway: Container) -> tuple[bool, dict[str, Any]]:
    """Whether requests can be served, and the words for it."""
    view, resting = gateway.store.view, gateway.resting
    serving = [m.instance.name for m in view.serving]
    state: dict[str, Any] = {
        "ready": (bool(serving) or resting) and not gateway.draining,
        "serving": serving,
        "out": {m.instance.name: m.reason for m in view.members.values() if m.instance.name not in serving},
        "consul": "answers" if view.source_alive else "does not answer; the last view is served",
    }
    if gateway.draining:
        state["reason"] = "shutting down"
    elif not serving and resting:
        wait_s = gateway.settings.start_wait_s
        state["reason"] = f"no instance runs; requests wait up to {wait_s:g} s until one has started"
    elif not serving:
        state["reason"] = "no instance is healthy" if view.members else "no instance is registered"
    return state["ready"], state


async def metrics(gateway: Container, accept: str) -> tuple[bytes, str]:
    """The exposition and its content type. Of several processes: of them all, each sample with its process."""
    text, media_type = _exposition(gateway, accept)
    if gateway.siblings is None:
        return text, media_type
    return merged_metrics(await gateway.siblings.ask(accept)).encode(), media_type


def process_report(gateway: Container, accept: str) -> ProcessReport:
    """What one process of several says of itself."""
    return ProcessReport(_exposition(gateway, accept)[0].decode(), _demand(gateway))


def _exposition(gateway: Container, accept: str) -> tuple[bytes, str]:
    refresh_gauges(gateway)
    return gateway.metrics.render(accept, gateway.ingestion_monitor.exposition())


def _demand(gateway: Container) -> dict[str, float]:
    demand = gateway.demand
    return {"requests": demand.requests, "instances": demand.instances(gateway.models.slots_each)}


async def describe(gateway: Container) -> dict[str, Any]:
    """The fleet for people and for `ragfleet status`."""
    view, siblings = gateway.store.view, gateway.siblings
    rollout = gateway.dispatcher.rollouts.rollout
    return {
        "version": view.version,
        "consul_alive": view.source_alive,
        "consul_age_s": gateway.store.source_age(),
        "policy": gateway.settings.policy,
        "admission": asdict(gateway.admission.stats()),
        "demand": {
            **(_demand(gateway) if siblings is None else summed_demand(await siblings.ask())),
            "slots": gateway.models.slots_each,
            "start_wait_s": gateway.settings.start_wait_s,
        },
        "retrieval_admission": asdict(gateway.retrieval_admission.stats()),
        "ingestion": gateway.ingestion_monitor.describe(),
        "rollout": None if rollout is None else describe_rollout(rollout),
        "instances": describe_members(
            view, gateway.detector, partial(_placements, gateway.placer, gateway.registry.counts())
        ),
    }


async def describe_all(gateway: Container) -> dict[str, Any]:
    """The same for operators, with the answers that run and the gateways of the catalog; without it, this one alone."""
    now, this = time.time(), gateway.quotas.gateway
    try:
        seen = dict(await gateway.rows.gateways(now - GATEWAY_SHOWN_S))
    except CatalogUnavailable:
        seen = {}
    seen[this] = now
    return {
        **await describe(gateway),
        "answers_running": gateway.generation.recent.running,
        "gateway": {"id": this, "started_at": gateway.started_at, "draining": gateway.draining},
        "gateways": [{"id": name, "seen_at": at, "this": name == this} for name, at in sorted(seen.items())],
    }


def _placements(placer: Placer, streams: Mapping[str, int], name: str) -> dict[str, Any]:
    """What this gateway gave an instance: held now, answer tokens since it joined, why it was chosen last."""
    load = placer.account(name)
    return {
        "streams": streams.get(name, 0),
        "step_ms": None if load is None or not load.produced else round(load.speed.step_s * 1000, 2),
        "in_flight": 0 if load is None else load.ours + load.context_calls,
        "tokens": 0 if load is None else load.produced,
        "last_placement": "" if load is None else load.last_placement,
    }


def refresh_gauges(gateway: Container) -> None:
    """Set the gauges that mirror state, at the moment of a scrape."""
    gauges, demand = gateway.metrics, gateway.demand
    gauges.instances.clear()
    for state in states(gateway.store.view, gateway.detector).values():
        gauges.instances.labels(state).inc()
    gateway.ingestion_monitor.refresh()
    gauges.consul_alive.set(gateway.store.view.source_alive)
    gauges.ledger_waiting.set(gateway.ledger.waiting)
    gauges.in_flight.set(gateway.admission.held)
    gauges.waiting.set(gateway.admission.waiting)
    gauges.retrieval_in_flight.set(gateway.retrieval_admission.held)
    gauges.retrieval_waiting.set(gateway.retrieval_admission.waiting)
    gauges.demand_instances.set(demand.instances(gateway.models.slots_each))
    gauges.resting.set(gateway.resting and demand.lacking_s <= gateway.settings.start_wait_s)
    _show_rollout(gateway)


def _show_rollout(gateway: Container) -> None:
    """Of a roll-out whose candidate is in the fleet."""
    gauges = gateway.metrics
    for gauge in (gauges.rollout, gauges.rollout_share, gauges.rollout_worse, gauges.rollout_good):
        gauge.clear()
    rollouts = gateway.dispatcher.rollouts
    rollout = rollouts.rollout
    if rollout is None or not gateway.dispatcher.candidate_is_there:
        return
    gauges.rollout.labels(rollout.candidate, rollout.state.value).set(1)
    gauges.rollout_share.labels(rollout.candidate).set(rollout.share if rollout.running else 0)
    for measure in rollouts.judgement.measures:
        gauges.rollout_worse.labels(measure.name).set(measure.worse)
        gauges.rollout_good.labels(measure.name).set(measure.good)
