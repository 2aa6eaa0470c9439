"""What is done to the fleet, and what is counted. Each scenario returns the figures of one row of the report."""

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.chaos.client import Client, Seen
from benchmarks.chaos.fleet import Victim

Row = dict[str, Any]
MODEL = "smollm2-135m-instruct"


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by rank; 0 of nothing."""
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


def summary(seen: Sequence[Seen]) -> Row:
    """Counts that every scenario reports."""
    failed = [s for s in seen if not s.ok]
    moved = [s for s in seen if s.moved]
    return {
        "streams": len(seen),
        "failed": len(failed),
        "errors": sorted({(s.error or "no end")[:160] for s in failed})[:5],
        "moved": len(moved),
        "gap_p50_s": quantile([s.gap_s for s in moved], 0.5),
        "gap_p99_s": quantile([s.gap_s for s in moved], 0.99),
        "ttft_p99_s": quantile([s.ttft_s for s in seen if s.ok], 0.99),
    }


async def kill_and_stop(victim: Victim, client: Client, *, streams: int = 64, tokens: int = 256) -> Row:
    """SIGKILL one instance a third through, SIGSTOP another later; every text must equal the uninterrupted run's."""
    prompts = [f"Tell the story of harbour number {n}, from its first stone to this day." for n in range(streams)]

    async def all_streams(progress: list[Seen] | None = None) -> list[Seen]:
        async def one(prompt: str) -> Seen:
            seen = await client.ask(MODEL, prompt, max_tokens=tokens)
            if progress is not None:
                progress.append(seen)
            return seen

        return await asyncio.gather(*(one(p) for p in prompts))

    started = time.monotonic()
    calm = await all_streams()
    calm_s = time.monotonic() - started
    names = [i["name"] for i in victim.view()["instances"]]
    stopped = names[1]
    pid = 0

    async def break_things() -> None:
        nonlocal pid
        await asyncio.sleep(calm_s / 3)
        victim.signal(names[0], signal.SIGKILL)
        await asyncio.sleep(calm_s / 4)
        pid = victim.pid(stopped)
        victim.signal(stopped, signal.SIGSTOP)

    started = time.monotonic()
    seen, _ = await asyncio.gather(all_streams(), break_things())
    broken_s = time.monotonic() - started
    # The hung one comes back to life: what it still had must disturb nobody.
    if pid == victim.pid(stopped):
        victim.signal(stopped, signal.SIGCONT)
    identical = sum(a.ok and a.text == b.text for a, b in zip(seen, calm, strict=True))
    exact = sum(s.completion_tokens == tokens for s in seen)
    return {
        **summary(seen),
        "identical": identical,
        "usage_exact": exact,
        "calm_failed": sum(not s.ok for s in calm),
        "calm_s": calm_s,
        "broken_s": broken_s,
        "rejoined_s": await victim.ready(len(names)),
    }


async def steady(client: Client, *, concurrency: int, tokens: int, until: Callable[[], bool]) -> list[Seen]:
    """`concurrency` clients, each asking again and again until told to stop."""
    seen: list[Seen] = []

    async def one(number: int) -> None:
        turn = 0
        while not until():
            seen.append(
                await client.ask(
                    MODEL, f"Question {turn} of client {number}: which way to the harbour?", max_tokens=tokens
                )
            )
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

    seen, row = await asyncio.gather(
        steady(client, concurrency=concurrency, tokens=tokens, until=lambda: done), acting()
    )
    return {**summary(seen), **row}


async def rolling_restart(victim: Victim, client: Client) -> Row:
    """Every instance in turn: its worker gets SIGTERM, drains, and is started again by the supervisor."""

    async def act() -> Row:
        names = [i["name"] for i in victim.view()["instances"]]
        took = []
        for name in names:
            before = victim.pid(name)
            worker = next(i for i in victim.status()["instances"] if i["name"] == name)["worker_pid"]
            started = time.monotonic()
            os.kill(worker, signal.SIGTERM)
            while _pid_or_none(victim, name) in (before, None):
                await asyncio.sleep(0.2)
                if time.monotonic() - started > 120:
                    raise TimeoutError(f"{name} was not restarted within 120 s")
            await victim.ready(len(names))
            took.append(time.monotonic() - started)
        return {"restart_mean_s": statistics.fmean(took)}

    return await under_load(client, act)


def _pid_or_none(victim: Victim, name: str) -> int | None:
    try:
        return victim.pid(name)
    except (OSError, KeyError, ValueError, TypeError):
        return None


async def scale(victim: Victim, client: Client) -> Row:
    """2 → 4 → 2 instances; how long a new one waits for its first share after it became ready."""

    async def act() -> Row:
        await asyncio.to_thread(victim.scale, 4)
        await victim.ready(4)
        ready_at = time.monotonic()
        share: dict[str, float] = {}
        while len(share) < 2 and time.monotonic() - ready_at < 20:
            for instance in victim.view()["instances"]:
                if instance["name"] in ("triton-2", "triton-3") and instance["streams"]:
                    share.setdefault(instance["name"], time.monotonic() - ready_at)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(victim.scale, 2)
        await victim.ready(2)
        return {"first_share_s": max(share.values()) if len(share) == 2 else float("inf")}

    return await under_load(client, act)


async def consul_gone(victim: Victim, client: Client) -> Row:
    """Consul is killed under load and comes back by its supervisor."""

    async def act() -> Row:
        names = [i["name"] for i in victim.view()["instances"]]
        victim.consul().kill()
        saw_gone = False
        started = time.monotonic()
        while time.monotonic() - started < 60:
            view = victim.view()
            saw_gone = saw_gone or not view["consul_alive"]
            if saw_gone and view["consul_alive"]:
                break
            await asyncio.sleep(0.05)
        return {"noticed": saw_gone, "back_s": time.monotonic() - started, "ready_s": await victim.ready(len(names))}

    return await under_load(client, act)


async def random_faults(victim: Victim, client: Client, *, seconds: float, seed: int) -> Row:
    """Kill, stop for a while, slow down, answer with errors, restart Consul: one fault every few seconds, at steady load."""
    rng = random.Random(seed)
    counts: dict[str, int] = {}

    async def act() -> Row:
        names = [i["name"] for i in victim.view()["instances"]]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fault, name = rng.choice(("kill", "stop", "slow", "error", "consul")), rng.choice(names)
            counts[fault] = counts.get(fault, 0) + 1
            if fault == "kill":
                victim.signal(name, signal.SIGKILL)
            elif fault == "stop":
                victim.signal(name, signal.SIGSTOP)
                pid = victim.pid(name)
                await asyncio.sleep(rng.uniform(3, 8))
                if pid == victim.pid(name):
                    victim.signal(name, signal.SIGCONT)
            elif fault == "consul":
                victim.consul().kill()
            else:
                victim.fault(name, {"slow": {"slow": 10}, "error": {"error_at_token": 20}}[fault])
                await asyncio.sleep(rng.uniform(2, 5))
                victim.fault(name, {})
            # The next fault comes when the fleet has at least two instances again: the claim is about losing one.
            await victim.ready(len(names), seconds=120)
        return {"faults": counts}

    return await under_load(client, act, concurrency=12)


async def gateway_drains(victim: Victim, client: Client) -> Row:
    """SIGTERM to the gateway: what runs finishes, what comes is told 503."""
    running = [asyncio.create_task(client.ask(MODEL, f"A long story, number {n}.", max_tokens=400)) for n in range(8)]
    while sum(i["streams"] for i in victim.view()["instances"]) < 8:  # noqa: ASYNC110 - it is another process's state
        await asyncio.sleep(0.05)
    os.kill(victim.fleet.gateway_pid, signal.SIGTERM)
    await asyncio.sleep(0.1)
    late = await client.ask(MODEL, "Too late?", max_tokens=8)
    seen = await asyncio.gather(*running)
    return {**summary(seen), "late_status": late.status, "late_said": (late.error or "")[:120]}
