"""One request to `llm`, over gRPC or HTTP, told in the same words."""

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Protocol

import numpy as np
import tritonclient.grpc as triton_grpc

from tests.contract.triton_server import TritonServer

DEADLINE_S = 40.0
SLOTS, QUEUE, CONTEXT = 4, 4, 512
# The chat template around "Say hello." for SmolLM2.
HELLO = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182, 2, 198,
         1, 4093, 198, 22234, 2, 198, 1, 520, 9531, 198]  # fmt: skip
DTYPES = {
    "streaming": np.bool_,
    "stop": np.bool_,
    "return_log_probs": np.bool_,
    "num_top_log_probs": np.int32,
    "embedding_bias": np.float32,
    "exclude_input_in_output": np.bool_,
    "temperature": np.float32,
    "runtime_top_p": np.float32,
    "repetition_penalty": np.float32,
    "presence_penalty": np.float32,
    "frequency_penalty": np.float32,
    "seed": np.uint64,
    "cache_salt_id": np.uint64,
    "lora_task_id": np.uint64,
    "guided_decoding_guide_type": np.object_,
    "guided_decoding_guide": np.object_,
}


class Refused(Exception):
    """Triton's or the model's error."""


@dataclass
class Response:
    """What one message carried."""

    ids: list[int]
    length: int
    log_probs: list[float] = field(default_factory=list)
    top: list[tuple[int, float]] = field(default_factory=list)
    reused_blocks: int | None = None


class Call(Protocol):
    """A request under way. Iterating gives its responses and raises Refused; `close` hangs up."""

    def __iter__(self) -> Iterator[Response]: ...

    def close(self) -> None: ...


class Client(Protocol):
    """Opens calls to one server."""

    def open(self, inputs: dict[str, Any], request_id: str = "") -> Call: ...


def tokens(call: Call) -> list[int]:
    """All ids of a call, to its end."""
    return [token for response in call for token in response.ids]


class HttpCall:
    """generate_stream: each response is an event, each tensor a JSON value."""

    def __init__(self, triton: TritonServer, inputs: dict[str, Any], request_id: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", triton.http_port, timeout=DEADLINE_S)
        flat = {name: np.asarray(value).reshape(-1).tolist() for name, value in inputs.items()}
        body = {"id": request_id} | {name: value[0] if len(value) == 1 else value for name, value in flat.items()}
        self._connection.request("POST", "/v2/models/llm/generate_stream", json.dumps(body))
        self._socket = self._connection.sock
        self._response: HTTPResponse | None = None

    def __iter__(self) -> Iterator[Response]:
        self._response = self._response or self._connection.getresponse()
        while line := self._response.readline():
            if not line.startswith((b"data: ", b"{")):
                continue
            event = json.loads(line.removeprefix(b"data: "))
            if "error" in event:
                self.close()
                raise Refused(event["error"])
            if "output_ids" in event:
                probs = _many(event.get("output_log_probs", []))
                top = zip(_many(event.get("top_token_ids", [])), _many(event.get("top_log_probs", [])), strict=True)
                reused = event.get("kv_cache_reused_blocks")
                yield Response(_many(event["output_ids"]), event["sequence_length"], probs, list(top), reused)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._response:
            self._response.close()
        self._connection.close()


class HttpClient:
    """Over Triton's HTTP port."""

    def __init__(self, triton: TritonServer) -> None:
        self._triton = triton

    def open(self, inputs: dict[str, Any], request_id: str = "") -> Call:
        return HttpCall(self._triton, inputs, request_id)


class GrpcCall:
    """ModelStreamInfer: one stream for one request."""

    def __init__(self, triton: TritonServer, inputs: dict[str, Any], request_id: str) -> None:
        self._arrived: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._client = triton_grpc.InferenceServerClient(triton.grpc_url)
        self._client.start_stream(lambda result, error: self._arrived.put((result, error)))
        self._closed = threading.Lock()
        self.empty_finals = 0
        tensors = []
        for name, value in inputs.items():
            array = np.asarray(value.encode() if isinstance(value, str) else value, DTYPES.get(name, np.int32))
            array = array.reshape((1, *array.shape) if array.ndim else (1, 1))
            tensor = triton_grpc.InferInput(name, list(array.shape), triton_grpc.np_to_triton_dtype(array.dtype))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        self._client.async_stream_infer("llm", tensors, request_id=request_id, enable_empty_final_response=True)

    def __iter__(self) -> Iterator[Response]:
        while True:
            result, error = self._arrived.get(timeout=DEADLINE_S)
            if error is not None:
                self.close()
                raise Refused(str(error))
            ids = result.as_numpy("output_ids")
            if ids is None:
                self.empty_finals += 1
            else:
                assert ids.ndim == 3
                assert ids.shape[:2] == (1, 1)
                probs = result.as_numpy("output_log_probs")
                top = zip(*(_listed(result.as_numpy(name)) for name in ("top_token_ids", "top_log_probs")), strict=True)
                length = int(result.as_numpy("sequence_length").reshape(-1)[0])
                reused = next(iter(_listed(result.as_numpy("kv_cache_reused_blocks"))), None)
                yield Response(ids.reshape(-1).tolist(), length, _listed(probs), list(top), reused)
            if result.get_response().parameters["triton_final_response"].bool_param:
                self.close()
                return

    def close(self) -> None:
        if self._closed.acquire(blocking=False):
            self._client.stop_stream(cancel_requests=True)
            self._client.close()


class GrpcClient:
    """Over Triton's gRPC port."""

    def __init__(self, triton: TritonServer) -> None:
        self._triton = triton

    def open(self, inputs: dict[str, Any], request_id: str = "") -> Call:
        return GrpcCall(self._triton, inputs, request_id)


def _listed(tensor: Any) -> list[Any]:
    return [] if tensor is None else list(tensor.reshape(-1).tolist())


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@dataclass
class Llm:
    """One flavour, reached over one transport."""

    flavour: str
    triton: TritonServer
    client: Client
    spelled: Sequence[bytes] = ()
    """What each id spells; () where nobody knows."""
    calls: list[Call] = field(default_factory=list)

    def open(self, request_id: str = "", *, length: int = 16, prompt: list[int] | None = None, **inputs: Any) -> Call:
        """A streaming request that nothing but its length ends, unless told otherwise."""
        ids = prompt or HELLO
        base = {
            "input_ids": ids,
            "input_lengths": len(ids),
            "request_output_len": length,
            "streaming": True,
            "end_id": -1,
        }
        call = self.client.open(base | inputs, request_id)
        self.calls.append(call)
        return call

    def tokens(self, **inputs: Any) -> list[int]:
        """The whole answer."""
        return tokens(self.open(**inputs))

    def text(self, ids: Sequence[int]) -> str:
        """What they spell."""
        return b"".join(self.spelled[token] for token in ids).decode()

    def load(self, kind: str) -> float:
        """One of the request metrics."""
        return self.triton.gauge("nv_trt_llm_request_metrics", model="llm", request_type=kind)

    def steps(self) -> float:
        """Since its start."""
        return self.triton.gauge("nv_trt_llm_general_metrics", model="llm", general_type="iteration_counter")

    def blocks(self, kind: str) -> float:
        """One of the KV cache metrics."""
        return self.triton.gauge("nv_trt_llm_kv_cache_block_metrics", model="llm", kv_cache_block_type=kind)
