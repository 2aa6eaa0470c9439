"""An instance dies in the middle of each kind of assistant's answer: the client sees nothing twice, misses nothing, pays once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from gateway.knowledge.catalog import schema
from gateway.tenants import ledger
from gateway.triton.fake_answers import Script
from tests.support.replies import Events
from tests.support.running import Fleet
from tests.support.source_code import learn_code

PROFILES = {
    "poet": "system: You speak in rhymes.\nmax_tokens: 200\n",
    "writer": "kind: content\nmax_tokens: 60\nwriting: {glossary: {pump: Pumpe}, piece_chars: 200, concurrency: 3}\n",
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}},
}
KILLS = (("context", 0), ("llm", 0), ("llm", 4))
"""The model that was called, and how many tokens it had given. A prompt without knowledge is made by `prompt`."""


@dataclass(frozen=True)
class Case:
    """A question to an assistant, and what its model writes."""

    model: str
    question: str
    written: str
    more: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "chat": Case("poet", "Hello?", "Roses are red and violets are blue."),
    "a tool call": Case(
        "poet",
        "The weather?",
        '{"name": "weather", "arguments": {"city": "Bonn"}}',
        {"tools": [TOOL], "tool_choice": "required"},
    ),
    "support": Case("support", "When can I return it?", "Thirty days [1], not more."),
    "data": Case(
        "data",
        "How many customers are there per region?",
        "SELECT customers.region, COUNT(*) FROM customers GROUP BY 1 ORDER BY 2 DESC",
    ),
    "code": Case("code", "How does `Door.open_slowly` work?", "It turns a key [1], slowly."),
    "translation": Case(
        "writer",
        "Translate to German:\n# The pump leaks\n\n- see `P-1`, **often**\n- call us\n",
        "Ein kurzes Wort",
    ),
    "summary": Case(
        "writer",
        "Summarise this:\n" + "\n\n".join(f"Paragraph {n} says that it is the number {n} of all." for n in range(12)),
        "It is short.",
    ),
}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the disk is, an answer's end is held up for its row."""
    monkeypatch.setattr(ledger, "COMMIT_S", 60.0)


@pytest.fixture
async def fleet(start: Callable[..., Any], tmp_path: Path) -> Fleet:
    """An instance more than are killed."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    for name, profile in PROFILES.items():
        (folder / f"{name}.yaml").write_text(profile)
    patience = {f"{what}_deadline_s": 60.0 for what in ("admission", "context", "first_token", "token")}
    made: Fleet = await start(instances=len(KILLS) + 1, max_context=4096, assistants_dir=folder, **patience)
    await made.learn("handbook")
    await learn_code(made)
    return made


async def settled_rows(fleet: Fleet) -> dict[str, tuple[int, int]]:
    """Request id → the tokens that it is charged with."""
    await fleet.gateway.ledger.step()
    async with fleet.gateway.accounts.read() as connection:
        found = list((await connection.execute(select(schema.ledger))).all())
    assert {(row.state, row.outcome) for row in found} == {("settled", "completed")}
    assert len({row.request_id for row in found}) == len(found)
    return {row.request_id: (row.prompt, row.completion) for row in found}


def seen(events: Events) -> dict[str, Any]:
    """All that a client has of a stream, but for names and times."""
    assert events.error is None
    assert events.done
    rag = [chunk["rag"] for chunk in events.chunks if "rag" in chunk]
    calls = [piece["function"] for each in events.choices for piece in each["delta"].get("tool_calls", ())]
    return {
        "text": events.text,
        "called": [call["name"] for call in calls if "name" in call],
        "arguments": "".join(call.get("arguments", "") for call in calls),
        "ends": [each["finish_reason"] for each in events.choices if each["finish_reason"]],
        "sources": [source["n"] for each in rag for source in each.get("sources", ())],
        "citations": [citation["n"] for each in rag for citation in each.get("citations", ())],
        "usage": {name: events.chunks[-1]["usage"][name] for name in ("prompt_tokens", "completion_tokens")},
    }


@pytest.mark.parametrize("name", CASES)
async def test_nothing_is_lost_and_nothing_comes_twice(fleet: Fleet, name: str) -> None:
    case = CASES[name]
    fleet.says(case.written)
    body = {
        "model": f"assistant:{case.model}",
        "max_tokens": 200,
        "stream_options": {"include_usage": True},
        **case.more,
    }
    unharmed = seen(await fleet.stream(case.question, **body))
    assert unharmed["text"] or unharmed["arguments"]
    before = await settled_rows(fleet)
    charged = sorted(before.values())
    for model, after in KILLS:
        first = model if model == "llm" or case.model == "support" else "prompt"
        fleet.answers.script(first, Script(kill_after=after))
        assert seen(await fleet.stream(case.question, **body)) == unharmed, (first, after)
        assert any(call.end == "broken" and call.script.kill_after == after for call in fleet.calls(first))
        now = await settled_rows(fleet)
        assert sorted(now[each] for each in now.keys() - before.keys()) == charged, (first, after)
        before = now
    prompt, completion = (sum(each) for each in zip(*charged, strict=True))
    assert unharmed["usage"] == {"prompt_tokens": prompt, "completion_tokens": completion}


async def test_a_stored_conversation_goes_on_after_a_kill(fleet: Fleet) -> None:
    fleet.says("Thirty days [1], not more.")
    ids: list[str] = []
    for script in (Script(), Script(kill_after=4)):
        fleet.answers.script("llm", script)
        more = {"previous_response_id": ids[-1]} if ids else {}
        asked = {"model": "assistant:support", "input": "When can I return it?", **more}
        reply = await fleet.post(asked, path="/v1/responses")
        assert reply.status == 200, reply.json
        (message,) = [each for each in reply.json["output"] if each["type"] == "message"]
        assert message["content"][0]["text"] == "Thirty days [1], not more."
        ids.append(reply.json["id"])
    reply = await fleet.post(
        {"model": "assistant:support", "input": "Let me talk to a human.", "previous_response_id": ids[-1]},
        path="/v1/responses",
    )
    (call,) = reply.json["output"]
    told = json.loads(call["arguments"])["summary"].splitlines()
    assert told == ["user: When can I return it?", "assistant: Thirty days [1], not more."] * 2 + [
        "user: Let me talk to a human."
    ]
