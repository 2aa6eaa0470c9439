"""A whole fleet as a user has it: files go in over the API while its parts are killed, hang or go away, and all arrive."""

import contextlib
import json
import os
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from openai import NotFoundError, OpenAI
from prometheus_client.parser import text_string_to_metric_families
from pymilvus import MilvusClient

from gateway.knowledge.index import ALIAS
from ragfleet import processes
from tests.fleet.real_parts import Command, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # the first test waits for a whole fleet

FRESH_S = 2.0
"""A document is to be found within so long after its `completed`. Measured and printed here, not asserted: machines are busy."""


@dataclass(frozen=True)
class Fleet:
    """A fleet that runs, and where its parts are."""

    home: Path
    url: str
    api_key: str
    milvus: str

    def pid(self, part: str) -> int:
        """Of a part, whose first process is its main one; of an instance it is tritonserver. The supervisor may start it anew."""
        if part.startswith("triton"):
            return int(json.loads((self.home / "run" / f"{part}.json").read_text())["pid"])
        return min(process.pid for process, name in processes.members(self.home) if name == part)

    @property
    def ingestion(self) -> psutil.Process:
        """The gateway's child."""
        return next(each for each, _ in processes.members(self.home) if "gateway.ingestion" in each.cmdline())


@pytest.fixture(scope="module")
def fleet(ragfleet: Command, ports: int) -> Iterator[Fleet]:
    """One instance with the real embedding and retrieval models and a simulated LLM, a gateway with its ingestion."""
    assert ragfleet("setup", within=300).returncode == 0
    shown = ragfleet("up", "--port-base", str(ports), "--llm", "simulated", "--instances", "1", within=500)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    seen = ragfleet.status()
    yield Fleet(ragfleet.home, seen["gateway_url"], seen["api_key"], seen["milvus_uri"])
    assert ragfleet("down", within=120).returncode == 0


@pytest.fixture(scope="module")
def client(fleet: Fleet) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{fleet.url}/v1", api_key=fleet.api_key, timeout=60, max_retries=5) as made:
        yield made


def text(number: int, sections: int = 2) -> bytes:
    words = " ".join(f"word{number}x{at} pump valve brass" for at in range(12))
    return "".join(f"## Part {part}\n\n{words}.\n\n" for part in range(sections)).encode()


def attach(client: OpenAI, count: int, **options: Any) -> tuple[str, str]:
    """A new store with a batch of so many files; the ids of both."""
    store = client.vector_stores.create(name="faults", **options).id
    uploads = [
        client.files.create(file=(f"doc-{number}.md", text(number)), purpose="assistants").id for number in range(count)
    ]
    batch = client.vector_stores.file_batches.create(store, file_ids=uploads)
    return store, batch.id


def counts(client: OpenAI, store: str, batch: str) -> Any:
    return client.vector_stores.file_batches.retrieve(batch, vector_store_id=store).file_counts


def metrics(fleet: Fleet) -> dict[str, float]:
    """The ingestion's, summed over their labels but for the cause: `pauses_total catalog`."""
    found: dict[str, float] = {}
    with urllib.request.urlopen(f"{fleet.url}/metrics", timeout=10) as response:
        shown = response.read().decode()
    for family in text_string_to_metric_families(shown):
        for each in family.samples:
            if each.name.startswith("ragfleet_ingestion_"):
                name = each.name.removeprefix("ragfleet_ingestion_")
                name += "".join(f" {each.labels[label]}" for label in ("cause", "outcome") if label in each.labels)
                found[name] = found.get(name, 0.0) + each.value
    return found


def rows(fleet: Fleet, store: str) -> set[str]:
    """Files that have rows in the index."""
    with closing(MilvusClient(fleet.milvus, dedicated=True)) as milvus:
        found = milvus.query(ALIAS, filter=f'store == "{store}"', output_fields=["file_id"], limit=16_000)
    return {row["file_id"] for row in found}


def all_arrive(client: OpenAI, store: str, batch: str, within: float) -> None:
    """Every file is completed, none failed, and each one's own word is found."""
    eventually(lambda: not counts(client, store, batch).in_progress, "everything is done", patience=within)
    seen = counts(client, store, batch)
    assert (seen.failed, seen.cancelled, seen.completed) == (0, 0, seen.total)
    for number in (0, seen.total - 1):
        hits = client.vector_stores.search(store, query=f"word{number}x7", max_num_results=3).data
        assert f"doc-{number}.md" in {hit.filename for hit in hits}


def test_a_document_is_found_soon_after_it_is_completed(
    fleet: Fleet, client: OpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    store = client.vector_stores.create(name="fresh").id
    delays = []
    for number in range(12):
        upload = client.files.create(file=(f"fresh-{number}.md", text(1000 + number)), purpose="assistants")
        client.vector_stores.files.create(vector_store_id=store, file_id=upload.id)

        def completed(file_id: str = upload.id) -> bool:
            return client.vector_stores.files.retrieve(file_id, vector_store_id=store).status == "completed"

        def found(number: int = number, file_id: str = upload.id) -> bool:
            hits = client.vector_stores.search(store, query=f"word{1000 + number}x3", max_num_results=5).data
            return file_id in {hit.file_id for hit in hits}

        eventually(completed)
        started = time.monotonic()
        eventually(found)
        delays.append(time.monotonic() - started)
    delays.sort()
    kept = sum(delay <= FRESH_S for delay in delays)
    with capsys.disabled():
        print(
            f"\nfreshness: completed → found in {delays[len(delays) // 2] * 1e3:.0f} ms (median), "
            f"{delays[-1] * 1e3:.0f} ms (slowest of {len(delays)}); {kept} within {FRESH_S:g} s; load {os.getloadavg()[0]:.1f}"
        )


def test_a_batch_is_cancelled_while_its_files_are_in_flight(fleet: Fleet, client: OpenAI) -> None:
    store, batch = attach(client, 96)
    eventually(lambda: counts(client, store, batch).completed, "some are in")
    said = client.vector_stores.file_batches.cancel(batch, vector_store_id=store)
    assert said.status == "cancelled"
    assert said.file_counts.in_progress == 0
    seen = counts(client, store, batch)
    assert seen.cancelled > 0
    assert seen.completed + seen.cancelled == seen.total == 96
    listed = list(
        client.vector_stores.file_batches.list_files(batch, vector_store_id=store, filter="completed", limit=100)
    )
    wanted = {each.id for each in listed}
    assert len(wanted) == seen.completed
    eventually(lambda: rows(fleet, store) == wanted, "what was under way leaves the index")
    assert counts(client, store, batch) == seen, "nothing comes back"
    again = client.vector_stores.file_batches.create(
        store, file_ids=[each.id for each in client.vector_stores.files.list(store, limit=100)]
    )
    all_arrive(client, store, again.id, 240)


def test_a_store_expires_is_refused_and_leaves_no_trace_a_day_later(fleet: Fleet, client: OpenAI) -> None:
    store, batch = attach(client, 2, expires_after={"anchor": "last_active_at", "days": 1})
    all_arrive(client, store, batch, 60)
    files = {each.id for each in client.vector_stores.files.list(store)}
    assert rows(fleet, store) == files

    def days_ago(days: float) -> None:
        with closing(sqlite3.connect(fleet.home / "catalog.db", timeout=10)) as database, database:
            database.execute("UPDATE stores SET last_active_at = ? WHERE id = ?", (time.time() - 86_400 * days, store))

    days_ago(1.01)
    shown = client.vector_stores.retrieve(store)
    assert shown.status == "expired"
    with pytest.raises(Exception, match="expired"):
        client.vector_stores.search(store, query="word0x7")
    assert rows(fleet, store) == files, "it can still be revived"
    client.vector_stores.update(store, expires_after={"anchor": "last_active_at", "days": 7})
    assert client.vector_stores.search(store, query="word0x7").data
    days_ago(8.01)
    fleet.ingestion.kill()  # one that starts looks for what has expired at once, not in a minute

    def gone() -> bool:
        with contextlib.suppress(NotFoundError):
            client.vector_stores.retrieve(store)
            return False
        return True

    eventually(gone)
    eventually(lambda: not rows(fleet, store))
    assert all(client.files.retrieve(each).id == each for each in files), "files outlive their stores"


def killed(part: str) -> Callable[[Fleet], None]:
    def kill(fleet: Fleet) -> None:
        os.kill(fleet.pid(part), signal.SIGKILL)

    return kill


def hung(part: str, seconds: float) -> Callable[[Fleet], None]:
    def hang(fleet: Fleet) -> None:
        pid = fleet.pid(part)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    return hang


def locked(fleet: Fleet) -> None:
    """Another program holds the database longer than anybody waits for it."""
    with closing(sqlite3.connect(fleet.home / "catalog.db", timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        time.sleep(9)
        database.execute("ROLLBACK")


def unmounted(fleet: Fleet) -> None:
    """The folder of the contents is gone for a while."""
    objects, aside = Path(fleet.home, "objects"), Path(fleet.home, "objects-aside")
    objects.rename(aside)
    try:
        time.sleep(6)
    finally:
        with contextlib.suppress(FileNotFoundError):
            objects.rmdir()
        aside.rename(objects)


FAULTS: dict[str, tuple[Callable[[Fleet], None], str]] = {
    "milvus killed": (killed("milvus"), "index"),
    "consul killed": (killed("consul"), ""),
    "consul hangs": (hung("consul", 12), ""),
    "database locked": (locked, "catalog"),
    "contents unmounted": (unmounted, "objects"),
    "triton killed": (killed("triton-0"), ""),
}
"""What goes away, and the cause by which pauses are counted for it; "": whether there are any depends on the moment."""


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_fails_for_what_is_away(fleet: Fleet, client: OpenAI, fault: str) -> None:
    strike, cause = FAULTS[fault]
    before = metrics(fleet)
    store, batch = attach(client, 96)
    eventually(lambda: counts(client, store, batch).completed, "some are in")
    assert counts(client, store, batch).in_progress, "it strikes in the middle"
    strike(fleet)
    all_arrive(client, store, batch, 240)
    if cause:
        assert metrics(fleet)[f"pauses_total {cause}"] > before.get(f"pauses_total {cause}", 0.0)
    assert metrics(fleet).get("files_total failed", 0.0) == before.get("files_total failed", 0.0)


def test_metrics_tell_of_the_work(fleet: Fleet, client: OpenAI) -> None:
    store, batch = attach(client, 3)
    all_arrive(client, store, batch, 60)

    def told() -> bool:
        seen = metrics(fleet)
        settled = seen.get("files_waiting", 0.0) == 0 == seen["removals_waiting"] == seen["oldest_file_seconds"]
        return settled and seen["files_total completed"] >= 3 and seen["files_in_progress"] == 0

    eventually(told)
    seen = metrics(fleet)
    assert (seen["up"], seen["working"], seen["lock_held"]) == (1, 1, 1)
    assert seen["embedded_texts_total"] >= seen["chunks_total"] >= 3
