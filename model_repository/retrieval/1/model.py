"""Triton's side of `retrieval`: one question in, its passages out."""

import asyncio
import json
import logging
import os
from contextlib import nullcontext

import numpy as np
import pymilvus  # noqa: F401 - it takes a second to import, which the first request shall not pay
import triton_python_backend_utils as pb_utils

from retrieval_search import (
    BadQuery,
    CollectionNotFound,
    EmbeddingFailed,
    FilterRefused,
    HybridSearch,
    Query,
    RerankFailed,
    RetrievalError,
    RetrievalSettings,
    SearchTracing,
    no_span,
)


class TritonPythonModel:
    def initialize(self, args):
        # Each failure goes to the caller; pymilvus would add sixty lines of traceback to the log for every one.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        parameters = json.loads(args["model_config"])["parameters"]
        settings = RetrievalSettings.read(
            {name: value["string_value"] for name, value in parameters.items()}, os.environ
        )
        self.reranked = Outcomes()
        self.tracing = SearchTracing.read(os.environ)
        self.search = HybridSearch(
            settings,
            embedder=EmbeddingModel(),
            reranker=RerankModel(),
            count_rerank=self.reranked.count,
            span=no_span if self.tracing is None else self.tracing.span,
        )
        self.loop = asyncio.new_event_loop()

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def finalize(self):
        self.loop.run_until_complete(self.search.close())
        self.loop.close()
        if self.tracing is not None:
            self.tracing.close()

    def _answer(self, request):
        query = Query(
            text=_text(request, "query"),
            vector=pb_utils.get_input_tensor_by_name(request, "embedding").as_numpy().reshape(-1),
            collection=_text(request, "collection"),
            filter=_text(request, "filter"),
            top_k=int(_value(request, "top_k", 5)),
            min_score=float(_value(request, "min_score", -1.0)),
            ranker=_text(request, "ranker"),
            dense_weight=_optional(request, "dense_weight", float),
            neighbours=_optional(request, "neighbours", int),
            rerank=_optional(request, "rerank", bool),
            filter_signature=_text(request, "filter_signature"),
            cache_salt=int(_value(request, "cache_salt_id", 0)),
        )
        try:
            with nullcontext() if self.tracing is None else self.tracing.request(request.trace().get_context()):
                passages = self.loop.run_until_complete(self.search.search(query))
        except RetrievalError as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error), _code(error)))
        document = json.dumps(passages, ensure_ascii=False).encode()
        return pb_utils.InferenceResponse([pb_utils.Tensor("passages", np.array([[document]], np.object_))])


class EmbeddingModel:
    """The model `embedding` beside this one."""

    async def vectors(self, texts, *, deadline_s, cache_salt):
        inputs = [pb_utils.Tensor("text", np.array([[text.encode()] for text in texts], np.object_))]
        if cache_salt:
            inputs.append(pb_utils.Tensor("cache_salt_id", np.full((len(texts), 1), cache_salt, np.uint64)))
        request = pb_utils.InferenceRequest(
            model_name="embedding",
            requested_output_names=["embedding"],
            inputs=inputs,
            timeout=round(deadline_s * 1_000_000),
        )
        response = await request.async_exec()
        if response.has_error():
            raise EmbeddingFailed(response.error().message())
        return pb_utils.get_output_tensor_by_name(response, "embedding").as_numpy()


class RerankModel:
    """The model `rerank` beside this one."""

    async def scores(self, query, texts, *, deadline_s):
        inputs = [
            pb_utils.Tensor("query", np.array([[query.encode()]], np.object_)),
            pb_utils.Tensor("texts", np.array([[text.encode() for text in texts]], np.object_)),
            pb_utils.Tensor("deadline_ms", np.array([[round(deadline_s * 1000)]], np.int32)),
        ]
        request = pb_utils.InferenceRequest(
            model_name="rerank",
            requested_output_names=["scores"],
            inputs=inputs,
            timeout=round(deadline_s * 1_000_000),
        )
        response = await request.async_exec()
        if response.has_error():
            raise RerankFailed(response.error().message())
        return pb_utils.get_output_tensor_by_name(response, "scores").as_numpy().reshape(-1).tolist()


class Outcomes:
    """`ragfleet_rerank{outcome="done|partly|late|failed"}` in Triton's metrics."""

    def __init__(self):
        self.family = pb_utils.MetricFamily(
            name="ragfleet_rerank", description="Rerankings, by how they ended.", kind=pb_utils.MetricFamily.COUNTER
        )
        self.counters = {
            name: self.family.Metric(labels={"outcome": name}) for name in ("done", "partly", "late", "failed")
        }

    def count(self, outcome):
        self.counters[outcome].increment(1)


def _code(error):
    if isinstance(error, CollectionNotFound):
        return pb_utils.TritonError.NOT_FOUND
    return (
        pb_utils.TritonError.INVALID_ARG
        if isinstance(error, (BadQuery, FilterRefused))
        else pb_utils.TritonError.UNAVAILABLE
    )


def _value(request, name, default):
    """The one element of an input, or `default` where the request leaves it out."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return default if tensor is None else tensor.as_numpy().reshape(-1)[0]


def _optional(request, name, kind):
    value = _value(request, name, None)
    return None if value is None else kind(value)


def _text(request, name):
    return _value(request, name, b"").decode("utf-8", "replace")
