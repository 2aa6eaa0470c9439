"""Haystack: tools of a chat generator, a second turn, streams, an object of a schema, and an agent with its own loop."""

import os
from typing import Annotated, Any

import pytest
from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    large: bool


ASKED = [ChatMessage.from_user("What is the weather in Berlin?")]


def generator(**more: Any) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        model=os.environ["RAGFLEET_MODEL"],
        api_base_url=os.environ["RAGFLEET_URL"],
        api_key=Secret.from_token(os.environ["RAGFLEET_KEY"]),
        generation_kwargs={"temperature": 0, "max_tokens": 200, **more},
        max_retries=0,
    )


def weather_tool(asked: list[str]) -> Any:
    def weather(city: Annotated[str, "the city"]) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Rain."

    return create_tool_from_function(weather)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_is_answered(stream: bool) -> None:
    pieces: list[StreamingChunk] = []
    tool = weather_tool([])
    callback = pieces.append if stream else None
    (reply,) = generator(tool_choice="required").run(ASKED, tools=[tool], streaming_callback=callback)["replies"]
    (call,) = reply.tool_calls
    assert call.tool_name == "weather"
    assert bool(pieces) == stream
    result = ChatMessage.from_tool(tool.invoke(**call.arguments), origin=call)
    (second,) = generator().run([*ASKED, reply, result])["replies"]
    assert second.text


def test_an_object() -> None:
    (reply,) = generator(response_format=City).run([ChatMessage.from_user("Tell me of Berlin.")])["replies"]
    assert City.model_validate_json(reply.text)


def test_an_agent_calls_its_tool_until_it_has_what_it_needs() -> None:
    asked: list[str] = []
    chosen = {"type": "function", "function": {"name": "weather"}}
    agent = Agent(
        chat_generator=generator(tool_choice=chosen), tools=[weather_tool(asked)], exit_conditions=["weather"]
    )
    result = agent.run(messages=ASKED)
    assert asked
    assert result["messages"][-1].tool_call_results[0].result == "Rain."
