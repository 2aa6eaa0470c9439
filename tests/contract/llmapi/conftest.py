"""The LLM-API flavour on the stand-in for `tensorrt_llm`, and on the real package where a GPU has it.

The real one needs weights: RAGFLEET_LLMAPI_MODEL names a folder with a small Hugging Face model.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_engine.engine import TokenLogProbs
from llm_engine.llmapi import LlmApiEngine
from llm_engine.llmapi_model import LlmApiOptions
from llm_engine.request import Request, Sampling
from tests.contract.llmapi.standin_model import STAND_IN, write_model

WAIT_S = 30.0


def forget_package() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorrt_llm"]:
        del sys.modules[name]


class Answer:
    """A Sink that keeps what comes, and notices what must not."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.how = ""
        self.error = ""
        self._changed = threading.Condition()

    def began(self, reused_blocks: int) -> None:
        self.reused_blocks = reused_blocks

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        assert log_probs is None
        with self._changed:
            assert not self.how, "a token after the end"
            self.tokens.append(token)
            if last:
                self._end("last")
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._end("end")

    def fail(self, message: str) -> None:
        with self._changed:
            self.error = message
            self._end("fail")

    def _end(self, how: str) -> None:
        assert not self.how, f"ended twice: {self.how}, then {how}"
        self.how = how
        self._changed.notify_all()

    def wait(self, until: Callable[[], bool] | None = None) -> Answer:
        """Until it has ended, or until a condition on it holds."""
        with self._changed:
            assert self._changed.wait_for(until or (lambda: bool(self.how)), WAIT_S), f"nothing after {self.tokens}"
        return self


class Bench:
    """An engine, with requests as short to write as they are to read."""

    def __init__(self, engine: LlmApiEngine) -> None:
        self.engine = engine
        self._keys = iter(range(1, 1_000_000))

    def ask(self, prompt: list[int], max_tokens: int = 8, **fields: Any) -> tuple[int, Answer]:
        key, answer = next(self._keys), Answer()
        request = Request(input_ids=prompt, max_tokens=max_tokens, streaming=True, **fields)
        self.engine.submit(key, request, answer)
        return key, answer

    def answer(self, prompt: list[int], max_tokens: int = 8, **fields: Any) -> Answer:
        return self.ask(prompt, max_tokens, **fields)[1].wait()


@pytest.fixture
def options(tmp_path: Path) -> LlmApiOptions:
    return LlmApiOptions(
        model_dir=str(write_model(tmp_path / "model")), slots=4, max_context=2048, max_queue_size=4, start_deadline_s=20
    )


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module tensorrt_llm.llmapi of the stand-in."""
    monkeypatch.syspath_prepend(str(STAND_IN))
    forget_package()
    import tensorrt_llm.llmapi

    assert Path(tensorrt_llm.llmapi.__file__).is_relative_to(STAND_IN)
    yield tensorrt_llm.llmapi
    forget_package()


@pytest.fixture
def bench(stand_in: Any, options: LlmApiOptions) -> Iterator[Bench]:
    engine = LlmApiEngine(options)
    yield Bench(engine)
    engine.close()


@pytest.fixture
def llm(bench: Bench, stand_in: Any) -> Any:
    """The stand-in's LLM inside `bench`."""
    del bench
    return stand_in.LLM.made[-1]


def real_options() -> LlmApiOptions | None:
    model = os.environ.get("RAGFLEET_LLMAPI_MODEL", "")
    if not model or importlib.util.find_spec("tensorrt_llm") is None:
        return None
    return LlmApiOptions(model_dir=model, slots=4, max_context=2048, max_queue_size=4, start_deadline_s=300)


@pytest.fixture(
    params=["stand-in", pytest.param("tensorrt_llm", marks=[pytest.mark.gpu, pytest.mark.timeout(900)])], scope="module"
)
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The same engine on the stand-in and on the real package."""
    if request.param == "tensorrt_llm":
        options = real_options()
        if options is None:
            pytest.skip("needs tensorrt-llm, a GPU, and RAGFLEET_LLMAPI_MODEL naming a small Hugging Face model")
        engine = LlmApiEngine(options)
        yield Bench(engine)
        engine.close()
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STAND_IN))
        forget_package()
        folder = write_model(tmp_path_factory.mktemp("llmapi") / "model")
        engine = LlmApiEngine(LlmApiOptions(model_dir=str(folder), slots=4, max_context=2048, max_queue_size=4))
        yield Bench(engine)
        engine.close()
        forget_package()


GREEDY = Sampling()
