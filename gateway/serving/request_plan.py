"""A request against what the fleet has: which model answers, within which limits, sampled how. No I/O."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.config import Settings
from gateway.errors import BadRequest, ContextLengthExceeded, NotFound, Unavailable
from gateway.fleet.models import ServedModels
from gateway.retrieval.store_resolver import RAG, is_rag
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.triton.logit_bias import embedding_bias
from gateway.triton.lora import task_id
from tokens.vocabulary import TokenTable

COMPLETION_TOKENS = 16
"""Of an answer to a prompt as it stands, where the client gives no limit; OpenAI's default."""


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Which model answers, within which limits (tokens)."""

    model: str
    max_context: int
    """Prompt and answer together."""
    max_prompt: int
    max_tokens: int
    """The answer, as far as the context has room for it."""
    lora: str = ""
    """The adapter to the model, "" for none."""


class RequestPlanner:
    """Reads requests against what the fleet has."""

    def __init__(self, settings: Settings, models: ServedModels, table: TokenTable) -> None:
        self._settings = settings
        self._models = models
        self._table = table

    def check(self, request: GenerationRequest) -> None:
        """Refuse what no instance could serve, before anything is tokenized. While there is no instance little is known, and the
        request may wait. Raises NotFound, BadRequest, ContextLengthExceeded.
        """
        size, prompt = self._table.vocab_size, request.prompt
        if prompt and not isinstance(prompt, str) and (wrong := max(prompt)) >= size:
            raise BadRequest(
                f"Invalid value for '{request.text_param}': there is no token {wrong}; the model has {size} tokens.",
                param=request.text_param,
                code="invalid_value",
            )
        if request.suffix and self._table.infill is None:
            raise BadRequest(
                "'suffix' is not supported by this model; its vocabulary has no tokens for filling in.",
                param="suffix",
                code="unsupported_parameter",
            )
        if (bias := request.sampling.bias) and (wrong := max(bias)) >= size:
            raise BadRequest(
                f"Invalid value for 'logit_bias': there is no token {wrong}; the model has {size} tokens.",
                param="logit_bias",
                code="invalid_value",
            )
        if self._models.generating:
            self.plan(request)

    def plan(self, request: GenerationRequest) -> RequestPlan:
        """Read the model's name and the limits, and refuse what is too long by its size alone.

        Raises NotFound, BadRequest, ContextLengthExceeded, Unavailable.
        """
        model, lora = self._model(request)
        max_context = self._models.generating[model]
        limit, param = request.max_tokens, request.max_tokens_param
        default = self._settings.default_max_tokens if request.prompt is None else COMPLETION_TOKENS
        usual = default if limit is None else limit
        # Where no room is asked for a chat's answer, at most a quarter of the context is kept free for it.
        reserved = min(usual, max_context // 4) if limit is None and request.prompt is None else usual
        if request.prompt is None and reserved >= max_context:
            raise BadRequest(
                f"{param}={limit} leaves no room for a prompt: the model's context is {max_context} tokens.",
                param=param,
                code="context_length_exceeded",
            )
        if (least := self._least_tokens(request)) > (room := max(0, max_context - reserved)):
            why = "" if request.prompt is None else f"the model's context of {max_context} tokens, less {param}={usual}"
            raise ContextLengthExceeded.of(least, room, param=request.text_param, why=why)
        if (request.sampling.min_tokens or 0) > usual:
            raise BadRequest("min_tokens is larger than max_tokens.", param="min_tokens", code="invalid_value")
        return RequestPlan(model, max_context, room, usual, lora)

    def estimate(self, request: GenerationRequest) -> int:
        """Tokens of the prompt and all answers, at the most as far as is known before the prompt is built."""
        default = self._settings.default_max_tokens if request.prompt is None else COMPLETION_TOKENS
        answer = default if request.max_tokens is None else request.max_tokens
        model, _ = self._models.adapter(request.model)
        context = self._models.generating.get(model) or max(self._models.generating.values(), default=None)
        prompt = self._least_tokens(request)
        return prompt + request.choices * (answer if context is None else max(0, min(answer, context - prompt)))

    def _least_tokens(self, request: GenerationRequest) -> int:
        """Tokens that the text has at the least."""
        prompt = request.prompt
        if prompt is None:
            return self._table.least_tokens(*_texts(request))
        return self._table.least_tokens(prompt) if isinstance(prompt, str) else len(prompt)

    def _model(self, request: GenerationRequest) -> tuple[str, str]:
        """The model's name, and its adapter's."""
        models = self._models.generating
        if not models:
            raise Unavailable("No instance is ready.", retry_after_s=2)
        model, lora = self._models.adapter(request.model)
        if model in models:
            return model, lora
        known = [*models, *self._models.adapted]
        if request.prompt is None:
            if is_rag(request.model):
                return known[0], ""
            known += [RAG, f"{RAG}:<store>"]
        raise NotFound(
            f"The model '{request.model}' does not exist here. There are: {', '.join(known)}.",
            param="model",
            code="model_not_found",
        )

    def engine_inputs(
        self, sampling: SamplingParameters, *, grounded: bool, end_id: int | None, lora: str = ""
    ) -> dict[str, Any]:
        """OpenAI's parameters as TensorRT-LLM's inputs."""
        temperature = sampling.temperature
        if temperature is None:
            temperature = self._settings.rag_temperature if grounded else self._settings.default_temperature
        inputs: dict[str, Any] = {}
        if end_id is not None:
            inputs["end_id"] = end_id
        if temperature == 0:
            inputs["runtime_top_k"] = 1
        else:
            inputs["temperature"] = temperature
            inputs["runtime_top_k"] = sampling.top_k or 0
            inputs["runtime_top_p"] = 1.0 if sampling.top_p is None else sampling.top_p
            # The engine's default seed is fixed; without one of ours every client would get the same "random" answer.
            seed = sampling.seed if sampling.seed is not None else random.getrandbits(63)
            inputs["seed"] = seed % 2**64
        if sampling.min_tokens:
            inputs["min_tokens"] = sampling.min_tokens
        for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
            if (value := getattr(sampling, name)) is not None:
                inputs[name] = value
        if lora:
            inputs["lora_task_id"] = task_id(lora)
        if sampling.bias:
            inputs["embedding_bias"] = embedding_bias(sampling.bias, self._table.vocab_size)
        if sampling.log_probs is not None:
            inputs["return_log_probs"] = True
            if sampling.log_probs:
                inputs["num_top_log_probs"] = sampling.log_probs
        if sampling.guide is not None:
            inputs |= sampling.guide.engine_inputs()
        return inputs


def _texts(request: GenerationRequest) -> Iterator[str]:
    """What a template writes of a conversation at the least; many drop white space."""
    for message in request.messages:
        yield str(message["content"]).strip()
        for call in message.get("tool_calls", ()):
            yield "".join(str(call["function"]["arguments"]).split())
    for function in (
        () if request.tools is None else request.tools.functions
    ):  # how parameters are told is the template's choice
        yield function.name
        yield "".join(function.description.split())
