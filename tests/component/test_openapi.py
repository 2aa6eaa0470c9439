"""The OpenAPI document tells a client, or a fuzzer, all that it needs; what it says of refusals is counted."""

import re
from typing import Any

import pytest

from tests.support.running import Fleet


async def _operations(fleet: Fleet) -> dict[tuple[str, str], dict[str, Any]]:
    document = (await fleet.get("/openapi.json")).json
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
    }


async def test_every_path_says_whose_it_is_and_how_it_refuses(fleet: Fleet) -> None:
    operations = await _operations(fleet)
    assert len(operations) > 20
    for (method, path), operation in operations.items():
        assert operation["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}], path
        assert {"200", "401", "503"} <= operation["responses"].keys(), path
        assert all("content" in each for each in operation["responses"].values()), path
        if "{" in path:
            assert "404" in operation["responses"], path
        if method == "post" and not path.endswith("/cancel"):
            assert operation["requestBody"]["content"], path


async def test_lists_say_their_bounds(fleet: Fleet) -> None:
    operation = (await _operations(fleet))["get", "/v1/vector_stores/{store_id}/files"]
    parameters = {each["name"]: each["schema"] for each in operation["parameters"]}
    assert parameters.keys() == {"store_id", "limit", "order", "after", "before", "filter"}
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"]) == (1, 100)
    assert parameters["order"]["enum"] == ["asc", "desc"]


async def test_headers_of_streams_with_a_journal_are_described_and_held_to_it(fleet: Fleet) -> None:
    operations = await _operations(fleet)
    told = {
        path: [each["name"] for each in operations["post", path].get("parameters", ()) if each["in"] == "header"]
        for path in ("/v1/chat/completions", "/v1/responses", "/v1/completions")
    }
    assert told == {
        "/v1/chat/completions": ["X-Ragfleet-Journal", "Last-Event-ID"],
        "/v1/responses": ["X-Ragfleet-Journal"],
        "/v1/completions": [],
    }
    for name, value in (("Last-Event-ID", ""), ("Last-Event-ID", "chatcmpl-1"), ("X-Ragfleet-Journal", "yes")):
        reply = await fleet.chat(headers={name: value})
        assert (reply.status, reply.error["param"]) == (400, name)


async def test_refusals_are_counted(fleet: Fleet) -> None:
    await fleet.get("/v1/files?limit=0")
    await fleet.post(b"{", path="/v1/vector_stores")
    await fleet.get("/v1/vector_stores/none")
    await fleet.get("/v1/nowhere")
    metrics = (await fleet.get("/metrics")).raw.decode()
    for route, tenant, status in (
        ("list_files", "default", 400),
        ("create_store", "default", 400),
        ("get_store", "default", 404),
        ("", "", 404),
    ):
        line = f'ragfleet_requests_total{{model="",route="{route}",status="{status}",tenant="{tenant}"}} 1.0'
        assert line in metrics


async def test_who_has_no_key_is_counted(start: Any) -> None:
    fleet = await start(api_key="secret")
    await fleet.get("/v1/files", headers={})
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert 'ragfleet_requests_total{model="",route="list_files",status="401",tenant=""} 1.0' in metrics


async def test_no_path_is_redirected(fleet: Fleet) -> None:
    async with fleet.http.get("/metrics/", headers={"host": "elsewhere"}, allow_redirects=False) as response:
        assert response.status == 404


async def test_who_has_no_key_is_told_how_to_send_one(start: Any) -> None:
    fleet = await start(api_key="secret")
    for reply in (await fleet.get("/v1/files", headers={}), await fleet.chat(headers={})):
        assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer realm="ragfleet"')
    for reply in (
        await fleet.get("/v1/files", headers={"api-key": "secret"}),
        await fleet.chat(headers={"api-key": "secret"}),
    ):
        assert reply.status == 200
    assert "ragfleet_authentication_failures_total 2.0" in (await fleet.get("/metrics")).raw.decode()


async def test_head_is_answered_as_get_is_without_a_body(fleet: Fleet) -> None:
    document = (await fleet.get("/openapi.json")).json
    for template, operations in document["paths"].items():
        if template == "/metrics":
            continue  # it grows by what is asked
        path = re.sub(r"{[^}]*}", "x", template)
        got, headers = await fleet.get(path), {"authorization": "Bearer secret"}
        async with fleet.http.head(path, headers=headers) as response:
            assert (response.status, await response.read()) == (got.status, b""), path
            assert response.headers.get("content-type") == got.headers.get("content-type"), path
            if response.status == 405:
                assert set(response.headers["allow"].split(", ")) == {each.upper() for each in operations}, path


async def test_answers_say_how_long_they_took(fleet: Fleet) -> None:
    for reply in (await fleet.get("/v1/models"), await fleet.chat(), await fleet.get("/v1/nowhere")):
        assert int(reply.headers["openai-processing-ms"]) >= 0


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [("", None), ("https://a.example https://b.example", "https://b.example"), ("*", "*")],
)
async def test_pages_of_named_origins_may_call(start: Any, origins: str, allowed: str | None) -> None:
    fleet = await start(cors_origins=origins)
    origin = {"origin": "https://b.example"}
    for path in ("/v1/models", "/v1/chat/completions"):
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        async with fleet.http.options(path, headers=origin | asked) as response:
            assert response.headers.get("access-control-allow-origin") == allowed
            assert response.status == (405 if allowed is None else 200)
        asked["access-control-request-method"] = "PATCH"
        async with fleet.http.options(path, headers=origin | asked) as response:
            refused = (await response.json())["error"]  # in OpenAI's shape, whether it is CORS that refuses
            assert (refused["type"], refused["code"] == "cors_refused") == (
                "invalid_request_error",
                allowed is not None,
            )
    for reply in (await fleet.get("/v1/models", headers=origin), await fleet.chat(headers=origin)):
        assert reply.status == 200
        assert reply.headers.get("access-control-allow-origin") == allowed
    if origins != "*":
        reply = await fleet.get("/v1/models", headers={"origin": "https://c.example"})
        assert "access-control-allow-origin" not in reply.headers


async def test_whole_numbers_of_requests_say_their_bounds(fleet: Fleet) -> None:
    """What a fuzzer takes from the description is then taken: beyond 64 bits nothing is."""
    document = (await fleet.get("/openapi.json")).json
    seen: set[str] = set()
    boundless: list[str] = []

    def walk(schema: Any, place: str) -> None:
        if isinstance(schema, list):
            for each in schema:
                walk(each, place)
        if not isinstance(schema, dict):
            return
        if schema.get("type") == "integer" and not (
            schema.keys() & {"minimum", "exclusiveMinimum", "enum", "const"}
            and schema.keys() & {"maximum", "exclusiveMaximum", "enum", "const"}
        ):
            boundless.append(place)
        if (name := schema.get("$ref", "")) and name not in seen:
            seen.add(name)
            walk(document["components"]["schemas"][name.rpartition("/")[2]], name.rpartition("/")[2])
        for key, value in schema.items():
            walk(value, f"{place}.{key}" if key not in {"anyOf", "oneOf", "allOf", "properties"} else place)

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            walk(operation.get("requestBody", {}), f"{method} {path}")
    assert len(seen) > 20
    assert not boundless
