"""LlamaIndex: FunctionAgent with its own loop of tools, plain and streamed answers, and an object from a schema."""

import os

import pytest
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.workflow import Context
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    large: bool


@pytest.fixture
def model() -> OpenAILike:
    return OpenAILike(
        model=os.environ["RAGFLEET_MODEL"],
        api_base=os.environ["RAGFLEET_URL"],
        api_key=os.environ["RAGFLEET_KEY"],
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        context_window=2048,
        max_tokens=200,
        temperature=0,
    )


def agent(model: OpenAILike, asked: list[str], *, streaming: bool) -> FunctionAgent:
    def weather(city: str) -> str:
        """The weather in a city."""
        asked.append(city)
        return "Rain."

    return FunctionAgent(
        llm=model, tools=[weather], system_prompt="Be brief.", streaming=streaming, initial_tool_choice="weather"
    )


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_agent_calls_its_tool_and_answers(model: OpenAILike, streaming: bool) -> None:
    asked: list[str] = []
    running = agent(model, asked, streaming=streaming).run("What is the weather in Berlin?", max_iterations=6)
    pieces = [event.delta async for event in running.stream_events() if isinstance(event, AgentStream)]
    result = await running
    assert asked
    assert str(result.response)
    assert bool(pieces) == streaming


async def test_a_second_turn_of_the_same_context(model: OpenAILike) -> None:
    asked: list[str] = []
    built = agent(model, asked, streaming=False)
    context = Context(built)
    await built.run("What is the weather in Berlin?", ctx=context, max_iterations=6)
    assert str((await built.run("Thank you!", ctx=context, max_iterations=6)).response)


async def test_an_object(model: OpenAILike) -> None:
    made = await model.as_structured_llm(City).achat([ChatMessage(role="user", content="Tell me of Berlin.")])
    assert isinstance(made.raw, City)


async def test_a_stream(model: OpenAILike) -> None:
    pieces = [piece.delta async for piece in await model.astream_chat([ChatMessage(role="user", content="Hello?")])]
    assert "".join(piece or "" for piece in pieces)
