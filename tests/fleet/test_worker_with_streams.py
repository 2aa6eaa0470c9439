"""A worker around the simulated engine: its load in Consul's words, its meta, and a drain that lets streams end."""

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import ConsulServer, WorkerProcess, eventually

NAME = "triton-0"


@pytest.fixture(scope="module")
def worker(consul: ConsulServer, ports: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker whose Triton serves the simulated `llm` alone; the last test ends it."""
    repository = tmp_path_factory.mktemp("models")
    (repository / "llm").symlink_to(PROJECT / "model_repository" / "llm")
    arguments = [f"--http-port={ports + 11}", f"--model-repository={repository}", "--flavour=simulated"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAGFLEET_LLM_PARAMS", json.dumps({"slots": 4, "decode_step_ms": 10}))
        started = WorkerProcess(tmp_path_factory.mktemp("home"), arguments, consul.url)
    started.start()
    yield started
    processes.sweep(started.home)
    if started.process:
        started.process.wait(60)


@pytest.fixture
def stream(ports: int) -> Callable[[int], tuple[threading.Thread, list[int]]]:
    """Starts a stream of so many tokens; gives its thread, and the tokens as they come."""

    def begin(tokens: int) -> tuple[threading.Thread, list[int]]:
        got: list[int] = []
        body = {"input_ids": [5, 6, 7], "input_lengths": 3, "request_output_len": tokens, "min_tokens": tokens}
        request = urllib.request.Request(
            f"http://127.0.0.1:{ports + 11}/v2/models/llm/generate_stream",
            data=json.dumps({**body, "streaming": True}).encode(),
            headers={"Connection": "close"},
        )

        def read() -> None:
            with urllib.request.urlopen(request, timeout=30) as response:
                for line in response:
                    if line.startswith(b"data:") and "output_ids" in (event := json.loads(line[5:])):
                        ids = event["output_ids"]
                        got.extend(ids if isinstance(ids, list) else [ids])

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        return thread, got

    return begin


def test_words_and_meta_tell_of_the_engine(
    worker: WorkerProcess, consul: ConsulServer, stream: Callable[[int], tuple[threading.Thread, list[int]]]
) -> None:
    eventually(lambda: consul.passes(NAME), "passes")
    assert consul.checks(NAME)["worker"] == ("passing", "queue 0, running 0/4, kv 0%")
    entry = consul.service(NAME)
    assert entry is not None
    assert (entry["Meta"]["engine"], entry["Meta"]["flavour"]) == ("simulated", "simulated")
    assert (entry["Meta"]["slots"], entry["Meta"]["max_context"]) == ("4", "8192")
    streams = [stream(1200) for _ in range(4)]
    eventually(lambda: "running 4/4" in consul.checks(NAME)["worker"][1], "the load in words")
    for thread, _ in streams:
        thread.join(60)


def test_a_drain_lets_the_running_stream_end(
    worker: WorkerProcess, consul: ConsulServer, stream: Callable[[int], tuple[threading.Thread, list[int]]]
) -> None:
    eventually(lambda: consul.passes(NAME), "passes")
    thread, got = stream(400)
    eventually(lambda: got, "the first token")
    assert worker.stop(within=30) == 0
    thread.join(60)
    assert len(got) == 400
    assert consul.service(NAME) is None
