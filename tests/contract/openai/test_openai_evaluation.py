"""`ragfleet eval` as a client of the gateway."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from ragfleet.evaluation.datasets import Dataset, DatasetQuestion
from ragfleet.evaluation.gateway import OpenAIGateway
from ragfleet.evaluation.run import Evaluation
from tests.support.ingesting import ingestion
from tests.support.openai_service import Service
from tests.support.running import Fleet

TEXTS = {
    "returns": "Goods may be returned within thirty days, with the receipt.",
    "prices": "A day ticket for the harbour ferry costs nine euros.",
}
QUESTIONS = [DatasetQuestion("q1", "What does a day ticket for the ferry cost?", {"prices": 1}, ("nine euros",))]


@pytest.fixture(autouse=True)
async def _ingestion(fleet: Fleet) -> AsyncIterator[None]:
    """Fake Tritons come without an ingestion; a running fleet has its own."""
    async with ingestion(fleet.gateway):
        yield


@pytest.mark.parametrize("chunk_tokens", [None, 100])
async def test_a_dataset_goes_in_once_and_is_asked(service: Service, chunk_tokens: int | None) -> None:
    name = f"eval-{time.time_ns()}"

    def evaluate() -> str:
        gateway = OpenAIGateway(service.url, service.key)
        store_id = gateway.store(name)
        try:
            dataset = Dataset("small", TEXTS, QUESTIONS)
            evaluation = Evaluation(gateway, dataset, name, chunk_tokens=chunk_tokens)
            assert evaluation.ingest().sent == 2
            held = {member.document: member for member in gateway.members(store_id)}
            assert held.keys() == TEXTS.keys()
            again = Evaluation(gateway, dataset, name, chunk_tokens=chunk_tokens).ingest()
            assert (again.sent, again.unchanged, again.removed) == (0, 2, 0)
            for arm in ("dense", "bm25", "hybrid"):
                assert evaluation.search(arm).p50_ms > 0
            said = evaluation.answers(QUESTIONS)
            assert said.questions == 1
            assert said.source_precision is not None, "the answer came with its sources"
        finally:
            for member in gateway.members(store_id):
                gateway.delete(member.file_id)
                gateway.delete(member.file_id)  # gone already, and fine
            gateway.close()
        return store_id

    await service.client.vector_stores.delete(await asyncio.to_thread(evaluate))
