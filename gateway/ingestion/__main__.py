"""`python -m gateway.ingestion`: ingest until SIGTERM; with `--child` until the standard input ends, too."""

import asyncio
import logging
import os
import signal
import sys

from gateway.config import ConfigError, Settings
from gateway.ingestion.service import serve
from gateway.knowledge.objects import object_store


async def run(settings: Settings, *, child: bool) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if child:

        def heard() -> None:
            if not os.read(0, 1024):  # whoever started us has gone, however it ended
                loop.remove_reader(0)
                stop.set()

        loop.add_reader(0, heard)
    await serve(settings, object_store(settings), stop)


def main() -> int:
    """Run the ingestion; 2 for a setting that cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # every failure is ours to tell
    try:
        settings = Settings.from_env()
        asyncio.run(run(settings, child="--child" in sys.argv[1:]))
    except (ConfigError, OSError, ValueError) as error:
        print(f"ingestion: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
