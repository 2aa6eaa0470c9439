"""openai-agents: function tools, an output of a type, and a handoff, over chat completions and over responses."""

import os
from typing import Any

import pytest
from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

set_tracing_disabled(True)
SETTINGS = ModelSettings(temperature=0, max_tokens=200)


class City(BaseModel):
    """A city."""

    name: str
    large: bool


@pytest.fixture(params=[OpenAIChatCompletionsModel, OpenAIResponsesModel], ids=["chat", "responses"])
def model(request: pytest.FixtureRequest) -> Model:
    client = AsyncOpenAI(base_url=os.environ["RAGFLEET_URL"], api_key=os.environ["RAGFLEET_KEY"])
    made: Model = request.param(model=os.environ["RAGFLEET_MODEL"], openai_client=client)
    return made


def weather_tool(asked: list[str]) -> Any:
    @function_tool
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Rain."

    return weather


async def test_a_tool_is_called_and_its_result_is_answered(model: Model) -> None:
    asked: list[str] = []
    agent = Agent(name="a", model=model, model_settings=SETTINGS, tools=[weather_tool(asked)])
    result = await Runner.run(agent, "What is the weather in Berlin?")
    assert len(asked) == 1
    assert result.final_output


async def test_the_same_in_a_stream(model: Model) -> None:
    asked: list[str] = []
    agent = Agent(name="a", model=model, model_settings=SETTINGS, tools=[weather_tool(asked)])
    result = Runner.run_streamed(agent, "What is the weather in Berlin?")
    kinds = {event.type async for event in result.stream_events()}
    assert {"raw_response_event", "run_item_stream_event"} <= kinds
    assert len(asked) == 1
    assert result.final_output


async def test_output_of_a_type(model: Model) -> None:
    agent = Agent(name="a", model=model, model_settings=SETTINGS, output_type=City)
    assert isinstance((await Runner.run(agent, "Tell me of Berlin.")).final_output, City)


async def test_a_tool_and_then_an_output_of_a_type(model: Model) -> None:
    asked: list[str] = []
    agent = Agent(name="a", model=model, model_settings=SETTINGS, tools=[weather_tool(asked)], output_type=City)
    result = await Runner.run(agent, "What is the weather in Berlin?")
    assert asked
    assert isinstance(result.final_output, City)


async def test_a_handoff(model: Model) -> None:
    german = Agent(name="German", handoff_description="Translates into German.", model=model, model_settings=SETTINGS)
    first = Agent(name="First", model=model, model_settings=SETTINGS, handoffs=[german])
    result = await Runner.run(first, "Please translate 'house' into German.")
    assert result.last_agent.name == "German"
    assert result.final_output


async def test_a_second_turn(model: Model) -> None:
    asked: list[str] = []
    agent = Agent(name="a", model=model, model_settings=SETTINGS, tools=[weather_tool(asked)])
    first = await Runner.run(agent, "What is the weather in Berlin?")
    items = [*first.to_input_list(), {"role": "user", "content": "Thank you!"}]
    assert (await Runner.run(agent, items)).final_output
