"""Errors and models as the official client sees them."""

import asyncio
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway.triton.fake_answers import Script
from tests.support.openai_service import KEY, Service, client_of
from tests.support.running import MODEL, Fleet

USER = [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"n": 9}, "n", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logit_bias": {"9": 101}}, "logit_bias.9", "invalid_value"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 10_000_000}, "max_tokens", "context_length_exceeded"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages.0.content", "missing_required_parameter"),
        ({"extra_body": {"surprise": 1}}, "surprise", "unknown_parameter"),
        ({"stop": ["a"] * 5}, "stop", "invalid_value"),
        ({"stream": True, "n": 0}, "n", "invalid_value"),
    ],
)
async def test_bad_requests(service: Service, fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await service.client.chat.completions.create(**{"model": service.model, "messages": USER, **fields})
    error = caught.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert param.partition(".")[0] in error.message
    assert error.request_id


async def test_prompt_beyond_the_context(service: Service) -> None:
    messages = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError) as caught:
        await service.client.chat.completions.create(model=service.model, messages=messages)
    assert caught.value.code == "context_length_exceeded"


async def test_unknown_model(service: Service) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await service.client.chat.completions.create(model="gpt-9", messages=USER)
    assert caught.value.code == "model_not_found"
    assert service.model in caught.value.message


async def test_unknown_store(service: Service) -> None:
    for model in ("rag:nowhere", "rag:" + "x" * 200):
        with pytest.raises(openai.NotFoundError):
            await service.client.chat.completions.create(model=model, messages=USER)


async def test_wrong_key(service: Service) -> None:
    async with service.other("wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.chat.completions.create(model=service.model, messages=USER)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_models(service: Service) -> None:
    models = [model async for model in service.client.models.list()]
    assert service.model in [model.id for model in models]
    model = await service.client.models.retrieve(service.model)
    assert (model.id, model.object) == (service.model, "model")
    with pytest.raises(openai.NotFoundError):
        await service.client.models.retrieve("gpt-9")


# What only a fake can be made to do


async def test_error_in_a_stream_is_raised(fleet: Fleet) -> None:
    for triton in fleet.tritons:
        triton.always["llm"] = Script(kill_after=0)
    fleet.answers.script("llm", Script(kill_after=5))
    pieces: list[str] = []

    async def read() -> None:
        async with client_of(fleet.url) as client:
            fields: dict[str, Any] = {"model": MODEL, "messages": USER, "temperature": 0, "max_tokens": 40}
            async for chunk in await client.chat.completions.create(**fields, stream=True):
                pieces.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match="instances died") as caught:
        await read()
    assert caught.value.code == "poison_request"
    assert "".join(pieces)


async def test_client_comes_back_by_itself_after_a_refusal(fleet: Fleet) -> None:
    """The client honours Retry-After; the second attempt finds a place."""
    for triton in fleet.tritons:
        triton.always["llm"] = Script(status=503, error="llm: queue full: 9 wait")
    async with client_of(fleet.url).with_options(max_retries=3) as client:
        answer = asyncio.ensure_future(client.chat.completions.create(model=MODEL, messages=USER, max_tokens=2))
        attempts = fleet.settings.attempts
        await fleet.until(lambda: len(fleet.calls()) == attempts)
        for triton in fleet.tritons:
            triton.always.clear()
        assert (await answer).choices


async def test_synchronous_client(fleet: Fleet) -> None:
    def ask() -> tuple[str | None, str]:
        with OpenAI(base_url=f"{fleet.url}/v1", api_key=KEY, max_retries=0) as client:
            fields: dict[str, Any] = {"model": MODEL, "messages": USER, "temperature": 0, "max_tokens": 12}
            whole = client.chat.completions.create(**fields).choices[0].message.content
            with client.chat.completions.create(**fields, stream=True) as stream:
                return whole, "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    whole, streamed = await asyncio.to_thread(ask)
    assert whole == streamed
