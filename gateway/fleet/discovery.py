"""Membership from Consul: one blocking query on the health of the service, again and again.

All entries are asked for, not only passing ones, so that an unhealthy member is seen with its reason and a draining one
is told from a dead one. The rules of the index are Consul's own: never below 1, from the start again when it goes back or
after an error. While Consul cannot be reached the last view stays, marked `source_alive=False`.

It speaks HTTP through aiohttp rather than through py-consul's asyncio client: that one (1.8.0) has no deadline for a
single call, builds its connector from arguments that aiohttp deprecates (warnings are errors here), and reads the
environment by itself. One GET is all that is needed.
"""

import asyncio
import logging
import random
import ssl
import time

import aiohttp
import orjson

from gateway.fleet.consul_health import OutageGrace, ReportedMember, read_entries
from gateway.fleet.fleet_state import Clock, FleetState

log = logging.getLogger(__name__)


class ConsulLost(Exception):
    """Consul did not give a usable answer; the message says what came instead."""


class ConsulDiscovery:
    """Keeps the membership in a store true while `run` runs.

    wait_s: the longest blocking query. Lower: a Consul that hangs is noticed sooner, at the price of more idle queries.
    margin_s: what an answer may take beyond the wait (Consul itself adds up to a sixteenth) before Consul counts as lost.
    backoff_s: (first, longest) pause after failures; doubled each time, drawn between half and the whole.
    quiet_s: the least pause after an answer that changed nothing; it is longer where reading the answer took long, so that
        noise costs a twentieth of a core at most. A worker's new note wakes every blocking query (1,000 instances: 1.5 MB
        and 24 ms each time). It is the most by which news can be late because of noise.
    hold_s: see `OutageGrace`.
    """

    def __init__(
        self,
        url: str,
        service: str = "ragfleet-triton",
        *,
        store: FleetState,
        token: str = "",
        tls: ssl.SSLContext | None = None,
        wait_s: float = 10.0,
        margin_s: float = 2.0,
        backoff_s: tuple[float, float] = (0.1, 3.0),
        quiet_s: float = 0.1,
        hold_s: float = 20.0,
        required_checks: tuple[str, ...] = ("ready", "worker"),
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/v1/health/service/{service}"
        self._store = store
        self._headers = {"X-Consul-Token": token} if token else {}
        self._tls = tls
        self._wait_s = wait_s
        self._margin_s = margin_s
        self._backoff_s = backoff_s
        self._quiet_s = quiet_s
        self._required = required_checks
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing
        self._grace = OutageGrace(hold_s)
        self._index = 0

    async def run(self) -> None:
        """Follow Consul until cancelled. Never ends by itself, whatever Consul does."""
        self._index = 0
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._margin_s)
        connector = aiohttp.TCPConnector(ssl=self._tls or True)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout) as session:
            failures = 0
            while True:
                try:
                    pause_s = await self._follow(session)
                except (ConsulLost, aiohttp.ClientError, OSError, TimeoutError) as error:
                    failures += 1
                    self._lost(error, failures)
                    await asyncio.sleep(self._pause(failures))
                    continue
                if failures:
                    log.info("Consul answers again at %s", self._url)
                failures = 0
                await asyncio.sleep(pause_s)

    async def _follow(self, session: aiohttp.ClientSession) -> float:
        """One query and what follows from it; the seconds to pause before the next."""
        wait_s = self._wait_s
        if (until := self._grace.until) is not None:
            wait_s = min(wait_s, max(until - self._clock(), 0.0))
        index, body = await self._query(session, wait_s)
        now = self._clock()
        reported = self._read(body)
        if index < self._index:
            log.warning("Consul's index went back from %d to %d: reading from the start", self._index, index)
            self._grace.interrupted(self._store.view.members)
            self._index = 0
        else:
            self._index = index
        self._grace.resumed(now)
        before = self._store.view.version
        self._store.set_members(self._grace.apply(reported, now).values(), source_alive=True)
        if self._store.view.version != before:
            return 0.0
        return max(self._quiet_s * self._rng.uniform(0.5, 1.0), 20 * (self._clock() - now))

    async def _query(self, session: aiohttp.ClientSession, wait_s: float) -> tuple[int, bytes]:
        """(index, body). With index 0 Consul answers at once."""
        blocking = self._index > 0 and wait_s > 0
        params = {"index": str(self._index), "wait": f"{max(1, round(wait_s * 1000))}ms"} if blocking else {}
        deadline = (wait_s * 17 / 16 if blocking else 0.0) + self._margin_s
        async with asyncio.timeout(deadline), session.get(self._url, params=params) as response:
            body = await response.read()
        if response.status != 200:
            raise ConsulLost(f"HTTP {response.status}: {body[:200].decode(errors='replace').strip()}")
        try:
            return max(1, int(response.headers["X-Consul-Index"])), body
        except (KeyError, ValueError) as error:
            raise ConsulLost(f"not an answer of Consul: {error!r}") from error

    def _read(self, body: bytes) -> dict[str, ReportedMember]:
        try:
            return read_entries(orjson.loads(body), self._required)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsulLost(f"entries that cannot be read: {error!r}") from error

    def _lost(self, error: Exception, failures: int) -> None:
        self._index = 0  # whoever answers next may be another server with another history
        if failures == 1:
            words = str(error) or "no answer in time"
            log.warning("Consul lost at %s: %s; the last view serves on", self._url, words)
            self._grace.interrupted(self._store.view.members)
        self._store.set_source_alive(False)

    def _pause(self, failures: int) -> float:
        first, longest = self._backoff_s
        return min(longest, first * 2.0 ** min(failures - 1, 30)) * self._rng.uniform(0.5, 1.0)
