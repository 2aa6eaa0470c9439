"""A benchmark that is told to stop while it awaits: its fleet must come down, so the wish must not get lost."""

import asyncio
import os
import signal
from contextlib import suppress

import pytest

from tests.support.embedded_fleet import run_stoppable


def test_what_the_work_returns_is_returned() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert run_stoppable(work()) == 7


def test_sigterm_ends_it_and_is_not_lost_in_a_callback() -> None:
    """An exception raised by a signal handler ends wherever the loop happens to be: in a transport, which logs and forgets it."""
    before = signal.getsignal(signal.SIGTERM)
    ended = []

    async def part() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("part")

    async def work() -> None:
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        with suppress(Exception):
            await asyncio.gather(part(), part())

    with pytest.raises(SystemExit) as stopped:
        run_stoppable(work())
    assert stopped.value.code == 143
    assert ended == ["part", "part"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise OSError("no fleet")

    with pytest.raises(OSError, match="no fleet"):
        run_stoppable(work())
