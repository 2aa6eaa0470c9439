"""pydantic-ai: every way to have an output, over chat completions and over responses; tools, and both in a stream."""

import os

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, PromptedOutput, TextOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """A city."""

    name: str
    large: bool


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])
def model(request: pytest.FixtureRequest) -> Model:
    provider = OpenAIProvider(base_url=os.environ["RAGFLEET_URL"], api_key=os.environ["RAGFLEET_KEY"])
    made: Model = request.param(
        os.environ["RAGFLEET_MODEL"], provider=provider, settings={"temperature": 0, "max_tokens": 200}
    )
    return made


def shout(text: str) -> str:
    return text.upper()


ASKED = "Tell me of Berlin."


@pytest.mark.parametrize("mode", [ToolOutput, NativeOutput])
async def test_output_of_a_type(model: Model, mode: type[ToolOutput[City] | NativeOutput[City]]) -> None:
    result = await Agent(model, output_type=mode(City)).run(ASKED)
    assert isinstance(result.output, City)


@pytest.mark.xfail(
    reason="the schema stands in the prompt alone, any JSON object may come, and 135M parameters do not read it"
)
async def test_prompted_output(model: Model) -> None:
    result = await Agent(model, output_type=PromptedOutput(dict[str, object])).run("Berlin, as JSON.")
    assert isinstance(result.output, dict)


async def test_text_output(model: Model) -> None:
    result = await Agent(model, output_type=TextOutput(shout)).run(ASKED)
    assert result.output == result.output.upper()


async def test_text_or_a_type(model: Model) -> None:
    result = await Agent(model, output_type=[City, str]).run(ASKED)
    assert isinstance(result.output, City | str)


async def test_a_tool_is_called_and_its_result_is_answered(model: Model) -> None:
    agent, asked = Agent(model), []

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Rain."

    result = await agent.run("What is the weather in Berlin?")
    assert len(asked) == 1
    assert result.output


async def test_a_tool_and_then_an_output_of_a_type(model: Model) -> None:
    agent = Agent(model, output_type=NativeOutput(City))
    asked = []

    @agent.tool_plain
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Rain."

    result = await agent.run("What is the weather in Berlin?")
    assert isinstance(result.output, City)
    assert asked


@pytest.mark.parametrize("mode", [ToolOutput, NativeOutput])
async def test_output_in_a_stream(model: Model, mode: type[ToolOutput[City] | NativeOutput[City]]) -> None:
    async with Agent(model, output_type=mode(City)).run_stream(ASKED) as stream:
        assert isinstance(await stream.get_output(), City)
