"""`python -m gateway.ingestion`: ingest until SIGTERM; with `--child` until the standard input ends, too.

A byte on the standard input of a child says that there may be work.

`--report FD`: a datagram socket that metrics are sent through (metrics.py).
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys

from gateway import log_format
from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.ingestion.service import serve
from gateway.knowledge.objects import object_store

NICENESS = 5
"""Nobody waits for this process; the gateway, whose session it is in, and the engines go first where cores are short."""


async def run(settings: Settings, *, child: bool, report_to: socket.socket | None) -> None:
    """Serve until told to stop."""
    stop, news = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if child:

        def parent_spoke() -> None:
            if not os.read(0, 1024):  # whoever started us has gone, however it ended
                loop.remove_reader(0)
                stop.set()
            news.set()

        loop.add_reader(0, parent_spoke)
    await serve(settings, object_store(settings), stop, news, report_to=report_to)


def main() -> int:
    """Run the ingestion; 2 for a setting that cannot be used."""
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # every failure is ours to tell
    parser = argparse.ArgumentParser(prog="python -m gateway.ingestion")
    parser.add_argument("--child", action="store_true", help="end when the standard input does")
    parser.add_argument("--report", type=int, metavar="FD", help="send metrics through this datagram socket")
    arguments = parser.parse_args()
    os.nice(NICENESS)
    try:
        settings = Settings.from_env()
        log_format.configure(settings.log_format)
        report_to = None if arguments.report is None else socket.socket(fileno=arguments.report)
        asyncio.run(run(settings, child=arguments.child, report_to=report_to))
    except (ConfigError, OSError, ValueError) as error:
        print(f"ingestion: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
