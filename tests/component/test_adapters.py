"""`model:adapter`: asked of instances that have it, kept through a move, listed, and refused by name where nobody has it."""

from dataclasses import replace

import pytest

from gateway.triton.fake_answers import Script
from gateway.triton.lora import task_id
from tests.support.running import MODEL, Fleet

PIRATE = f"{MODEL}:pirate"


def _having(fleet: Fleet, *, pirates: int) -> None:
    """So many instances have the adapter."""
    members = [fleet.member(triton) for triton in fleet.tritons]
    for index, member in enumerate(members[:pirates]):
        members[index] = replace(member, instance=replace(member.instance, loras=frozenset({"pirate"})))
    fleet.gateway.store.set_members(members)


async def test_only_instances_that_have_it_are_asked(fleet: Fleet) -> None:
    _having(fleet, pirates=1)
    for _ in range(4):
        reply = await fleet.chat(model=PIRATE)
        assert (reply.status, reply.json["model"]) == (200, PIRATE)
    assert len(fleet.tritons[0].made()) == 4
    assert {call.body["lora_task_id"] for call in fleet.calls()} == {task_id("pirate")}


@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
async def test_it_is_kept_through_a_move(fleet: Fleet, path: str) -> None:
    _having(fleet, pirates=2)
    fleet.answers.script("llm", Script(reset_after=3))
    asked = {"chat/completions": "messages", "completions": "prompt", "responses": "input"}[path]
    said = "Hello?" if path == "completions" else [{"role": "user", "content": "Hello?"}]
    reply = await fleet.post({"model": PIRATE, asked: said}, path=f"/v1/{path}")
    assert reply.status == 200
    first, second = fleet.calls()
    assert first.body["lora_task_id"] == second.body["lora_task_id"] == task_id("pirate")


async def test_the_model_alone_is_the_model_alone(fleet: Fleet) -> None:
    _having(fleet, pirates=2)
    await fleet.chat()
    assert "lora_task_id" not in fleet.calls()[0].body


async def test_nobody_has_it(fleet: Fleet) -> None:
    reply = await fleet.chat(model=PIRATE)
    assert (reply.status, reply.error["param"], reply.error["code"]) == (404, "model", "model_not_found")
    assert not fleet.calls()


async def test_it_is_listed(fleet: Fleet) -> None:
    _having(fleet, pirates=1)
    names = [each["id"] for each in (await fleet.get("/v1/models")).json["data"]]
    assert PIRATE in names
    found = await fleet.get(f"/v1/models/{PIRATE}")
    assert (found.status, found.json["type"]) == (200, "chat")
