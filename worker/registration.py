"""One instance's entry in Consul: written, repaired when Consul lost it, put into maintenance, removed.

Consul being away is a normal state here: every call has a deadline and reports failure instead of raising.
"""

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import consul.aio
from consul.exceptions import ConsulException

from worker.log import event
from worker.triton_health import Beat

SERVICE = "ragfleet-triton"
TTL = "5s"
DEADLINE = 2.0
DRAIN_REASON = "draining"
FORGET_AFTER = "10m"
"""Consul drops an instance whose worker is silent this long (at least one minute); a worker that returns re-registers."""

log = logging.getLogger(__name__)


class Registration:
    """The entry of the instance `name`. Not safe for concurrent calls; the heartbeat is its one caller."""

    def __init__(
        self, url: str, name: str, *, address: str, port: int, ca_file: str = "", triton_tls: bool = False
    ) -> None:
        self._url = url
        self._name = name
        self._address = address
        self._port = port
        self._ca_file = ca_file
        self._scheme = "https" if triton_tls else "http"
        self._client: Any = None
        self._reachable: bool | None = None
        self._refusal = ""
        self._meta: Mapping[str, str] | None = None
        self._written = False

    def describe(self, meta: Mapping[str, str]) -> None:
        """What the entry says of this instance. Nothing is registered before; the next beat writes it."""
        self._written = self._written and meta == self._meta
        self._meta = meta

    async def beat(self, beat: Beat) -> bool:
        """Feeds the TTL check. True: Consul has it.

        The entry is written first where Consul does not know the instance, or knows it with the meta of an older start.
        """
        fresh = self._meta is not None and not self._written
        if not fresh and await self._call(lambda client: self._report(client, beat)):
            return True
        if self._meta is None or self._reachable is False:
            return False
        log.info(event("registering in consul", service=SERVICE, id=self._name))
        self._written = await self._call(self._register) and await self._call(self._end_old_drain)
        return self._written and await self._call(lambda client: self._report(client, beat))

    async def drain(self) -> bool:
        """Maintenance: no gateway gives this instance new work from now on."""
        reason = f"{DRAIN_REASON}: {self._name} is being stopped"
        return bool(await self._call(lambda client: client.agent.service.maintenance(self._name, "true", reason)))

    async def deregister(self) -> bool:
        """Removes the entry and its checks."""
        return bool(await self._call(lambda client: client.agent.service.deregister(self._name)))

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _report(self, client: Any, beat: Beat) -> bool:
        check = client.agent.check
        send = {"passing": check.ttl_pass, "warning": check.ttl_warn, "critical": check.ttl_fail}[beat.status]
        try:
            return bool(await send(f"service:{self._name}:worker", notes=beat.words))
        except ConsulException:
            return False  # Consul answers, and does not know this check: 1.8 says so with 500, newer ones with 404

    async def _register(self, client: Any) -> bool:
        assert self._meta is not None
        ready = {
            "CheckID": f"service:{self._name}:ready",
            "Name": "Triton says that it is ready",
            "HTTP": f"{self._scheme}://{self._address}:{self._port}/v2/health/ready",
            # The agent asks whether it is ready; who it is is seen by the gateways.
            **({"TLSSkipVerify": True} if self._scheme == "https" else {}),
            "Header": {"Connection": ["close"]},
            "Interval": "1s",
            "Timeout": "2s",
        }
        worker = {
            "CheckID": f"service:{self._name}:worker",
            "Name": "The worker reports the load",
            "TTL": TTL,
            "DeregisterCriticalServiceAfter": FORGET_AFTER,
        }
        return bool(
            await client.agent.service.register(
                SERVICE,
                service_id=self._name,
                address=self._address,
                port=self._port,
                meta=dict(self._meta),
                check=ready,
                extra_checks=[worker],
                replace_existing_checks=True,
            )
        )

    async def _end_old_drain(self, client: Any) -> bool:
        """Ends the maintenance that an earlier, killed worker began; one that an operator began stays."""
        checks = await client.agent.checks()
        old = checks.get(f"_service_maintenance:{self._name}")
        if old and str(old.get("Notes", "")).startswith(DRAIN_REASON):
            return bool(await client.agent.service.maintenance(self._name, "false"))
        return True

    async def _call(self, ask: Callable[[Any], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(DEADLINE):
                if self._client is None:
                    self._client = connect(self._url, self._ca_file)
                answer = await ask(self._client)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if self._reachable is not False:
                log.warning(event("consul is away; triton goes on serving", url=self._url, why=error or "no answer"))
            self._reachable = False
            return False
        except ConsulException as error:
            if str(error) != self._refusal:  # once, not with every beat
                log.warning(event("consul refused", why=str(error)[:200]))
            self._reachable, self._refusal = True, str(error)
            return False
        if self._reachable is False:
            log.info(event("consul is back", url=self._url))
        self._reachable = True
        return answer


def connect(url: str, ca_file: str = "") -> Any:
    """A py-consul client for `url`; its token comes from CONSUL_HTTP_TOKEN. Call it inside an event loop.

    ca_file: PEM of a private authority, trusted beside the public ones.
    """
    parts = urlsplit(url)
    with warnings.catch_warnings():
        # py-consul 1.8 still passes verify_ssl and ssl_context, which aiohttp calls old.
        warnings.simplefilter("ignore", DeprecationWarning)
        return consul.aio.Consul(
            host=parts.hostname,
            port=parts.port or (443 if parts.scheme == "https" else 8500),
            scheme=parts.scheme,
            verify=(ca_file or True) if parts.scheme == "https" else False,
        )
