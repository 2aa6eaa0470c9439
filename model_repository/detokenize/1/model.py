"""Triton's side of `detokenize`: token ids to text, whole answers or one stream's next tokens."""

import json
import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils

from tokens import StreamDetokenizers, TokenTable


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        named = parameters["tokenizer_dir"]["string_value"] or os.environ.get("RAGFLEET_TOKENIZER_DIR")
        if not named:
            raise ValueError(
                "detokenize: set RAGFLEET_TOKENIZER_DIR, or the parameter tokenizer_dir, to the tokenizer's folder"
            )
        self.table = TokenTable.load(Path(named))
        self.streams = StreamDetokenizers(self.table)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        # [batch, beams, tokens] → [batch, beams]; shorter rows are padded with -1, which reads as nothing.
        rows = pb_utils.get_input_tensor_by_name(request, "output_ids").as_numpy()
        name = request.request_id()
        if name:
            texts = [
                self.streams.push(f"{name}/{row}", ids.tolist())
                for row, ids in enumerate(rows.reshape(-1, rows.shape[-1]))
            ]
        else:
            texts = [self.table.decode(ids.tolist()) for ids in rows.reshape(-1, rows.shape[-1])]
        encoded = np.array([text.encode() for text in texts], np.object_).reshape(rows.shape[:-1])
        return pb_utils.InferenceResponse([pb_utils.Tensor("text", encoded)])
