"""The simulated engine in real time: every stream ends once, at the asked pace, whatever faults it has."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llm_engine.engine import TokenLogProbs
from llm_engine.errors import EngineQueueFull
from llm_engine.faults import FaultFile, Faults
from llm_engine.request import Request
from llm_engine.scheduler import Spec
from llm_engine.simulated import SimulatedEngine

WAIT_S = 5.0


class Recorder:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.endings: list[str] = []
        self.ended = threading.Event()
        self.first = threading.Event()
        self.reused_blocks: int | None = None

    def began(self, reused_blocks: int) -> None:
        self.reused_blocks = reused_blocks

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        self.tokens.append(token)
        self.first.set()
        if last:
            self._end("last")

    def end(self) -> None:
        self._end("end")

    def fail(self, message: str) -> None:
        self._end(message)

    def _end(self, how: str) -> None:
        self.endings.append(how)
        self.ended.set()


@contextmanager
def engine(
    faults: FaultFile | None = None, die: Callable[[], None] | None = None, **spec: float
) -> Iterator[SimulatedEngine]:
    settings = Spec(**{"decode_step_ms": 1, "decode_step_ms_per_sequence": 0} | spec)  # type: ignore[arg-type]
    made = SimulatedEngine(settings, faults, die=die)
    try:
        yield made
    finally:
        made.close()


def ask(made: SimulatedEngine, key: int, *, tokens: int = 10, end_id: int | None = None) -> Recorder:
    sink = Recorder()
    made.submit(key, Request(input_ids=[1, 2, 3], max_tokens=tokens, end_id=end_id), sink)
    return sink


def test_streams_side_by_side_get_all_their_tokens_and_end_once() -> None:
    with engine(slots=8) as made:
        sinks = [ask(made, key, tokens=5 + key) for key in range(20)]
        assert all(sink.ended.wait(WAIT_S) for sink in sinks)
        assert [len(sink.tokens) for sink in sinks] == [5 + key for key in range(20)]
        assert all(sink.endings == ["last"] for sink in sinks)
        assert sinks[0].tokens == sinks[19].tokens[:5]
        assert (made.stats().active, made.stats().waiting, made.stats().kv_used) == (0, 0, 0)


def test_what_was_cached_is_told_before_the_first_token() -> None:
    prompt = list(range(100, 170))
    with engine(tokens_per_block=32) as made:
        told = []
        for key in range(2):
            sink = Recorder()
            made.submit(key, Request(input_ids=prompt, max_tokens=3), sink)
            assert sink.ended.wait(WAIT_S)
            told.append(sink.reused_blocks)
        assert told == [0, 2]


def test_the_pace_is_kept() -> None:
    with engine(decode_step_ms=4) as made:
        began = time.monotonic()
        assert ask(made, 0, tokens=50).ended.wait(WAIT_S)
        assert time.monotonic() - began >= 0.195


def test_the_end_token_is_an_end_without_a_token() -> None:
    with engine() as made:
        whole = ask(made, 0)
        assert whole.ended.wait(WAIT_S)
        cut = ask(made, 1, end_id=whole.tokens[4])
        assert cut.ended.wait(WAIT_S)
        assert (cut.tokens, cut.endings) == (whole.tokens[:4], ["end"])


def test_cancelling_frees_at_once_running_or_waiting() -> None:
    with engine(slots=1) as made:
        sinks = [ask(made, key, tokens=5000) for key in range(2)]
        assert sinks[0].first.wait(WAIT_S)
        for key in (1, 0, 0, 77):
            made.cancel(key)
        assert all(sink.ended.wait(WAIT_S) for sink in sinks)
        assert [sink.endings for sink in sinks] == [["end"], ["end"]]
        assert (made.stats().active, made.stats().waiting, made.stats().kv_used) == (0, 0, 0)


def test_closing_fails_what_runs() -> None:
    with engine() as made:
        sink = ask(made, 0, tokens=5000)
        assert sink.first.wait(WAIT_S)
    assert sink.endings == ["llm: engine failed: it is shutting down"]


def test_an_error_comes_after_its_token() -> None:
    with engine(FaultFile(None, Faults(error_at_token=3))) as made:
        sink = ask(made, 0)
        assert sink.ended.wait(WAIT_S)
        assert len(sink.tokens) == 3
        assert sink.endings == ["llm: engine failed: told to fail at token 3"]
        assert made.stats().kv_used == 0


def test_death_comes_after_its_token() -> None:
    died = threading.Event()
    with engine(FaultFile(None, Faults(die_at_token=2)), died.set) as made:
        sink = ask(made, 0)
        assert died.wait(WAIT_S)
        assert len(sink.tokens) >= 2


def test_rejecting_is_a_full_queue() -> None:
    with engine(FaultFile(None, Faults(reject=True))) as made, pytest.raises(EngineQueueFull):
        ask(made, 0)


def test_a_stall_holds_until_it_is_healed(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"stall": true}')
    with engine(FaultFile(path, period_s=0.0)) as made:
        sink, gone = ask(made, 0, tokens=3), ask(made, 1)
        assert not sink.first.wait(0.1)
        made.cancel(1)
        assert gone.ended.wait(WAIT_S)
        path.unlink()
        assert sink.ended.wait(WAIT_S)
        assert sink.endings == ["last"]
