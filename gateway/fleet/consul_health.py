"""What Consul's answer means: entries of `/v1/health/service` → members, and what to believe just after an outage.

Pure: no I/O, the time is an argument.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.fleet.view import FleetMember, Instance

_NODE_MAINTENANCE = "_node_maintenance"
_SERVICE_MAINTENANCE = "_service_maintenance:"
_REASON_CHARS = 300

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportedMember:
    """What Consul says of one instance."""

    member: FleetMember
    tested: bool
    """Whether a check that really ran speaks against it. Otherwise Consul may only not know yet: a check that has no output
    was not run since Consul started, and a TTL can have run out because the worker could not reach Consul."""


def read_entries(
    entries: Iterable[Entry], required: tuple[str, ...] = ("ready", "worker")
) -> dict[str, ReportedMember]:
    """What is said, by name and in the order of the names.

    `required` are the checks `service:<id>:<which>` that must exist (docs/contracts.md): an instance is healthy when they
    and all others, the node's included, are passing. A service id that two nodes use becomes `<id>@<node>` for both.
    """
    listed = list(entries)
    uses = Counter(entry["Service"]["ID"] for entry in listed)
    members = {}
    for entry in listed:
        name = entry["Service"]["ID"]
        if uses[name] > 1:
            name = f"{name}@{entry['Node']['Node']}"
        members[name] = _read(name, entry, required)
    return dict(sorted(members.items()))


def _read(name: str, entry: Entry, required: tuple[str, ...]) -> ReportedMember:
    instance, faults = _instance(name, entry)
    notes: list[str] = []
    draining = tested = False
    seen = set()
    for check in entry.get("Checks") or ():
        check_id = check["CheckID"]
        seen.add(check_id)
        if check_id == _NODE_MAINTENANCE or check_id.startswith(_SERVICE_MAINTENANCE):
            draining = True
            notes.append(f"draining: {check.get('Notes') or check.get('Output') or 'maintenance'}")
        elif check["Status"] != "passing":
            words = " ".join((check.get("Output") or "").split()) or "no output yet"
            faults.append(f"{check.get('Name') or check_id} is {check['Status']}: {words}")
            tested |= bool(check.get("Output")) and not words.startswith("TTL expired")
    service_id = entry["Service"]["ID"]
    faults += [
        f"check {which!r} is not registered" for which in required if f"service:{service_id}:{which}" not in seen
    ]
    reason = "; ".join(notes + faults)[:_REASON_CHARS]
    return ReportedMember(
        FleetMember(instance, healthy=not faults and not draining, draining=draining, reason=reason), tested
    )


def _instance(name: str, entry: Entry) -> tuple[Instance, list[str]]:
    """The instance, and what is wrong with how it was registered."""
    service = entry["Service"]
    meta: Mapping[str, str] = service.get("Meta") or {}
    faults: list[str] = []

    def whole(key: str, default: int | None = None) -> int:
        raw = meta.get(key, "")
        if raw.isascii() and raw.isdigit():
            return int(raw)
        if raw or default is None:
            faults.append(f"registered without a usable {key}: {raw!r}")
        return default or 0

    instance = Instance(
        name=name,
        address=service.get("Address") or entry["Node"]["Address"],
        http_port=service["Port"],
        grpc_port=whole("grpc_port"),
        metrics_port=whole("metrics_port"),
        model=meta.get("model", ""),
        engine=meta.get("engine", ""),
        flavour=meta.get("flavour", ""),
        device=meta.get("device", "cpu"),
        slots=whole("slots", 1),
        max_context=whole("max_context", 2048),
        cached_prompts=whole("cached_prompts", 0),
        version=meta.get("version", ""),
        loras=_words(meta.get("loras", "")),
        tenant_classes=_words(meta.get("tenant_classes", "")),
        embedding_model=meta.get("embedding_model", ""),
    )
    return instance, faults


def _words(text: str) -> frozenset[str]:
    return frozenset(word for part in text.split(",") if (word := part.strip()))


class OutageGrace:
    """Keeps believing in who was healthy before an outage of Consul, for a little while after it.

    A Consul that has just come back knows too little: started on an empty disk it has no services until the workers
    register again, and after any restart every HTTP check is critical until its first run. Taken at its word it would
    empty the fleet. So for `hold_s` after the answers resume, a member that was healthy in the last view before stays so
    where Consul does not know it, or holds it for critical without having tested it. A drain and a failed test count at
    once. A good word does too, and does not end the belief: it may be from before the restart, out of Consul's log, and
    the agent's own "critical, not run yet" follows it. Trust (passive ejection) guards against those who really died
    meanwhile.

    hold_s: seconds. Raising it survives slower re-registration; lowering it drops instances sooner that left in an outage.
    """

    def __init__(self, hold_s: float = 20.0) -> None:
        self._hold_s = hold_s
        self._until = 0.0
        self._believed: dict[str, FleetMember] = {}

    @property
    def until(self) -> float | None:
        """When belief runs out, if any is left; the members must be looked at again then."""
        return self._until if self._believed else None

    def interrupted(self, last: Mapping[str, FleetMember]) -> None:
        """Consul went away, or its index went back: `last` is the membership before."""
        self._believed |= {name: member for name, member in last.items() if member.healthy}
        self._until = math.inf

    def resumed(self, now: float) -> None:
        """Consul answers."""
        if self._until == math.inf:
            self._until = now + self._hold_s

    def apply(self, reported: Mapping[str, ReportedMember], now: float) -> dict[str, FleetMember]:
        """The members to publish for what Consul says at `now`."""
        if now >= self._until:
            self._believed = {}
        members = {name: each.member for name, each in reported.items()}
        for name, before in list(self._believed.items()):
            each = reported.get(name)
            if each is not None and _disproves(each, before):
                del self._believed[name]
            elif each is None or not each.member.healthy:
                words = each.member.reason if each is not None else "not registered"
                members[name] = replace(before, reason=f"believed since Consul was away; now: {words}")
        return dict(sorted(members.items()))


def _disproves(reported: ReportedMember, before: FleetMember) -> bool:
    """Whether Consul knows better than the view before; of another instance under the same name it always does."""
    return reported.member.draining or reported.tested or reported.member.instance != before.instance
