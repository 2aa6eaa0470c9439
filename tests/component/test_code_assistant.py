"""The code assistant in the API: exact names, what is called is seen, and every place that it tells is in its file."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.running import Fleet
from tests.support.source_code import COMMIT, FILES, learn_code

AT_COMMIT = f"(commit {COMMIT[:12]})"


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "assistant:code", "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
async def fleet(start: Callable[..., Any]) -> Fleet:
    """With a repository; a search finds nothing unless a test says so."""
    made: Fleet = await start(max_context=4096)
    made.answers.passages = ()
    await learn_code(made)
    return made


def paths(reply: Any) -> list[str]:
    """Of the sources, the best first."""
    return [each["attributes"]["path"] for each in reply.json["rag"]["sources"]]


async def test_it_cites_lines_at_a_commit_and_sees_what_is_called(fleet: Fleet) -> None:
    fleet.says("It turns a key [1], see house/door.py:9 and house/nowhere.py:7.")
    reply = await fleet.post(asked("How does `Door.open_slowly` work?"))
    assert reply.status == 200, reply.json
    assert paths(reply) == ["house/door.py", "house/lock.py"], "its definition, and that of what it calls, no test's"
    text = reply.json["choices"][0]["message"]["content"]
    assert text == (
        "It turns a key [1], see house/door.py:9 and house/nowhere.py:7.\n\n"
        "`open_slowly` is defined at `house/door.py:9-11`.\n"
        f"Sources:\n- `house/door.py:9-11` {AT_COMMIT}\n"
        "Not in the passages, so do not rely on it: `house/nowhere.py:7`"
    )
    assert [each["n"] for each in reply.json["rag"]["citations"]] == [1]
    assert reply.json["rag"]["citations"][0]["verified"] is True
    (prompt,) = fleet.calls("prompt")
    inputs = {tensor["name"]: tensor["data"][0] for tensor in prompt.body["inputs"]}
    given = [each["text"] for each in json.loads(inputs["passages"])]
    assert given[0].startswith("house/door.py:9-11 › Door\ndef open_slowly(self):")
    assert given[1] == f"house/lock.py:1-3\n{FILES['house/lock.py'].strip()}"
    lines = FILES["house/door.py"].split("\n")[8:11]
    assert given[0].partition("\n")[2].split() == "\n".join(lines).split()


async def test_streams_and_responses_end_with_the_same_places(fleet: Fleet) -> None:
    fleet.says("It turns a key.")
    known = "`turn_key` is defined at `house/lock.py:1-3`, `tests/test_door.py:1-2`."
    wanted = f"It turns a key.\n\n{known}\nSources:\n- `house/lock.py:1-3` {AT_COMMIT}"
    events = await fleet.stream("What does turn_key() do?", model="assistant:code")
    assert (events.text, events.error, events.done) == (wanted, None, True)
    reply = await fleet.post({"model": "assistant:code", "input": "What does turn_key() do?"}, path="/v1/responses")
    assert reply.json["output"][-1]["content"][0]["text"] == wanted


async def test_who_uses_a_name_is_found_and_a_search_beside_it(fleet: Fleet, start: Callable[..., Any]) -> None:
    fleet.says("Door does.")
    reply = await fleet.post(asked("What calls turn_key?"))
    assert paths(reply) == ["house/lock.py", "house/door.py"]
    known = "`turn_key` is defined at `house/lock.py:1-3`; used at `house/door.py:11`, `house/door.py:3`."
    assert known in reply.json["choices"][0]["message"]["content"]
    (store,) = {each["store"] for each in reply.json["rag"]["sources"]}
    found = [
        {
            "id": f"{store}/file-house-garden.py/0",
            "store": store,
            "file_id": "file-house-garden.py",
            "filename": "garden.py",
            "index": 0,
            "text": "house/garden.py\n" + FILES["house/garden.py"].strip(),
            "page": 0,
            "start": 0,
            "end": len(FILES["house/garden.py"].strip()),
            "score": 0.4,
            "attributes": {"path": "house/garden.py"},
        }
    ]
    fleet.answers.passages = found
    assert paths(await fleet.post(asked("Where are plants watered?"))) == ["house/garden.py"]
    reply = await fleet.post(asked("Where is `Door`?"))
    assert paths(reply) == ["house/door.py", "house/garden.py"]


async def test_nothing_found_is_said_and_other_stores_are_answered_as_in_a_chat(fleet: Fleet) -> None:
    reply = await fleet.post(asked("Why is the sky blue?"))
    assert reply.json["rag"]["grounded"] is False
    assert not fleet.calls(), "no engine was asked"
    fleet.says("Yes.")
    tool = {"type": "file_search", "vector_store_ids": ["code"]}
    reply = await fleet.post({"model": "assistant:code", "input": "Who?", "tools": [tool]}, path="/v1/responses")
    assert reply.status == 200, reply.json
    assert fleet.calls("context")


async def test_a_store_search_for_a_name_finds_its_definition_first(fleet: Fleet) -> None:
    store = fleet.stores["code"]
    for query, wanted in (
        ("Door", ["house/door.py"]),
        ("house.door.Door.open_slowly", ["house/door.py"]),
        ("turn_key()", ["house/lock.py", "tests/test_door.py"]),
        ("Window", []),
        ("turn_key and more", []),
    ):
        reply = await fleet.post({"query": query}, path=f"/v1/vector_stores/{store}/search")
        assert [each["attributes"]["path"] for each in reply.json["data"]] == wanted, query
    reply = await fleet.post(
        {"query": "Door", "filters": {"type": "eq", "key": "path", "value": "x"}},
        path=f"/v1/vector_stores/{store}/search",
    )
    assert reply.json["data"] == []


async def test_several_answers_and_answers_with_functions_are_the_models_alone(fleet: Fleet) -> None:
    fleet.says("Yes.")
    reply = await fleet.post(asked("Where is `Door`?", n=2))
    assert [each["message"]["content"] for each in reply.json["choices"]] == ["Yes.", "Yes."]
    tool = {"type": "function", "function": {"name": "run", "parameters": {"type": "object", "properties": {}}}}
    reply = await fleet.post(asked("Where is `Door`?", tools=[tool]))
    assert reply.json["choices"][0]["message"]["content"] == "Yes."


async def test_a_search_is_mixed_of_files_with_few_of_prose_and_of_tests(fleet: Fleet) -> None:
    fleet.says("Yes.")
    named = ["a.md", "b.md", "c.md", "tests/test_a.py", "x.py", "x.py", "x.py", "tests/test_b.py", "y.py", "z.py"]
    fleet.answers.passages = [
        {
            "id": f"vs/{n}/{n}",
            "store": "vs",
            "file_id": f"file-{path}",
            "filename": path.rpartition("/")[2],
            "index": n,
            "text": " ".join(f"word{n}of{i}" for i in range(6)),
            "page": 0,
            "start": 0,
            "end": 41,
            "score": 0.9 - n / 100,
            "attributes": {"path": path},
        }
        for n, path in enumerate(named)
    ]
    reply = await fleet.post(asked("Where is water?"))
    assert paths(reply) == ["x.py", "a.md", "b.md", "tests/test_a.py", "y.py", "x.py", "z.py"]
    reply = await fleet.post(asked("Where is water tested?"))
    assert paths(reply)[:5] == ["x.py", "a.md", "b.md", "tests/test_a.py", "tests/test_b.py"]
