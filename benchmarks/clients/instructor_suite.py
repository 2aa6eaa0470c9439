"""instructor: an object from each of its modes that OpenAI's API has."""

import os

import instructor
import pytest
from instructor import Mode
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

MODES = [Mode.TOOLS, Mode.TOOLS_STRICT, Mode.JSON_SCHEMA, Mode.RESPONSES_TOOLS]


class City(BaseModel):
    """A city."""

    name: str
    large: bool


def asked() -> dict[str, object]:
    return {
        "model": os.environ["RAGFLEET_MODEL"],
        "messages": [{"role": "user", "content": "Tell me of Berlin."}],
        "temperature": 0,
        "response_model": City,
        "max_retries": 0,
    }


def limit(mode: Mode) -> dict[str, int]:
    return {"max_output_tokens" if "responses" in mode.value else "max_tokens": 200}


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_an_object(mode: Mode) -> None:
    client = OpenAI(base_url=os.environ["RAGFLEET_URL"], api_key=os.environ["RAGFLEET_KEY"])
    made = instructor.from_openai(client, mode=mode).chat.completions.create(**asked(), **limit(mode))
    assert isinstance(made, City)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
async def test_an_object_asynchronously(mode: Mode) -> None:
    client = AsyncOpenAI(base_url=os.environ["RAGFLEET_URL"], api_key=os.environ["RAGFLEET_KEY"])
    made = await instructor.from_openai(client, mode=mode).chat.completions.create(**asked(), **limit(mode))
    assert isinstance(made, City)


@pytest.mark.parametrize("mode", [Mode.TOOLS, Mode.JSON_SCHEMA], ids=lambda mode: mode.value)
def test_parts_of_an_object_in_a_stream(mode: Mode) -> None:
    client = OpenAI(base_url=os.environ["RAGFLEET_URL"], api_key=os.environ["RAGFLEET_KEY"])
    given = {name: value for name, value in asked().items() if name not in ("response_model", "max_retries")}
    parts = list(
        instructor.from_openai(client, mode=mode).chat.completions.create_partial(City, **given, **limit(mode))
    )
    assert len(parts) > 1
    assert parts[-1].name
