"""Asks one Triton, over HTTP and with deadlines: is it ready, what does it carry, what does it serve.

Every request closes its connection: an idle kept-alive one would hold Triton's shutdown for its whole exit time-out.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

from worker.load import LoadReport, parse

DEADLINE = 3.0


class Unreachable(Exception):
    """No answer within the deadline."""


class Probe:
    """Use it as an async context manager."""

    def __init__(self, host: str, http_port: int, metrics_port: int, *, deadline: float = DEADLINE) -> None:
        self._base = f"http://{host}:{http_port}"
        self._metrics = f"http://{host}:{metrics_port}/metrics"
        self._timeout = aiohttp.ClientTimeout(total=deadline)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), timeout=self._timeout, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def ready(self) -> bool:
        """Whether the server says that every model is ready."""
        status, _ = await self._get(f"{self._base}/v2/health/ready")
        return status == 200

    async def load(self) -> LoadReport | None:
        """One scrape of the metrics; None where Triton answers without them."""
        status, body = await self._get(self._metrics)
        return parse(body.decode("utf-8", errors="replace")) if status == 200 else None

    async def config(self, model: str) -> Mapping[str, Any]:
        """The configuration of a model as Triton loaded it; empty where it serves no such model."""
        status, body = await self._get(f"{self._base}/v2/models/{model}/config")
        answer: Any = orjson.loads(body) if status == 200 else {}
        return answer if isinstance(answer, Mapping) else {}

    async def _get(self, url: str) -> tuple[int, bytes]:
        assert self._session is not None, "use 'async with Probe(…)'"
        try:
            async with self._session.get(url, headers={"Connection": "close"}) as response:
                return response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{url}: {error or type(error).__name__}") from error
