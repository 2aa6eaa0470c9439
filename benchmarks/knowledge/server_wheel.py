"""A real Milvus server in one process: the wheel `milvus` (2.3.5, the last of its kind) has the binary."""

import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

INSTALL = "pip install --no-deps milvus==2.3.5"
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class MilvusServer:
    """A running server."""

    uri: str
    version: str


class NoServerError(Exception):
    """There is no wheel, or its server did not start; the message says which."""


@contextmanager
def server(folder: Path, port: int) -> Iterator[MilvusServer]:
    """The server with its data in `folder`, until the block ends. Raises NoServerError."""
    if importlib.util.find_spec("milvus") is None:
        raise NoServerError(f"the Milvus server is not installed: {INSTALL}")
    version = importlib.metadata.version("milvus")
    argv = [sys.executable, "-c", "import milvus; milvus.main()", f"--data={folder}", f"--proxy-port={port}"]
    with (folder / "server.log").open("wb") as log:
        # A session of its own: the wheel's launcher leaves the server behind when it is told to end by SIGTERM.
        launcher = subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait(uri, launcher, folder)
        yield MilvusServer(uri, version)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)  # its data goes with it
        launcher.wait()


def _wait(uri: str, launcher: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + _START_S
    while True:
        with suppress(MilvusException), closing(MilvusClient(uri, timeout=10)) as client:
            client.list_collections()
            return
        if launcher.poll() is not None or time.monotonic() > until:
            logs = [folder / "server.log", *folder.glob("logs/milvus-std*.log")]
            words = " ".join(path.read_text(errors="replace")[-300:].strip() for path in logs)
            raise NoServerError(f"the Milvus server did not start within {_START_S:g} s: {words}")
        time.sleep(0.5)
