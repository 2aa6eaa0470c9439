"""Who of all ingestions works: a lock in Consul's key/value store, held by a session that ends with its holder.

It only saves work: correctness comes from the leases in SQL, so without Consul everyone goes on (`may_work`).
"""

import asyncio
import contextlib
import logging
import random
import ssl

import aiohttp
import orjson

log = logging.getLogger("ragfleet.ingestion")

KEY = "ragfleet/ingestion/lock"
_FAULTS = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


class ConsulLock:
    """Wants the lock while `run` runs, and sets `changed` when `may_work` may have changed.

    ttl_s: how long a holder that died keeps it, at the most twice this (Consul's least is 10).
    """

    def __init__(
        self,
        url: str,
        holder: str,
        *,
        token: str = "",
        tls: ssl.SSLContext | None = None,
        ttl_s: float = 10.0,
        rng: random.Random | None = None,
        changed: asyncio.Event | None = None,
    ) -> None:
        self._url = f"{url.rstrip('/')}/v1"
        self._holder = holder
        self._headers = {"X-Consul-Token": token} if token else {}
        self._tls = tls
        self._ttl_s = ttl_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, guards nothing
        self._session = ""
        self._away = False
        self.held = False
        self.changed = changed or asyncio.Event()

    @property
    def may_work(self) -> bool:
        """Whether this one holds the lock, or nobody can."""
        return self.held or self._away

    async def run(self) -> None:
        """Take the lock when it is free and keep it, until cancelled; then give it back."""
        timeout = aiohttp.ClientTimeout(total=3)
        connector = aiohttp.TCPConnector(ssl=self._tls or True)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout) as http:
            try:
                while True:
                    try:
                        self._set(await self._step(http), away=False)
                    except _FAULTS as error:
                        if not self._away:
                            log.warning("Consul does not answer (%s): working by the leases alone", error)
                        self._set(False, away=True)
                    await asyncio.sleep(self._ttl_s / 5 * self._rng.uniform(0.8, 1.0))
            finally:
                with contextlib.suppress(*_FAULTS):
                    if self._session:
                        await self._put(http, f"session/destroy/{self._session}")
                self.held = self._away = False
                self.changed.set()

    async def _step(self, http: aiohttp.ClientSession) -> bool:
        if self._session and await self._put(http, f"session/renew/{self._session}") is None:
            self._session = ""  # it ran out
        if not self._session:
            # A short delay: leases make sure that a holder who does not know of its loss spoils nothing.
            wish = {"Name": self._holder, "TTL": f"{self._ttl_s:g}s", "LockDelay": "1s", "Behavior": "release"}
            made = await self._put(http, "session/create", orjson.dumps(wish))
            if not made:
                raise ValueError("Consul made no session")
            self._session = made["ID"]
        if self.held:  # to ask costs Consul nothing; to acquire once more would be a write to its log
            entry = await self._ask(http, "GET", f"kv/{KEY}")
            if entry is not None and entry.get("Session") == self._session:
                return True
        return bool(await self._put(http, f"kv/{KEY}?acquire={self._session}", self._holder.encode()))

    async def _put(self, http: aiohttp.ClientSession, path: str, body: bytes = b"") -> dict[str, str] | None:
        return await self._ask(http, "PUT", path, body)

    async def _ask(
        self, http: aiohttp.ClientSession, method: str, path: str, body: bytes = b""
    ) -> dict[str, str] | None:
        """What Consul says; None for a session or key that it does not know."""
        async with http.request(method, f"{self._url}/{path}", data=body) as response:
            raw = await response.read()
            if response.status == 404 or b"invalid session" in raw:
                self._session = ""
                return None
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {raw[:200].decode(errors='replace')}")
        found = orjson.loads(raw)
        first: dict[str, str] | None = found[0] if isinstance(found, list) and found else found
        return first

    def _set(self, held: bool, *, away: bool) -> None:
        if (held, away) != (self.held, self._away):
            log.info("%s %s", self._holder, "works" if held or away else "stands by: another ingestion works")
            self.held, self._away = held, away
            self.changed.set()
