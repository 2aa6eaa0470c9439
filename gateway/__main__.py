"""`python -m gateway`: serve until SIGTERM, then let running answers finish."""

import logging
import sys

import uvicorn

from gateway.app import create_app
from gateway.config import ConfigError, Settings


def main() -> int:
    """Run the gateway; 2 for a setting that cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_env()
        app = create_app(settings)
    except (ConfigError, OSError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host=settings.gateway_host,
        port=settings.gateway_port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="info",
        server_header=False,
        timeout_graceful_shutdown=round(settings.drain_deadline_s),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
