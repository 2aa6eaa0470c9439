"""A real Milvus Lite server in a temporary folder, and a Triton that is only a socket, with the fake embedder behind it."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gateway.knowledge.embedder import FakeEmbedder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Milvus Lite's server, started for this session in a process group of its own."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    folder = tmp_path_factory.mktemp("milvus")
    port = free_port()
    command = [sys.executable, "-m", "ragfleet.milvus_lite"]
    command += ["--data-dir", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    pytest.fail(f"Milvus Lite did not start:\n{(folder / 'log').read_text()[-2000:]}")
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(timeout=10)


class TritonSocket:
    """Answers `/v2/models/embedding/infer` as Triton does. `fail` makes it answer with that status; `stall` holds its answers."""

    def __init__(self, embedder: FakeEmbedder) -> None:
        self.batches: list[int] = []
        self.fail = 0
        self.stall = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.stall.is_set():
                    outer.released.wait(20)
                    return None
                head_length = int(self.headers["Inference-Header-Content-Length"])
                request: dict[str, Any] = json.loads(raw[:head_length])
                texts, at = [], head_length
                while at < len(raw):
                    (size,) = struct.unpack_from("<I", raw, at)
                    texts.append(raw[at + 4 : at + 4 + size].decode())
                    at += 4 + size
                (text,) = request["inputs"]
                assert self.path == "/v2/models/embedding/infer"
                assert (text["name"], text["shape"], text["datatype"]) == ("text", [len(texts), 1], "BYTES")
                assert len(texts) <= 64
                if outer.fail:
                    return self.answer(outer.fail, b'{"error":"request queue is full"}')
                outer.batches.append(len(texts))
                vectors = embedder.embed(texts)
                output = {"name": "embedding", "datatype": "FP32", "shape": list(vectors.shape)}
                head = json.dumps(
                    {"outputs": [{**output, "parameters": {"binary_data_size": vectors.nbytes}}]}
                ).encode()
                return self.answer(200, head + vectors.tobytes(), len(head))

            def answer(self, status: int, body: bytes, head_length: int | None = None) -> None:
                self.send_response(status)
                if head_length is not None:
                    self.send_header("Inference-Header-Content-Length", str(head_length))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def tritons() -> Iterator[list[TritonSocket]]:
    """Two of them."""
    servers = [TritonSocket(FakeEmbedder()) for _ in range(2)]
    yield servers
    for server in servers:
        server.close()
