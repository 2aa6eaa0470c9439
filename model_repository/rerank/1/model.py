"""Triton's side of `rerank`: a question and its passages in, their scores out; an error where the model is off or late."""

import json
import os

import triton_python_backend_utils as pb_utils

from rerank_scorer import Late, Scorer, ScorerSettings


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self.settings = ScorerSettings.read(
            {name: value["string_value"] for name, value in parameters.items()}, os.environ
        )
        self.scorer = None if self.settings is None else Scorer(self.settings)

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        if self.scorer is None:
            return _error("rerank: off: set RAGFLEET_RERANK_DIR to a cross-encoder's folder", "UNAVAILABLE")
        query, *texts = (
            text.decode("utf-8", "replace")
            for name in ("query", "texts")
            for text in pb_utils.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)
        )
        deadline = pb_utils.get_input_tensor_by_name(request, "deadline_ms")
        seconds = self.settings.deadline_s if deadline is None else int(deadline.as_numpy().reshape(-1)[0]) / 1000
        try:
            scores = self.scorer.scores(query, texts, deadline_s=seconds)
        except Late as late:
            return _error(f"rerank: late: {late}", "UNAVAILABLE")
        return pb_utils.InferenceResponse([pb_utils.Tensor("scores", scores.reshape(1, -1))])


def _error(text, code):
    return pb_utils.InferenceResponse([], pb_utils.TritonError(text, getattr(pb_utils.TritonError, code)))
