"""The stream of responses to one request, through Triton's Python backend."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llm_engine.engine import TokenLogProbs
from llm_engine.request import Request

LEAST = -9999.0
"""Of a logarithm; JSON has no word for minus infinity. It is OpenAI's."""


class ResponseStream:
    """A Sink that sends TensorRT-LLM's outputs: `output_ids` [1, 1, n], `sequence_length` [1, 1], on demand `cum_log_probs`
    [1, 1] and `output_log_probs` [1, 1, n], and of the k likeliest tokens beside each one `top_token_ids` and `top_log_probs`
    [1, 1, n, k]. The first response has `kv_cache_reused_blocks` [1, 1], too, where the engine knows it.

    Streaming: one response a token, the last one with the final flag. Otherwise all tokens in one response. A cancelled
    request ends with an empty final.
    """

    def __init__(
        self, sender: Any, backend: Any, *, request: Request | None = None, on_close: Callable[[], None]
    ) -> None:
        """`backend` is the module triton_python_backend_utils; request: None for what is refused."""
        self._sender = sender
        self._backend = backend
        self._streaming = request is not None and request.streaming
        self._log_probs = request is not None and request.log_probs
        self._top = 0 if request is None else request.top_log_probs
        self._on_close = on_close
        self._tokens: list[int] = []
        self._probs: list[TokenLogProbs] = []
        self._sum = 0.0
        self._reused_blocks: int | None = None
        self._one = backend.Tensor("sequence_length", np.array([[1]], np.int32))
        # Triton frees the request with the final response: nothing may be asked of the sender after that.
        self._lock = threading.Lock()
        self._closed = False
        self.cancelling = False
        """Set by whoever cancels the request in the engine."""

    def began(self, reused_blocks: int) -> None:
        """See Sink."""
        self._reused_blocks = reused_blocks

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        """See Sink."""
        if self._streaming:
            self._send(self._response([token], () if log_probs is None else (log_probs,)), final=last)
            return
        self._tokens.append(token)
        if log_probs is not None:
            self._probs.append(log_probs)
        if last:
            self._send(self._response(self._tokens, self._probs), final=True)

    def end(self) -> None:
        """See Sink."""
        if self._streaming or self.cancelling:
            self._send(None, final=True)
        else:
            self._send(self._response(self._tokens, self._probs), final=True)

    def fail(self, message: str) -> None:
        """See Sink."""
        error = self._backend.TritonError(message, self._code(message))
        self._send(self._backend.InferenceResponse(output_tensors=[], error=error), final=True)

    def gone(self) -> bool:
        """Whether the client has gone or has cancelled; False once the stream is closed."""
        with self._lock:
            return not self._closed and bool(self._sender.is_cancelled())

    def _response(self, tokens: list[int], probs: Sequence[TokenLogProbs]) -> Any:
        tensor = self._backend.Tensor
        length = self._one if len(tokens) == 1 else tensor("sequence_length", np.array([[len(tokens)]], np.int32))
        outputs = [tensor("output_ids", np.array([[tokens]], np.int32)), length]
        if self._log_probs:
            outputs += self._told(probs)
        if self._reused_blocks is not None:
            outputs.append(tensor("kv_cache_reused_blocks", np.array([[self._reused_blocks]], np.int32)))
            self._reused_blocks = None
        return self._backend.InferenceResponse(output_tensors=outputs)

    def _told(self, probs: Sequence[TokenLogProbs]) -> list[Any]:
        tensor, count = self._backend.Tensor, self._top
        chosen = np.maximum([[[each.chosen for each in probs]]], LEAST).astype(np.float32)
        self._sum += float(chosen.sum())
        outputs = [
            tensor("cum_log_probs", np.array([[self._sum]], np.float32)),
            tensor("output_log_probs", chosen),
        ]
        if count:
            ids = [[[[token for token, _ in each.top[:count]] for each in probs]]]
            values = [[[[value for _, value in each.top[:count]] for each in probs]]]
            outputs.append(tensor("top_token_ids", np.array(ids, np.int32)))
            outputs.append(tensor("top_log_probs", np.maximum(values, LEAST).astype(np.float32)))
        return outputs

    def _send(self, response: Any, *, final: bool) -> None:
        if not final:
            self._sender.send(response)
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
            flags = self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL
            if response is None:
                self._sender.send(flags=flags)
            else:
                self._sender.send(response, flags=flags)
        self._on_close()

    def _code(self, message: str) -> Any:
        error = self._backend.TritonError
        if message.startswith("llm: bad request:"):
            return error.INVALID_ARG
        if message.startswith("llm: queue full:"):
            return error.UNAVAILABLE
        return error.INTERNAL
