"""Stops an embedded fleet: in order where its supervisor lives, by force for whatever is left, and leaves nothing."""

import os
import signal
import time

from ragfleet import processes, supervisor
from ragfleet.paths import Home

GRACE = 20.0
"""Seconds that the orderly stop gets."""
POLL = 0.1


def stop(home: Home) -> list[str]:
    """Returns the parts that had to be killed. Nothing running is no error.

    Raises TimeoutError where a process does not end even on SIGKILL.
    """
    pid = supervisor.running(home)
    if pid > 0:
        _end_in_order(pid)
    killed = processes.sweep(home.root)
    for stale in (home.supervisor_pid, home.parts_file, *home.run.glob("triton-*.json")):
        stale.unlink(missing_ok=True)
    return killed


def _end_in_order(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)  # in case that somebody had paused it
    except ProcessLookupError:
        return
    ends = time.monotonic() + GRACE
    while processes.alive(pid) and time.monotonic() < ends:
        time.sleep(POLL)
