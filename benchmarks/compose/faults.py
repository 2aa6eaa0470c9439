"""Each service lost in turn under load: what its loss may cost meanwhile, and how long until all is whole again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.compose.knowledge import Knowledge
from benchmarks.compose.load import Load
from benchmarks.compose.stack import Stack
from benchmarks.compose.steps import StepError, Steps

NOTHING: Mapping[str, frozenset[str]] = {}
AWAY = frozenset({"refused"})
LOST = frozenset({"refused", "unreached", "cut"})
BEGIN_S, WHOLE_S, CUT_S, AFTER_S = 90.0, 240.0, 60.0, 4.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A loss. `may`: what it may do to chats without a journal, to chats with one and to searches, beside answering them."""

    name: str
    strike: Callable[[Stack], None]
    may: Mapping[str, frozenset[str]] = field(default_factory=dict)
    costs: str = "nothing"
    """`may`, in words."""


@dataclass(slots=True)
class Suffered:
    """What one fault did."""

    name: str
    costs: str
    whole_s: float = 0.0
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    resumed: int = 0
    """Chats with a journal that went on after their connection was lost."""
    missed: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    note: str = ""


def killed(service: str) -> Callable[[Stack], None]:
    """SIGKILL to its first process."""
    return lambda stack: stack.kill(service)


def _consul_leader_killed(stack: Stack) -> None:
    stack.kill(stack.leader() or "consul-1")


def _consul_follower_killed(stack: Stack) -> None:
    leader = stack.leader()
    stack.kill(next(each for each in ("consul-1", "consul-2", "consul-3") if each != leader))


def _ingestions_killed(stack: Stack) -> None:
    if not (found := stack.ingestions()):
        raise StepError("no ingestion runs")
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def _no_other(stack: Stack, old: str) -> list[str]:
    return [] if stack.leader() not in ("", old) else ["no other leader"]


# Of a killed gateway the connections are cut; its chats with a journal go on at the other one.
GATEWAY = {"chats": LOST, "journaled": frozenset({"unreached", "refused"}), "searches": LOST}
# A load balancer is the one way in: while it is away nobody is reached, but what was accepted with a journal goes on.
DOOR = GATEWAY
FAULTS = (
    Fault("worker (triton-0) killed", killed("triton-0")),
    Fault("gateway-1 killed", killed("gateway-1"), GATEWAY, "its connections; journaled chats go on"),
    Fault("load balancer killed", killed("load-balancer"), DOOR, "all connections; journaled chats go on"),
    Fault("Consul follower killed", _consul_follower_killed),
    Fault("Consul leader killed", _consul_leader_killed),
    Fault("Consul agent killed", killed("consul-agent")),
    Fault("Milvus killed", killed("milvus"), {"searches": AWAY}, "searches: 503"),
    Fault("etcd killed", killed("etcd")),
    Fault("object store killed", killed("objects")),
    Fault(
        "PostgreSQL killed",
        killed("postgres"),
        {"journaled": AWAY, "searches": AWAY},
        "journaled chats and searches: 503",
    ),
    Fault("Prometheus killed", killed("prometheus")),
    Fault("Grafana (stand-in) killed", killed("grafana")),
)


class Losses:
    """Done one after the other, each from a whole stack."""

    def __init__(self, stack: Stack, knowledge: Knowledge, steps: Steps) -> None:
        self._stack = stack
        self._knowledge = knowledge
        self._steps = steps
        self.rows: list[Suffered] = []

    async def all(self, only: str) -> None:
        """Those whose name has `only` in it."""
        others = {
            "both ingestions killed": ("nothing; its files go in", self._ingestion),
            "Consul leader cut off": ("nothing", self._cut),
        }
        try:
            for fault in FAULTS:
                if only in fault.name:
                    await self._suffer(fault.name, fault.costs, fault.may, self._killed(fault.strike))
            for name, (costs, hurt) in others.items():
                if only in name:
                    await self._suffer(name, costs, NOTHING, hurt)
        except asyncio.CancelledError:
            self._stack.stopping.set()
            raise

    def _killed(self, strike: Callable[[Stack], None]) -> Callable[[Suffered], Any]:
        async def hurt(_: Suffered) -> None:
            await asyncio.to_thread(strike, self._stack)

        return hurt

    async def _ingestion(self, row: Suffered) -> None:
        names = ["handbook-leave.md", "handbook-security.md", "product-dewpoint-larkspur.pdf", "support-warranty.md"]
        await asyncio.to_thread(self._knowledge.fill, names)
        await asyncio.to_thread(_ingestions_killed, self._stack)
        seconds = await asyncio.to_thread(self._stack.wait, self._knowledge.unfinished, "all files are in", WHOLE_S)
        row.note = f"{len(names)} files in after {seconds:.0f} s"

    async def _cut(self, row: Suffered) -> None:
        stack = self._stack
        old = await asyncio.to_thread(stack.leader)
        if not old:
            raise StepError("Consul has no leader to cut off")
        await asyncio.to_thread(stack.cut, old)
        try:
            seconds = await asyncio.to_thread(stack.wait, lambda: _no_other(stack, old), "another leader", CUT_S)
            row.note = f"another leader after {seconds:.1f} s"
            await asyncio.sleep(AFTER_S)
        finally:
            await asyncio.to_thread(stack.heal, old)

    async def _suffer(
        self, name: str, costs: str, may: Mapping[str, frozenset[str]], hurt: Callable[[Suffered], Any]
    ) -> None:
        row = Suffered(name, costs)
        self.rows.append(row)
        load = Load(self._stack.port, self._stack.key, self._knowledge.store)
        try:
            with self._steps.step(name, BEGIN_S + WHOLE_S + CUT_S) as step:
                async with load.running():
                    await asyncio.to_thread(self._stack.wait, load.begun, "each kind of request is answered", BEGIN_S)
                    began = time.monotonic()
                    await hurt(row)
                    await asyncio.to_thread(self._stack.wait, self._lacks, "whole again", WHOLE_S)
                    row.whole_s = round(time.monotonic() - began, 1)
                    await asyncio.sleep(AFTER_S)
                row.missed = load.unforeseen(may)
                step.note = f"whole after {row.whole_s} s. {row.note} {'; '.join(row.missed)}".strip()
        except StepError as error:
            row.missed.append(str(error))
        row.counts = {kind: dict(counted) for kind, counted in load.counts.items()}
        row.words, row.resumed = load.words, load.resumed
        for each in load.words:
            self._steps.say(f"    {each}")

    def _lacks(self) -> list[str]:
        return self._stack.lacks() or self._knowledge.not_found()
