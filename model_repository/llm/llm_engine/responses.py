"""The stream of responses to one request, through Triton's Python backend."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np


class ResponseStream:
    """A Sink that sends TensorRT-LLM's outputs: `output_ids` [1, 1, n], `sequence_length` [1, 1], on demand `cum_log_probs`
    [1, 1] and `output_log_probs` [1, 1, n].

    Streaming: one response a token, the last one with the final flag. Otherwise all tokens in one response. A cancelled
    request ends with an empty final.
    """

    def __init__(
        self, sender: Any, backend: Any, *, streaming: bool, log_probs: bool, on_close: Callable[[], None]
    ) -> None:
        """`backend` is the module triton_python_backend_utils."""
        self._sender = sender
        self._backend = backend
        self._streaming = streaming
        self._log_probs = log_probs
        self._on_close = on_close
        self._tokens: list[int] = []
        self._probs: list[float] = []
        self._sum = 0.0
        self._one = backend.Tensor("sequence_length", np.array([[1]], np.int32))
        # Triton frees the request with the final response: nothing may be asked of the sender after that.
        self._lock = threading.Lock()
        self._closed = False
        self.cancelling = False
        """Set by whoever cancels the request in the engine."""

    def token(self, token: int, *, last: bool, log_prob: float | None = None) -> None:
        """See Sink."""
        if self._log_probs:
            self._sum += log_prob or 0.0
        if self._streaming:
            self._send(self._response([token], [log_prob or 0.0]), final=last)
            return
        self._tokens.append(token)
        self._probs.append(log_prob or 0.0)
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

    def _response(self, tokens: list[int], probs: list[float]) -> Any:
        tensor = self._backend.Tensor
        length = self._one if len(tokens) == 1 else tensor("sequence_length", np.array([[len(tokens)]], np.int32))
        outputs = [tensor("output_ids", np.array([[tokens]], np.int32)), length]
        if self._log_probs:
            outputs.append(tensor("cum_log_probs", np.array([[self._sum]], np.float32)))
            outputs.append(tensor("output_log_probs", np.array([[probs]], np.float32)))
        return self._backend.InferenceResponse(output_tensors=outputs)

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
