"""`ragfleet assistant list` and `try` know assistants as the gateway has them: the operator's and the tenant's, too."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ragfleet.cli import application
from ragfleet.commands import assistant

FACTS = {"kind": "chat", "description": "Speaks [in] rhymes.", "example": "A rhyme, please.", "knowledge": False}
MODELS = [
    SimpleNamespace(id="smollm2", model_extra={"type": "chat"}),
    SimpleNamespace(id="assistant:own", model_extra={"assistant": FACTS}),
    SimpleNamespace(id="assistant:old", model_extra={}),  # of a gateway that says nothing of it
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Result, list[str]]]:
    """The command, and the questions that were put."""
    client = SimpleNamespace(models=SimpleNamespace(list=lambda: MODELS), close=lambda: None)
    put: list[str] = []
    monkeypatch.setattr(
        assistant, "running_fleet", lambda: (None, SimpleNamespace(gateway_url="http://g", api_key="k"))
    )
    monkeypatch.setattr(assistant, "connect", lambda url, key: client)
    monkeypatch.setattr(assistant, "put", lambda seen, question, **_: put.append(question))

    def invoke(*words: Any) -> tuple[Result, list[str]]:
        return CliRunner().invoke(application(), ["assistant", *words]), put

    return invoke


def test_each_is_described_as_its_profile_says(run: Callable[..., tuple[Result, list[str]]]) -> None:
    shown, _ = run("list", "--json")
    assert json.loads(shown.output) == [
        {"model": "assistant:own", "description": "Speaks [in] rhymes."},
        {"model": "assistant:old", "description": ""},
    ]
    shown, _ = run("list")
    assert "Speaks [in] rhymes." in shown.output


@pytest.mark.parametrize("question", [(), ("",), (" \n",)])
def test_without_a_question_its_example_is_asked(
    run: Callable[..., tuple[Result, list[str]]], question: tuple[str, ...]
) -> None:
    shown, put = run("try", "own", *question)
    assert (shown.exit_code, put) == (0, ["A rhyme, please."])


def test_what_has_no_example_is_refused_in_a_sentence(run: Callable[..., tuple[Result, list[str]]]) -> None:
    for name in ("old", "nobody"):
        shown, put = run("try", name)
        assert (shown.exit_code, put) == (2, [])
