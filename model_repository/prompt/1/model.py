"""Triton's side of `prompt`: one request in, the ids of its prompt out."""

import json
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from prompt_builder import ChatTemplate, PromptBuilder, PromptError, Wording
from tokens import TokenTable


class TritonPythonModel:
    def initialize(self, args):
        configured = json.loads(args["model_config"])["parameters"]
        parameters = {name: value["string_value"] for name, value in configured.items()}
        named = parameters["tokenizer_dir"] or os.environ.get("RAGFLEET_TOKENIZER_DIR")
        if not named:
            raise ValueError(
                "prompt: set RAGFLEET_TOKENIZER_DIR, or the parameter tokenizer_dir, to the tokenizer's folder"
            )
        folder = Path(named)
        wording = Wording.read(parameters, os.environ)
        self.builder = PromptBuilder(ChatTemplate.load(folder, TokenTable.load(folder)), wording)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        try:
            prompt = self.builder.build(
                _value(request, "messages"),
                _value(request, "passages", b"[]"),
                max_prompt_tokens=int(_value(request, "max_prompt_tokens")),
                grounded=bool(_value(request, "grounded", False)),
                tools=_value(request, "tools", b"[]"),
                effort=_value(request, "reasoning_effort", b"").decode(),
            )
        except PromptError as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
        ids = np.array([prompt.input_ids], np.int32)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("input_ids", ids),
                pb_utils.Tensor("input_lengths", np.array([[ids.size]], np.int32)),
                pb_utils.Tensor("used", np.array([[prompt.used_json().encode()]], np.object_)),
            ]
        )


def _value(request, name, default=None):
    """The one element of an input, or `default` where the request leaves it out."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy().reshape(-1)[0]
