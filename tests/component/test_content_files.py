"""Files in and out of the content assistant: what comes is a file of the tenant, named in the answer; form and glossary stay."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from gateway.knowledge.catalog.administration import TenantSettings
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant
from ragfleet.assistant_files import work_on_file
from tests.support.running import MODEL, TENANT, Fleet
from tests.support.word_files import form, paragraph, run, word_file, words

PROFILE = """
kind: content
system: You write.
max_tokens: 60
max_input_chars: 5000
writing: {glossary: {Dewpoint Pro: Taupunkt Pro}, piece_chars: 200, max_pieces: 30, concurrency: 3}
"""
WORD = word_file(
    paragraph(run("The "), "Heading1")
    + paragraph(run("The ") + run("Dew", "<w:b/>") + run("point Pro leaks."))
    + paragraph(run("The ")),
    header=paragraph(run("The page")),
    footnote=paragraph(run("A note")),
)


@pytest.fixture
async def fleet(start: Callable[..., Any], tmp_path: Path) -> Fleet:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "writer.yaml").write_text(PROFILE)
    made: Fleet = await start(assistants_dir=folder)
    made.says("Wort")
    return made


async def upload(fleet: Fleet, content: bytes, name: str = "report.docx", **fields: str) -> str:
    """The id of a new file."""
    data = aiohttp.FormData(quote_fields=False)
    for field, value in {"purpose": "user_data", **fields}.items():
        data.add_field(field, value)
    data.add_field("file", content, filename=name)
    async with fleet.http.post("/v1/files", data=data) as response:
        assert response.status == 200
        return str((await response.json())["id"])


async def fetched(fleet: Fleet, file_id: str) -> bytes:
    """Its content."""
    async with fleet.http.get(f"/v1/files/{file_id}/content") as response:
        assert response.status == 200
        return await response.read()


def asked(file_id: str, said: str = "Translate to German:", model: str = "assistant:writer") -> dict[str, Any]:
    """A response."""
    parts = [{"type": "input_text", "text": said}, {"type": "input_file", "file_id": file_id}]
    return {"model": model, "input": [{"role": "user", "content": parts}]}


async def post(fleet: Fleet, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Status and body."""
    async with fleet.http.post(path, json=body) as response:
        return response.status, await response.json()


async def test_a_word_file_comes_back_with_other_words_and_the_same_form(fleet: Fleet) -> None:
    source = await upload(fleet, WORD)
    status, body = await post(fleet, "/v1/responses", asked(source))
    assert status == 200, body
    (part,) = body["output"][0]["content"]
    (note,) = part["annotations"]
    assert note["type"] == "file_path"
    assert part["text"] == f"[report.translated.docx](/v1/files/{note['file_id']}/content)\n"
    made = await fetched(fleet, note["file_id"])
    assert form(made) == form(WORD)
    assert words(made) == ["Wort ", "Wort Taupunkt Pro Wort.", "Wort "]
    assert len(fleet.calls()) == 4, "what stands there twice is written once"
    assert body["usage"]["output_tokens"] > 3
    again = {"model": "assistant:writer", "previous_response_id": body["id"], "input": "Translate to German: a"}
    assert (await post(fleet, "/v1/responses", again))[0] == 200, "files of earlier turns are no hindrance"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_names_the_file_by_its_address(fleet: Fleet, stream: bool) -> None:
    source = await upload(fleet, b"# The pump\n\n<b>leaks</b> `x`\n", "a [b].md")
    parts = [{"type": "text", "text": "Translate to German"}, {"type": "file", "file": {"file_id": source}}]
    body = {"model": "assistant:writer", "messages": [{"role": "user", "content": parts}], "stream": stream}
    async with fleet.http.post("/v1/chat/completions", json=body) as response:
        told = await response.text()
    if stream:
        chunks = [json.loads(line[6:]) for line in told.splitlines() if line.startswith("data: {")]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
        text = "".join(each.get("content") or "" for each in deltas)
        notes = [note for each in deltas for note in each.get("annotations") or ()]
    else:
        message = json.loads(told)["choices"][0]["message"]
        text, notes = message["content"], message["annotations"]
    ((note),) = (each["url_citation"] for each in notes)
    assert text.startswith("# Wort\n\n<b>Wort</b> `x`\n\n[a_b_.translated.md](/v1/files/")
    assert text[note["start_index"] : note["end_index"]] == f"[a_b_.translated.md]({note['url']})"
    assert note["title"] == "a [b].translated.md"
    assert await fetched(fleet, note["url"].split("/")[3]) == b"# Wort\n\n<b>Wort</b> `x`\n"


async def test_the_command_brings_a_file_back_and_leaves_none(fleet: Fleet, tmp_path: Path) -> None:
    source, target = tmp_path / "report.docx", tmp_path / "bericht.docx"
    source.write_bytes(WORD)
    seen: Any = SimpleNamespace(gateway_url=fleet.url.rstrip("/"), api_key="none")
    told = await asyncio.to_thread(work_on_file, seen, "assistant:writer", "Translate to German", source, target)
    assert told["text"].startswith("[report.translated.docx](")
    assert form(target.read_bytes()) == form(WORD)
    assert words(target.read_bytes())[1] == "Wort Taupunkt Pro Wort."
    async with fleet.http.get("/v1/files") as response:
        assert (await response.json())["data"] == []


async def test_a_summary_is_in_the_answer_and_in_a_file(fleet: Fleet) -> None:
    source = await upload(
        fleet, word_file("".join(paragraph(run(f"Paragraph {n} is one of some.")) for n in range(20)))
    )
    status, body = await post(fleet, "/v1/responses", asked(source, "Summarise"))
    assert status == 200, body
    text = body["output"][0]["content"][0]["text"]
    assert text.startswith("Wort\n\n[1] characters 0–")
    made = await fetched(fleet, body["output"][0]["content"][0]["annotations"][0]["file_id"])
    assert words(made) == [line for line in text.splitlines() if line and "report.summary.docx" not in line]


async def test_what_comes_of_a_file_is_seen_by_those_who_see_the_file(fleet: Fleet) -> None:
    source = await upload(fleet, WORD, allow="hr")
    _, body = await post(fleet, "/v1/responses", asked(source))
    made = body["output"][0]["content"][0]["annotations"][0]["file_id"]
    files = fleet.gateway.catalog.of(Tenant(TENANT)).files
    assert (await files.get(made)).allow == (await files.get(source)).allow == ["hr"]


async def test_a_key_needs_the_scopes_of_files(start: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "writer.yaml").write_text(PROFILE)
    fleet: Fleet = await start(assistants_dir=folder)
    administrator = fleet.gateway.administration.by("cli:a test")
    await administrator.create_tenant("acme", TenantSettings())
    for scopes, missing in {(Scope.CHAT,): "write", (Scope.CHAT, Scope.KNOWLEDGE_WRITE): "read"}.items():
        key = (await administrator.create_key("acme", scopes=scopes))[1].text
        headers = {"authorization": f"Bearer {key}"}
        async with fleet.http.post("/v1/responses", json=asked("file-0"), headers=headers) as response:
            assert (response.status, f"knowledge:{missing}" in await response.text()) == (403, True)
    assert not fleet.calls()


async def test_what_cannot_be_worked_on_is_refused_before_a_step(fleet: Fleet) -> None:
    word = await upload(fleet, WORD)
    cases = {
        "no file": asked("file-000000000000000000000000"),
        "not read": asked(await upload(fleet, b"x", "a.pdf")),
        "no docx": asked(await upload(fleet, b"PK broken")),
        "no text": asked(await upload(fleet, word_file(""))),
        "too long": asked(await upload(fleet, b"word " * 2000, "a.txt")),
        "no UTF-8": asked(await upload(fleet, b"\xff\xfe\x00", "a.txt")),
        "no words": asked(word, " "),
        "another assistant": asked(word, model="assistant:data"),
        "a model": asked(word, model=MODEL),
        "with tools": asked(word) | {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
    }
    for what, body in cases.items():
        status, reply = await post(fleet, "/v1/responses", body)
        assert status == (404 if what == "no file" else 400), (what, reply)
        assert reply["error"]["message"]
    two = asked(word)
    two["input"][0]["content"].append({"type": "input_file", "file_id": word})
    assert (await post(fleet, "/v1/responses", two))[0] == 400
    whole = asked(word)
    whole["input"][0]["content"][1] = {"type": "input_file", "filename": "a.docx", "file_data": "data:;base64,UEs="}
    status, reply = await post(fleet, "/v1/responses", whole)
    assert (status, "upload it first" in reply["error"]["message"]) == (400, True), reply
    others = asked(word)
    others["input"][0]["role"] = "developer"
    assert (await post(fleet, "/v1/responses", others))[0] == 400
    assert not fleet.calls()
