"""A candidate on part of the traffic: it is rolled back for other tokens and for errors, and clients see neither."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.knowledge.catalog.rollouts import Rollouts
from gateway.rollouts.judge import JudgeOptions
from gateway.rollouts.rollout import Rollout, RolloutState
from gateway.triton.fake_answers import Answers, Script, hashed
from tests.support.running import MODEL, Fleet

MOST = 400
BROKEN = Script(status=500, error="the engine has crashed")


class Trial:
    """A fleet of two, the second of which is of version 2.0."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.candidate = fleet.tritons[1]
        self.rollouts = Rollouts(fleet.gateway.catalog.database, fleet.gateway.administration.trail)
        members = [fleet.member(each) for each in fleet.tritons]
        members[1] = replace(members[1], instance=replace(members[1].instance, version="2.0"))
        fleet.gateway.store.set_members(members)

    async def start(self, share: float, **changes: Any) -> None:
        await self.rollouts.start(
            "2.0", share=share, tenants=changes.get("tenants", ()), options=JudgeOptions(), actor="a test"
        )
        await self.look()

    async def look(self) -> Rollout:
        """What the gateway knows after it has asked the catalog."""
        await self.fleet.gateway.rollouts_sync.look()
        found = self.fleet.gateway.dispatcher.rollouts.rollout
        assert found is not None
        return found

    async def ask(self, content: str, *turns: dict[str, str]) -> str:
        """The instance that answered."""
        messages = [{"role": "user", "content": content}, *turns]
        body = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 8}
        reply = await self.fleet.post(body)
        assert reply.status == 200, reply.json
        await self.fleet.settled()
        return str(reply.json["ragfleet"]["attempts"][-1]["instance"])

    async def until_it_ends(self) -> tuple[Rollout, int]:
        """The roll-out, and how many requests it took."""
        for count in range(MOST):
            await self.ask(f"Question {count}?")
            if not (found := await self.look()).running:
                return found, count + 1
        pytest.fail(f"undecided after {MOST} requests: {await self.look()}")


@pytest.fixture
async def trial(start: Callable[..., Any]) -> Trial:
    return Trial(await start())


async def test_other_tokens_are_rolled_back_and_nobody_gets_them_any_more(trial: Trial) -> None:
    fleet = trial.fleet
    ours = fleet.answers
    perturbed = hashed([*fleet.plain[1:], fleet.plain[0]])
    trial.candidate.answers = Answers(next_id=perturbed, encode=ours.encode, prompt_end=ours.prompt_end, passages=())
    await trial.start(0.5)
    ended, asked = await trial.until_it_ends()
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason.startswith("token ids: "), ended.reason
    told = (await fleet.get("/fleet")).json["rollout"]
    assert (told["candidate"], told["state"]) == ("2.0", "rolled_back")
    assert {await trial.ask(f"More {each}?") for each in range(8)} == {"triton-0"}
    # What was mirrored is no request of anybody.
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert 'ragfleet_rollout_mirrored_total{result="compared"}' in metrics
    assert 'ragfleet_rollout{candidate="2.0",state="rolled_back"} 1.0' in metrics
    served = [line for line in metrics.splitlines() if line.startswith("ragfleet_requests_total{")]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in served) == asked + 8


async def test_errors_are_rolled_back_and_clients_see_none(trial: Trial) -> None:
    trial.candidate.always["llm"] = BROKEN
    await trial.start(0.05)
    ended, _ = await trial.until_it_ends()
    assert ended.state is RolloutState.ROLLED_BACK
    assert ended.reason.startswith("errors: "), ended.reason


async def test_every_turn_of_a_conversation_goes_to_the_same_side(trial: Trial) -> None:
    await trial.start(0.5)
    answered = {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "And then?"}
    first = {each: await trial.ask(f"Question {each}?") for each in range(12)}
    assert set(first.values()) == {"triton-0", "triton-1"}
    assert {each: await trial.ask(f"Question {each}?", *answered) for each in first} == first


async def test_a_candidate_that_is_alone_serves_all_the_same(trial: Trial) -> None:
    await trial.start(0.05)
    await trial.rollouts.end(RolloutState.ABORTED, actor="a test")
    await trial.look()
    assert {await trial.ask(f"Question {each}?") for each in range(6)} == {"triton-0"}
    await trial.fleet.tritons[0].kill()
    assert await trial.ask("Who is there?") == "triton-1"


async def test_a_promoted_candidate_is_one_of_all(trial: Trial) -> None:
    await trial.start(0.05)
    await trial.rollouts.end(RolloutState.PROMOTED, actor="a test")
    await trial.look()
    assert trial.fleet.gateway.dispatcher.rollouts.idle


async def test_other_tenants_are_left_alone(trial: Trial) -> None:
    await trial.start(0.5, tenants=["somebody else"])
    assert {await trial.ask(f"Question {each}?") for each in range(8)} == {"triton-0"}
    assert (await trial.look()).evidence.baseline_requests == 0
