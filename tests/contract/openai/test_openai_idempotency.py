"""`Idempotency-Key` with the unmodified `openai` client, which repeats it in its own retries when it is given as a header."""

import uuid
from collections.abc import AsyncIterator

import pytest
from openai import ConflictError

from tests.support.ingesting import ingestion
from tests.support.openai_service import Service, client_of
from tests.support.running import Fleet


@pytest.fixture(autouse=True)
async def cleaner(fleet: Fleet) -> AsyncIterator[None]:
    """Somebody who clears away what is deleted, where the gateway is the one over fakes."""
    async with ingestion(fleet.gateway):
        yield


async def test_same_key_makes_one_file_and_one_store(service: Service) -> None:
    client, key = service.client, f"test-{uuid.uuid4()}"
    upload = {"file": ("a.md", b"Thirty days."), "purpose": "assistants"}
    first = await client.files.create(**upload, extra_headers={"Idempotency-Key": key})  # type: ignore[arg-type]
    again = await client.files.with_raw_response.create(
        file=("a.md", b"Thirty days."), purpose="assistants", extra_headers={"Idempotency-Key": key}
    )
    assert again.parse().id == first.id
    assert again.headers["idempotent-replayed"] == "true"
    headers = {"Idempotency-Key": f"{key}-store"}
    store = await client.vector_stores.create(name="once", file_ids=[first.id], extra_headers=headers)
    assert (await client.vector_stores.create(name="once", file_ids=[first.id], extra_headers=headers)).id == store.id
    await client.vector_stores.delete(store.id)
    await client.files.delete(first.id)


async def test_key_of_another_request_is_a_conflict_that_is_not_retried(service: Service) -> None:
    headers = {"Idempotency-Key": f"test-{uuid.uuid4()}"}
    async with client_of(service.url, service.key).with_options(max_retries=5) as client:
        store = await client.vector_stores.create(name="one", extra_headers=headers)
        with pytest.raises(ConflictError) as refused:
            await client.vector_stores.create(name="another", extra_headers=headers)
        assert refused.value.code == "idempotency_key_reused"
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
        await client.vector_stores.delete(store.id)
