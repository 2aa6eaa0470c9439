"""What is served at `/ui`, and what it shows of requests: `/admin/fleet`, `/admin/answers`, and the notes of a stream."""

import gzip
from typing import Any

import pytest

from gateway.api.ui import static_files
from gateway.triton.fake_answers import Script
from tests.support.running import Fleet

ADMIN = {"authorization": "Bearer admins"}


@pytest.fixture
async def fleet(start: Any) -> Fleet:
    running: Fleet = await start(api_key="secret", admin_key="admins")
    return running


async def test_the_page_and_all_its_files_are_small_and_let_nothing_else_in(fleet: Fleet) -> None:
    files = static_files()
    assert sum(len(each.body) for each in files.values()) <= 150 * 1024
    for path in ("/ui", *(f"/ui/{name}" for name in files)):
        async with fleet.http.get(path, headers={"accept-encoding": "identity"}) as response:
            assert response.status == 200
            policy = response.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "require-trusted-types-for 'script'" in policy
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["referrer-policy"] == "no-referrer"
            plain = await response.read()
        async with fleet.http.get(path, headers={"accept-encoding": "gzip"}, auto_decompress=False) as response:
            assert gzip.decompress(await response.read()) == plain
        async with fleet.http.get(path, headers={"if-none-match": response.headers["etag"]}) as response:
            assert (response.status, await response.read()) == (304, b"")


async def test_nothing_in_the_page_comes_from_elsewhere_or_makes_markup_of_text() -> None:
    for name, file in static_files().items():
        text = file.body.decode().replace("http://www.w3.org/2000/svg", "")
        for word in (
            "http:",
            "https:",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
        ):
            assert word not in text, (name, word)


@pytest.mark.parametrize("name", ["nothing.js", "..%2fconfig.py", "%2e%2e", "__init__.py", "index.html%00", ""])
async def test_other_files_are_not_there(fleet: Fleet, name: str) -> None:
    reply = await fleet.get(f"/ui/{name}")
    assert (reply.status, reply.error["type"]) == (404, "invalid_request_error")


async def test_it_can_be_switched_off(start: Any) -> None:
    fleet = await start(ui=False)
    for path in ("/ui", "/ui/main.js"):
        assert (await fleet.get(path)).status == 404


async def test_requests_are_told_with_their_stages_and_attempts_and_without_their_text(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reset_after=3))
    key = {"authorization": "Bearer secret"}
    moved = await fleet.chat("A secret question", headers=key | {"x-request-id": "moved"})
    await fleet.chat(headers=key | {"x-request-id": "plain"})
    await fleet.chat(headers=key | {"x-request-id": "refused"}, model="gpt-9")
    reply = await fleet.get("/admin/answers", headers=ADMIN)
    assert b"A secret question" not in reply.raw
    assert moved.text.encode() not in reply.raw
    refused, plain, first = reply.json["data"]
    assert [each["request_id"] for each in (refused, plain, first)] == ["refused", "plain", "moved"]
    assert [each["status"] for each in (refused, plain, first)] == [404, 200, 200]
    assert refused["attempts"] == []
    assert refused["stages"]["admitted"] is None
    lost, last = first["attempts"]
    assert (lost["tokens"], lost["cause"], last["tokens"], last["cause"]) == (3, "reset", 13, "end")
    assert lost["instance"] != last["instance"]
    stages = [first["stages"][name] for name in ("admitted", "prompt_built", "first_token", "ended")]
    assert stages == sorted(stages)
    assert stages[1] <= lost["started"] <= lost["started"] + lost["ms"] <= last["started"] + 1
    assert all(0 <= each["first_token_ms"] <= each["ms"] for each in (lost, last))
    assert first["usage"] == moved.json["usage"]
    assert first["trace_id"] is None
    only = (await fleet.get("/admin/answers?moved=true", headers=ADMIN)).json["data"]
    assert [each["request_id"] for each in only] == ["moved"]
    assert (await fleet.get("/admin/answers?limit=0", headers=ADMIN)).status == 400


async def test_an_answer_that_runs_is_seen_where_it_is(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(stall_after=3))
    async with fleet.open(headers={"authorization": "Bearer secret"}) as stream:
        await stream.text()
        (running,) = (await fleet.get("/admin/answers", headers=ADMIN)).json["data"]
        page = (await fleet.get("/admin/fleet", headers=ADMIN)).json
        for triton in fleet.tritons:
            triton.resume()
        await stream.rest()
    assert (running["status"], running["stages"]["ended"]) == (0, None)
    (attempt,) = running["attempts"]
    assert attempt["cause"] == ""
    assert attempt["instance"] in {"triton-0", "triton-1"}
    assert page["answers_running"] == 1
    assert [each["this"] for each in page["gateways"]] == [True]


async def test_a_stream_notes_each_instance_where_that_is_asked_for(fleet: Fleet) -> None:
    key = {"authorization": "Bearer secret"}
    plain = await fleet.stream(headers=key)
    fleet.answers.script("llm", Script(reset_after=3))
    noted = await fleet.stream(headers=key, stream_options={"include_attempts": True})
    notes = [
        (place, each["ragfleet"]["attempts"])
        for place, each in enumerate(noted.chunks)
        if "ragfleet" in each and each["choices"][0]["finish_reason"] is None
    ]
    assert noted.text == plain.text
    assert [[attempt["cause"] for attempt in attempts] for _, attempts in notes] == [[""], ["reset", ""]]
    between = "".join(
        each["choices"][0]["delta"].get("content", "") for each in noted.chunks[notes[0][0] : notes[1][0]]
    )
    assert plain.text.startswith(between)
    assert between
    assert not any("ragfleet" in each and each["choices"][0]["finish_reason"] is None for each in plain.chunks)
