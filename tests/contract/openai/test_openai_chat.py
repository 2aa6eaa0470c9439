"""Chat completions by the official client, unmodified."""

import pytest

from tests.support.openai_service import Service

USER = [{"role": "user", "content": "How long may goods be returned?"}]


async def test_whole_answer(service: Service) -> None:
    completion = await service.client.chat.completions.create(model=service.model, messages=USER, max_tokens=12)
    assert completion.object == "chat.completion"
    assert completion.model == service.model
    (choice,) = completion.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = completion.usage
    assert usage is not None
    assert 0 < usage.completion_tokens <= 12
    assert usage.prompt_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_streamed_answer(service: Service) -> None:
    stream = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    *with_choices, last = chunks
    assert with_choices[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in with_choices)
    assert with_choices[-1].choices[0].finish_reason in ("stop", "length")
    assert last.choices == []
    assert last.usage is not None
    assert 0 < last.usage.completion_tokens <= 12


async def test_streamed_answer_is_the_whole_one(service: Service) -> None:
    asked = {"model": service.model, "messages": USER, "max_tokens": 48, "temperature": 0}
    whole = await service.client.chat.completions.create(**asked)
    stream = await service.client.chat.completions.create(**asked, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == whole.choices[0].message.content


async def test_clients_own_stream_helper_puts_the_answer_together(service: Service) -> None:
    async with service.client.chat.completions.stream(model=service.model, messages=USER, max_tokens=12) as stream:
        text = "".join([event.delta async for event in stream if event.type == "content.delta"])
        final = stream.current_completion_snapshot
    assert final.choices[0].message.content == text
    assert final.choices[0].finish_reason in ("stop", "length")


async def test_stream_that_is_closed_early(service: Service) -> None:
    stream = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=200, stream=True
    )
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    again = await service.client.chat.completions.create(model=service.model, messages=USER, max_tokens=1)
    assert again.choices


async def test_raw_response_has_a_request_id(service: Service) -> None:
    raw = await service.client.chat.completions.with_raw_response.create(
        model=service.model, messages=USER, max_tokens=1, extra_headers={"X-Request-Id": "contract-1"}
    )
    assert raw.headers["x-request-id"] == "contract-1"
    assert raw.request_id == "contract-1"
    assert raw.parse().choices


async def test_limit(service: Service) -> None:
    for limit in ({"max_tokens": 1}, {"max_completion_tokens": 1}):
        completion = await service.client.chat.completions.create(model=service.model, messages=USER, **limit)
        assert completion.usage is not None
        assert completion.usage.completion_tokens <= 1


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_string(service: Service, stream: bool) -> None:
    create = service.client.chat.completions.create
    fields = {
        "model": service.model,
        "messages": USER,
        "max_tokens": 40,
        "temperature": 0,
        "stop": ["e", "a", "o", " "],
    }
    if stream:
        chunks = [chunk async for chunk in await create(**fields, stream=True)]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        text = (await create(**fields)).choices[0].message.content or ""
    assert not set("eao ") & set(text)


async def test_every_kind_of_message(service: Service) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello, "}, {"type": "text", "text": "you."}]},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Naïve 東京?", "name": "someone"},
    ]
    completion = await service.client.chat.completions.create(model=service.model, messages=messages, max_tokens=4)
    answer = completion.choices[0].message
    again = [*messages, answer, {"role": "user", "content": "And?"}]  # as users do: the object itself
    assert (await service.client.chat.completions.create(model=service.model, messages=again, max_tokens=2)).choices


async def test_sampling_and_harmless_parameters_are_accepted(service: Service) -> None:
    completion = await service.client.chat.completions.create(
        model=service.model,
        messages=USER,
        max_tokens=4,
        temperature=0.7,
        top_p=0.9,
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.1,
        n=1,
        logprobs=False,
        user="someone",
        metadata={"a": "b"},
        response_format={"type": "text"},
        extra_body={"top_k": 40, "min_tokens": 1, "repetition_penalty": 1.1},
    )
    assert completion.choices


async def test_migration_trail_is_an_extra_field(service: Service) -> None:
    completion = await service.client.chat.completions.create(model=service.model, messages=USER, max_tokens=2)
    assert completion.model_extra is not None
    (attempt,) = completion.model_extra["ragfleet"]["attempts"]
    assert attempt["cause"] == "end"


# Answers from knowledge


def _rag(service: Service) -> str:
    if not service.rag:
        pytest.skip("this fleet has no knowledge")
    return service.rag


async def test_sources_and_citations(service: Service) -> None:
    completion = await service.client.chat.completions.create(model=_rag(service), messages=USER, max_tokens=24)
    assert completion.model_extra is not None
    rag = completion.model_extra["rag"]
    assert rag["grounded"] is True
    message = completion.choices[0].message
    assert rag["sources"]
    files = {source["n"]: source["filename"] for source in rag["sources"]}
    for annotation, cited in zip(message.annotations or [], rag["citations"], strict=True):
        assert annotation.type == "url_citation"
        citation = annotation.url_citation
        assert citation.title == cited["filename"] == files[cited["n"]]
        assert 0 <= citation.start_index <= citation.end_index <= len(message.content or "")


async def test_sources_and_citations_of_a_stream(service: Service) -> None:
    stream = await service.client.chat.completions.create(
        model=_rag(service), messages=USER, max_tokens=24, stream=True
    )
    first, *_, last = [chunk async for chunk in stream]
    assert first.model_extra is not None
    assert first.model_extra["rag"]["sources"]
    assert last.model_extra is not None
    cited = last.model_extra["rag"]["citations"]
    annotations = (last.choices[0].delta.model_extra or {}).get("annotations", [])
    assert [each["url_citation"]["title"] for each in annotations] == [each["filename"] for each in cited]


async def test_file_search_tool(service: Service) -> None:
    _rag(service)
    store = next(m.id for m in [m async for m in service.client.models.list()] if m.id.startswith("rag:"))
    tool = {"type": "file_search", "vector_store_ids": [store.removeprefix("rag:")], "max_num_results": 1}
    completion = await service.client.chat.completions.create(
        model=service.model, messages=USER, max_tokens=4, tools=[tool]
    )
    assert completion.model_extra is not None
    assert len(completion.model_extra["rag"]["sources"]) <= 1
