"""The streams that run, by instance, and their rescue from instances that leave or fall silent."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.dispatch.dispatcher import Dispatcher
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.outlier_detection import OutlierDetector
from gateway.fleet.view import FleetView
from gateway.routing.types import PlacementRequest
from gateway.triton.errors import Cause, InstanceError
from gateway.triton.llm import TokenStream


@dataclass(frozen=True, slots=True)
class _Begun:
    at: float
    """Seconds of the registry's clock."""
    job: PlacementRequest | None


class StreamRegistry:
    """Knows which stream runs where; ends those that would not get on, so that they go on elsewhere (migrating_generation.py).

    dispatcher: knows where slots are free; None: what waits for a slot stays where it waits.
    drain_patience_s: how long a stream may run on on an instance that drains. Raising it moves fewer streams and delays drains.
    clock: monotonic seconds.
    """

    CHECK_EVERY_S = 0.2
    QUIET_S = 1.0
    """Seconds without a token, or before the first one without metrics, after which a stream counts as lost on an instance that
    is ejected or not healthy."""
    QUEUE_S = 2.0
    """Seconds without a first token after which a request that waits for a slot goes where one is free. Lower: more prompts are
    read in vain where a slot would have come free at once."""

    def __init__(
        self,
        store: FleetState,
        detector: OutlierDetector,
        dispatcher: Dispatcher | None = None,
        *,
        drain_patience_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._detector = detector
        self._dispatcher = dispatcher
        self._drain_patience_s = drain_patience_s
        self._clock = clock
        self._streams: dict[str, dict[TokenStream, _Begun]] = {}
        """By instance, in the order in which they were sent there."""
        self._draining_since: dict[str, float] = {}
        store.subscribe(self._follow)

    def add(self, name: str, stream: TokenStream, job: PlacementRequest | None = None) -> None:
        """A stream begins on an instance. job: what it serves, where that may be moved for want of a slot."""
        self._streams.setdefault(name, {})[stream] = _Begun(self._clock(), job)

    def remove(self, name: str, stream: TokenStream) -> None:
        """It has ended."""
        self._streams.get(name, {}).pop(stream, None)

    def counts(self) -> Mapping[str, int]:
        """Streams of this gateway by instance."""
        return {name: len(streams) for name, streams in self._streams.items() if streams}

    def move_away(self, name: str) -> int:
        """End the streams on an instance so that they go on elsewhere; how many there were."""
        streams = list(self._streams.get(name, ()))
        for stream in streams:
            stream.fail(InstanceError(Cause.DRAIN, f"{name} is leaving the fleet"))
        return len(streams)

    async def run(self) -> None:
        """Rescue streams until cancelled, sooner than their own deadlines would."""
        while True:
            await asyncio.sleep(self.CHECK_EVERY_S)
            self.rescue(self._clock())

    def rescue(self, now: float) -> None:
        """Move the streams of instances that drain past our patience, and the silent ones of instances that are not well."""
        if not self._streams:
            return
        ejected = self._detector.ejected()
        for name, streams in self._streams.items():
            if not streams:
                continue
            member = self._store.view.members.get(name)
            since = self._draining_since.get(name)
            if since is not None and now - since > self._drain_patience_s:
                self.move_away(name)
            elif name in ejected or member is None or not member.healthy:
                # A healthy stream on an instance that others complain of goes on; a silent one will not speak again.
                dark = self._without_metrics(name)
                for stream in [s for s in streams if s.quiet_s(now) > self.QUIET_S or (dark and not s.spoken)]:
                    stream.fail(InstanceError(Cause.STALL, f"{name} is silent: {ejected.get(name, 'not healthy')}"))
            else:
                self._move_waiting(name, streams, now)

    def _move_waiting(self, name: str, streams: Mapping[TokenStream, "_Begun"], now: float) -> None:
        """Move what waits for a slot of a healthy instance to where one is free, those that came last first; none too many.

        An engine serves in order, so of those without a token the last ones wait, and the others' prompts are being read.
        """
        if self._dispatcher is None:
            return
        silent = [(stream, begun) for stream, begun in streams.items() if not stream.spoken]
        if not silent or now - silent[0][1].at < self.QUEUE_S or not (waiting := self._dispatcher.waiting(name)):
            return
        moved = 0
        for stream, begun in silent[-waiting:]:
            if begun.job is None or now - begun.at < self.QUEUE_S:
                continue
            if self._dispatcher.free_slots(begun.job, name) <= moved:
                continue
            moved += 1
            stream.fail(InstanceError(Cause.QUEUED, f"{name} has no free slot, and others have"))

    def _without_metrics(self, name: str) -> bool:
        """Whether the instance's load has not been read for a while: then its queue does not move either."""
        age = self._store.load_age(name)
        return age is None or age > self.QUIET_S

    def _follow(self, view: FleetView) -> None:
        """The fleet changed: who drains is known with its time, and who left without a stream is forgotten."""
        draining = {name for name, member in view.members.items() if member.draining}
        self._draining_since = {name: self._draining_since.get(name, self._clock()) for name in draining}
        for name in self._streams.keys() - view.members.keys():
            if not self._streams[name]:
                del self._streams[name]
