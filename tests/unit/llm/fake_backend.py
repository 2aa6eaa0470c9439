"""As much of triton_python_backend_utils as the llm model uses, remembering what was sent."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1


class Tensor:
    def __init__(self, name: str, value: Any) -> None:
        self._name, self.value = name, np.asarray(value)

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> Any:
        return self.value


class TritonError:
    INTERNAL, INVALID_ARG, UNAVAILABLE = "internal", "invalid", "unavailable"

    def __init__(self, message: str, code: str) -> None:
        self.message, self.code = message, code


class InferenceResponse:
    def __init__(self, output_tensors: Sequence[Tensor], error: TritonError | None = None) -> None:
        self.outputs = {tensor.name(): tensor.value for tensor in output_tensors}
        self.error = error


class Sender:
    def __init__(self) -> None:
        self.sent: list[tuple[InferenceResponse | None, int]] = []
        self.cancelled = False

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        assert not self.final, "Triton has freed the request"
        self.sent.append((response, flags))

    def is_cancelled(self) -> bool:
        assert not self.final, "Triton has freed the request"
        return self.cancelled

    @property
    def final(self) -> bool:
        return any(flags for _, flags in self.sent)


class Request:
    def __init__(self, request_id: str = "", **inputs: Any) -> None:
        self._id = request_id
        self._inputs = [Tensor(name, value) for name, value in inputs.items()]
        self.sender = Sender()

    def request_id(self) -> str:
        return self._id

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def get_response_sender(self) -> Sender:
        return self.sender


class Metric:
    def __init__(self) -> None:
        self.values: list[float] = []

    def set(self, value: float) -> None:
        self.values.append(value)


class MetricFamily:
    GAUGE = "gauge"
    metrics: dict[tuple[str, str], Metric]

    def __init__(self, name: str, description: str, kind: str) -> None:
        self.name = name
        self.metrics = {}

    def Metric(self, labels: dict[str, str]) -> Metric:
        return self.metrics.setdefault(
            (next(value for label, value in labels.items() if label.endswith("_type")), self.name), Metric()
        )
