"""What is done to the fleet, and what is counted. Each scenario returns the figures of one row of the report.

`missed` in a row names what a scenario's own bar asked for and did not get; failed streams count without being named there.
"""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.support.chat_client import Client, Seen
from tests.support.observed_fleet import Victim

Row = dict[str, Any]
MODEL = "smollm2-135m-instruct"
SHARE_S = 2.0
"""A new instance takes its share within so many seconds of being ready."""
NO_SHARE_S = 15.0
"""Past it the bar is missed, and nobody waits any longer."""


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by rank; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


def summary(seen: Sequence[Seen]) -> Row:
    """Counts that every scenario reports. A refused request was not accepted, so it did not fail."""
    failed = [s for s in seen if not s.ok and not s.refused]
    moved = [s for s in seen if s.moved]
    once: dict[str, list[float]] = {}
    for s in moved:
        once.setdefault(s.causes[0] if len(s.causes) == 1 else "several", []).append(s.gap_s)
    return {
        "streams": len(seen),
        "failed": len(failed),
        "refused": sum(s.refused for s in seen),
        "errors": sorted({(s.error or "no end")[:160] for s in seen if not s.ok})[:5],
        "moved": len(moved),
        "gap_p50_s": quantile([s.gap_s for s in moved], 0.5),
        "gap_p99_s": quantile([s.gap_s for s in moved], 0.99),
        "gap_p50_s_by_cause": {cause: quantile(gaps, 0.5) for cause, gaps in sorted(once.items())},
        "ttft_p99_s": quantile([s.ttft_s for s in seen if s.ok], 0.99),
        "missed": [],
    }


async def warm_up(client: Client) -> None:
    """What a gateway holds at rest is measured after it has worked once: code, caches and tables are then there."""
    await asyncio.gather(*(client.ask(MODEL, f"Warm up, number {n}.", max_tokens=64) for n in range(64)))


async def kill_and_stop(victim: Victim, client: Client, *, streams: int = 64, tokens: int = 256) -> Row:
    """SIGKILL one instance a third through, SIGSTOP another later; every text must equal the uninterrupted run's."""
    prompts = [f"Tell the story of harbour number {n}, from its first stone to this day." for n in range(streams)]

    async def all_streams() -> list[Seen]:
        return await asyncio.gather(*(client.ask(MODEL, prompt, max_tokens=tokens) for prompt in prompts))

    started = time.monotonic()
    calm = await all_streams()
    calm_s = time.monotonic() - started
    names = sorted(await victim.instances())
    stopped = names[1]

    async def break_things() -> int:
        await asyncio.sleep(calm_s / 3)
        victim.signal(names[0], signal.SIGKILL)
        await asyncio.sleep(calm_s / 4)
        return victim.signal(stopped, signal.SIGSTOP)

    started = time.monotonic()
    seen, pid = await asyncio.gather(all_streams(), break_things())
    broken_s = time.monotonic() - started
    # The hung one comes back to life: what it still had must disturb nobody.
    victim.revive(stopped, pid)
    return {
        **summary(seen),
        "identical": sum(a.ok and a.text == b.text for a, b in zip(seen, calm, strict=True)),
        "usage_identical": sum(a.completion_tokens == b.completion_tokens for a, b in zip(seen, calm, strict=True)),
        "calm_failed": sum(not s.ok for s in calm),
        "calm_s": calm_s,
        "broken_s": broken_s,
        "rejoined_s": await victim.ready(len(names)),
    }


async def exact_kill_and_stop(victim: Victim, client: Client) -> Row:
    """The same with the simulated engine, where nothing may differ from the uninterrupted run."""
    row = await kill_and_stop(victim, client)
    for figure in ("identical", "usage_identical"):
        if row[figure] != row["streams"]:
            row["missed"].append(f"{figure}: {row[figure]} of {row['streams']}")
    return row


async def steady(client: Client, *, concurrency: int, tokens: int, until: Callable[[], bool]) -> list[Seen]:
    """`concurrency` clients, each asking again and again until told to stop."""
    seen: list[Seen] = []

    async def one(number: int) -> None:
        turn = 0
        while not until():
            question = f"Question {turn} of client {number}: which way to the harbour?"
            seen.append(await client.ask(MODEL, question, max_tokens=tokens))
            turn += 1

    await asyncio.gather(*(one(n) for n in range(concurrency)))
    return seen


async def under_load(
    client: Client, act: Callable[[], Awaitable[Row]], *, concurrency: int = 16, tokens: int = 128, after_s: float = 2.0
) -> Row:
    """Do something to the fleet while it serves."""
    done = False

    async def acting() -> Row:
        nonlocal done
        try:
            await asyncio.sleep(1)
            row = await act()
            await asyncio.sleep(after_s)
            return row
        finally:
            done = True

    load = steady(client, concurrency=concurrency, tokens=tokens, until=lambda: done)
    seen, row = await asyncio.gather(load, acting())
    return {**summary(seen), **row}


async def rolling_restart(victim: Victim, client: Client) -> Row:
    """Every instance in turn: its worker gets SIGTERM, drains, and is started again by the supervisor."""

    async def act() -> Row:
        names = sorted(await victim.instances())
        took = []
        for name in names:
            before = victim.pid(name)
            started = time.monotonic()
            os.kill(victim.worker_pid(name), signal.SIGTERM)
            while victim.pid(name) in (before, 0):
                await asyncio.sleep(0.2)
                if time.monotonic() - started > 120:
                    raise TimeoutError(f"{name} was not restarted within 120 s")
            await victim.ready(len(names))
            took.append(time.monotonic() - started)
        return {"restart_mean_s": statistics.fmean(took)}

    return await under_load(client, act)


async def scale(victim: Victim, client: Client) -> Row:
    """2 → 4 → 2 instances; a new one has its share when it carries half of what an even share of the streams would be."""
    new = {"triton-2", "triton-3"}

    async def act() -> Row:
        ready: dict[str, float] = {}
        share: dict[str, float] = {}

        def shared(seen: dict[str, dict[str, Any]]) -> bool:
            even = sum(entry["streams"] for entry in seen.values()) / max(len(seen), 1)
            for name in new & seen.keys():
                if seen[name]["state"] == "ready":
                    since = ready.setdefault(name, time.monotonic())
                    if seen[name]["streams"] >= max(1.0, even / 2):
                        share.setdefault(name, time.monotonic() - since)
            waited = time.monotonic() - max(ready.values()) if ready.keys() == new else 0.0
            return share.keys() == new or waited > NO_SHARE_S

        await asyncio.gather(
            asyncio.to_thread(victim.scale, 4), victim.until(shared, seconds=150, what="both new ones have their share")
        )
        await victim.ready(4)
        started = time.monotonic()
        await asyncio.to_thread(victim.scale, 2)
        await victim.ready(2)
        late = [f"{name} had its share after {s:.1f} s" for name, s in share.items() if s > SHARE_S]
        late += [f"{name} had no share within {NO_SHARE_S:g} s" for name in sorted(new - share.keys())]
        return {"share_s": max(share.values(), default=-1.0), "down_s": time.monotonic() - started, "missed": late}

    before = len(await victim.instances())
    await asyncio.to_thread(victim.scale, 2)
    await victim.ready(2)
    row = await under_load(client, act)
    await asyncio.to_thread(victim.scale, before)
    await victim.ready(before)
    return row


async def kill_consul(victim: Victim) -> tuple[bool, float]:
    """SIGKILL Consul and wait until another one runs: whether the gateway saw it gone, and the seconds. Raises TimeoutError."""
    before = victim.consul()
    assert before is not None
    before.kill()
    started = time.monotonic()
    noticed = False
    while time.monotonic() - started < 60:
        alive = (await victim.view())["consul_alive"]
        noticed = noticed or not alive
        after = victim.consul()
        if alive and after is not None and after.pid != before.pid and (noticed or time.monotonic() - started > 15):
            return noticed, time.monotonic() - started
        await asyncio.sleep(0.05)
    raise TimeoutError("Consul was not back within 60 s")


async def consul_killed(victim: Victim, client: Client) -> Row:
    """Consul is killed under load and comes back by its supervisor."""

    async def act() -> Row:
        names = await victim.instances()
        noticed, back_s = await kill_consul(victim)
        missed = [] if noticed else ["the gateway did not say that Consul was gone"]
        return {"back_s": back_s, "ready_s": await victim.ready(len(names)), "missed": missed}

    return await under_load(client, act)


async def gateway_sigterm(victim: Victim, client: Client) -> Row:
    """SIGTERM to the gateway: what runs finishes, what comes is told 503; its supervisor starts another."""
    count = len(await victim.instances())
    before = victim.gateway_pid
    running = [asyncio.create_task(client.ask(MODEL, f"A long story, number {n}.", max_tokens=400)) for n in range(8)]
    await victim.until(
        lambda seen: sum(entry["streams"] for entry in seen.values()) == 8, seconds=30, what="8 streams run"
    )
    os.kill(before, signal.SIGTERM)
    await asyncio.sleep(0.2)
    late = await client.ask(MODEL, "Too late?", max_tokens=8)
    row = summary(await asyncio.gather(*running))
    if late.status != 503 or "shutting down" not in (late.error or ""):
        row["missed"].append(f"a late request was told {late.status} {late.error}")
    started = time.monotonic()
    while victim.gateway_pid in (before, 0):  # noqa: ASYNC110 - it is another process's state
        await asyncio.sleep(0.1)
    await victim.ready(count)
    return {
        **row,
        "late_status": late.status,
        "late_said": (late.error or "")[:160],
        "back_s": time.monotonic() - started,
    }
