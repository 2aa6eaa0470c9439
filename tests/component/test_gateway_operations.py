"""Everything around an answer: keys, tenants, request ids, models, health, metrics, overload, shutdown."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import fastapi.routing
import pytest

from gateway.environment import ConfigError
from gateway.errors import RagfleetError
from gateway.fleet.outlier_detection import OutlierSettings
from gateway.lifespan import drain
from gateway.triton.fake_answers import Script
from tests.support.fleet_views import view_where
from tests.support.running import EMBEDDING, MODEL, Fleet

Start = Callable[..., Any]


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer wrong", "secret", "Bearer sécret"]
)
async def test_without_the_key_nothing_is_served(start: Start, header: str | None) -> None:
    fleet = await start(api_key="secret")
    headers = {} if header is None else {"Authorization": header}
    for reply in (
        await fleet.chat(headers=headers),
        await fleet.get("/v1/models", headers=headers),
        await fleet.get(f"/v1/models/{MODEL}", headers=headers),
    ):
        assert reply.status == 401
        assert reply.error["code"] == "invalid_api_key"
        assert "secret" not in reply.error["message"]
    assert not fleet.calls("prompt")


async def test_key_is_asked_for_before_the_body_is_looked_at(start: Start) -> None:
    fleet = await start(api_key="secret")
    assert (await fleet.post(b"{")).status == 401


@pytest.mark.parametrize("header", ["Bearer secret", "bearer secret", "Bearer  secret "])
async def test_with_the_key(start: Start, header: str) -> None:
    fleet = await start(api_key="secret")
    assert (await fleet.chat(headers={"Authorization": header})).status == 200


async def test_operations_need_no_key(start: Start) -> None:
    fleet = await start(api_key="secret")
    for path in ("/health/live", "/health/ready", "/metrics", "/fleet", "/docs", "/openapi.json"):
        assert (await fleet.get(path)).status == 200, path


async def test_tenants_of_a_file(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{name: red, keys: [r1, r2], weight: 3, priority: 1}, {name: blue, keys: [b1]}]")
    fleet = await start(api_key="secret", tenants_file=file)
    for key in ("r1", "r2", "b1", "secret"):
        assert (await fleet.chat(headers=_bearer(key))).status == 200
    assert (await fleet.chat(headers=_bearer("b2"))).status == 401
    metrics = (await fleet.get("/metrics")).raw.decode()
    for tenant, count in (("red", 2.0), ("blue", 1.0), ("default", 1.0)):
        assert f'ragfleet_requests_total{{model="tiny",route="chat",status="200",tenant="{tenant}"}} {count}' in metrics


async def test_tenants_file_without_a_key_opens_nothing(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: []")
    with pytest.raises(ConfigError, match="tenants"):
        await start(tenants_file=file)


# Request ids


async def test_request_id_of_the_client_comes_back_on_every_answer(start: Start) -> None:
    fleet = await start(api_key="secret")
    mine = {"X-Request-Id": "my-id_1:2.3"}
    replies = [
        await fleet.chat(headers=mine | _bearer("secret")),
        await fleet.chat(headers=mine | _bearer("secret"), model="gpt-9"),
        await fleet.chat(headers=mine),
        await fleet.get("/nowhere", headers=mine),
        await fleet.get("/health/live", headers=mine),
    ]
    assert [r.headers["x-request-id"] for r in replies] == ["my-id_1:2.3"] * len(replies)
    events = await fleet.stream(headers=mine | _bearer("secret"))
    assert events.headers["x-request-id"] == "my-id_1:2.3"
    assert fleet.calls()[0].body["id"].startswith("my-id_1:2.3/")
    assert fleet.calls("prompt")[0].body["id"] == "my-id_1:2.3"


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", 'a"b', "ü"])
async def test_request_without_a_sane_id_gets_one(fleet: Fleet, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    ids = {(await fleet.chat(max_tokens=1, headers=headers)).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"req-[0-9a-f]{32}", i) for i in ids)


# Paths


async def test_models(fleet: Fleet) -> None:
    await fleet.learn("handbook")
    body = (await fleet.get("/v1/models")).json
    assert body["object"] == "list"
    assistants = [f"assistant:{name}" for name in ("code", "content", "data", "support")]
    assert [m["id"] for m in body["data"]] == [MODEL, "rag", "rag:handbook", *assistants, EMBEDDING]
    each = {"id", "object", "created", "owned_by", "type"}
    assert all(m.keys() - {"abilities", "assistant"} == each for m in body["data"])
    assert ["abilities" in m for m in body["data"]] == [True] * 7 + [False]
    assert [m["type"] for m in body["data"]] == ["chat"] * 7 + ["embedding"]
    assert all(abs(m["created"] - time.time()) < 600 for m in body["data"])
    assert (await fleet.get("/v1/models/rag:handbook")).json["id"] == "rag:handbook"
    missing = await fleet.get("/v1/models/gpt-9")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/nowhere", 404), ("/", 404), ("/v1/embeddings", 405), ("/v1/models/", 404)]
)
async def test_paths_that_are_not_there(fleet: Fleet, path: str, status: int) -> None:
    reply = await fleet.get(path)
    assert reply.status == status
    assert reply.error["type"] == "invalid_request_error"


async def test_wrong_method(fleet: Fleet) -> None:
    for path in ("/v1/models", "/health/live"):
        reply = await fleet.post({}, path=path)
        assert reply.status == 405
        assert "POST" in reply.error["message"]
        assert reply.headers["allow"] == "GET, HEAD"


async def test_openapi_shows_the_request(fleet: Fleet) -> None:
    document = (await fleet.get("/openapi.json")).json
    schema = document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ChatRequest"}
    assert {"model", "messages", "stream"} <= document["components"]["schemas"]["ChatRequest"]["properties"].keys()


async def test_every_reference_in_the_openapi_document_leads_somewhere(fleet: Fleet) -> None:
    document = (await fleet.get("/openapi.json")).json

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(v) for v in node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


async def test_health(fleet: Fleet) -> None:
    assert (await fleet.get("/health/live")).json == {"status": "live"}
    ready = await fleet.get("/health/ready")
    assert (ready.status, ready.json["serving"]) == (200, ["triton-0", "triton-1"])
    fleet.change(fleet.tritons[1], healthy=False, reason="ready is critical")
    assert (await fleet.get("/health/ready")).json["out"] == {"triton-1": "ready is critical"}
    fleet.gateway.store.set_source_alive(False)
    ready = await fleet.get("/health/ready")
    assert ready.status == 200
    assert "last view" in ready.json["consul"]
    assert "ragfleet_consul_alive 0.0" in (await fleet.get("/metrics")).raw.decode()
    assert (await fleet.chat()).status == 200, "the last view serves on"


async def test_fleet_page(fleet: Fleet) -> None:
    fleet.change(fleet.tritons[1], healthy=False, draining=True, reason="draining: operator")
    fleet.answers.script("llm", Script(stall_after=3))
    async with fleet.open() as stream:
        await stream.text()
        page = (await fleet.get("/fleet")).json
        fleet.tritons[0].resume()
        await stream.rest()
    first, second = page["instances"]
    assert (first["state"], first["streams"]) == ("ready", 1)
    assert (second["state"], second["reason"]) == ("draining", "draining: operator")
    assert page["admission"]["held"] == 1
    assert page["consul_alive"] is True


async def test_metrics_tell_what_happened(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(reset_after=3))
    usage = (await fleet.chat()).json["usage"]
    await fleet.chat(model="gpt-9")
    await fleet.chat(top_logprobs=1)
    text = (await fleet.get("/metrics")).raw.decode()
    for line in (
        'ragfleet_requests_total{model="tiny",route="chat",status="200",tenant="default"} 1.0',
        'ragfleet_requests_total{model="unknown",route="chat",status="404",tenant="default"} 1.0',
        f'ragfleet_tokens_total{{kind="prompt",tenant="default"}} {usage["prompt_tokens"]:.1f}',
        f'ragfleet_tokens_total{{kind="completion",tenant="default"}} {usage["completion_tokens"]:.1f}',
        'ragfleet_migrations_total{cause="reset"} 1.0',
        "ragfleet_migration_gap_seconds_count 1.0",
        'ragfleet_instances{state="ready"} 2.0',
        "ragfleet_consul_alive 1.0",
        'ragfleet_time_to_first_token_seconds_count{rag="0"} 1.0',
    ):
        assert line in text, line


async def test_loads_are_scraped_from_the_instances(fleet: Fleet) -> None:
    store = fleet.gateway.store
    store.set_members([fleet.member(t, metrics_port=t.port) for t in fleet.tritons])
    view = await view_where(store, lambda v: all(m.load is not None for m in v.members.values()), 60)
    assert {m.load.slots for m in view.members.values()} == {4}


async def test_instance_that_goes_silent_is_ejected_and_comes_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only an answer ends it: on a busy machine the usual two seconds are over before anything has been asked.
    lasting = partial(OutlierSettings, base_ejection_s=600.0, max_ejection_s=600.0)
    monkeypatch.setattr("gateway.container.OutlierSettings", lasting)
    fleet = await start(scrape_period_s=0.02, scrape_deadline_s=60.0)
    store, trust = fleet.gateway.store, fleet.gateway.detector
    members = [fleet.member(t, metrics_port=t.port) for t in fleet.tritons]
    store.set_members(members)
    await view_where(store, lambda v: all(m.load is not None for m in v.members.values()), 60)
    await fleet.tritons[0].kill()
    async with asyncio.timeout(60):
        while "triton-0" not in trust.ejected():
            await asyncio.sleep(0)
    assert (await fleet.get("/fleet")).json["instances"][0]["state"] == "ejected"
    (attempt,) = (await fleet.chat()).json["ragfleet"]["attempts"]
    assert (attempt["instance"], attempt["tokens"], attempt["cause"]) == ("triton-1", 16, "end")
    assert "prompt tokens cached" in attempt["placement"]
    assert (await fleet.get("/fleet")).json["instances"][1]["last_placement"] == attempt["placement"]
    await fleet.tritons[0].revive()
    async with asyncio.timeout(60):
        while trust.ejected():
            await asyncio.sleep(0)
    assert 'ragfleet_ejections_total{instance="triton-0"} 1.0' in (await fleet.get("/metrics")).raw.decode()


# Overload and shutdown


async def test_beyond_the_places_and_the_queue_the_rest_is_refused_at_once(start: Start) -> None:
    fleet = await start(instances=1, slots=1, admission_headroom=1.0, admission_queue=2, admission_deadline_s=10.0)
    fleet.answers.script("llm", Script(stall_after=3))
    requests = [asyncio.ensure_future(fleet.chat(f"Question {n}")) for n in range(6)]
    replies = asyncio.as_completed(requests)
    for _ in range(3):
        reply = await next(replies)
        assert reply.status == 429
        assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "overloaded")
        assert int(reply.headers["retry-after"]) >= 1
        assert int(reply.headers["retry-after-ms"]) >= 1000
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(*requests)].count(200) == 3


async def test_bad_request_need_not_wait_for_a_place_to_hear_so(start: Start) -> None:
    fleet = await start(instances=1, slots=1, admission_headroom=1.0, admission_deadline_s=10.0)
    fleet.answers.script("llm", Script(stall_after=3))
    async with fleet.open() as stream:
        await stream.text()
        assert (await fleet.chat(model="gpt-9")).status == 404
        assert (await fleet.chat(max_tokens=1000)).status == 400
        fleet.tritons[0].resume()
        await stream.rest()


async def test_gateway_that_shuts_down_finishes_what_runs_and_refuses_what_is_new(fleet: Fleet) -> None:
    fleet.answers.script("llm", Script(stall_after=3))
    async with fleet.open() as stream:
        await stream.text()
        drained = asyncio.ensure_future(drain(fleet.gateway))
        await asyncio.sleep(0)
        refused = await fleet.chat()
        assert refused.status == 503
        assert refused.error["code"] == "draining"
        assert "shutting down" in refused.error["message"]
        assert "retry-after" in refused.headers
        ready = await fleet.get("/health/ready")
        assert (ready.status, ready.json["reason"]) == (503, "shutting down")
        assert not drained.done()
        for triton in fleet.tritons:
            triton.resume()
        assert (await stream.rest()).done
        await drained


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
async def test_what_cannot_be_read_is_counted(fleet: Fleet, path: str) -> None:
    assert (await fleet.post(b"{", path=path)).status == 400
    route = path.split("/")[2]
    line = f'ragfleet_requests_total{{model="",route="{route}",status="400",tenant="default"}} 1.0'
    assert line in (await fleet.get("/metrics")).raw.decode()


# Errors of ours


async def test_unforeseen_error_is_a_500_that_tells_no_details(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(fleet.gateway.generation._planner, "plan", broken)
    with caplog.at_level(logging.ERROR):
        reply = await fleet.chat()
    assert reply.status == 500
    assert reply.error["code"] == "internal_error"
    assert "1234" not in reply.raw.decode()
    assert any("password" in str(r.exc_info) for r in caplog.records)
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert 'status="500"' in metrics


async def test_unforeseen_error_in_a_stream_ends_it_without_done(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.serving.output_processor import OutputProcessor

    push = OutputProcessor.push

    def broken(self: OutputProcessor, ids: Any) -> str:
        if self.tokens >= 3:
            raise RuntimeError("boom")
        return push(self, ids)

    monkeypatch.setattr(OutputProcessor, "push", broken)
    with pytest.raises(aiohttp.ClientPayloadError):
        await fleet.stream()


def test_every_error_has_its_place_in_the_table() -> None:
    from gateway.errors import HTTP

    def tree(cls: type[RagfleetError]) -> set[type[RagfleetError]]:
        return {cls}.union(*map(tree, cls.__subclasses__()))

    assert tree(RagfleetError) == HTTP.keys()


async def test_what_paths_take_is_worked_out_before_the_first_request(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FastAPI would do it with the first request that it serves: 0.3 s of the only thread, while streams wait."""
    fleet = await start()
    worked_out: list[str] = []
    monkeypatch.setattr(
        fastapi.routing, "get_dependant", lambda *, path, **_: worked_out.append(path) or pytest.fail(path)
    )
    assert (await fleet.get("/v1/models")).status == 200
    assert (await fleet.get("/v1/nothing")).status == 404
    assert not worked_out
