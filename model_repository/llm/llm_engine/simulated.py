"""The simulated flavour: the batcher of `scheduler` in real time, with faults on demand.

It is greedy by nature: seed, temperature, top_k, top_p and the penalties are accepted and do not change a token. Length,
min_tokens, end_id, stop words and forbidden tokens are honoured. It has no end token of its own: without `end_id` every
answer has its full length. Under a guide its hash chooses among what the guide allows, and so that answers come to an end.
"""

import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from llm_engine.engine import Sink, Stats
from llm_engine.errors import EngineFailed, EngineQueueFull, InvalidRequest
from llm_engine.faults import FaultFile, Faults
from llm_engine.guided_decoding import GUIDE, GuideCompiler
from llm_engine.request import Request
from llm_engine.scheduler import BatchedRequest, BatchScheduler, Emission, Spec
from llm_engine.senders import Senders

STALL_LOOK_S = 0.05
"""How often a stalled engine looks whether it still is."""
LATE_S = 0.25
"""Being later than this the engine begins anew instead of catching up."""
JOIN_S = 2.0
DECISIVE = 100
"""Of a bias: no other token can have as much."""
CLOSING = b'"}], '
"""What closes strings, objects and lists."""


class SimulatedEngine:
    """One driver thread steps the batcher; `Senders` take the tokens to the sinks."""

    gives_log_probs = False
    loras = frozenset[int]()

    def __init__(
        self,
        spec: Spec,
        faults: FaultFile | None = None,
        *,
        vocabulary: Callable[[], Sequence[bytes]] | None = None,
        senders: int = 4,
        clock: Callable[[], float] = time.monotonic,
        die: Callable[[], None] | None = None,
        log: Callable[[str], None] = print,
    ) -> None:
        """vocabulary: what each id spells (GuideCompiler); without it there are no guided answers."""
        self.guides = None if vocabulary is None else GuideCompiler(vocabulary, vocab_size=spec.vocab_size)
        self._vocabulary = vocabulary
        self.vocab_size = spec.vocab_size
        self.max_context = spec.max_context
        self._scheduler = BatchScheduler(spec)
        self._faults = faults or FaultFile(None)
        self._clock = clock
        self._die = die or end_process
        self._log = log
        self._wake = threading.Condition()
        self._closed = threading.Event()
        self._sinks: dict[int, Sink] = {}
        self._senders = Senders(senders, log)
        self._thread = threading.Thread(target=self._drive, name="simulated-driver", daemon=True)
        self._thread.start()

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        """See Engine. A bias of 100 and more leaves only its tokens, one of -100 and less forbids its own; between them nobody
        could say what a hash would choose."""
        bias = request.sampling.bias
        if any(abs(value) < DECISIVE for value in bias.values()):
            raise InvalidRequest(
                "embedding_bias", f"this engine takes values from {DECISIVE} up and from -{DECISIVE} down"
            )
        if request.guided is not None and request.constraint is None:
            raise InvalidRequest(GUIDE, "the simulated engine needs a tokenizer for it: set tokenizer_dir")
        work = BatchedRequest(
            prompt=request.input_ids,
            max_tokens=request.max_tokens,
            min_tokens=request.min_tokens,
            end_ids=frozenset() if request.end_id in (None, -1) else frozenset({request.end_id or 0}),
            stop_words=request.stop_words,
            bad_tokens=request.bad_tokens | {token for token, value in bias.items() if value < 0},
            only_tokens=tuple(sorted(token for token, value in bias.items() if value > 0)),
            constraint=request.constraint,
            cache_salt=request.cache_salt,
        )
        if request.constraint is not None:
            work = replace(work, closing=self._closing_or(work.end_ids))
        with self._wake:
            if self._closed.is_set():
                raise EngineFailed("it is shutting down")
            if self._faults.current(self._clock()).reject:
                raise EngineQueueFull("told to reject requests")
            self._scheduler.submit(key, work)
            self._sinks[key] = sink
            self._wake.notify()

    def cancel(self, key: int) -> None:
        """See Engine."""
        with self._wake:
            if self._scheduler.cancel(key):
                self._senders.put(key, self._sinks.pop(key).end)

    def stats(self) -> Stats:
        """See Engine."""
        with self._wake:
            return self._scheduler.stats()

    def close(self) -> None:
        """See Engine. Streams that still run fail."""
        with self._wake:
            self._closed.set()
            self._wake.notify()
            left, self._sinks = self._sinks, {}
        for sink in left.values():
            sink.fail(str(EngineFailed("it is shutting down")))
        self._thread.join(JOIN_S)
        self._senders.close()

    def _closing_or(self, ends: Collection[int]) -> npt.NDArray[np.bool_]:
        """Of each id, whether it closes something or is one of `ends`."""
        closing = self._closing.copy()
        closing[[token for token in ends if token < closing.size]] = True
        return closing

    @cached_property
    def _closing(self) -> npt.NDArray[np.bool_]:
        closing = np.zeros(self.vocab_size, np.bool_)
        spelled = self._vocabulary() if self._vocabulary is not None else ()
        closing[: len(spelled)] = [bool(text) and not text.strip(CLOSING) for text in spelled[: self.vocab_size]]
        return closing

    def _drive(self) -> None:
        start = self._clock()
        while not self._closed.is_set():
            try:
                start = self._iterate(start)
            except Exception as error:  # noqa: BLE001 - the driver is all that moves the streams: it goes on
                self._log(f"llm: a step of the simulated engine failed: {error!r}")
                self._closed.wait(STALL_LOOK_S)
                start = self._clock()

    def _iterate(self, start: float) -> float:
        """One iteration, begun at `start`, or a wait for something to do; when the next one begins."""
        with self._wake:
            faults = self._faults.current(self._clock())
            due = None if faults.stall else self._scheduler.begin(start)
            if due is None:
                self._wake.wait(STALL_LOOK_S if faults.stall else None)
                return self._clock()
        due = start + (due - start) * faults.slow
        self._closed.wait(max(0.0, due - self._clock()))
        with self._wake:
            if self._closed.is_set():
                return due
            self._deliver(self._scheduler.complete(), faults)
        # What the sending takes comes off the next iteration, so that the pace is kept.
        now = self._clock()
        return due if now - due < LATE_S else now

    def _deliver(self, emissions: Sequence[Emission], faults: Faults) -> None:
        for emission in emissions:
            key = emission.key
            assert isinstance(key, int)
            sink = self._sinks[key]
            fails = faults.error_at_token and emission.produced == faults.error_at_token
            if emission.finish or fails:
                del self._sinks[key]
            if fails:
                self._scheduler.cancel(key)
            self._senders.put(key, partial(self._tell, sink, emission, faults))

    def _tell(self, sink: Sink, emission: Emission, faults: Faults) -> None:
        if emission.token is None:
            if emission.failure:
                sink.fail(emission.failure)
            else:
                sink.end()
            return
        if emission.reused is not None:
            sink.began(emission.reused)
        fails = faults.error_at_token and emission.produced == faults.error_at_token
        sink.token(emission.token, last=emission.finish is not None and not fails)
        if fails:
            sink.fail(str(EngineFailed(f"told to fail at token {emission.produced}")))
        if faults.die_at_token and emission.produced == faults.die_at_token:
            self._die()


def end_process() -> None:
    """End this process without a word."""
    os._exit(1)
