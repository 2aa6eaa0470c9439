"""All paths keep what their OpenAPI document promises: Schemathesis asks whatever the document allows, and what it forbids.

RAGFLEET_SCHEMATHESIS_CASES=5000 asks so much, and something else each time.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import AcceptedNegativeData, RejectedPositiveData

from gateway.api import authentication
from gateway.knowledge.catalog.administration import TenantSettings
from tests.support.ingesting import bring_in, ingestion
from tests.support.replies import Reply
from tests.support.running import Fleet

CASES = int(os.environ.get("RAGFLEET_SCHEMATHESIS_CASES", "0"))
# Some of their parameters go together only with others.
GENERATION = {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/input_tokens"}
pytestmark = pytest.mark.timeout(1800 if CASES else 300)


@pytest.fixture
async def fleet(start: Any, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setattr(authentication, "LONGEST_S", 0.0)  # one check sends wrong keys, many times
    running: Fleet = await start(api_key="secret", admin_key="admins", max_file_bytes=20_000, max_body_bytes=200_000)
    return running


def _ask(
    document: Mapping[str, Any],
    url: str,
    ids: Mapping[str, str],
    *,
    under: str = "/v1/",
    key: str = "secret",
    cases: int = 300,
) -> Counter[str]:
    """What was found wrong under a path, and how often."""
    schema = schemathesis.openapi.from_dict(dict(document))
    operations = [found.ok() for found in schema.get_all_operations()]
    operations = [each for each in operations if each.path.startswith(under)]
    found: Counter[str] = Counter()
    headers = {"authorization": f"Bearer {key}"}
    with requests.Session() as session:
        for operation in operations:
            own = {name: value for name, value in ids.items() if f"{{{name}}}" in operation.path}
            for mode in GenerationMode:
                strategies = [operation.as_strategy(generation_mode=mode)]
                if own and operation.method != "delete":
                    strategies.append(operation.as_strategy(generation_mode=mode, path_parameters=own))
                for strategy in strategies:
                    examples = max(2, (CASES or cases) // (4 * len(operations)))

                    @settings(
                        max_examples=examples,
                        derandomize=not CASES,
                        database=None,
                        deadline=None,
                        phases=[Phase.generate],
                        suppress_health_check=list(HealthCheck),
                    )
                    @given(case=strategy)
                    def run(case: Any) -> None:
                        found["cases"] += 1
                        response = case.call(base_url=url, session=session, headers=headers, timeout=60)
                        try:
                            case.validate_response(response, checks=CHECKS.get_all(), headers=headers)
                        except FailureGroup as failures:
                            for failure in failures.exceptions:
                                if _beyond(failure, case, response):
                                    continue
                                found[f"{case.method} {case.path}: {failure.title}: {_told(response, case)}"] += 1

                    run()
    return found


def _beyond(failure: Exception, case: Any, response: Any) -> bool:
    """What JSON Schema cannot say; an empty list, which no query string holds; a null, which stands for what is not set."""
    if isinstance(failure, AcceptedNegativeData):
        if isinstance(case.body, dict) and None in case.body.values():
            return True
        if case.media_type == "multipart/form-data" and any(
            isinstance(v, bool | int | float) for v in case.body.values()
        ):
            return True  # a form has words alone, and these are some, too
        return response.status_code == 413 or any(value in ([], {}) for value in (case.query or {}).values())
    if isinstance(failure, RejectedPositiveData):
        return case.path in GENERATION or any(
            rule in response.text
            for rule in (
                "at most half of max_chunk_size",
                "is given more than once",
                "a filter has at most 256 values",
                "end_time must be after start_time",
                "made with background=true",
                "The expiry must be in the future",
                "only a message of the user has files",
                "get it without stream",
                "a file has at most 20000",
                "is none of the upload",
                "upload_not_pending",
                "were announced",
            )
        )
    return False


def _told(response: Any, case: Any) -> str:
    return f"{response.status_code} {response.content[:300]!r} to {case.query!r} {str(case.body)[:300]!r}"


async def test_paths_keep_what_they_promise(fleet: Fleet) -> None:
    store = await _made(fleet, "/v1/vector_stores", {"name": "handbook"})
    form = aiohttp.FormData()
    form.add_field("purpose", "assistants")
    form.add_field("file", b"Thirty days.", filename="returns.md")
    async with fleet.http.post("/v1/files", data=form, headers={"authorization": "Bearer secret"}) as response:
        file = (await response.json())["id"]
    batch = await _made(fleet, f"/v1/vector_stores/{store}/file_batches", {"file_ids": [file]})
    await bring_in(fleet.gateway)
    response = await _made(fleet, "/v1/responses", {"model": "tiny", "input": "How long?"})
    message = {"role": "user", "content": "How long?"}
    chat = await _made(fleet, "/v1/chat/completions", {"model": "tiny", "messages": [message], "store": True})
    talk = await _made(fleet, "/v1/conversations", {"items": [{"id": "msg_1", "role": "user", "content": "Hi"}]})
    parts = {"filename": "parts.md", "purpose": "assistants", "bytes": 12, "mime_type": "text/markdown"}
    upload = await _made(fleet, "/v1/uploads", parts)
    document = (await fleet.get("/openapi.json")).json
    ids = {"store_id": store, "file_id": file, "batch_id": batch, "model": "tiny"}
    ids |= {"response_id": response, "conversation_id": talk, "item_id": "msg_1", "completion_id": chat}
    ids |= {"upload_id": upload}
    async with ingestion(fleet.gateway):
        found = await asyncio.to_thread(_ask, document, fleet.url, ids)
    cases = found.pop("cases")
    assert not found, f"{found.total()} failures in {cases} cases:\n" + "\n\n".join(map(str, found.most_common(20)))
    assert cases >= (CASES or 300) // 2


async def test_administration_keeps_what_it_promises(fleet: Fleet) -> None:
    administrator = fleet.gateway.administration.by("cli:a test")
    await administrator.create_tenant("acme", TenantSettings())
    made, _ = await administrator.create_key("acme")
    document = (await fleet.get("/openapi.json")).json
    ids = {"tenant_name": "acme", "key_id": made.id}
    found = await asyncio.to_thread(_ask, document, fleet.url, ids, under="/admin/", key="admins", cases=100)
    cases = found.pop("cases")
    assert not found, f"{found.total()} failures in {cases} cases:\n" + "\n\n".join(map(str, found.most_common(20)))


async def _made(fleet: Fleet, path: str, body: Any) -> str:
    reply: Reply = await fleet.post(body, path=path, headers={"authorization": "Bearer secret"})
    assert reply.status == 200, reply.raw
    return str(reply.json["id"])
