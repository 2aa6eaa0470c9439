"""The ingestion on real parts (Triton, Milvus Lite, Consul, SQLite): what goes in is found; no kill loses or doubles anything."""

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from gateway.knowledge.catalog.catalog import Catalog, catalog_url
from gateway.knowledge.catalog.types import NewMember
from gateway.knowledge.index import ALIAS, Owner
from gateway.knowledge.objects import FolderStore, content_key
from gateway.tenants.tenant import Tenant
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import Command, eventually

pytestmark = pytest.mark.timeout(900)  # the first test waits for a whole fleet

DOCUMENTS = int(os.environ.get("RAGFLEET_TEST_DOCUMENTS", "60"))
"""The acceptance run has 500."""

PARENT = """\
import asyncio, sys
from pathlib import Path
from gateway.ingestion.process import IngestionProcess
asyncio.run(IngestionProcess(Path(sys.argv[1]), pause_s=(0.1, 1.0)).run())
"""


@pytest.fixture(scope="module")
def fleet(ragfleet: Command, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """Two instances with the real embedding model and a simulated LLM; the gateway is a stand-in that runs the ingestion."""
    repository = tmp_path_factory.mktemp("models")
    for model in ("llm", "embedding"):
        (repository / model).symlink_to(PROJECT / "model_repository" / model)
    assert ragfleet("setup", within=120).returncode == 0
    options = ("--port-base", str(ports), "--model-repository", str(repository), "--llm", "simulated")
    shown = ragfleet("up", *options, "--without", "gateway", within=180)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    yield ragfleet
    assert ragfleet("down").returncode == 0


class Gateway:
    """What of a gateway matters here: a process that has the ingestion as its child."""

    def __init__(self, fleet: Command, ports: int) -> None:
        self.home = fleet.home
        self.milvus = f"http://127.0.0.1:{ports + 8}"
        self._environment = {
            **os.environ,
            "RAGFLEET_HOME": str(fleet.home),
            "RAGFLEET_CONSUL_URL": f"http://127.0.0.1:{ports + 1}",
            "MILVUS_URI": self.milvus,
            "RAGFLEET_TOKENIZER_DIR": str(fleet.home / "models" / "smollm2"),
        }
        self.log = fleet.home / "log" / "ingestion.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(self.log)], env=self._environment, cwd=PROJECT
        )

    def children(self) -> list[psutil.Process]:
        assert self._process is not None
        return psutil.Process(self._process.pid).children(recursive=True)

    def kill(self) -> None:
        """SIGKILL to it and to the ingestion."""
        assert self._process is not None
        family = self.children()
        for process in [psutil.Process(self._process.pid), *family[:1]]:
            process.kill()
        self._process.wait(60)
        assert not psutil.wait_procs(family, timeout=30)[1], "a converter outlived its ingestion"

    def orphan(self) -> list[psutil.Process]:
        """SIGKILL to it alone; what it leaves."""
        assert self._process is not None
        family = self.children()
        self._process.kill()
        self._process.wait(60)
        return family

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            family = self.children()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            assert not psutil.wait_procs(family, timeout=10)[1]


@pytest.fixture
def gateway(fleet: Command, ports: int) -> Iterator[Gateway]:
    made = Gateway(fleet, ports)
    yield made
    made.stop()


@pytest.fixture
async def catalog(fleet: Command) -> AsyncIterator[Catalog]:
    made = Catalog(catalog_url("", fleet.home))
    yield made
    await made.close()


async def fill(fleet: Command, catalog: Catalog, contents: dict[str, str]) -> str:
    """A new store with these files; its id."""
    objects = FolderStore(fleet.home / "objects")
    store = await catalog.of(Tenant("acme")).stores.create(name="docs")
    members = []
    for name, content in contents.items():
        file_id = f"file-{hashlib.sha256(f'{store.id}{name}'.encode()).hexdigest()[:24]}"
        await objects.put(content_key(file_id), content.encode())
        await catalog.of(Tenant("acme")).files.add(
            file_id=file_id, filename=name, purpose="assistants", size=len(content), sha256="0"
        )
        members.append(NewMember(file_id=file_id, attributes={"name": name}))
    await catalog.of(Tenant("acme")).members.attach_batch(store.id, members)
    return store.id


async def until(catalog: Catalog, store: str, enough: Callable[[Any], bool], within: float) -> None:
    """Wait until the store's counts are such."""
    ends = time.monotonic() + within
    while not enough(counts := (await catalog.of(Tenant("acme")).stores.get(store)).counts):
        assert time.monotonic() < ends, f"after {within:g} s: {counts}"
        await asyncio.sleep(0.05)


def connected(milvus: str) -> MilvusClient:
    """A client. pymilvus pings an idle connection more often than Milvus Lite likes, which then ends it once."""
    for _ in range(3):
        try:
            return MilvusClient(milvus)
        except MilvusException:
            time.sleep(0.5)
    return MilvusClient(milvus)


def state(milvus: str, store: str) -> tuple[str, list[str], Any]:
    """A digest of what the store has in the index, with the ids taken out; all ids; the vectors in order."""
    with closing(connected(milvus)) as client:
        rows: list[dict[str, Any]] = []
        iterator = client.query_iterator(
            ALIAS, 500, filter=Owner(tenant="acme", store=store).filter, output_fields=["*"]
        )
        while page := iterator.next():
            rows += page
    rows.sort(key=lambda row: (row["filename"], row["index"]))
    names = ("filename", "index", "text", "page", "start", "end", "attributes")
    digest = hashlib.sha256(json.dumps([[row[name] for name in names] for row in rows]).encode()).hexdigest()
    return digest, [row["id"] for row in rows], np.array([row["dense"] for row in rows])


def handbook(number: int) -> dict[str, str]:
    """So many documents of some pages of words."""
    rng = random.Random(7)
    words = [
        f"{a}{b}" for a in ("pump", "valve", "hub", "light", "brass", "gate") for b in ("er", "ing", "s", "ful", "")
    ]

    def section(title: int) -> str:
        return f"## Part {title}\n\n" + " ".join(rng.choice(words) for _ in range(150)) + ".\n\n"

    return {f"doc-{at}.md": f"# Document {at}\n\n" + "".join(map(section, range(3))) for at in range(number)}


async def test_a_document_is_found_within_two_seconds_of_its_completion(
    fleet: Command, gateway: Gateway, catalog: Catalog
) -> None:
    gateway.start()
    store = await fill(
        fleet, catalog, {"a.md": "# Turbines\n\nThe zirconium flange holds 90 bar.", "b.txt": "other words"}
    )
    await until(catalog, store, lambda counts: counts.completed == 2, 60)
    completed = time.monotonic()
    with closing(connected(gateway.milvus)) as client:
        only = Owner(tenant="acme", store=store).filter

        def found() -> bool:
            hits = client.search(ALIAS, ["zirconium"], anns_field="sparse", filter=only, limit=3, output_fields=["*"])[
                0
            ]
            return [hit["entity"]["filename"] for hit in hits] == ["a.md"]

        eventually(found)
    assert time.monotonic() - completed < 2


@pytest.mark.slow
async def test_what_is_killed_three_times_ends_like_what_was_left_alone(
    fleet: Command, gateway: Gateway, catalog: Catalog
) -> None:
    contents = handbook(DOCUMENTS)
    gateway.start()
    alone = await fill(fleet, catalog, contents)
    await until(catalog, alone, lambda counts: counts.completed == DOCUMENTS, 40 + 2 * DOCUMENTS)
    disturbed = await fill(fleet, catalog, contents)
    for share in (0.1, 0.4, 0.7):
        await until(catalog, disturbed, lambda c, share=share: c.completed >= share * DOCUMENTS, 60 + 2 * DOCUMENTS)
        gateway.kill()
        gateway.start()
    await until(catalog, disturbed, lambda counts: counts.completed == DOCUMENTS, 60 + 2 * DOCUMENTS)
    expected, _, vectors = state(gateway.milvus, alone)
    digest, ids, again = state(gateway.milvus, disturbed)
    assert digest == expected
    assert len(ids) == len(set(ids)) >= 3 * DOCUMENTS
    np.testing.assert_allclose(again, vectors, atol=1e-4)


async def test_the_ingestion_ends_with_a_gateway_that_is_killed(
    fleet: Command, gateway: Gateway, catalog: Catalog
) -> None:
    gateway.start()
    store = await fill(fleet, catalog, {"x.txt": "some words"})
    await until(catalog, store, lambda counts: counts.completed == 1, 60)
    left = gateway.orphan()
    assert left
    assert not psutil.wait_procs(left, timeout=15)[1]


async def test_of_two_ingestions_one_works_and_the_other_takes_over(
    fleet: Command, gateway: Gateway, catalog: Catalog, ports: int
) -> None:
    second = Gateway(fleet, ports)
    second.log = Path(fleet.home, "log", "ingestion-2.log")
    gateway.start()
    try:
        eventually(lambda: "works" in gateway.log.read_text())
        second.start()
        eventually(second.log.exists)
        store = await fill(fleet, catalog, {"x.txt": "some words"})
        await until(catalog, store, lambda counts: counts.completed == 1, 60)
        gateway.kill()
        store = await fill(fleet, catalog, {"y.txt": "more words"})
        await until(catalog, store, lambda counts: counts.completed == 1, 60)
        assert "works" in second.log.read_text()
    finally:
        second.stop()
