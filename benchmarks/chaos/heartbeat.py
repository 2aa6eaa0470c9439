"""The heartbeat in both directions: how soon each way of being lost is noticed, and how soon it is forgiven.

Under a light load, one after the other: a dead Triton, a hung one, a dead worker, a hung one, and a host whose cable is
pulled. Times run from the fault to the moment when the gateway gives the instance no more work, and from the end of the
fault to the moment when it does again.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from benchmarks.chaos.scenarios import Row, under_load
from tests.support.chat_client import Client
from tests.support.far_host import FarHost, unavailable
from tests.support.observed_fleet import Victim

ISOLATED_S = {"dead Triton": 2.0, "hung Triton": 3.0, "hung worker": 8.0, "partition": 3.0}
"""Stated: three unanswered scrapes (0.5 s each, 0.25 s apart) eject an instance; a worker's TTL in Consul is 5 s."""
REJOINED_S = {"dead Triton": 20.0, "hung Triton": 5.0, "dead worker": 5.0, "hung worker": 4.0, "partition": 10.0}
"""Stated. A dead Triton: 0.5 s of back-off (doubled at each further death within a minute), and what loading the models of
these scenarios takes; the real ones take longer. A dead worker: another one beside the same Triton."""
HOLD_S = 6.0
"""How long a harm lasts beyond the isolation: by then Consul says so as well, and its checks must pass again."""
FAR = "far-0"


class Stopwatch:
    """Breaks one instance at a time and takes the times."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self.figures: dict[str, dict[str, Any]] = {}
        self.missed: list[str] = []

    async def take(
        self, what: str, name: str, *, harm: Callable[[], None], heal: Callable[[], None], hold_s: float = HOLD_S
    ) -> None:
        """Harm the instance `name`, wait until it is isolated and `hold_s` longer, heal it, wait until it is back."""
        victim = self._victim
        said: dict[str, str] = {}

        def out(seen: dict[str, dict[str, Any]]) -> bool:
            entry = seen.get(name, {"state": "gone", "reason": ""})
            said.update(state=entry["state"], reason=entry["reason"])
            return bool(entry["state"] != "ready")

        harm()
        try:
            isolated_s = await victim.until(out, seconds=30, what=f"{name} is isolated ({what})")
            await asyncio.sleep(hold_s)
        finally:
            heal()
        back = f"{name} is back ({what})"
        rejoined_s = await victim.until(lambda s: name in s and s[name]["state"] == "ready", seconds=120, what=back)
        self._note(what, isolated_s=isolated_s, rejoined_s=rejoined_s, **said)
        await victim.ready(len(await victim.instances()))

    async def dead_worker(self, name: str) -> None:
        """A killed worker is replaced beside its Triton, which serves on: nothing needs isolating."""
        victim = self._victim
        triton, before = victim.pid(name), victim.worker_pid(name)
        os.kill(before, signal.SIGKILL)
        replaced = await victim.until(
            lambda _: victim.worker_pid(name) not in (0, before) and victim.state(name)["state"] == "ready",
            seconds=60,
            what=f"{name} has another worker",
        )
        if victim.pid(name) != triton:
            self.missed.append(f"the new worker of {name} did not take over its Triton")
        self._note(
            "dead worker", isolated_s=None, rejoined_s=replaced, state="ready", reason="another worker, same Triton"
        )

    def _note(self, what: str, **figures: Any) -> None:
        self.figures[what] = figures
        for figure, stated in (("isolated_s", ISOLATED_S), ("rejoined_s", REJOINED_S)):
            took, limit = figures[figure], stated.get(what)
            if took is not None and limit is not None and took > limit:
                self.missed.append(f"{what}: {figure} {took:.1f}, stated {limit:g}")


async def heartbeat(victim: Victim, client: Client) -> Row:
    """Each way of being lost, once."""
    watch = Stopwatch(victim)

    async def act() -> Row:
        names = sorted(await victim.instances())
        dead, hung, other = names[0], names[1], names[-1]
        await watch.take("dead Triton", dead, harm=lambda: _kill(victim, dead), heal=lambda: None, hold_s=0.0)
        pid = victim.pid(hung)
        await watch.take(
            "hung Triton",
            hung,
            harm=lambda: _stop(victim, hung),
            heal=lambda: victim.revive(hung, pid),
        )
        await watch.dead_worker(other)
        worker = victim.worker_pid(other)
        await watch.take(
            "hung worker",
            other,
            harm=lambda: os.kill(worker, signal.SIGSTOP),
            heal=lambda: os.kill(worker, signal.SIGCONT),
        )
        if why := unavailable():
            print(f"  partition: left out, {why}", flush=True)
        else:
            await _partition(victim, watch)
        return {"heartbeat": watch.figures, "missed": watch.missed}

    return await under_load(client, act, concurrency=8)


async def _partition(victim: Victim, watch: Stopwatch) -> None:
    """A further instance on a host of its own, whose cable is pulled for a while."""
    fleet = victim.fleet
    count = len(await victim.instances())
    with FarHost(fleet.home, consul_port=urlsplit(fleet.consul_url).port or 8500) as host:
        host.run(FAR, fleet.port + 90, fleet.worker_arguments, fleet.environment)
        await victim.ready(count + 1)
        started = time.monotonic()
        await victim.until(lambda s: s[FAR]["streams"] > 0, seconds=30, what=f"{FAR} has work")
        watch.figures["far instance"] = {"first_work_s": time.monotonic() - started}
        await watch.take("partition", FAR, harm=host.cut, heal=host.mend)
        await asyncio.to_thread(host.stop)
        await victim.ready(count)


def _kill(victim: Victim, name: str) -> None:
    victim.signal(name, signal.SIGKILL)


def _stop(victim: Victim, name: str) -> None:
    victim.signal(name, signal.SIGSTOP)
