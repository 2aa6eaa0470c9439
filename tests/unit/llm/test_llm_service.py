"""Triton's requests to an engine and back: every request is answered, once, in the shapes of the contract."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llm_engine import service as service_module
from llm_engine.engine import Sink, Stats, TokenLogProbs
from llm_engine.errors import EngineQueueFull
from llm_engine.guided_decoding import GuideCompiler
from llm_engine.metrics import EMPTY, Gauges
from llm_engine.request import Request
from llm_engine.service import EngineService, Periodic, Periods
from tests.unit.llm import fake_backend


class FakeEngine:
    """Does what the test says."""

    vocab_size = 1000
    max_context = 100
    gives_log_probs = True
    loras = (7,)
    guides: GuideCompiler | None = None

    def __init__(self) -> None:
        self.running: dict[int, tuple[Request, Sink]] = {}
        self.cancelled: list[int] = []
        self.full = False
        self.broken = False

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        if self.full:
            raise EngineQueueFull("no room")
        if self.broken:
            raise RuntimeError("oh")
        self.running[key] = (request, sink)

    def cancel(self, key: int) -> None:
        self.cancelled.append(key)

    def stats(self) -> Stats:
        return EMPTY

    def close(self) -> None:
        pass


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def service(engine: FakeEngine) -> Iterator[EngineService]:
    # The background looks are made by hand, by the tests.
    periods = Periods(cancellation_check_period_ms=3_600_000, stats_check_period_ms=3_600_000)
    made = EngineService(fake_backend, engine, Gauges(fake_backend, model="llm", version="1"), periods, print)
    yield made
    made.close()


def ask(service: EngineService, request_id: str = "", **inputs: Any) -> fake_backend.Sender:
    base = {"input_ids": [[1, 2]], "input_lengths": [2], "request_output_len": [3]}
    request = fake_backend.Request(request_id, **{name: np.array(value) for name, value in (base | inputs).items()})
    service.take([request])
    return request.sender


def outputs(sender: fake_backend.Sender) -> list[tuple[list[Any], int]]:
    return [(response.outputs["output_ids"].tolist(), flags) for response, flags in sender.sent if response]


def error(sender: fake_backend.Sender) -> fake_backend.TritonError:
    assert len(sender.sent) == 1
    response, flags = sender.sent[0]
    assert flags
    assert response is not None
    assert response.error is not None
    return response.error


def test_streaming_is_a_response_a_token_and_the_last_is_final(service: EngineService, engine: FakeEngine) -> None:
    sender = ask(service, streaming=[True])
    sink = engine.running[0][1]
    for token in (7, 8):
        sink.token(token, last=token == 8)
    assert outputs(sender) == [([[[7]]], 0), ([[[8]]], 1)]
    response = sender.sent[0][0]
    assert response is not None
    assert response.outputs["output_ids"].dtype == np.int32
    assert response.outputs["sequence_length"].tolist() == [[1]]
    assert set(response.outputs) == {"output_ids", "sequence_length"}


@pytest.mark.parametrize("streaming", [True, False])
def test_what_was_cached_is_told_once(service: EngineService, engine: FakeEngine, streaming: bool) -> None:
    sender = ask(service, streaming=[streaming])
    sink = engine.running[0][1]
    sink.began(3)
    for token in (7, 8):
        sink.token(token, last=token == 8)
    told = [response.outputs.get("kv_cache_reused_blocks") for response, _ in sender.sent if response]
    assert [None if each is None else each.tolist() for each in told] == [[[3]], None][: 1 + streaming]


def test_not_streaming_is_one_response(service: EngineService, engine: FakeEngine) -> None:
    sender = ask(service, return_log_probs=[True], num_top_log_probs=[2])
    sink = engine.running[0][1]
    sink.token(7, last=False, log_probs=TokenLogProbs(-0.5, [(7, -0.5), (9, -2.0)]))
    sink.token(8, last=False, log_probs=TokenLogProbs(-0.25, [(8, -0.25), (6, float("-inf"))]))
    assert not sender.sent
    sink.end()
    ((response, flags),) = sender.sent
    assert response is not None
    assert flags
    assert {name: value.tolist() for name, value in response.outputs.items()} == {
        "output_ids": [[[7, 8]]],
        "sequence_length": [[2]],
        "cum_log_probs": [[-0.75]],
        "output_log_probs": [[[-0.5, -0.25]]],
        "top_token_ids": [[[[7, 9], [8, 6]]]],
        "top_log_probs": [[[[-0.5, -2.0], [-0.25, -9999.0]]]],
    }


def test_an_end_token_after_the_last_token_is_an_empty_final(service: EngineService, engine: FakeEngine) -> None:
    sender = ask(service, streaming=[True])
    sink = engine.running[0][1]
    sink.token(7, last=False)
    sink.end()
    assert sender.sent[-1] == (None, 1)


def test_a_client_that_is_gone_is_cancelled_and_gets_an_empty_final(service: EngineService, engine: FakeEngine) -> None:
    sender = ask(service)
    service._look_for_the_gone()
    assert engine.cancelled == []
    sender.cancelled = True
    service._look_for_the_gone()
    assert engine.cancelled == [0]
    engine.running[0][1].token(7, last=False)
    engine.running[0][1].end()
    assert sender.sent == [(None, 1)]
    service._look_for_the_gone()
    assert engine.cancelled == [0], "what has ended is not asked about again"


def test_stop_ends_all_with_its_id_and_is_answered(service: EngineService, engine: FakeEngine) -> None:
    ask(service, "a")
    ask(service, "b")
    ask(service, "a")
    ask(service, "")
    stop = ask(service, "a", stop=[True])
    assert engine.cancelled == [0, 2]
    assert stop.sent == [(None, 1)]
    assert ask(service, "", stop=[True]).sent == [(None, 1)]
    assert engine.cancelled == [0, 2], "no id is nobody's id"


def test_refusals_reach_the_client_with_a_code(service: EngineService, engine: FakeEngine) -> None:
    bad = error(ask(service, request_output_len=[0]))
    assert (bad.message, bad.code) == ("llm: bad request: request_output_len: 0 is less than 1", "invalid")
    assert "exceed the context of 100" in error(ask(service, request_output_len=[99])).message
    engine.full = True
    assert error(ask(service)).code == "unavailable"
    engine.full, engine.broken = False, True
    assert error(ask(service)).message.startswith("llm: engine failed: RuntimeError")
    assert not service._streams


def test_metrics_change_only_when_the_load_does() -> None:
    gauges = Gauges(fake_backend, model="llm", version="1")
    stats = replace(EMPTY, max=8, active=2, kv_max=100, kv_used=25, kv_tokens_per=32)
    for look in (stats, stats, replace(stats, active=3)):
        gauges.show(look)
    shown = {name: metric.values for family in gauges._families for (name, _), metric in family.metrics.items()}
    assert shown["active"] == [2, 3]
    assert (shown["free"], shown["used"], shown["fraction"]) == ([75], [25], [0.25])
    assert set(shown) == {
        *("waiting", "active", "scheduled", "context"),
        *("max", "free", "used", "tokens_per", "reused", "fraction"),
        "iteration_counter",
    }


def test_a_periodic_job_rests_while_there_is_no_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "IDLE_S", 3600.0)
    busy, rounds = threading.Event(), threading.Semaphore(0)
    job = Periodic(rounds.release, 0.0, busy, print)
    for _ in range(service_module.QUIET_ROUNDS):  # what ended still shows
        assert rounds.acquire(timeout=5)
    assert not rounds.acquire(blocking=False)
    busy.set()
    for _ in range(100):
        assert rounds.acquire(timeout=5)
    job.close()
