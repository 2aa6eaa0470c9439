"""The pinned container: the versions in it and where its tools lie.

Source: triton-inference-server/tensorrtllm_backend, branch r26.07, dockerfile/Dockerfile.triton.trt_llm_backend
(TENSORRTLLM_VER=1.2.1, TRT_VER=10.14.1.48). It is the last line of containers that still has the engine path.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class BuildContainer(BaseModel):
    """What a build and a serving host must agree on. Paths are inside the container."""

    model_config = ConfigDict(frozen=True)

    release: str
    tensorrt_llm: str
    tensorrt: str
    examples: str
    executor_worker: str

    @property
    def image(self) -> str:
        return f"nvcr.io/nvidia/tritonserver:{self.release}-trtllm-python-py3"


PINNED = BuildContainer(
    release="26.07",
    tensorrt_llm="1.2.1",
    tensorrt="10.14.1.48",
    examples="/app/examples",
    executor_worker="/opt/tritonserver/backends/tensorrtllm/trtllmExecutorWorker",
)
