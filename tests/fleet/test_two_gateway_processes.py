"""Two gateway processes on one PostgreSQL, with real Triton, Milvus Lite and Consul: they agree, one of them ingests, and when
it is killed the other goes on with everything."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from openai import NotFoundError, OpenAI

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import Command, eventually, get
from tests.support.postgres import postgres_server

TEXTS = {
    "turbines.md": "# Turbines\n\nThe zirconium flange of a turbine holds ninety bar and is painted violet.",
    "bees.md": "# Bees\n\nA queen bee lays two thousand eggs on a day in May.",
    "tides.md": "# Tides\n\nThe tide at Saint-Malo rises by thirteen metres twice a day.",
}
QUESTION = "How many eggs does a queen lay?"
MODEL = "smollm2-135m-instruct"
TENANTS = """
tenants:
  - name: acme
    keys:
      - all-key
      - {key: hr-key, groups: [hr]}
      - {key: sales-key, groups: [sales]}
"""


class GatewayProcess:
    """One gateway with its ingestion, and a client of it."""

    def __init__(self, name: str, port: int, fleet: Command, folder: Path, database: str) -> None:
        self._log = folder / f"{name}.log"
        home = folder / name
        self.ingestion_log = home / "log" / "ingestion.log"
        base = port - port % 50
        self._environment = {
            **os.environ,
            processes.HOME_MARK: str(home),
            "RAGFLEET_CONSUL_URL": f"http://127.0.0.1:{base + 1}",
            "MILVUS_URI": f"http://127.0.0.1:{base + 8}",
            "RAGFLEET_TOKENIZER_DIR": str(fleet.home / "models" / "smollm2"),
            "RAGFLEET_API_KEY": "any",
            "RAGFLEET_TENANTS_FILE": str(folder / "tenants.yaml"),
            "RAGFLEET_FILTER_SECRET_FILE": str(fleet.home / "run" / "filter_secret"),
            "RAGFLEET_CATALOG_URL": database,
            "RAGFLEET_OBJECTS_URL": f"file://{folder}/objects",
            "RAGFLEET_GATEWAY_PORT": str(port),
        }
        (folder / "tenants.yaml").write_text(TENANTS)
        self._url = f"http://127.0.0.1:{port}"
        self.client = OpenAI(base_url=f"{self._url}/v1", api_key="any", max_retries=0, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    def client_with(self, key: str) -> OpenAI:
        """One that the caller closes."""
        return OpenAI(base_url=f"{self._url}/v1", api_key=key, max_retries=0, timeout=60)

    def start(self) -> None:
        """Starts it and waits until it can serve."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway"], env=self._environment, cwd=PROJECT, stdout=output, stderr=output
            )
        eventually(lambda: (get(f"{self._url}/health/ready") or {}).get("ready"), "the gateway is ready")

    @property
    def ingests(self) -> bool:
        """Whether its ingestion has begun to work."""
        log = self.ingestion_log
        return log.exists() and re.search(r"/\d+ works$", log.read_text(), re.MULTILINE) is not None

    def kill(self) -> None:
        """SIGKILL to the gateway and to its ingestion, as when their host dies."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        for process in (self._process, *family):
            process.send_signal(signal.SIGKILL)
        self._process.wait(60)

    def stop(self) -> None:
        """SIGTERM, where it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)


@pytest.fixture(scope="module")
def gateways(
    ragfleet: Command, take_ports: Callable[[], int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[GatewayProcess]]:
    """Two, over one instance with the real embedding model and a simulated LLM."""
    repository = tmp_path_factory.mktemp("models")
    for model in (PROJECT / "model_repository").iterdir():
        if model.is_dir():
            (repository / model.name).symlink_to(model)
    folder, ports = tmp_path_factory.mktemp("gateways"), take_ports()
    assert ragfleet("setup", within=120).returncode == 0
    options = ("--port-base", str(ports), "--instances", "1", "--llm", "simulated", "--without", "gateway")
    with postgres_server() as database:
        shown = ragfleet("up", *options, within=180)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        made = [
            GatewayProcess(name, ports + offset, ragfleet, folder, database)
            for name, offset in (("one", 0), ("two", 7))
        ]
        try:
            for each in made:
                each.start()
            yield made
        finally:
            for each in made:
                each.stop()
                each.client.close()
            assert ragfleet("down").returncode == 0


def _seen(client: OpenAI, store: str, file: str) -> dict[str, bool]:
    """On which paths a key meets the file."""

    def found(read: Callable[[], object]) -> bool:
        try:
            read()
        except NotFoundError:
            return False
        return True

    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    chat = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=4, extra_body={"tools": tools}
    )
    return {
        "file": found(lambda: client.files.retrieve(file)),
        "content": found(lambda: client.files.content(file)),
        "list": file in {each.id for each in client.files.list()},
        "member": found(lambda: client.vector_stores.files.retrieve(file, vector_store_id=store)),
        "text": found(lambda: list(client.vector_stores.files.content(file, vector_store_id=store))),
        "members": file in {each.id for each in client.vector_stores.files.list(store)},
        "search": file in {each.file_id for each in client.vector_stores.search(store, query=QUESTION)},
        "sources": file in {each["file_id"] for each in chat.http_response.json()["rag"]["sources"]},
    }


@pytest.mark.timeout(600)
def test_what_a_key_may_see_changes_at_once_at_both(gateways: list[GatewayProcess]) -> None:
    with contextlib.ExitStack() as opened:
        clients = {
            (key, at): opened.enter_context(each.client_with(key))
            for key in ("all-key", "hr-key", "sales-key")
            for at, each in enumerate(gateways)
        }
        _change_and_look(clients)


def _change_and_look(clients: dict[tuple[str, int], OpenAI]) -> None:
    owner = clients["all-key", 0]
    store = owner.vector_stores.create(name="for some")
    text = TEXTS["bees.md"].encode()
    file = owner.files.create(file=("bees.md", text), purpose="assistants", extra_body={"allow": ["hr"]}).id
    owner.vector_stores.files.create(store.id, file_id=file)
    eventually(
        lambda: owner.vector_stores.files.retrieve(file, vector_store_id=store.id).status == "completed",
        "the file is in",
    )
    answer = clients["hr-key", 1].responses.create(
        model=MODEL,
        input=QUESTION,
        max_output_tokens=16,
        tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
    )
    allowed = {"all-key", "hr-key"}
    for change in (None, ["sales"], []):
        if change is not None:  # at one gateway, and asked at both
            owner.post(f"/vector_stores/{store.id}/files/{file}", body={"allow": change}, cast_to=object)
            allowed = {"all-key", *(f"{group}-key" for group in change)}
        for (key, _), client in clients.items():
            paths = _seen(client, store.id, file)
            assert set(paths.values()) == {key in allowed}, (change, key, paths)
            try:
                client.responses.retrieve(answer.id)
                assert key in allowed
            except NotFoundError:
                assert key not in allowed


@pytest.mark.timeout(600)
def test_they_agree_and_one_ingests_and_the_other_takes_over(gateways: list[GatewayProcess]) -> None:
    one, two = (each.client for each in gateways)
    store = one.vector_stores.create(name="handbook", extra_headers={"Idempotency-Key": "k"})
    assert two.vector_stores.retrieve(store.id).name == "handbook"
    assert two.vector_stores.create(name="handbook", extra_headers={"Idempotency-Key": "k"}).id == store.id

    files = [
        (one, two)[at % 2].files.create(file=(name, text.encode()), purpose="assistants").id
        for at, (name, text) in enumerate(TEXTS.items())
    ]
    batch = two.vector_stores.file_batches.create_and_poll(store.id, file_ids=files)
    assert (batch.status, batch.file_counts.completed) == ("completed", 3)
    for client in (one, two):
        found = client.vector_stores.search(store.id, query=QUESTION)
        assert next(iter(found)).filename == "bees.md"
    assert [each.ingests for each in gateways].count(True) == 1

    two.files.delete(files[1])
    assert {each.filename for each in one.vector_stores.search(store.id, query=QUESTION)}.isdisjoint({"bees.md"})
    with pytest.raises(NotFoundError):
        one.files.retrieve(files[1])

    dying, living = sorted(gateways, key=lambda each: not each.ingests)
    late = living.client.files.create(file=("bees.md", TEXTS["bees.md"].encode()), purpose="assistants").id
    dying.kill()
    killed = time.monotonic()
    living.client.vector_stores.files.create(store.id, file_id=late)
    eventually(
        lambda: living.client.vector_stores.files.retrieve(late, vector_store_id=store.id).status == "completed",
        "the other one's ingestion takes over",
    )
    print(f"taken over {time.monotonic() - killed:.1f} s after the kill")
    assert living.ingests
    assert next(iter(living.client.vector_stores.search(store.id, query=QUESTION))).filename == "bees.md"
    dying.start()
    assert dying.client.files.retrieve(late).id == late
