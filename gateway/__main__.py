"""`python -m gateway`: serve until SIGTERM, then let running answers finish."""

import asyncio
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FrameType

import uvicorn

from gateway import log_format
from gateway.api import fleet_report
from gateway.api.http_protocol import Connections, HttpLimits
from gateway.api.tls_handshake import connection_protocol
from gateway.app import create_app
from gateway.config import Settings
from gateway.container import Container
from gateway.environment import ConfigError
from gateway.errors import CatalogUnavailable, CatalogUnusable
from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.lifespan import drain
from gateway.process_group import END_S, MOST, Membership, ProcessGroup, listener
from gateway.siblings import Siblings
from gateway.tls import server_context

log = logging.getLogger("ragfleet.gateway")

MAX_DESCRIPTORS = 65_536


class Server(uvicorn.Server):
    """uvicorn closes its door at the first SIGTERM. This one keeps it open until the running answers are out, so that a
    client which comes meanwhile is told to go elsewhere instead of finding nobody."""

    def __init__(self, config: uvicorn.Config, gateway: Container) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Future[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM drains; a second one, or SIGINT, stops at once."""
        if sig != signal.SIGTERM or self._gateway.draining or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._gateway.draining = True
        self._loop.call_soon_threadsafe(self._drain, sig)

    def _drain(self, sig: int) -> None:
        self._draining = asyncio.ensure_future(drain(self._gateway))
        self._draining.add_done_callback(lambda _: uvicorn.Server.handle_exit(self, sig, None))


def _descriptors() -> int:
    """The file descriptors that this process may have, after asking for all that it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MAX_DESCRIPTORS) if hard != resource.RLIM_INFINITY else MAX_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway; 2 for a setting that cannot be used."""
    try:
        membership = Membership.of(sys.argv[1:] if arguments is None else arguments)
        settings = Settings.from_env()
        log_format.configure(settings.log_format)
        settings.check_access()
        tls = server_context(settings)
        if membership is not None:
            membership.end_with_parent()
            serve: Callable[[], int | None] = _one_of(settings, membership, tls)
        else:
            _check_processes(settings)
            asyncio.run(_check_catalog(settings))
            serve = _server(Container(settings), tls).run if settings.gateway_processes == 1 else _several(settings)
    except (ConfigError, CatalogUnusable, OSError, ValueError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    return serve() or 0


def _server(gateway: Container, tls: ssl.SSLContext | None) -> Server:
    settings = gateway.settings
    connections = Connections(HttpLimits.of(settings, _descriptors()))
    config = uvicorn.Config(
        create_app(gateway),
        host=settings.gateway_host,
        port=settings.gateway_port,
        loop="uvloop",
        http=partial(connection_protocol, connections=connections, tls=tls),  # type: ignore[arg-type]  # a class, to uvicorn
        ws="none",
        access_log=False,
        log_config=None,  # its lines go where ours go, and look like them
        log_level="info",
        server_header=False,
        proxy_headers=False,  # nothing here reads who is behind a proxy, and the middleware costs every request
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=5,
    )
    return Server(config, gateway)


def _one_of(settings: Settings, membership: Membership, tls: ssl.SSLContext | None) -> Callable[[], None]:
    """One process of several."""
    gateway = Container(replace(settings, ingestion=settings.ingestion and not membership.index))
    gateway.siblings = Siblings(membership, partial(fleet_report.process_report, gateway))
    shared = listener(settings.gateway_host, settings.gateway_port)
    return partial(_server(gateway, tls).run, [shared])


def _several(settings: Settings) -> Callable[[], int]:
    """The process that starts the others."""
    end_s = settings.drain_deadline_s + END_S
    group = ProcessGroup(settings.gateway_processes, settings.gateway_host, settings.gateway_port, end_s=end_s)
    return lambda: asyncio.run(group.run())


def _check_processes(settings: Settings) -> None:
    """Raises ConfigError."""
    if not 1 <= settings.gateway_processes <= MOST:
        raise ConfigError(f"RAGFLEET_GATEWAY_PROCESSES={settings.gateway_processes} is not between 1 and {MOST}.")
    if settings.gateway_processes > 1 and not settings.gateway_port:
        raise ConfigError("Several processes need a port that they share: set RAGFLEET_GATEWAY_PORT.")


async def _check_catalog(settings: Settings) -> None:
    """Raises CatalogUnusable. A database that is away may come back: whoever needs it is answered 503 until then."""
    if not settings.catalog_url:
        settings.home.mkdir(parents=True, exist_ok=True)  # the catalog lies there
    catalog = Catalog(catalog_url(settings.catalog_url, settings.home))
    try:
        await catalog.database.prepare()
    except CatalogUnusable:
        raise
    except CatalogUnavailable as error:
        log.warning("%s", error)
    finally:
        await catalog.close()


if __name__ == "__main__":
    sys.exit(main())
