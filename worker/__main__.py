"""`python -m worker`: one node agent in the foreground, or with --all-gpus one for each GPU."""

import asyncio
import logging
import signal
import sys

from worker import host
from worker.agent import Agent
from worker.gpu_nvml import SystemNvml
from worker.launch import NotRunnableError, prepare
from worker.log import configure, event
from worker.settings import WorkerSettings, from_process

NOT_RUNNABLE = 3

log = logging.getLogger("worker")


async def serve(settings: WorkerSettings) -> int:
    """Runs the agent until a signal stops it."""
    if settings.all_gpus:
        return await host.serve(settings, sys.argv[1:], SystemNvml())
    launch = await asyncio.to_thread(prepare, settings)
    agent = Agent(settings, launch)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, agent.stop)
    loop.add_signal_handler(signal.SIGINT, lambda: agent.stop(at_once=True))
    await agent.run()
    return 0


def main() -> int:
    """Returns the exit status: 0 drained and stopped, 3 Triton cannot run here."""
    settings = from_process(sys.argv[1:])
    configure(settings.name)
    try:
        return asyncio.run(serve(settings))
    except NotRunnableError as error:
        for line in str(error).splitlines():
            log.error(event(line))
        return NOT_RUNNABLE


if __name__ == "__main__":
    sys.exit(main())
