"""Who converts: slots are fair between tenants, and what takes long makes room."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.ingestion.converter_slots import ConverterSlots


class Files:
    """Conversions of no end but `finish`; `log` tells what happened to them."""

    def __init__(self, slots: ConverterSlots) -> None:
        self.slots = slots
        self.log: list[str] = []
        self.running: set[str] = set()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._done: dict[str, asyncio.Event] = {}

    def start(self, tenant: str, name: str, stops: int = 0) -> None:
        self._done[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._convert(tenant, name, stops))

    async def finish(self, *names: str) -> None:
        for name in names:
            self._done[name].set()
        await asyncio.gather(*(self.tasks[name] for name in names), return_exceptions=True)

    async def _convert(self, tenant: str, name: str, stops: int) -> None:
        async with self.slots.take(tenant, stops) as slot:
            self.running.add(name)
            try:
                async with slot.scope:
                    await self._done[name].wait()
            except TimeoutError:
                self.log.append(f"{name} {'used up' if slot.used_up else 'made room'}")
            finally:
                self.running.discard(name)


async def settled(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0)


def scenario(
    count: int,
    slices: tuple[float, ...],
    script: Callable[[Files], Awaitable[None]],
    budgets: dict[str, float] | None = None,
) -> Files:
    async def play() -> Files:
        files = Files(ConverterSlots(count, slices, budgets))
        await script(files)
        await files.finish(*files.tasks)
        return files

    return asyncio.run(play())


def test_a_tenant_alone_has_every_place() -> None:
    async def script(files: Files) -> None:
        for name in ("a1", "a2", "a3"):
            files.start("a", name)
        await settled(lambda: files.running == {"a1", "a2"})

    assert scenario(2, (60.0,), script).log == []


def test_another_tenant_gets_a_place_at_once_and_the_first_keeps_one() -> None:
    async def script(files: Files) -> None:
        for number in range(24):
            files.start("a", f"a{number}")
        await settled(lambda: len(files.running) == 2)
        files.start("b", "b1")
        files.start("b", "b2")
        await settled(lambda: files.running == {"a0", "b1"})
        assert files.log == ["a1 made room"]
        await files.finish("b1")
        await settled(lambda: files.running == {"a0", "b2"})  # one each while both wait

    scenario(2, (60.0,), script)


def test_a_file_that_had_its_slice_makes_room_for_any_that_waits_and_has_no_second_end() -> None:
    async def script(files: Files) -> None:
        files.start("a", "a1")
        files.start("b", "b1", stops=1)  # it was stopped before
        await settled(lambda: files.running == {"a1", "b1"})
        await asyncio.sleep(0.02)
        assert files.log == []  # nobody waits
        files.start("c", "c1", stops=1)
        await settled(lambda: files.running == {"b1", "c1"})

    assert scenario(2, (0.01,), script).log == ["a1 used up"]


def test_of_those_that_wait_the_one_that_used_least_comes_next() -> None:
    async def script(files: Files) -> None:
        files.start("greedy", "g1")
        await settled(lambda: files.running == {"g1"})
        await asyncio.sleep(0.05)
        for tenant, name in (("greedy", "g2"), ("modest", "m1")):
            files.start(tenant, name)
            await asyncio.sleep(0)
        await files.finish("g1")
        await settled(lambda: files.running == {"m1"})

    scenario(1, (60.0,), script)


def test_who_leaves_while_it_waits_leaves_nothing() -> None:
    async def script(files: Files) -> None:
        for name in ("a1", "a2", "a3"):
            files.start("a", name)
        await settled(lambda: files.running == {"a1"})
        files.tasks["a2"].cancel()
        await asyncio.gather(files.tasks["a2"], return_exceptions=True)
        await files.finish("a1")
        await settled(lambda: files.running == {"a3"})

    scenario(1, (60.0,), script)


def test_a_tenant_over_its_budget_waits_for_it_and_drives_nobody_out() -> None:
    budgets = {"greedy": 0.001}

    async def script(files: Files) -> None:
        files.start("greedy", "g1")
        await settled(lambda: files.running == {"g1"})
        await asyncio.sleep(0.02)
        await files.finish("g1")
        files.start("greedy", "g2")
        files.start("modest", "m1")
        await settled(lambda: files.running == {"m1"})
        await asyncio.sleep(0.03)
        assert files.log == [], "its slice is over, but nobody may take its place"
        await files.finish("m1")
        assert not files.running
        budgets.clear()
        files.start("modest", "m2")
        await settled(lambda: "g2" in files.running)

    scenario(1, (0.01,), script, budgets)
