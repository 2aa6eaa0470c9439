"""Everything real: one Triton with all models (a simulated `llm`), one Milvus Lite server, the tokenizer of SmolLM2."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from numpy.typing import NDArray

from build_scripts.tokenizer import PreparationFailed, prepare
from gateway.knowledge.index import ALIAS, MilvusIndex, Row, collection_name
from gateway.retrieval.filter_signature import FilterSigner
from ragfleet.paths import embedding_graph
from tests.contract.triton_server import WHEEL, TritonServer, available
from tests.support.cross_encoder import make_cross_encoder
from tokens import TokenTable

REPOSITORY = Path(__file__).parents[3] / "model_repository"
TEXTS = {
    "well.md": "The old well behind the library is exactly thirty-one metres deep.",
    "roof.md": "The roof was painted red in the spring.",
    "code.md": "Maintenance code QX-7781 opens the cabinet.",
    "tea.md": "Tea is served at four o'clock on the terrace.",
}
DIARY = [
    "On Monday the gardener planted forty tulips along the northern wall.",
    "On Tuesday a heron came to the pond and ate nothing at all.",
    "On Wednesday the ladder broke, and the apples stayed on their trees.",
    "On Thursday it rained into the greenhouse through a broken pane.",
]
"""The chunks of one file, a space between them."""
SECRET = "only this Triton and the gateways know it"
SIGNER = FilterSigner(SECRET)
# Names, in tritonclient's spelling, of the types that the models take.
_TYPES = {"O": "BYTES", "i": "INT32", "f": "FP32", "b": "BOOL", "u": "UINT64"}

Infer = Callable[..., dict[str, NDArray[Any]]]


def tensors(inputs: dict[str, Any]) -> list[triton_grpc.InferInput]:
    """Inputs as Triton wants them: text, numbers and lists become arrays with the batch dimension in front. A filter gets its
    signature, where the test has none of its own."""
    if isinstance(expression := inputs.get("filter"), str):
        inputs = {"filter_signature": SIGNER.sign(inputs.get("collection", ""), expression), **inputs}
    made = []
    for name, value in inputs.items():
        array = value if isinstance(value, np.ndarray) else _array(value)
        tensor = triton_grpc.InferInput(name, list(array.shape), _TYPES[array.dtype.kind])
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def _array(value: Any) -> NDArray[Any]:
    if isinstance(value, str):
        return np.array([[value.encode()]], np.object_)
    if isinstance(value, bool):
        return np.array([[value]], np.bool_)
    if isinstance(value, float):
        return np.array([[value]], np.float32)
    return np.array([[value]], np.uint64 if value >= 2**31 else np.int32)


class MilvusServer:
    """Milvus Lite's server on a port of its own, which a test may kill, freeze and start again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "ragfleet.milvus_lite", "--data-dir", str(self._folder / "data")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 60
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"Milvus Lite did not start:\n{(self._folder / 'log').read_text()[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="session")
def embed() -> Callable[[list[str]], NDArray[np.float32]]:
    """sentence-transformers called directly: what the model must equal."""
    from sentence_transformers import SentenceTransformer

    from embedding_encoder import EncoderSettings

    model = SentenceTransformer(str(EncoderSettings.read({}, {}).model_dir), device="cpu", local_files_only=True)

    def encode(texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return vectors

    return encode


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def milvus(
    launched: TritonServer, milvus_server: MilvusServer, embed: Callable[[list[str]], NDArray[np.float32]]
) -> MilvusServer:
    """With the four TEXTS in store "a", the first one in store "b", too, and DIARY in "c". Filled while Triton starts."""
    vectors = embed(list(TEXTS.values()))
    rows = [_row("a", name, text) for name, text in TEXTS.items()]
    diary = _diary()

    async def fill() -> None:
        index = MilvusIndex(milvus_server.uri)
        collection = collection_name("all-MiniLM-L6-v2")
        await index.ensure(collection, vectors.shape[1])
        await index.upsert(
            collection, [*rows, _row("b", *next(iter(TEXTS.items())))], np.concatenate([vectors, vectors[:1]])
        )
        await index.upsert(collection, diary, embed(DIARY))
        await index.flush(collection)
        await index.point(ALIAS, collection)
        await index.close()

    asyncio.run(fill())
    return milvus_server


def _row(store: str, name: str, text: str) -> Row:
    return Row(
        tenant="acme", store=store, file_id=f"{store}-{name}", filename=name, index=0, text=text, page=2, start=0,
        end=len(text), attributes={"kind": "note"},
    )  # fmt: skip


def _diary() -> list[Row]:
    rows, at = [], 0
    for index, text in enumerate(DIARY):
        row = _row("c", "diary.md", text)
        rows.append(replace(row, index=index, text=f"Diary\n{text}", page=index + 1, start=at, end=at + len(text)))
        at += len(text) + 1
    return rows


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer")
    try:
        prepare(out)
    except PreparationFailed as error:
        pytest.skip(str(error))
    return out


@pytest.fixture(scope="session")
def table(tokenizer_dir: Path) -> TokenTable:
    return TokenTable.load(tokenizer_dir)


@pytest.fixture(scope="session")
def rerank_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


@pytest.fixture(scope="session")
def launched(milvus_server: MilvusServer, tokenizer_dir: Path, rerank_dir: Path) -> Iterator[TritonServer]:
    """Triton, on its way: it loads its models while other fixtures do their part. It has a cross-encoder, whose order means
    nothing, so most tests go without."""
    if not available():
        pytest.skip("the wheel nvidia-pytriton, which carries tritonserver, is not installed")
    http_port, grpc_port, metrics_port = _free_ports(3)
    server = TritonServer(
        REPOSITORY,
        config_name="simulated",
        env={
            "MILVUS_URI": milvus_server.uri,
            "RAGFLEET_TOKENIZER_DIR": str(tokenizer_dir),
            "RAGFLEET_RERANK_DIR": str(rerank_dir),
            "RAGFLEET_FILTER_SECRET": SECRET,
            "RAGFLEET_EMBEDDING_ONNX": str(embedding_graph()),  # of `make setup`; without it PyTorch gives the same
        },
        flags=[
            "--disable-auto-complete-config",
            "--cache-config=local,size=4194304",
            f"--cache-directory={WHEEL / 'caches'}",
        ],
        ready_timeout_s=150,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
    )
    server.launch()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def triton(launched: TritonServer, milvus: MilvusServer) -> TritonServer:
    """Ready, and Milvus filled."""
    launched.wait_ready()
    return launched


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="session")
def client(triton: TritonServer) -> Iterator[triton_grpc.InferenceServerClient]:
    with triton_grpc.InferenceServerClient(triton.grpc_url) as client:
        yield client


@pytest.fixture(scope="session")
def infer(client: triton_grpc.InferenceServerClient) -> Infer:
    """`infer(model, request_id="", **inputs)` → outputs by name."""

    def call(model: str, request_id: str = "", **inputs: Any) -> dict[str, NDArray[Any]]:
        result = client.infer(model, tensors(inputs), request_id=request_id, client_timeout=20)
        return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}

    return call
