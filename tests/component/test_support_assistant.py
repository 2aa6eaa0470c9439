"""Customer service in the API: cited answers, refusals, and a person who is called by a function call."""

import json

from tests.support.running import PASSAGES, Fleet


def asked(*texts: str, model: str = "assistant:support") -> dict[str, object]:
    """A conversation whose turns alternate, the user's first."""
    roles = ("user", "assistant")
    return {"model": model, "messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]}


async def test_it_answers_from_knowledge_and_cites(fleet: Fleet) -> None:
    await fleet.learn("handbook")
    fleet.says("Thirty days [1].")
    reply = await fleet.post(asked("When can I return it?"))
    assert reply.status == 200, reply.json
    message = reply.json["choices"][0]["message"]
    assert message["content"] == "Thirty days [1]."
    assert [each["n"] for each in reply.json["rag"]["citations"]] == [1]
    assert PASSAGES[0]["filename"] in {each["filename"] for each in reply.json["rag"]["sources"]}


async def test_it_refuses_what_no_document_says_and_then_calls_a_person(fleet: Fleet) -> None:
    await fleet.learn("handbook")
    fleet.answers.passages = ()
    first = await fleet.post(asked("Who won the cup?"))
    refused = first.json["choices"][0]["message"]["content"]
    assert refused.startswith("I could not find anything about that in our documents.")
    second = await fleet.post(asked("Who won the cup?", refused, "And who lost it?"))
    choice = second.json["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "handover"
    told = json.loads(call["function"]["arguments"])
    assert told["reason"] == "unsupported"
    assert told["summary"].endswith("user: And who lost it?")
    assert not fleet.calls(), "no engine was asked"


async def test_a_person_is_called_in_a_stream_and_in_responses(fleet: Fleet) -> None:
    body = asked("I want to talk to a human.") | {"stream": True}
    async with fleet.http.post("/v1/chat/completions", json=body) as response:
        lines = (await response.text()).splitlines()
    choices = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
    calls = [each["delta"]["tool_calls"][0]["function"] for each in choices if "tool_calls" in each["delta"]]
    assert calls[0]["name"] == "handover"
    assert json.loads("".join(each.get("arguments", "") for each in calls))["reason"] == "request"
    assert choices[-1]["finish_reason"] == "tool_calls"
    reply = await fleet.post(
        {"model": "assistant:support", "input": "I want to talk to a human."}, path="/v1/responses"
    )
    assert [each["type"] for each in reply.json["output"]] == ["function_call"]
    call = {"id": "call_1", "type": "function", "function": {"name": "handover", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "I want to talk to a human."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Ada is coming."},
    ]
    reply = await fleet.post({"model": "assistant:support", "messages": messages})
    assert reply.json["choices"][0]["message"]["content"] == "I am handing you over to a colleague."
