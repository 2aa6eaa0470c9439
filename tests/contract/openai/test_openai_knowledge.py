"""Files, vector stores, embeddings, completions and responses by the official client, unmodified."""

from collections.abc import AsyncIterator

import openai
import pytest

from tests.support.ingesting import ingestion
from tests.support.openai_service import Service
from tests.support.running import Fleet

RETURNS = ("returns.md", b"Goods may be returned within thirty days.")


@pytest.fixture(autouse=True)
async def _ingestion(fleet: Fleet) -> AsyncIterator[None]:
    """Fake Tritons come without an ingestion; a running fleet has its own."""
    async with ingestion(fleet.gateway):
        yield


async def test_embeddings_in_both_encodings(service: Service) -> None:
    model = [model.id async for model in service.client.models.list()][-1]
    usual = await service.client.embeddings.create(model=model, input=["thirty days", "a receipt"])  # base64
    numbers = await service.client.embeddings.create(
        model=model, input=["thirty days", "a receipt"], encoding_format="float"
    )
    for one, other in zip(usual.data, numbers.data, strict=True):
        assert one.index == other.index
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
        assert sum(value**2 for value in one.embedding) == pytest.approx(1, abs=1e-3)
    assert usual.usage.total_tokens == numbers.usage.total_tokens > 0


async def test_completion(service: Service) -> None:
    whole = await service.client.completions.create(model=service.model, prompt="Goods may be", max_tokens=4)
    assert whole.object == "text_completion"
    assert whole.usage is not None
    assert 0 < whole.usage.completion_tokens <= 4
    stream = await service.client.completions.create(
        model=service.model, prompt="Goods may be", max_tokens=4, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


async def test_a_files_life(service: Service) -> None:
    files = service.client.files
    file = await files.create(
        file=RETURNS, purpose="assistants", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    try:
        assert (file.object, file.filename, file.bytes) == ("file", RETURNS[0], len(RETURNS[1]))
        assert await files.retrieve(file.id) == file
        assert (await files.content(file.id)).content == RETURNS[1]
        assert file.id in [each.id async for each in files.list(limit=2)]
    finally:
        gone = await files.delete(file.id)
    assert (gone.id, gone.deleted) == (file.id, True)
    with pytest.raises(openai.NotFoundError):
        await files.retrieve(file.id)


async def test_a_stores_life(service: Service) -> None:
    stores = service.client.vector_stores
    store = await stores.create(
        name="contract", metadata={"a": "b"}, expires_after={"anchor": "last_active_at", "days": 1}
    )
    file = None
    try:
        assert (await stores.update(store.id, name="contract-2")).name == "contract-2"
        assert store.id in [each.id async for each in stores.list(limit=2)]
        member = await stores.files.upload_and_poll(
            vector_store_id=store.id, file=RETURNS, attributes={"year": 2024, "draft": False}
        )
        file = member.id
        assert (member.status, member.last_error) == ("completed", None)
        assert member.attributes == {"year": 2024, "draft": False}
        (piece,) = [piece async for piece in await stores.files.content(file, vector_store_id=store.id)]
        assert piece.text is not None
        assert "thirty days" in piece.text
        changed = await stores.files.update(file, vector_store_id=store.id, attributes={"year": 2025})
        assert changed.attributes == {"year": 2025}
        counts = (await stores.retrieve(store.id)).file_counts
        assert (counts.completed, counts.total) == (1, 1)
        listed = [each.id async for each in stores.files.list(store.id, filter="completed")]
        assert listed == [file]
        assert (await stores.files.delete(file, vector_store_id=store.id)).deleted
        assert [each async for each in stores.files.list(store.id)] == []
    finally:
        if file is not None:
            await service.client.files.delete(file)
        assert (await stores.delete(store.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await stores.retrieve(store.id)


async def test_a_batch(service: Service) -> None:
    stores = service.client.vector_stores
    store = await stores.create(name="contract")
    ids: list[str] = []
    try:
        batch = await stores.file_batches.upload_and_poll(
            store.id, files=[(f"{n}.md", f"Document {n} is about returns.".encode()) for n in range(3)]
        )
        assert (batch.status, batch.file_counts.completed) == ("completed", 3)
        ids = [each.id async for each in stores.file_batches.list_files(batch.id, vector_store_id=store.id, limit=2)]
        assert len(set(ids)) == 3
        assert (await stores.file_batches.retrieve(batch.id, vector_store_id=store.id)).status == "completed"
    finally:
        for each in ids:
            await service.client.files.delete(each)
        await stores.delete(store.id)


async def test_errors_are_the_clients_own(service: Service) -> None:
    stores = service.client.vector_stores
    with pytest.raises(openai.NotFoundError) as missing:
        await stores.retrieve("vs_" + "0" * 24)
    assert missing.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as wrong:
        await stores.create(name="x" * 300)
    assert wrong.value.param == "name"
    with pytest.raises(openai.BadRequestError) as purpose:
        await service.client.files.create(file=RETURNS, purpose="fine-tune")
    assert purpose.value.param == "purpose"
    async with service.other("sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.files.list()


async def test_response(service: Service) -> None:
    response = await service.client.responses.create(
        model=service.model, input="How long may goods be returned?", instructions="Be brief.", max_output_tokens=16
    )
    assert response.status in ("completed", "incomplete")
    assert response.output_text
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    following = await service.client.responses.create(
        model=service.model, input="And?", previous_response_id=response.id, max_output_tokens=16
    )
    assert following.previous_response_id == response.id
    assert following.usage is not None
    assert following.usage.input_tokens > response.usage.input_tokens


async def test_response_as_a_stream(service: Service) -> None:
    stream = await service.client.responses.create(
        model=service.model, input="How long may goods be returned?", max_output_tokens=16, stream=True
    )
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) in {
        ("response.created", "response.completed"),
        ("response.created", "response.incomplete"),
    }
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text != ""


async def test_response_from_knowledge_by_the_clients_own_stream_helper(service: Service) -> None:
    if not service.rag:
        pytest.skip("this fleet has no knowledge")
    async with service.client.responses.stream(
        model=service.rag,
        input="How long may goods be returned?",
        max_output_tokens=200,
        include=["file_search_call.results"],
    ) as stream:
        events = [event async for event in stream]
    assert "response.file_search_call.completed" in [event.type for event in events]
    search, message = events[-1].response.output
    assert search.type == "file_search_call"
    assert search.results is not None
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    cited = [each.file_id for each in part.annotations if each.type == "file_citation"]
    assert set(cited) <= {result.file_id for result in search.results}


async def test_search_and_answers_from_a_store_of_ones_own(service: Service) -> None:
    stores = service.client.vector_stores
    store = await stores.create(name="contract-answers")
    member = await stores.files.upload_and_poll(vector_store_id=store.id, file=RETURNS, attributes={"year": 2024})
    try:
        question = "How long may goods be returned?"
        only = {"type": "eq", "key": "year", "value": 2024}
        found = await stores.search(store.id, query=question, filters=only, max_num_results=2)
        assert found.data
        assert found.data[0].content[0].text
        tool = {"type": "file_search", "vector_store_ids": [store.id], "filters": only}
        response = await service.client.responses.create(
            model=service.model, input=question, tools=[tool], max_output_tokens=30
        )
        assert [item.type for item in response.output] == ["file_search_call", "message"]
        (part,) = response.output[1].content
        assert {note.type for note in part.annotations} <= {"file_citation"}
        completion = await service.client.chat.completions.create(
            model=service.model, messages=[{"role": "user", "content": question}], max_tokens=30, tools=[tool]
        )
        assert completion.model_extra is not None
        assert completion.model_extra["rag"]["sources"]
        by_name = await service.client.chat.completions.create(
            model="rag:contract-answers", messages=[{"role": "user", "content": question}], max_tokens=30
        )
        assert by_name.model_extra is not None
        assert by_name.model_extra["rag"]["grounded"] is True
    finally:
        await service.client.files.delete(member.id)
        await stores.delete(store.id)


async def test_a_store_and_a_tool_say_how_passages_are_looked_for(service: Service) -> None:
    stores = service.client.vector_stores
    way = {"ranker": "bm25", "neighbours": 1, "max_num_results": 2}
    store = await stores.create(name="contract-ways", extra_body={"retrieval": way})
    member = await stores.files.upload_and_poll(vector_store_id=store.id, file=RETURNS)
    try:
        assert ((await stores.retrieve(store.id)).model_extra or {})["retrieval"] == way
        question = "How long may goods be returned?"
        weights = {"embedding_weight": 0.3, "text_weight": 0.7}
        ranking = {"ranker": "auto", "hybrid_search": weights, "score_threshold": 0.1}
        assert (await stores.search(store.id, query=question)).data
        assert (await stores.search(store.id, query=question, ranking_options=ranking)).data
        tool = {"type": "file_search", "vector_store_ids": [store.id], "ranking_options": ranking}
        response = await service.client.responses.create(
            model=service.model, input=question, tools=[tool], max_output_tokens=30
        )
        assert [item.type for item in response.output] == ["file_search_call", "message"]
        completion = await service.client.chat.completions.create(
            model=service.model, messages=[{"role": "user", "content": question}], max_tokens=30, tools=[tool]
        )
        assert completion.model_extra is not None
        assert completion.model_extra["rag"]["sources"]
        wrong = {**tool, "ranking_options": {"ranker": "best"}}
        with pytest.raises(openai.BadRequestError) as refused:
            await service.client.responses.create(model=service.model, input=question, tools=[wrong])
        assert refused.value.param == "tools.0.ranking_options.ranker"
        changed = await stores.update(store.id, extra_body={"retrieval": None})
        assert "retrieval" not in (changed.model_extra or {})
    finally:
        await service.client.files.delete(member.id)
        await stores.delete(store.id)
