"""Keeps a gateway's roll-out as the catalog is, tells what was seen here, and lets the catalog judge it with what others saw."""

import asyncio
import logging
from copy import copy
from typing import Protocol

from gateway.errors import CatalogUnavailable
from gateway.rollouts.control import RolloutControl
from gateway.rollouts.evidence import Evidence
from gateway.rollouts.rollout import Rollout

log = logging.getLogger("ragfleet.rollouts")

PERIOD_S = 1.0
"""Between two looks. A start or an end is in force everywhere after this and one look."""


class RolloutSource(Protocol):
    """Where roll-outs are. All raise CatalogUnavailable."""

    async def revision(self) -> int:
        """Raised by each start and end."""

    async def newest(self) -> Rollout | None:
        """The one that counts."""

    async def report(self, rollout_id: str, gateway: str, evidence: Evidence) -> Rollout | None:
        """Write what a gateway has seen of it by now, and judge; what counts then."""


class RolloutSync:
    """`run` is its life."""

    def __init__(
        self, control: RolloutControl, source: RolloutSource, gateway: str, *, period_s: float = PERIOD_S
    ) -> None:
        """gateway: this process's name, another one for each start."""
        self._control = control
        self._source = source
        self._gateway = gateway
        self._period_s = period_s
        self._revision: int | None = None
        self._reported = Evidence()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # SQLite's thread must not be left in a call: whoever cancels us waits for its end.
            look = asyncio.create_task(self.look(), name="look at the roll-out")
            try:
                await asyncio.shield(look)
            except asyncio.CancelledError:
                await asyncio.gather(look, return_exceptions=True)
                raise
            await asyncio.sleep(self._period_s)

    async def look(self) -> None:
        """Ask and tell the catalog once."""
        control = self._control
        try:
            revision = await self._source.revision()
            if revision != self._revision:
                self._follow(await self._source.newest())
                self._revision = revision
            if control.running and control.rollout is not None and control.own != self._reported:
                told = copy(control.own)
                before = control.rollout
                self._follow(await self._source.report(before.id, self._gateway, told), told)
        except CatalogUnavailable:
            if control.running:
                log.warning("the catalog is away: the roll-out goes on as it is, and nothing is decided")
            control.lose()

    def _follow(self, rollout: Rollout | None, told: Evidence | None = None) -> None:
        before = self._control.rollout
        new = rollout is None or before is None or rollout.id != before.id
        if told is not None and not new:
            self._reported = told
        elif new:
            self._reported = Evidence()
        self._control.follow(rollout, self._reported)
        if rollout is not None and (new or (before is not None and rollout.state is not before.state)):
            log.info("roll-out of %s: %s %s", rollout.candidate, rollout.state, rollout.reason)
