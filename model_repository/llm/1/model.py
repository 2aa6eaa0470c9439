"""Triton's door to the engines of `llm_engine`."""

import json
import os
from collections.abc import Sequence
from typing import Any

import triton_python_backend_utils as pb_utils

from llm_engine.flavours import open_engine
from llm_engine.guard import Guard
from llm_engine.metrics import Gauges
from llm_engine.service import EngineService


class TritonPythonModel:
    """Token ids in, token ids out: the contract of TensorRT-LLM's `tensorrt_llm` model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the engine that the configuration names."""
        log = pb_utils.Logger.log_info
        engine, periods = open_engine(json.loads(args["model_config"]), os.environ, log)
        gauges = Gauges(pb_utils, model=args["model_name"], version=args["model_version"])
        self._service = EngineService(pb_utils, engine, gauges, periods, log)
        self._guard = Guard(os.getppid())

    def execute(self, requests: Sequence[Any]) -> None:
        """Decoupled: the responses follow as the tokens come."""
        self._service.take(requests)

    def finalize(self) -> None:
        """End every thread."""
        self._service.close()
        self._guard.dismiss()
