"""The public keys of an identity provider, fetched in the background and kept."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gateway.errors import Unavailable

log = logging.getLogger("ragfleet.tenants")

EVERY_S = 300.0
"""Between two fetches."""
LEAST_S = 10.0
"""The same where a token names a key that is not known, or the last fetch failed."""
KEEP_S = 86_400.0
"""While the provider is away its keys are good for so long."""
DEADLINE_S = 5.0
"""For one answer of the provider."""
WAIT_S = 2.0
"""For which a request waits for a fetch."""
MOST_BYTES = 256 * 1024
"""Of one answer."""


class Jwks:
    """`run` fetches; `keys` never does. Where no URL is given the issuer's discovery document names it."""

    def __init__(
        self, issuer: str, url: str = "", *, tls: ssl.SSLContext, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """tls: whom to trust."""
        self._tls = tls
        self._issuer = issuer
        self._url = url
        self._clock = clock
        self._keys: KeySet | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._wanted = asyncio.Event()
        self._over = asyncio.Event()
        """Set when the fetch that is under way, or else the next one, is over."""

    @property
    def keys(self) -> KeySet:
        """Raises Unavailable before the first fetch, and when the last one is too long ago."""
        if self._keys is None or self._clock() - self._fetched_at > KEEP_S:
            raise Unavailable("The identity provider's keys are not known; try again shortly.", retry_after_s=2)
        return self._keys

    async def run(self) -> None:
        """Until cancelled."""
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        connector = aiohttp.TCPConnector(ssl=self._tls)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, raise_for_status=True) as http:
            while True:
                self._wanted.clear()
                self._tried_at = self._clock()
                try:
                    self._keys = await self._fetch(http)
                    self._fetched_at = self._clock()
                except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, JoseError) as error:
                    log.warning("the keys of %s cannot be fetched: %r", self._issuer, error)
                    self._wanted.set()
                finally:
                    over, self._over = self._over, asyncio.Event()
                    over.set()
                await asyncio.sleep(LEAST_S)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), EVERY_S - LEAST_S)

    async def fresh(self) -> None:
        """A key is not known: have the set fetched, and wait for it a little, but not where it was fetched just now."""
        if self._clock() - self._tried_at < LEAST_S and self._keys is not None:
            return
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), WAIT_S)

    async def _fetch(self, http: aiohttp.ClientSession) -> KeySet:
        url = self._url
        if not url:
            found = await _json(http, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if found["issuer"] != self._issuer:
                raise ValueError(f"the discovery document is of {found['issuer']!r}")
            url = str(found["jwks_uri"])
        return KeySet.import_key_set(await _json(http, url))


async def _json(http: aiohttp.ClientSession, url: str) -> Any:
    async with http.get(url, allow_redirects=False) as response:
        body = await response.content.read(MOST_BYTES + 1)
        while len(body) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES + 1 - len(body))):
            body += more
    if len(body) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes came from {url}")
    return orjson.loads(body)
