"""`/v1/batches`: a file of requests becomes a file of answers; a line fails alone; what was answered is not asked again."""

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from sqlalchemy import select

from gateway.batches import worker
from gateway.batches.worker import BatchWorker
from gateway.errors import CatalogUnavailable, NotFound, Overloaded
from gateway.knowledge.catalog import schema
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.types import PageQuery
from gateway.tenants.tenant import Tenant
from gateway.triton.fake_answers import Script
from tests.support.gateway_client import Client
from tests.support.running import EMBEDDING, MODEL, Fleet

PATH = "/v1/batches"
CHAT = "/v1/chat/completions"


@pytest.fixture
def client(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(BatchWorker, "RENEW_S", 0.02)
    fleet.says("Thirty days.")
    return Client(fleet)


def _chat(text: str = "How long?", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 60, **fields}


def _line(custom_id: str, body: Any, url: str = CHAT, **fields: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body, **fields}


async def _upload(client: Client, content: bytes, purpose: str = "batch") -> str:
    form = aiohttp.FormData()
    form.add_field("purpose", purpose)
    form.add_field("file", content, filename="requests.jsonl")
    return str((await client.ask("POST", "/v1/files", form=form))["id"])


async def _begin(client: Client, lines: Any, endpoint: str = CHAT, **fields: Any) -> Any:
    content = lines if isinstance(lines, bytes) else b"\n".join(json.dumps(line).encode() for line in lines)
    wanted = {"input_file_id": await _upload(client, content), "endpoint": endpoint, "completion_window": "24h"}
    return await client.ask("POST", PATH, wanted | fields)


async def _until(client: Client, batch_id: str, *statuses: str) -> Any:
    async with asyncio.timeout(60):
        while True:
            found = await client.ask("GET", f"{PATH}/{batch_id}")
            if found["status"] in statuses:
                return found
            await asyncio.sleep(0.01)


async def _ended(client: Client, batch_id: str) -> Any:
    return await _until(client, batch_id, "completed", "failed", "expired", "cancelled")


async def _lines(client: Client, file_id: str) -> dict[str, Any]:
    """The answers of a file by their custom ids."""
    content = (await client.call("GET", f"/v1/files/{file_id}/content")).raw
    read = [json.loads(line) for line in content.splitlines()]
    found = {line["custom_id"]: line for line in read}
    assert len(found) == len(read), "no line is there twice"
    return found


async def test_each_line_is_answered_and_fails_by_itself(client: Client) -> None:
    lines = [_line(f"good-{n}", _chat(f"{n}?")) for n in range(12)]
    lines += [
        _line("bad", _chat(temperature=7)),
        _line("streamed", _chat(stream=True)),
        _line("lost", {"model": "none"}),
    ]
    made = await _begin(client, lines, metadata={"night": "1"})
    assert (made["object"], made["status"], made["metadata"]) == ("batch", "validating", {"night": "1"})
    assert made["expires_at"] - made["created_at"] == 86_400
    ended = await _ended(client, made["id"])
    assert (ended["status"], ended["errors"]) == ("completed", None)
    assert ended["request_counts"] == {"total": 15, "completed": 12, "failed": 3}
    good = await _lines(client, ended["output_file_id"])
    assert good.keys() == {f"good-{n}" for n in range(12)}
    for line in good.values():
        assert (line["error"], line["response"]["status_code"]) == (None, 200)
        assert line["response"]["body"]["choices"][0]["message"]["content"] == "Thirty days."
    wrong = await _lines(client, ended["error_file_id"])
    assert {name: line["response"]["body"]["error"]["param"] for name, line in wrong.items()} == {
        "bad": "temperature",
        "streamed": "stream",
        "lost": "messages",
    }
    assert {line["response"]["status_code"] for line in wrong.values()} == {400}
    file = await client.ask("GET", f"/v1/files/{ended['output_file_id']}")
    assert file["purpose"] == "batch_output"
    assert [each["id"] for each in (await client.ask("GET", PATH))["data"]] == [made["id"]]


@pytest.mark.parametrize(
    ("endpoint", "body", "kind"),
    [
        ("/v1/completions", {"model": MODEL, "prompt": "Once", "max_tokens": 60}, "text_completion"),
        ("/v1/responses", {"model": MODEL, "input": "How long?"}, "response"),
        ("/v1/embeddings", {"model": EMBEDDING, "input": "Thirty days."}, "list"),
    ],
)
async def test_each_endpoint(client: Client, endpoint: str, body: Any, kind: str) -> None:
    client.fleet.follows(lambda ids: client.fleet.plain[0] if len(ids) % 7 else None)
    ended = await _ended(client, (await _begin(client, [_line("a", body, endpoint)], endpoint))["id"])
    assert ended["request_counts"] == {"total": 1, "completed": 1, "failed": 0}, ended
    assert (await _lines(client, ended["output_file_id"]))["a"]["response"]["body"]["object"] == kind
    assert ended["error_file_id"] is None


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        (b"", "empty_file", None),
        (b"\n\n", "empty_file", None),
        (b"{", "invalid_json_line", 1),
        (b"[1]", "invalid_json_line", 1),
        (b"\xff", "invalid_json_line", 1),
        ([{"custom_id": "a"}], "missing_required_parameter", 1),
        ([_line("a", {}), _line("b", {}), _line("a", {})], "duplicate_custom_id", 3),
        ([_line("a", {}, "/v1/embeddings")], "mismatched_endpoint", 1),
        ([_line("a", {}, method="GET")], "invalid_method", 1),
        ([_line("a", [])], "invalid_body", 1),
        ([_line("a" * 513, {})], "invalid_custom_id", 1),
        ([_line("a", {"x": "y" * 300_000})], "line_too_long", 1),
        ([_line(str(n), {}) for n in range(5)], "too_many_tasks", None),
    ],
)
async def test_a_file_that_is_none_fails_the_batch(
    start: Any, monkeypatch: pytest.MonkeyPatch, lines: Any, code: str, line: int | None
) -> None:
    monkeypatch.setattr("gateway.batches.input_file.MAX_LINES", 4)
    client = Client(await start(max_body_bytes=200_000))
    if lines == b"":
        lines = b" "
    ended = await _ended(client, (await _begin(client, lines))["id"])
    assert (ended["status"], ended["output_file_id"]) == ("failed", None)
    (error, *_) = ended["errors"]["data"]
    assert (error["code"], error["line"]) == (code, line), ended["errors"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"input_file_id": "file-none"}, 404, "input_file_id"),
        ({"endpoint": "/v1/moderations"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"metadata": {"a": 1}}, 400, "metadata.a"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "output_expires_after.seconds"),
        ({"surprise": 1}, 400, "surprise"),
    ],
)
async def test_what_is_refused(client: Client, fields: Any, status: int, param: str) -> None:
    wanted = {"input_file_id": await _upload(client, b"{}"), "endpoint": CHAT, "completion_window": "24h"}
    reply = await client.call("POST", PATH, wanted | fields)
    assert (reply.status, reply.error["param"]) == (status, param), reply.raw


async def test_a_file_for_something_else_is_refused(client: Client) -> None:
    other = await _upload(client, b"{}", "assistants")
    wanted = {"input_file_id": other, "endpoint": CHAT, "completion_window": "24h"}
    reply = await client.call("POST", PATH, wanted)
    assert (reply.status, reply.error["code"]) == (400, "invalid_purpose")
    for method, path in (("GET", f"{PATH}/batch_none"), ("POST", f"{PATH}/batch_none/cancel")):
        assert (await client.call(method, path)).status == 404


async def test_a_batch_is_gone_on_with_and_asks_for_nothing_twice(client: Client) -> None:
    fleet = client.fleet
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=0)
    lines = [_line(f"line-{n}", _chat(f"Number {n}?")) for n in range(20)]
    fleet.answers.script("llm", *[Script() for _ in range(5)])
    made = await _begin(client, lines)
    async with asyncio.timeout(60):
        while (await client.ask("GET", f"{PATH}/{made['id']}"))["request_counts"]["completed"] < 5:
            pass
    asked = len(fleet.calls("prompt"))
    for triton in fleet.tritons:
        triton.always.pop("llm")
    await fleet.gateway.batches.close()  # as at this gateway's end; its successor goes on
    ended = await _ended(client, made["id"])
    assert ended["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert len(await _lines(client, ended["output_file_id"])) == 20
    again = len(fleet.calls("prompt")) - asked
    assert again == 15, "the five that were answered are not asked for again"


async def test_a_batch_is_cancelled(client: Client) -> None:
    fleet = client.fleet
    for triton in fleet.tritons:
        triton.always["llm"] = Script(stall_after=0)
    fleet.answers.script("llm", *[Script() for _ in range(3)])
    made = await _begin(client, [_line(f"line-{n}", _chat()) for n in range(40)])
    async with asyncio.timeout(60):
        while (await client.ask("GET", f"{PATH}/{made['id']}"))["request_counts"]["completed"] < 3:
            pass
    assert (await client.ask("POST", f"{PATH}/{made['id']}/cancel"))["status"] == "cancelling"
    for triton in fleet.tritons:
        triton.always.pop("llm")
    await fleet.gateway.batches.close()
    ended = await _ended(client, made["id"])
    assert ended["status"] == "cancelled"
    assert ended["cancelled_at"] >= ended["cancelling_at"]
    counts = ended["request_counts"]
    assert 3 <= counts["completed"] < 40
    assert len(await _lines(client, ended["output_file_id"])) == counts["completed"]
    assert await client.ask("POST", f"{PATH}/{made['id']}/cancel") == ended


async def test_a_batch_expires_and_says_which_lines_were_not_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.batches.WINDOW_S", 0)
    ended = await _ended(client, (await _begin(client, [_line("a", _chat()), _line("b", _chat())]))["id"])
    assert (ended["status"], ended["request_counts"]) == ("expired", {"total": 2, "completed": 0, "failed": 2})
    wrong = await _lines(client, ended["error_file_id"])
    assert {line["error"]["code"] for line in wrong.values()} == {"batch_expired"}


async def test_same_key_makes_one_batch(client: Client) -> None:
    file = await _upload(client, json.dumps(_line("a", _chat())).encode())
    wanted = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    made = await client.ask("POST", PATH, wanted, key="k")
    assert await client.ask("POST", PATH, wanted, key="k") == made
    await _ended(client, made["id"])
    assert len((await client.ask("GET", PATH))["data"]) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_file_as_windows_writes_it(client: Client, end: str) -> None:
    lines = [json.dumps(_line(f"r{number}", _chat())) for number in range(2)]
    batch = await _begin(client, ("\ufeff" + end.join(lines) + end * 2).encode())
    ended = await _ended(client, batch["id"])
    assert (ended["status"], ended["request_counts"]["completed"]) == ("completed", 2)


async def _stalled(client: Client, answered: int, lines: int) -> Any:
    """A batch of so many lines, of which some are answered and the others wait for their engines."""
    for triton in client.fleet.tritons:
        triton.always["llm"] = Script(stall_after=0)
    client.fleet.answers.script("llm", *[Script() for _ in range(answered)])
    made = await _begin(client, [_line(f"line-{n}", _chat(f"{n}?")) for n in range(lines)])
    async with asyncio.timeout(60):
        while (await client.ask("GET", f"{PATH}/{made['id']}"))["request_counts"]["completed"] < answered:
            await asyncio.sleep(0.01)
    return made


def _go_on(client: Client) -> None:
    for triton in client.fleet.tritons:
        triton.always.pop("llm")


async def _rows(client: Client) -> Any:
    await client.fleet.gateway.ledger.step()
    async with client.fleet.gateway.catalog.database.read() as connection:
        return (await connection.execute(select(schema.ledger))).all()


async def test_a_line_whose_gateway_dies_is_charged_once(client: Client) -> None:
    made = await _stalled(client, 5, 12)
    gateway = client.fleet.gateway
    running = {entry.id for entry in gateway.ledger._open}
    assert running
    _go_on(client)
    await gateway.batches.close()
    ended = await _ended(client, made["id"])
    assert ended["request_counts"] == {"total": 12, "completed": 12, "failed": 0}
    rows = await _rows(client)
    assert len({row.request_id for row in rows}) == len(rows) == 12
    assert running <= {row.id for row in rows}
    assert {(row.state, row.outcome) for row in rows} == {("settled", "completed")}
    usages = [line["response"]["body"]["usage"] for line in (await _lines(client, ended["output_file_id"])).values()]
    assert sum(row.completion for row in rows) == sum(usage["completion_tokens"] for usage in usages)
    assert sum(row.prompt for row in rows) == sum(usage["prompt_tokens"] for usage in usages)


async def test_a_batch_that_expires_has_what_was_answered_and_says_which_lines_were_not(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _stalled(client, 4, 10)
    monkeypatch.setattr(worker, "time", SimpleNamespace(time=lambda: time.time() + 90_000))
    await client.fleet.gateway.batches.close()  # its successor goes on a day later
    ended = await _ended(client, made["id"])
    assert (ended["status"], ended["request_counts"]) == ("expired", {"total": 10, "completed": 4, "failed": 6})
    answered = await _lines(client, ended["output_file_id"])
    wrong = await _lines(client, ended["error_file_id"])
    assert answered.keys() | wrong.keys() == {f"line-{n}" for n in range(10)}
    assert not answered.keys() & wrong.keys()
    assert {line["response"]["status_code"] for line in answered.values()} == {200}
    for line in wrong.values():
        assert line["response"] is None
        assert line["error"]["code"] == "batch_expired"
    _go_on(client)


async def test_the_catalog_is_away_for_a_moment_and_no_answer_is_lost(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "AGAIN_S", 0.01)
    queue, away = client.fleet.gateway.batches._queue, 5
    record = queue.record

    async def recorded(*args: Any) -> bool:
        nonlocal away
        if away:
            away -= 1
            raise CatalogUnavailable("away")
        return await record(*args)

    monkeypatch.setattr(queue, "record", recorded)
    ended = await _ended(client, (await _begin(client, [_line(f"{n}", _chat()) for n in range(8)]))["id"])
    assert (ended["status"], ended["request_counts"]["completed"]) == ("completed", 8), ended["errors"]
    assert len(client.fleet.calls("prompt")) == 8, "no line is asked twice"


async def test_a_batch_that_was_let_fall_is_taken_up_though_others_are_worked_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchWorker, "LEASE_S", 1.0)
    queue, away = client.fleet.gateway.batches._queue, {"fallen"}
    update_batch = queue.update

    async def updated(owner: str, batch: Any) -> Any:
        if batch["metadata"] and batch["metadata"]["name"] in away:
            away.clear()
            raise CatalogUnavailable("away")
        return await update_batch(owner, batch)

    await _stalled(client, 1, 3)
    monkeypatch.setattr(queue, "update", updated)
    client.fleet.answers.script("llm", Script())
    fallen = await _begin(client, [_line("a", _chat(temperature=7))], metadata={"name": "fallen"})
    assert (await _ended(client, fallen["id"]))["status"] == "completed"
    _go_on(client)
    await client.fleet.gateway.batches.close()  # lines that stand still are asked again; by itself after ten seconds


async def test_what_was_answered_is_there_though_the_input_is_gone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _stalled(client, 3, 12)
    batches = client.fleet.gateway.batches

    def gone(key: str) -> Any:
        raise NotFound("It is gone.")

    with monkeypatch.context() as patches:
        patches.setattr(batches._objects, "get", gone)
        await batches.close()
        ended = await _ended(client, made["id"])
    _go_on(client)
    assert (ended["status"], ended["request_counts"]["completed"]) == ("failed", 3)
    assert ended["errors"]["data"]
    assert len(await _lines(client, ended["output_file_id"])) == 3


async def test_who_has_lost_a_batch_ends_it_no_more(client: Client) -> None:
    made = await _begin(client, [_line("a", _chat())])
    ended = await _ended(client, made["id"])
    catalog = client.fleet.gateway.catalog.of(Tenant("default"))
    with pytest.raises(LeaseLost):
        await catalog.batches.finish("late", {**ended, "output_file_id": None})
    with pytest.raises(LeaseLost):
        await client.fleet.gateway.catalog.batches.update("late", ended)
    assert await client.ask("GET", f"{PATH}/{made['id']}") == ended


async def test_one_that_is_cancelled_while_its_file_is_read_is_cancelled(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = worker.check_input

    async def checked(*args: Any, **how: Any) -> Any:
        found = await check(*args, **how)
        batches = client.fleet.gateway.catalog.of(Tenant("default")).batches
        (batch,) = (await batches.page(PageQuery())).items
        assert (await batches.cancel(batch["id"]))["status"] == "cancelling"
        return found

    monkeypatch.setattr(worker, "check_input", checked)
    ended = await _ended(client, (await _begin(client, [_line("a", _chat())]))["id"])
    assert (ended["status"], ended["request_counts"]["total"]) == ("cancelled", 1)
    assert not client.fleet.calls("llm")


async def _tenant(start: Any, **limits: int) -> tuple[Client, Client, Any]:
    """Clients of an administrator and of a tenant, and the tenant's key."""
    fleet = await start(admin_key="admins")
    fleet.says("Thirty days.")
    admin = Client(fleet, bearer="admins")
    await admin.ask("POST", "/admin/tenants", {"name": "small", "limits": limits})
    made = await admin.ask("POST", "/admin/keys", {"tenant": "small"})
    return admin, Client(fleet, bearer=made["key"]), made


async def test_a_line_over_the_limit_by_itself_fails_and_holds_up_none(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BatchWorker, "RENEW_S", 0.02)
    _, client, _ = await _tenant(start, tokens_per_minute=1_000)
    lines = [_line("large", {**_chat(), "n": 8, "max_tokens": 200}), _line("small", _chat())]
    ended = await _ended(client, (await _begin(client, lines))["id"])
    assert ended["request_counts"] == {"total": 2, "completed": 1, "failed": 1}
    wrong = await _lines(client, ended["error_file_id"])
    assert wrong["large"]["response"]["status_code"] == 429


async def test_a_suspended_tenants_batch_waits(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchWorker, "RENEW_S", 0.02)
    monkeypatch.setattr(worker, "AGAIN_S", 0.01)
    admin, client, _ = await _tenant(start)
    made = await _stalled(client, 3, 12)
    batches, waiting = client.fleet.gateway.batches, asyncio.Event()
    await admin.ask("POST", "/admin/tenants/small/suspend")
    claim = batches._queue.claim

    async def looked(*args: Any, **how: Any) -> Any:
        found = await claim(*args, **how)
        waiting.set()
        return found

    monkeypatch.setattr(batches._queue, "claim", looked)
    _go_on(client)
    await batches.close()
    asked = len(client.fleet.calls("prompt"))
    for _ in range(2):
        waiting.clear()
        await asyncio.wait_for(waiting.wait(), 60)
    assert not batches.running
    assert len(client.fleet.calls("prompt")) == asked
    await admin.ask("POST", "/admin/tenants/small/resume")
    assert (await _ended(client, made["id"]))["request_counts"]["completed"] == 12


async def test_with_a_revoked_key_no_further_line_is_answered(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchWorker, "RENEW_S", 0.02)
    admin, client, key = await _tenant(start)
    other = await admin.ask("POST", "/admin/keys", {"tenant": "small"})
    made = await _stalled(client, 3, 12)
    asked = len(client.fleet.calls("prompt"))
    await admin.ask("DELETE", f"/admin/keys/{key['id']}")
    _go_on(client)
    client = Client(client.fleet, bearer=other["key"])
    await client.fleet.gateway.batches.close()
    ended = await _ended(client, made["id"])
    assert ended["request_counts"] == {"total": 12, "completed": 3, "failed": 9}
    assert len(client.fleet.calls("prompt")) == asked
    wrong = await _lines(client, ended["error_file_id"])
    assert {line["response"]["status_code"] for line in wrong.values()} == {401}


async def test_a_tenant_with_all_places_makes_room_for_another_one(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchWorker, "RENEW_S", 0.02)
    monkeypatch.setattr(BatchWorker, "RUNNING", 2)
    admin, greedy, _ = await _tenant(start)
    await admin.ask("POST", "/admin/tenants", {"name": "other"})
    other = Client(greedy.fleet, bearer=(await admin.ask("POST", "/admin/keys", {"tenant": "other"}))["key"])
    batches = greedy.fleet.gateway.batches
    answer, held = batches._answer, asyncio.Event()
    assert answer is not None

    async def answered(endpoint: str, body: bytes, tenant: Tenant, request_id: str) -> Any:
        if tenant.name == "small" and not held.is_set():
            raise Overloaded("There is no room.", retry_after_s=0.01)
        return await answer(endpoint, body, tenant, request_id)

    monkeypatch.setattr(batches, "_answer", answered)
    made = [await _begin(greedy, [_line(f"{n}", _chat()) for n in range(4)]) for _ in range(3)]
    assert (await _ended(other, (await _begin(other, [_line("a", _chat())]))["id"]))["status"] == "completed"
    held.set()
    for each in made:
        assert (await _ended(greedy, each["id"]))["request_counts"]["completed"] == 4
