"""The fleet's state: one writer's side of `FleetView`.

Discovery writes who is in the fleet, the scraper what each carries; everybody else reads `view`, which is replaced and
never changed. A view is built when it is next read, so that a thousand scrapes between two requests cost one copy.

All of it belongs to one event loop (or one thread); nothing here waits.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import MappingProxyType

from gateway.fleet.view import FleetMember, FleetView, LoadSample

Clock = Callable[[], float]
Subscriber = Callable[[FleetView], None]


class FleetState:
    """Holds the members and publishes views of them. `clock` gives monotonic seconds."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._members: dict[str, FleetMember] = {}
        self._version = 0
        self._source_alive = False
        self._source_seen_at: float | None = None
        self._view: FleetView | None = FleetView()
        self._subscribers: list[Subscriber] = []

    @property
    def view(self) -> FleetView:
        """The fleet now. The same object until something changes."""
        if self._view is None:
            members = MappingProxyType(dict(self._members))
            self._view = FleetView(self._version, members, self._source_alive)
        return self._view

    def set_members(self, members: Iterable[FleetMember], *, source_alive: bool = True) -> None:
        """Replace the membership by what Consul says now; a known instance keeps its last load.

        `FleetMember.load` of what is given is not read. Nothing moves when nothing is new: a different reason alone gives a new
        view, but neither a new version nor a call of the subscribers.
        """
        fresh = {m.instance.name: self._with_load(m) for m in members}
        known = self._members
        changed = fresh.keys() != known.keys() or any(_standing(m) != _standing(known[n]) for n, m in fresh.items())
        if changed or any(m.reason != known[n].reason for n, m in fresh.items()):
            self._members = fresh
            self._view = None
        self._version += changed
        if self._source(source_alive) or changed:
            self._publish()

    def set_load(self, name: str, load: LoadSample | None) -> None:
        """Keep the newest reading of one instance; None when it can no longer be read. A name that has left is ignored."""
        member = self._members.get(name)
        if member is None or (load is None and member.load is None):
            return
        self._members[name] = replace(member, load=load)
        self._view = None

    def set_source_alive(self, alive: bool) -> None:
        """Whether Consul answers; the members stay as they are."""
        if self._source(alive):
            self._publish()

    def load(self, name: str) -> LoadSample | None:
        """The instance's load as it was read last; None while there is none."""
        member = self._members.get(name)
        return None if member is None else member.load

    def load_age(self, name: str) -> float | None:
        """Seconds since the instance's load was read; None while there is none."""
        member = self._members.get(name)
        return None if member is None or member.load is None else max(0.0, self._clock() - member.load.at)

    def source_age(self) -> float | None:
        """Seconds since Consul last answered; None when it never did."""
        return None if self._source_seen_at is None else self._clock() - self._source_seen_at

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call back with the new view after each change of membership, health, drain or Consul's reach (not of load).

        The first call comes at once, with the view of now. It runs inside the writer: it must be quick and must not raise.
        Returns the function that ends the subscription.
        """
        self._subscribers.append(callback)
        callback(self.view)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _with_load(self, member: FleetMember) -> FleetMember:
        known = self._members.get(member.instance.name)
        same_process = known is not None and _endpoint(known) == _endpoint(member)
        return replace(member, load=known.load if known is not None and same_process else None)

    def _source(self, alive: bool) -> bool:
        if alive:
            self._source_seen_at = self._clock()
        changed = alive != self._source_alive
        if changed:
            self._source_alive = alive
            self._view = None
        return changed

    def _publish(self) -> None:
        for callback in tuple(self._subscribers):
            callback(self.view)


def _standing(member: FleetMember) -> tuple[object, ...]:
    """What makes a new version: everything but load and words."""
    return member.instance, member.healthy, member.draining


def _endpoint(member: FleetMember) -> tuple[str, int]:
    return member.instance.address, member.instance.metrics_port
