"""`python -m worker`: one node agent in the foreground."""

import asyncio
import logging
import signal
import sys
from importlib import metadata

from worker.agent import Agent
from worker.launch import NotRunnableError, prepare
from worker.log import configure, event
from worker.settings import Settings, from_process

NOT_RUNNABLE = 3

log = logging.getLogger("worker")


async def serve(settings: Settings) -> None:
    """Runs the agent until a signal stops it."""
    launch = await asyncio.to_thread(prepare, settings)
    agent = Agent(settings, launch, version=metadata.version("ragfleet"))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, agent.stop)
    loop.add_signal_handler(signal.SIGINT, lambda: agent.stop(at_once=True))
    await agent.run()


def main() -> int:
    """Returns the exit status: 0 drained and stopped, 3 Triton cannot run here."""
    settings = from_process(sys.argv[1:])
    configure(settings.name)
    try:
        asyncio.run(serve(settings))
    except NotRunnableError as error:
        for line in str(error).splitlines():
            log.error(event(line))
        return NOT_RUNNABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
