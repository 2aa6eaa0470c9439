"""Requests that cannot be served: a 4xx in OpenAI's shape that names the field, whatever the body, and never a 500."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.triton.fake_answers import Script
from tests.support.running import MODEL, Fleet, ask, settings_for

Start = Callable[..., Any]
USER = [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'model': 1}", b"[]", b'"text"', b"null", b"7", b"\xff\xfe", b'{"a":"\xff"}', b"[" * 100_000]
)
async def test_body_that_is_no_json_object(fleet: Fleet, body: bytes) -> None:
    reply = await fleet.post(body)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert "JSON" in reply.error["message"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"model": "x" * 300}, "model"),
    ({"model": ["tiny"]}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "Hello?"}, "messages"),
    ({"messages": {}}, "messages"),
    ({"messages": ["Hello?"]}, "messages.0"),
    ({"messages": [{"content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": 1, "content": "x"}]}, "messages.0.role"),
    ({"messages": [*USER, {"role": "user", "content": 5}]}, "messages.1.content"),
    ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        "messages.0.content.0.type",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "a"}]}, "messages.0.tool_call_id"),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": "usage"}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"stream": True, "stream_options": {"surprise": 1}}, "stream_options.surprise"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": "16"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"max_tokens": 512}, "max_tokens"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 100_000}, "max_completion_tokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": [1]}, "temperature"),
    ({"top_p": -0.1}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_p": "0.5"}, "top_p"),
    ({"top_k": 2**31}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"min_tokens": -1}, "min_tokens"),
    ({"min_tokens": 17}, "min_tokens"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"frequency_penalty": {}}, "frequency_penalty"),
    ({"seed": 1.5}, "seed"),
    ({"seed": 2**63}, "seed"),
    ({"seed": "7"}, "seed"),
    ({"stop": 5}, "stop"),
    ({"stop": [5]}, "stop.0"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a", ""]}, "stop.1"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": "x" * 300}, "stop"),
    ({"tools": "file_search"}, "tools"),
    ({"tools": [{"type": "file_search"}]}, "tools.0.vector_store_ids"),
    ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools.0.vector_store_ids"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["a"], "filters": {}}]}, "tools.0.filters"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["a"], "max_num_results": 51}]}, "tools.0.max_num_results"),
    ({"tools": [{"type": "file_search", "vector_store_ids": ["a"]}] * 2}, "tools"),
    ({"surprise": 1}, "surprise"),
    ({"max_token": 5}, "max_token"),
    ({"n": 0}, "n"),
    ({"n": 9}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": "2"}, "n"),
    ({"n": True}, "n"),
    ({"top_logprobs": 5}, "top_logprobs"),
    ({"logit_bias": {"5": -101}}, "logit_bias.5"),
    ({"logit_bias": {"5": "1"}}, "logit_bias.5"),
    ({"logit_bias": {"5": None}}, "logit_bias.5"),
    ({"logit_bias": {"-5": 1}}, "logit_bias.-5"),
    ({"logit_bias": {"05": 1}}, "logit_bias.05"),
    ({"logit_bias": {"five": 1}}, "logit_bias.five"),
    ({"logit_bias": {"999999": 1}}, "logit_bias"),
    ({"logit_bias": {str(n): 1 for n in range(301)}}, "logit_bias"),
    ({"logit_bias": [5]}, "logit_bias"),
    ({"logit_bias": 5}, "logit_bias"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"function_call": "auto"}, "function_call"),
    ({"modalities": ["text", "audio"]}, "modalities.1"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"prediction": {"type": "content"}}, "prediction.content"),
    ({"prediction": "Thirty"}, "prediction"),
    ({"prediction": {"type": "content", "content": [{"type": "image_url"}]}}, "prediction.content.0.type"),
    ({"modalities": "text"}, "modalities"),
    ({"user": 5}, "user"),
    ({"safety_identifier": "x" * 65}, "safety_identifier"),
    ({"prompt_cache_key": ["x"]}, "prompt_cache_key"),
    ({"prompt_cache_retention": "48h"}, "prompt_cache_retention"),
    ({"prompt_cache_options": {"mode": "never"}}, "prompt_cache_options.mode"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"metadata": "a"}, "metadata"),
    ({"reasoning_effort": "much"}, "reasoning_effort"),
    ({"store": "yes"}, "store"),
    ({"service_tier": "first"}, "service_tier"),
    ({"min_p": 0.1}, "min_p"),
    ({"ignore_eos": "yes"}, "ignore_eos"),
    ({"ignore_eos": True, "max_tokens": None}, "ignore_eos"),
    ({"top_k": -2}, "top_k"),
    ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs"),
    ({"web_search_options": {}}, "web_search_options"),
]


async def test_every_wrong_field_is_named(fleet: Fleet) -> None:
    wrong: list[str] = []
    for fields, param in WRONG:
        reply = await fleet.chat(**fields)
        if reply.status != 400 or reply.error["param"] != param or param.split(".")[0] not in reply.error["message"]:
            wrong.append(f"{fields} should name {param}: {reply.status} {reply.raw.decode()}")
    assert not wrong, "\n".join(wrong)
    assert not fleet.calls()
    assert not fleet.calls("prompt")


async def test_what_other_servers_know_is_taken_by_its_meaning(fleet: Fleet) -> None:
    """vLLM's `top_k: -1` and `ignore_eos`, Anthropic's `cache_control`, an empty list of calls in an earlier answer."""
    fleet.says("Thirty days.")
    marked = {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "assistant", "content": "Hi", "tool_calls": []}, {"role": "user", "content": [marked]}]
    reply = await fleet.chat(messages=messages, top_k=-1, temperature=1)
    assert reply.status == 200
    assert fleet.calls()[0].body["runtime_top_k"] == 0
    assert (await fleet.chat(ignore_eos=True, max_tokens=9)).status == 200
    assert fleet.calls()[-1].body["min_tokens"] == 9


async def test_no_probability_is_the_likeliest_token_alone(fleet: Fleet) -> None:
    """OpenAI's `top_p` begins at 0; engines' top_p is over it."""
    for fields in ({"top_p": 0}, {"top_p": 0.0, "top_k": 5}):
        assert (await fleet.chat(temperature=1, **fields)).status == 200
        body = fleet.calls()[-1].body
        assert (body["runtime_top_k"], body["runtime_top_p"]) == (1, 1.0)


async def test_usage_so_far_comes_with_each_chunk_where_it_is_asked_for(fleet: Fleet) -> None:
    fleet.says("Thirty days.")
    options = {"include_usage": True, "continuous_usage_stats": True}
    async with fleet.http.post("/v1/chat/completions", json=ask(stream=True, stream_options=options)) as response:
        events = [json.loads(line[6:]) for line in (await response.text()).split("\n\n") if line.startswith("data: {")]
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert counts == sorted(counts)
    assert counts[-1] == counts[-2] > 0
    assert len(set(counts)) > 2


@pytest.mark.parametrize("missing", ["model", "messages"])
async def test_missing_field_is_named(fleet: Fleet, missing: str) -> None:
    body = ask()
    del body[missing]
    reply = await fleet.post(body)
    assert reply.status == 400
    assert (reply.error["param"], reply.error["code"]) == (missing, "missing_required_parameter")


async def test_unsupported_parameters_say_so(fleet: Fleet) -> None:
    assert (await fleet.chat(audio={})).error["code"] == "unsupported_parameter"
    assert (await fleet.chat(surprise=1)).error["code"] == "unknown_parameter"
    nameless = (await fleet.chat(**{"": 1})).error
    assert (nameless["param"], nameless["message"]) == ("", "Unknown parameter: ''.")


HARMLESS = {
    "user": "someone",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "priority",
    "prediction": {"type": "content", "content": "Thirty days."},
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "reasoning_effort": "none",
    "verbosity": "medium",
    "ignore_eos": False,
    "min_p": 0,
    "chat_template_kwargs": {"enable_thinking": False},
    "stop_token_ids": [],
    "parallel_tool_calls": True,
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "n": 1,
    "logprobs": False,
    "top_logprobs": None,
    "logit_bias": {},
    "response_format": {"type": "text"},
    "tool_choice": "auto",
    "tools": [],
    "functions": [],
    "modalities": ["text"],
    "stop": [],
    "stream": False,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "temperature": 1,
    "top_p": 1,
    "seed": 0,
}


async def test_harmless_parameters_and_nulls_are_accepted(fleet: Fleet) -> None:
    refused = [name for name, value in HARMLESS.items() if (await fleet.chat(**{name: value})).status != 200]
    optional = {*HARMLESS, "max_tokens", "max_completion_tokens", "stream_options", "top_k", "min_tokens", "audio"}
    refused += [f"{name}=null" for name in optional if (await fleet.chat(**{name: None})).status != 200]
    assert not refused


async def test_messages_as_clients_echo_them_are_accepted(fleet: Fleet) -> None:
    first = (await fleet.chat(max_tokens=4)).json["choices"][0]["message"]
    again = [*USER, first, {"role": "user", "content": "And?", "name": "me"}]
    assert (await fleet.chat(messages=again)).status == 200
    assert (await fleet.chat(messages=[{"role": "developer", "content": "Be brief."}, *USER])).status == 200
    assert (await fleet.chat(messages=[{"role": "system", "content": "Only this."}])).status == 200


async def test_unknown_model_is_a_404_that_lists_the_known_ones(fleet: Fleet) -> None:
    reply = await fleet.chat(model="gpt-9")
    assert reply.status == 404
    assert (reply.error["param"], reply.error["code"]) == ("model", "model_not_found")
    assert MODEL in reply.error["message"]


async def test_prompt_longer_than_the_context(fleet: Fleet) -> None:
    reply = await fleet.chat("word " * 2000)
    assert reply.status == 400
    assert (reply.error["param"], reply.error["code"]) == ("messages", "context_length_exceeded")
    assert not fleet.calls()
    assert not fleet.gateway.detector.ejected()


async def test_prompt_and_answer_together_longer_than_the_context(fleet: Fleet) -> None:
    prompt = "word " * 60
    assert (await fleet.chat(prompt, max_tokens=16)).status == 200
    reply = await fleet.chat(prompt, max_tokens=500)
    assert reply.status == 400
    assert reply.error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("way", ["announced", "chunked"])
async def test_body_over_the_limit(start: Start, way: str) -> None:
    fleet = await start(max_body_bytes=100_000)
    body = b'{"model":"tiny","messages":"' + b"x" * 10_000_000 + b'"}'

    async def pieces() -> Any:
        for at in range(0, len(body), 65536):
            yield body[at : at + 65536]

    reply = await fleet.post(body if way == "announced" else pieces())
    assert reply.status == 413
    assert reply.error["code"] == "payload_too_large"
    assert "100000" in reply.error["message"]
    assert (await fleet.chat()).status == 200


async def test_largest_body_within_the_limit_is_read(start: Start) -> None:
    fleet = await start(max_body_bytes=5_000_000, max_context=4_000_000)
    reply = await fleet.chat("x" * 4_500_000, model="gpt-9")
    assert reply.status == 404


async def test_refusals_by_the_prompt_model(fleet: Fleet) -> None:
    fleet.answers.script("prompt", Script(status=400, error="prompt: bad messages: the roles do not alternate"))
    reply = await fleet.chat()
    assert reply.status == 400
    assert reply.error["param"] == "messages"
    assert "the roles do not alternate" in reply.error["message"]
    assert not fleet.gateway.detector.ejected()


# Whatever the body

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KNOWN = [
    *HARMLESS, "model", "messages", "max_tokens", "max_completion_tokens", "top_k", "min_tokens", "repetition_penalty",
    "stream_options", "audio", "best_of", "echo", "verbosity",
]  # fmt: skip
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text(max_size=20) | anything},
        optional={"name": anything, "tool_calls": anything},
    ),
    max_size=3,
)
tools = st.lists(
    st.fixed_dictionaries(
        {"type": st.just("file_search"), "vector_store_ids": st.lists(st.text(max_size=4), max_size=2)}
    ),
    max_size=2,
)
bodies = st.builds(
    lambda base, changes, gone: {k: v for k, v in {**base, **changes}.items() if k not in gone},
    st.just(ask(max_tokens=3)),
    st.dictionaries(st.sampled_from(KNOWN), anything, max_size=3)
    | st.fixed_dictionaries(
        {}, optional={"messages": messages, "tools": tools, "model": st.sampled_from(["rag", "rag:", MODEL])}
    )
    | st.fixed_dictionaries({}, optional={"stop": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=5)}),
    st.sets(st.sampled_from(["model", "messages"]), max_size=1) | st.just(set()),
)


def test_whatever_the_body_the_answer_is_well_formed(tokenizer_dir: Path, tmp_path: Path) -> None:
    """An answer, a stream or an error of the client's in OpenAI's shape; no 5xx, and no wait without end."""
    with asyncio.Runner() as runner:
        fleet = Fleet(settings_for(tmp_path, tokenizer_dir))
        runner.run(fleet.__aenter__())
        runner.run(fleet.learn("handbook"))

        async def one(body: Any) -> None:
            async with asyncio.timeout(60):
                reply = await fleet.post(body)
            if reply.status == 200:
                assert reply.raw.endswith(b"data: [DONE]\n\n") or reply.json["object"] == "chat.completion"
            else:
                assert 400 <= reply.status < 500, reply.raw
                assert reply.error["type"] == "invalid_request_error"

        @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
        @given(bodies | anything)
        def fuzz(body: Any) -> None:
            runner.run(one(body))

        try:
            fuzz()
            runner.run(fleet.settled())
        finally:
            runner.run(fleet.__aexit__(None, None, None))


async def test_tool_that_may_not_be_used_is_not(fleet: Fleet) -> None:
    await fleet.learn("handbook")
    search = {"type": "file_search", "vector_store_ids": ["handbook"]}
    reply = await fleet.chat(tools=[search], tool_choice="none")
    assert reply.status == 200
    assert "rag" not in reply.json
    assert not fleet.calls("context")
    await fleet.chat(tools=[search], tool_choice="auto")
    assert fleet.calls("context")
