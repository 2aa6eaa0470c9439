"""Traces of the ingestion, as a real OTLP receiver gets them: each file's conversion, embedding and writing, by its id."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway import telemetry
from gateway.config import Settings
from gateway.ingestion.writer import Writer
from gateway.knowledge.chunking import embedding_folder, token_counter
from gateway.telemetry import Tracing
from gateway.tenants.tenant import Tenant
from tests.component.test_ingestion_jobs import Rounds, Setup
from tests.support.otlp_receiver import OtlpReceiver, receiving
from tests.support.ports import OTLP


@pytest.fixture
async def receiver() -> AsyncIterator[OtlpReceiver]:
    async with receiving(OTLP) as running:
        yield running


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path)
    made.store = (await made.catalog.of(Tenant("acme")).stores.create(name="docs")).id
    yield made
    await made.converters.close()
    await made.catalog.close()


@pytest.fixture
async def traced(setup: Setup, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rounds]:
    monkeypatch.setattr(telemetry, "EXPORT_S", 0.5)
    monkeypatch.setattr(telemetry, "GATHER_S", 0.1)
    tracing = Tracing.from_settings(Settings(trace_endpoint=receiver.url, trace_sample=1.0), "ragfleet-ingestion")
    count = token_counter(embedding_folder())
    setup.writer = Writer(setup.index, setup.embedder, count=count, window=254, tracing=tracing)
    yield setup.worker("one", tracing=tracing)
    await tracing.close()


async def test_a_file_is_one_trace_by_its_id_alone(setup: Setup, traced: Rounds, receiver: OtlpReceiver) -> None:
    await setup.upload(secret_md="The valve opens at 3 bar.")
    await setup.attach("secret")
    assert await traced.round() == 1
    (file,) = await receiver.until("ingest file")
    assert file.parent == ""
    assert file.attributes["ragfleet.file_id"] == "file-secret"
    assert file.attributes["ragfleet.store_id"] == setup.store
    assert file.attributes["ragfleet.tenant"] == "acme"
    convert, write = sorted(receiver.under(file), key=lambda span: span.name)
    assert (convert.name, write.name) == ("convert", "write files")
    assert write.attributes["ragfleet.file_ids"] == ["file-secret"]
    assert {span.name for span in receiver.under(write)} == {"embed", "write rows"}
    assert not any(span.failed for span in receiver.spans)
    assert "valve" not in repr(receiver.spans)
    assert "secret.md" not in repr(receiver.spans)


async def test_files_that_are_written_together_are_linked(setup: Setup, traced: Rounds, receiver: OtlpReceiver) -> None:
    await setup.upload(**{f"f{number}_txt": f"Text {number}." for number in range(4)})
    await setup.attach(*(f"f{number}" for number in range(4)))
    assert await traced.round() == 4
    files = {span.id: span for span in await receiver.until("ingest file", 4)}
    assert len({span.trace for span in files.values()}) == 4
    written: dict[str, list[str]] = {}
    for group in receiver.named("write files"):  # one, or more where a file came late
        spans = [files[group.parent], *(files[link] for link in group.links)]
        assert group.attributes["ragfleet.file_ids"] == [span.attributes["ragfleet.file_id"] for span in spans]
        written[group.id] = group.attributes["ragfleet.file_ids"]
    assert sorted(name for names in written.values() for name in names) == [f"file-f{number}" for number in range(4)]


async def test_a_file_that_fails_says_so_by_its_code(setup: Setup, traced: Rounds, receiver: OtlpReceiver) -> None:
    await setup.upload(noise_bin=bytes(range(256)))
    await setup.attach("noise")
    assert await traced.round() == 1
    (file,) = await receiver.until("ingest file")
    assert (file.failed, file.attributes["error.type"]) == (True, "unsupported_file")
    (convert,) = receiver.under(file)
    assert convert.failed
