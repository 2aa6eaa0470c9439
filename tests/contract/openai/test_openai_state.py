"""Answers that are kept, and batches, by the official client, unmodified."""

import asyncio
import json
import uuid
from typing import Any

import pytest
from openai import NotFoundError

from tests.support.openai_service import Service


async def test_an_answer_is_kept_continued_and_deleted(service: Service) -> None:
    responses = service.client.responses
    first = await responses.create(
        model=service.model, input="How long may goods be returned?", max_output_tokens=16, metadata={"team": "a"}
    )
    assert (first.store, first.metadata) == (True, {"team": "a"})
    read = await responses.retrieve(first.id)
    assert (read.id, read.output_text, read.usage) == (first.id, first.output_text, first.usage)
    second = await responses.create(
        model=service.model, input="Why?", previous_response_id=first.id, max_output_tokens=16, truncation="auto"
    )
    assert second.previous_response_id == first.id
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    asked = [item async for item in responses.input_items.list(first.id, order="asc")]
    assert [item.type for item in asked] == ["message"]
    await responses.delete(first.id)
    with pytest.raises(NotFoundError):
        await responses.retrieve(first.id)
    with pytest.raises(NotFoundError):
        await responses.create(model=service.model, input="And?", previous_response_id=second.id)


async def test_a_chat_is_kept_listed_noted_and_deleted(service: Service) -> None:
    chats = service.client.chat.completions
    mark = uuid.uuid4().hex
    message = {"role": "user", "content": "How long may goods be returned?"}
    asked: Any = {"model": service.model, "messages": [message], "max_tokens": 8, "store": True}
    made = await chats.create(**asked, metadata={"mark": mark})
    pieces = [chunk async for chunk in await chats.create(**asked, stream=True, metadata={"mark": mark})]
    found = await chats.retrieve(made.id)
    assert (found.id, found.choices, found.usage) == (made.id, made.choices, made.usage)
    ids = {each.id async for each in chats.list(metadata={"mark": mark}, model=service.model, limit=1)}
    assert ids == {made.id, pieces[0].id}
    (said,) = [each async for each in chats.messages.list(made.id)]
    assert (said.role, said.content) == ("user", message["content"])
    changed = await chats.update(made.id, metadata={"mark": "other"})
    assert changed.id == made.id
    assert [each.id async for each in chats.list(metadata={"mark": mark})] == [pieces[0].id]
    for ident in ids:
        assert (await chats.delete(ident)).deleted
        with pytest.raises(NotFoundError):
            await chats.retrieve(ident)


async def test_tokens_are_counted(service: Service) -> None:
    asked = "How long may goods be returned?"
    counted = await service.client.responses.input_tokens.count(model=service.model, input=asked)
    answer = await service.client.responses.create(model=service.model, input=asked, max_output_tokens=4, store=False)
    assert answer.usage is not None
    assert counted.input_tokens == answer.usage.input_tokens


async def test_a_conversation_grows_by_answers(service: Service) -> None:
    conversations = service.client.conversations
    made = await conversations.create(metadata={"topic": "returns"})
    answer = await service.client.responses.create(
        model=service.model, input="How long may goods be returned?", conversation=made.id, max_output_tokens=8
    )
    assert answer.conversation is not None
    assert answer.conversation.id == made.id
    added = await conversations.items.create(
        made.id, items=[{"type": "message", "role": "user", "content": "Thank you."}]
    )
    listed = [item async for item in conversations.items.list(made.id, order="asc", limit=2)]
    assert [item.type for item in listed] == ["message"] * 3
    (last,) = added.data
    assert last == listed[-1] == await conversations.items.retrieve(last.id or "", conversation_id=made.id)
    await conversations.items.delete(last.id or "", conversation_id=made.id)
    assert (await conversations.update(made.id, metadata={"topic": "b"})).metadata == {"topic": "b"}
    assert (await conversations.retrieve(made.id)).created_at == made.created_at
    assert (await conversations.delete(made.id)).deleted
    with pytest.raises(NotFoundError):
        await conversations.retrieve(made.id)


async def test_a_response_is_made_in_the_background(service: Service) -> None:
    responses = service.client.responses
    asked = {"model": service.model, "input": "How long may goods be returned?", "max_output_tokens": 16}
    stream = await responses.create(**asked, background=True, stream=True)
    events = [event async for event in stream]
    final = events[-1].response
    assert final.status in ("completed", "incomplete")
    again = [event async for event in await responses.retrieve(final.id, stream=True, starting_after=1)]
    assert [event.sequence_number for event in again] == list(range(2, len(events)))
    assert again == events[2:]
    made = await responses.create(**asked, background=True)
    assert made.status == "queued"
    await responses.cancel(made.id)
    assert (await responses.retrieve(made.id)).status in ("cancelled", "completed", "incomplete")


async def test_a_batch_of_requests_becomes_a_file_of_answers(service: Service) -> None:
    client = service.client
    message = {"role": "user", "content": "How long may goods be returned?"}
    body = {"model": service.model, "messages": [message], "max_tokens": 8}
    url = "/v1/chat/completions"
    lines = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n in range(3)]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = await client.files.create(file=("requests.jsonl", content), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
    async with asyncio.timeout(60):
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            await asyncio.sleep(0.05)
            batch = await client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (3, 3)
    answered = (await client.files.content(batch.output_file_id or "")).text.splitlines()
    assert {json.loads(line)["custom_id"] for line in answered} == {"0", "1", "2"}
    assert batch.id in [each.id async for each in client.batches.list()]
    assert (await client.batches.retrieve(batch.id)) == batch
