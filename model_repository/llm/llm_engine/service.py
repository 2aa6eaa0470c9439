"""Triton's requests on one side, an engine on the other: decoding, cancelling, reporting the load."""

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llm_engine import request as requests_
from llm_engine.engine import Engine
from llm_engine.errors import EngineFailed, LlmError
from llm_engine.guide_preparation import GuidePreparation
from llm_engine.metrics import Gauges
from llm_engine.responses import ResponseStream

JOIN_S = 2.0
QUIET_ROUNDS = 10
"""Rounds of a periodic job after the last stream has ended: until then what ended may still change the load."""
IDLE_S = 1.0
"""From one round to the next while there is no stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How often things are looked at, in milliseconds; names and meanings are TensorRT-LLM's."""

    cancellation_check_period_ms: int = 50
    stats_check_period_ms: int = 100


class EngineService:
    """Takes requests to the engine. Every request ends: with its last token, an empty final, or an error."""

    def __init__(
        self, backend: Any, engine: Engine, gauges: Gauges, periods: Periods, log: Callable[[str], None]
    ) -> None:
        """`backend` is the module triton_python_backend_utils."""
        self._backend = backend
        self._engine = engine
        self._gauges = gauges
        self._log = log
        self._keys = itertools.count()
        self._lock = threading.Lock()
        self._streams: dict[int, tuple[str, ResponseStream]] = {}
        """By the engine's key: the client's request id and its stream."""
        self._busy = threading.Event()
        self._preparation = None if engine.guides is None else GuidePreparation(engine.guides, log)
        self._gauges.show(engine.stats())
        self._tasks = [
            Periodic(self._look_for_the_gone, periods.cancellation_check_period_ms / 1000, self._busy, log),
            Periodic(self._report, periods.stats_check_period_ms / 1000, self._busy, log),
        ]

    def take(self, requests: Iterable[Any]) -> None:
        """Triton's `execute`: returns at once, the responses follow from the engine's threads."""
        for request in requests:
            sender = request.get_response_sender()
            tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
            try:
                if requests_.wants_stop(tensors):
                    self._stop(request.request_id())
                    sender.send(flags=self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                else:
                    self._start(request.request_id(), tensors, sender)
            except LlmError as error:
                self._stream(-1, sender).fail(str(error))
            except Exception as error:  # noqa: BLE001 - the boundary to Triton: no request may be left unanswered
                self._log(f"llm: a request could not be taken: {error!r}")
                self._stream(-1, sender).fail(str(EngineFailed(repr(error))))

    def close(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.close()
        if self._preparation is not None:
            self._preparation.close()
        self._engine.close()

    def _start(self, request_id: str, tensors: requests_.Tensors, sender: Any) -> None:
        engine, request = self._engine, requests_.decode(tensors)
        request.check(
            vocab_size=engine.vocab_size,
            max_context=engine.max_context,
            gives_log_probs=engine.gives_log_probs,
            loras=engine.loras,
        )
        key = next(self._keys)
        stream = self._stream(key, sender, request)
        with self._lock:
            self._streams[key] = (request_id, stream)
            self._busy.set()
        try:
            if request.guided is None or self._preparation is None:
                engine.submit(key, request, stream)
            else:
                self._preparation.prepare(key, request, partial(self._submit_guided, key, stream), stream.fail)
        except BaseException:
            self._forget(key)
            raise

    def _submit_guided(self, key: int, stream: ResponseStream, request: requests_.Request) -> None:
        """Its guide is compiled."""
        assert request.constraint is not None
        if stream.cancelling or request.constraint.ended:  # its instance was lost behind the last token
            stream.end()
            return
        try:
            self._engine.submit(key, request, stream)
        except LlmError as error:
            stream.fail(str(error))

    def _stream(self, key: int, sender: Any, request: requests_.Request | None = None) -> ResponseStream:
        return ResponseStream(sender, self._backend, request=request, on_close=lambda: self._forget(key))

    def _forget(self, key: int) -> None:
        with self._lock:
            self._streams.pop(key, None)
            if not self._streams:
                self._busy.clear()

    def _stop(self, request_id: str) -> None:
        """End every running request with this id, as TensorRT-LLM does: no such request is no error."""
        with self._lock:
            found = [(key, stream) for key, (known, stream) in self._streams.items() if known and known == request_id]
        for key, stream in found:
            self._cancel(key, stream)

    def _look_for_the_gone(self) -> None:
        with self._lock:
            streams = [(key, stream) for key, (_, stream) in self._streams.items()]
        if self._preparation is not None:
            self._preparation.expire()
        for key, stream in streams:
            # Again and again: the first cancel may have come before the engine knew the request.
            if stream.cancelling or stream.gone():
                self._cancel(key, stream)

    def _cancel(self, key: int, stream: ResponseStream) -> None:
        stream.cancelling = True
        self._engine.cancel(key)

    def _report(self) -> None:
        self._gauges.show(self._engine.stats())


class Periodic:
    """A background job, done every so often until closed. It survives its own failures and tells them.

    busy: set while there is something to do; without it the job is done every IDLE_S.
    """

    def __init__(
        self, job: Callable[[], None], period_s: float, busy: threading.Event, log: Callable[[str], None]
    ) -> None:
        self._job = job
        self._period_s = period_s
        self._busy = busy
        self._log = log
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"llm-{job.__name__}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further run; the one under way is waited for."""
        self._closed.set()
        self._busy.set()
        self._thread.join(JOIN_S)

    def _run(self) -> None:
        quiet = 0
        while not self._closed.wait(self._period_s):
            quiet = 0 if self._busy.is_set() else quiet + 1
            if quiet > QUIET_ROUNDS:
                self._busy.wait(IDLE_S)
            try:
                self._job()
            except Exception as error:  # noqa: BLE001 - supervisor: a load report or a cancel check must go on
                self._log(f"llm: {self._job.__name__} failed: {error!r}")
