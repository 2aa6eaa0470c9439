"""One call of a non-streaming model over Triton's HTTP/JSON inference protocol (KServe v2)."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.triton.connection import Pool, fetch
from gateway.triton.errors import Cause, InstanceError, from_model

Tensor = tuple[str, list[int], list[Any]]
"""Datatype, shape (the batch dimension in front), flat data."""


def text(value: str) -> Tensor:
    """A batch of one STRING[1]."""
    return ("BYTES", [1, 1], [value])


def int32(value: int) -> Tensor:
    """A batch of one INT32[1]."""
    return ("INT32", [1, 1], [value])


def fp32(value: float) -> Tensor:
    """A batch of one FP32[1]."""
    return ("FP32", [1, 1], [value])


def boolean(value: bool) -> Tensor:
    """A batch of one BOOL[1]."""
    return ("BOOL", [1, 1], [value])


def cache_salt(value: int, count: int = 1) -> dict[str, Tensor]:
    """The input `cache_salt_id` of a batch of so many, UINT64[1] each; none for 0."""
    return {"cache_salt_id": ("UINT64", [count, 1], [value] * count)} if value else {}


BEHIND_OTHERS = {"parameters": {"priority": 2}}
"""Of a request that has time: a model whose queue knows priorities serves the others first."""


async def infer(
    pool: Pool,
    host: str,
    port: int,
    model: str,
    inputs: Mapping[str, Tensor],
    *,
    request_id: str,
    deadline_s: float,
    patient: bool = False,
    traceparent: str = "",
) -> dict[str, list[Any]]:
    """Call `model` once: output name → flat data. `patient`: behind others.

    traceparent: see request_bytes. Raises InstanceError or RequestRefused.
    """
    body = orjson.dumps(
        {
            "id": request_id,
            **(BEHIND_OTHERS if patient else {}),
            "inputs": [
                {"name": name, "datatype": kind, "shape": shape, "data": data}
                for name, (kind, shape, data) in inputs.items()
            ],
        }
    )
    path = f"/v2/models/{model}/infer"
    status, raw = await fetch(pool, "POST", host, port, path, body=body, deadline_s=deadline_s, traceparent=traceparent)
    try:
        answer = orjson.loads(raw)
        if status == 200:
            return {output["name"]: output["data"] for output in answer["outputs"]}
        words = str(answer["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise InstanceError(Cause.ENGINE, f"unreadable answer of {model}: HTTP {status}") from error
    raise from_model(words)
