"""The state file, the log lines, the meta, the last words of a dead Triton."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from worker import meta, state
from worker.load import LoadReport
from worker.log import LineFormatter, event
from worker.process import first_error, remove_shared_memory
from worker.settings import parse
from worker.state import InstanceState, WorkerPhase

SETTINGS = parse(["--name=triton-0", "--http-port=8101"], {"RAGFLEET_MODEL_NAME": "tiny"})


def test_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "run" / "triton-0.json"
    written = InstanceState(
        "triton-0", WorkerPhase.READY, 10, 11, 8101, 8102, 8103, restarts=2, reason="x", pid_started=1.5
    )
    state.write(path, written)
    assert state.read(path) == written
    fields = json.loads(path.read_text())
    contract = {"name", "state", "worker_pid", "pid", "http_port", "grpc_port", "metrics_port", "restarts", "since"}
    assert contract <= fields.keys()
    assert [file.name for file in path.parent.iterdir()] == ["triton-0.json"]


def test_a_broken_or_missing_state_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "triton-0.json"
    assert state.read(path) is None
    for text in ("{", "[]", '{"state": "ready"}', '{"state": "dancing"}'):
        path.write_text(text)
        assert state.read(path) is None


def test_log_lines_are_read_by_people_and_machines() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "", 0, event("triton is ready", pid=5, why="a b", seconds=1.234), (), None
    )
    record.created = 0.0
    line = LineFormatter("triton-0").format(record)
    assert line == '1970-01-01T00:00:00.000Z info triton-0 triton is ready pid=5 why="a b" seconds=1.23'


def test_meta_comes_from_the_engine() -> None:
    llm = {
        "backend": "python",
        "max_batch_size": 64,
        "parameters": {"engine": {"string_value": "llama.cpp"}, "max_context": {"string_value": "4096"}},
    }
    told = meta.describe(SETTINGS, llm, {}, LoadReport(slots=8))
    assert told["slots"] == "8"
    assert told["max_context"] == "4096"
    assert told["engine"] == "llama.cpp"
    assert told["model"] == "tiny"
    assert told["device"] == "cpu"
    assert told["flavour"] == "default"
    assert (told["grpc_port"], told["metrics_port"]) == ("8102", "8103")
    assert all(isinstance(value, str) for value in told.values())
    assert not {"loras", "tenant_classes"} & told.keys()


def test_meta_says_which_adapters_it_has_and_for_whom_it_is_kept() -> None:
    kept = parse(["--name=triton-0", "--http-port=8101", "--loras=law,code", "--tenant-classes=gold"], {})
    told = meta.describe(kept, {}, {}, None)
    assert (told["loras"], told["tenant_classes"]) == ("law,code", "gold")


def test_meta_of_a_tensorrt_engine_on_a_gpu() -> None:
    llm = {"backend": "tensorrtllm", "parameters": {"max_tokens_in_paged_kv_cache": {"string_value": "${max}"}}}
    told = meta.describe(SETTINGS, llm, {}, LoadReport(slots=64, gpu_memory_used=1.0, gpu_memory_total=2.0))
    assert (told["engine"], told["device"], told["max_context"]) == ("tensorrt_llm", "gpu", "2048")


def test_meta_reads_a_tensorrt_engine_and_what_the_environment_overrides(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"build_config": {"max_seq_len": 10240}}')
    llm = {"backend": "tensorrtllm", "parameters": {"gpt_model_path": {"string_value": str(tmp_path)}}}
    assert meta.engine_limits(llm) == {"max_seq_len": "10240"}
    assert meta.engine_limits({}) == {}
    changed = meta.with_parameters(llm, {**meta.engine_limits(llm), **meta.overrides('{"slots": 3}')})
    told = meta.describe(replace(SETTINGS, embedding_dir="/models/other-embedder/"), changed, {}, None)
    assert (told["max_context"], told["slots"], told["embedding_model"]) == ("10240", "3", "other-embedder")
    with pytest.raises(ValueError, match="not a JSON object"):
        meta.overrides("[]")


def test_the_first_complaint_of_a_run_is_told_and_the_usual_noise_is_not(tmp_path: Path) -> None:
    log = tmp_path / "triton-0.log"
    assert first_error(log, 8) == ""
    noise = '2026-11-23T23:14:31Z E 8 server.cc:241] "CudaDriverHelper has not been initialized."\n'
    older = '2026-11-23T23:14:30Z E 7 model_lifecycle.cc:6] "out of memory"\n'
    log.write_text(f"{older}{noise}2026-11-23T23:14:31Z I 8 server.cc:1] started\n")
    assert first_error(log, 8) == ""
    end = "error: creating server: Internal - failed to load all models\n"
    log.write_text(older + noise + end)
    assert first_error(log, 8) == "creating server: Internal - failed to load all models"
    cause = "2026-11-23T23:14:31Z E 8 model_lifecycle.cc:6] \"failed to load 'llm'\"\n"
    log.write_text(older + noise + cause + cause.replace("llm", "rag") + end)
    assert first_error(log, 8) == "failed to load 'llm'"


def test_only_the_own_shared_memory_is_removed(tmp_path: Path) -> None:
    for name in ("ragfleet_1_triton-0_a", "ragfleet_1_triton-0_b", "ragfleet_1_triton-1_a"):
        (tmp_path / name).touch()
    assert remove_shared_memory("ragfleet_1_triton-0_", tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["ragfleet_1_triton-1_a"]


def test_environment_gives_the_defaults() -> None:
    settings = parse(
        ["--name=triton-0", "--http-port=1"], {"RAGFLEET_HOME": "/state", "RAGFLEET_CONSUL_URL": "http://c:1/"}
    )
    assert settings.home == Path("/state")
    assert settings.consul_url == "http://c:1"
    assert settings.state_file == Path("/state/run/triton-0.json")
