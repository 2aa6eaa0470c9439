"""Triton's side of `embedding`: texts of all waiting requests go through the encoder together."""

import json
import os

import numpy as np
import triton_python_backend_utils as pb_utils

from embedding_encoder import Encoder, EncoderSettings


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        settings = EncoderSettings.read({name: value["string_value"] for name, value in parameters.items()}, os.environ)
        if settings.device == "cpu":
            # Where LLM and chunks of documents want the same core, a token that somebody waits for gets three quarters of it.
            # Not more: a question may wait behind a pass of chunks, which should end in time.
            os.nice(5)
        self.encoder = Encoder(settings)

    def execute(self, requests):
        texts = [pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1) for request in requests]
        # Bytes that are no UTF-8 read as U+FFFD: one client's broken text must not fail the batch of all.
        vectors = self.encoder.encode([text.decode("utf-8", "replace") for batch in texts for text in batch])
        ends = np.cumsum([len(batch) for batch in texts])
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("embedding", part.astype(np.float32, copy=False))])
            for part in np.split(vectors, ends[:-1])
        ]
