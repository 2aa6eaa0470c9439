"""One request, decoded from the tensors of TensorRT-LLM's contract and checked.

What would change the answer and cannot be honoured is refused by name. What cannot change it (beam-search settings with
one beam, hints for the KV cache, padding) is accepted. Values that ask for nothing (false, 1 beam) are always accepted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llm_engine.errors import InvalidRequest
from llm_engine.stop_words import Words
from llm_engine.stop_words import parse as parse_words

if TYPE_CHECKING:
    from llm_engine.guided_decoding import Constraint

Tensors = Mapping[str, npt.NDArray[Any]]

HARMLESS = frozenset(
    {
        "pad_id",
        "len_penalty",
        "early_stopping",
        "beam_search_diversity_rate",
        "retention_token_range_starts",
        "retention_token_range_ends",
        "retention_token_range_priorities",
        "retention_token_range_durations_ms",
        "retention_decode_priority",
        "retention_decode_duration_ms",
    }
)
"""Inputs that cannot change an answer of one beam."""
NEUTRAL: Mapping[str, float] = {
    "beam_width": 1,
    "num_return_sequences": 1,
    "exclude_input_in_output": True,
    "return_context_logits": False,
    "return_generation_logits": False,
    "return_perf_metrics": False,
    "return_num_input_tokens": False,
    "return_num_output_tokens": False,
    "runtime_top_p_min": 0,
    "runtime_top_p_decay": 1,
}
"""Inputs that are served only with the value that asks for nothing."""
SERVED = frozenset(
    {
        "input_ids",
        "input_lengths",
        "request_output_len",
        "streaming",
        "stop",
        "end_id",
        "min_tokens",
        "stop_words_list",
        "bad_words_list",
        "temperature",
        "runtime_top_k",
        "runtime_top_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "return_log_probs",
        "num_top_log_probs",
        "lora_task_id",
        "embedding_bias",
        "guided_decoding_guide_type",
        "guided_decoding_guide",
        "guided_decoding_prefix_length",
        "cache_salt_id",
    }
)
GUIDE_TYPES = ("json", "json_schema", "regex", "ebnf_grammar")


MAX_TOP_LOG_PROBS = 20
"""Alternatives to a token at the most; OpenAI's bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn. Defaults and meanings are TensorRT-LLM's: neither top_k nor top_p means greedy."""

    temperature: float = 1.0
    top_k: int = 0
    """0: no limit."""
    top_p: float = 0.0
    """0: not asked for."""
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    """Token → what is added to its logit before anything else, where that is not 0."""
    seed: int | None = None
    """None: another draw each time."""

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is always taken."""
        return self.temperature == 0 or self.top_k == 1 or (self.top_k == 0 and self.top_p == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidedDecoding:
    """What the answer must be. The names are TensorRT-LLM's."""

    kind: str
    """One of GUIDE_TYPES."""
    guide: str = ""
    """The schema, the expression or the grammar; `json` needs none."""
    prefix_length: int = 0
    """So many tokens at the end of the prompt are the answer so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an engine works on. Token counts are of one sequence."""

    input_ids: list[int]
    max_tokens: int
    streaming: bool = False
    end_id: int | None = None
    """None: the model's own end tokens. −1: none at all."""
    min_tokens: int = 0
    """No end token comes before. Stop words still end the answer, as in TensorRT-LLM."""
    stop_words: Words = ()
    bad_tokens: frozenset[int] = frozenset()
    """Never generated."""
    sampling: Sampling = field(default_factory=Sampling)
    log_probs: bool = False
    lora: int | None = None
    """Task id of the adapter to answer with."""
    top_log_probs: int = 0
    """How many of the likeliest tokens are told beside each token."""
    cache_salt: int = 0
    """Requests of different salts share no prefix cache."""
    guided: GuidedDecoding | None = None
    constraint: "Constraint | None" = field(default=None, compare=False)
    """What the engine's `guides` made of `guided`; it is this request's own, and changes with its tokens."""

    def ends(self, of_model: Collection[int]) -> frozenset[int]:
        """The tokens that end the answer. of_model: those of the model."""
        if self.end_id is None:
            return frozenset(of_model)
        return frozenset() if self.end_id == -1 else frozenset({self.end_id})

    def check(self, *, vocab_size: int, max_context: int, gives_log_probs: bool, loras: Collection[int] = ()) -> None:
        """Raises BadRequest where an engine of these limits cannot serve it."""
        if max(self.input_ids) >= vocab_size:
            raise InvalidRequest("input_ids", f"{max(self.input_ids)} is not a token; the vocabulary has {vocab_size}")
        if len(self.input_ids) + self.max_tokens > max_context:
            raise InvalidRequest(
                "request_output_len",
                f"{len(self.input_ids)} prompt tokens and {self.max_tokens} to generate exceed the context of {max_context}",
            )
        if len(self.bad_tokens) >= vocab_size // 2:
            raise InvalidRequest("bad_words_list", "it forbids half the vocabulary or more")
        if self.bad_tokens and max(self.bad_tokens) >= vocab_size:
            raise InvalidRequest("bad_words_list", f"the vocabulary has {vocab_size} tokens")
        if self.sampling.bias and max(self.sampling.bias) >= vocab_size:
            raise InvalidRequest("embedding_bias", f"the vocabulary has {vocab_size} tokens")
        if self.lora is not None and self.lora not in loras:
            raise InvalidRequest("lora_task_id", "this engine has no such adapter. Leave it out")
        if self.log_probs and not gives_log_probs:
            raise InvalidRequest("return_log_probs", "this engine knows no probabilities")


def wants_stop(tensors: Tensors) -> bool:
    """Whether this is no request of its own, but ends the one with the same request id."""
    return bool(_scalar(tensors, "stop", False))


def decode(tensors: Tensors) -> Request:
    """The request in `tensors`, by input name, with or without their batch dimension of 1. Raises BadRequest."""
    for name, tensor in tensors.items():
        if name not in SERVED and name not in HARMLESS and not _asks_nothing(name, tensor):
            wanted = f"; only {NEUTRAL[name]:g} is" if name in NEUTRAL else ""
            raise InvalidRequest(name, f"not supported by this engine{wanted}. Leave it out")
    max_tokens = _integer(tensors, "request_output_len", least=1)
    if max_tokens is None:
        raise InvalidRequest("request_output_len", "required")
    min_tokens = _integer(tensors, "min_tokens", least=0) or 0
    if min_tokens > max_tokens:
        raise InvalidRequest("min_tokens", f"{min_tokens} is more than request_output_len, {max_tokens}")
    log_probs = bool(_scalar(tensors, "return_log_probs", False))
    prompt = _prompt(tensors)
    return Request(
        input_ids=prompt,
        max_tokens=max_tokens,
        streaming=bool(_scalar(tensors, "streaming", False)),
        end_id=_integer(tensors, "end_id", least=-1),
        min_tokens=min_tokens,
        stop_words=_words(tensors, "stop_words_list"),
        bad_tokens=_bad_tokens(tensors),
        sampling=_sampling(tensors),
        log_probs=log_probs,
        lora=_integer(tensors, "lora_task_id", least=0),
        top_log_probs=_top_log_probs(tensors, log_probs=log_probs),
        cache_salt=_integer(tensors, "cache_salt_id", least=0) or 0,
        guided=_guided(tensors, len(prompt)),
    )


def _asks_nothing(name: str, tensor: npt.NDArray[Any]) -> bool:
    return name in NEUTRAL and tensor.size == 1 and bool(tensor.reshape(-1)[0] == NEUTRAL[name])


def _prompt(tensors: Tensors) -> list[int]:
    ids = tensors.get("input_ids")
    if ids is None or ids.size == 0:
        raise InvalidRequest("input_ids", "a prompt needs at least one token")
    if ids.ndim > 1 and ids.shape[0] != 1:
        raise InvalidRequest("input_ids", f"one sequence a request, not {ids.shape[0]}: send them as separate requests")
    flat: list[int] = ids.reshape(-1).tolist()
    length = _integer(tensors, "input_lengths", least=1)
    if length is not None and length > len(flat):
        raise InvalidRequest("input_lengths", f"{length}, but input_ids has {len(flat)}")
    flat = flat[:length]
    if min(flat) < 0:
        raise InvalidRequest("input_ids", f"{min(flat)} is not a token")
    return flat


def _sampling(tensors: Tensors) -> Sampling:
    seed = _scalar(tensors, "seed", None)
    return Sampling(
        temperature=_number(tensors, "temperature", 1.0, 0.0, 100.0),
        top_k=_integer(tensors, "runtime_top_k", least=0) or 0,
        top_p=_number(tensors, "runtime_top_p", 0.0, 0.0, 1.0),
        repetition_penalty=_number(tensors, "repetition_penalty", 1.0, 0.01, 100.0),
        presence_penalty=_number(tensors, "presence_penalty", 0.0, -100.0, 100.0),
        frequency_penalty=_number(tensors, "frequency_penalty", 0.0, -100.0, 100.0),
        seed=None if seed is None else int(seed),
        bias=_bias(tensors),
    )


def _bias(tensors: Tensors) -> dict[int, float]:
    """The values of a vector over the vocabulary that are not 0. Behind its end all are 0: a tokenizer's vocabulary may be
    shorter than the model's."""
    tensor = tensors.get("embedding_bias")
    if tensor is None:
        return {}
    flat = tensor.reshape(-1)
    if not np.isfinite(flat).all():
        raise InvalidRequest("embedding_bias", "its values must be finite")
    return {int(token): float(flat[token]) for token in np.flatnonzero(flat)}


def _top_log_probs(tensors: Tensors, *, log_probs: bool) -> int:
    count = _integer(tensors, "num_top_log_probs", least=0) or 0
    if count > MAX_TOP_LOG_PROBS:
        raise InvalidRequest("num_top_log_probs", f"{count} is more than {MAX_TOP_LOG_PROBS}")
    if count and not log_probs:
        raise InvalidRequest("num_top_log_probs", "it needs return_log_probs")
    return count


def _guided(tensors: Tensors, prompt_tokens: int) -> GuidedDecoding | None:
    kind, guide = (_text(tensors, name) for name in ("guided_decoding_guide_type", "guided_decoding_guide"))
    done = _integer(tensors, "guided_decoding_prefix_length", least=0) or 0
    if kind is None:
        for name, given in (("guided_decoding_guide", guide), ("guided_decoding_prefix_length", done)):
            if given:
                raise InvalidRequest(name, "it needs guided_decoding_guide_type")
        return None
    if kind not in GUIDE_TYPES:
        raise InvalidRequest("guided_decoding_guide_type", f"{kind[:40]!r}; there are {', '.join(GUIDE_TYPES)}")
    if guide is None and kind != "json":
        raise InvalidRequest("guided_decoding_guide", f"required for {kind}")
    if done > prompt_tokens:
        raise InvalidRequest("guided_decoding_prefix_length", f"{done}, but input_ids has {prompt_tokens}")
    return GuidedDecoding(kind=kind, guide=guide or "", prefix_length=done)


def _text(tensors: Tensors, name: str) -> str | None:
    value = _scalar(tensors, name, None)
    if value is None or isinstance(value, str):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(name, "it is not UTF-8") from error


def _words(tensors: Tensors, name: str) -> Words:
    tensor = tensors.get(name)
    if tensor is None or tensor.size == 0:
        return ()
    if tensor.ndim < 2 or tensor.shape[-2] != 2 or tensor.size != 2 * tensor.shape[-1]:
        raise InvalidRequest(name, f"its shape must be [1, 2, n], not {list(tensor.shape)}")
    flat, ends = tensor.reshape(2, -1).tolist()
    try:
        return parse_words(flat, ends)
    except ValueError as error:
        raise InvalidRequest(name, str(error)) from error


def _bad_tokens(tensors: Tensors) -> frozenset[int]:
    words = _words(tensors, "bad_words_list")
    if any(len(word) > 1 for word in words):
        raise InvalidRequest("bad_words_list", "only words of one token are supported by this engine")
    return frozenset(word[0] for word in words)


def _scalar(tensors: Tensors, name: str, default: Any) -> Any:
    tensor = tensors.get(name)
    if tensor is None:
        return default
    if tensor.size != 1:
        raise InvalidRequest(name, f"one value expected, not a tensor of shape {list(tensor.shape)}")
    return tensor.reshape(-1)[0]


def _integer(tensors: Tensors, name: str, *, least: int) -> int | None:
    value = _scalar(tensors, name, None)
    if value is None:
        return None
    if int(value) < least:
        raise InvalidRequest(name, f"{int(value)} is less than {least}")
    return int(value)


def _number(tensors: Tensors, name: str, default: float, least: float, most: float) -> float:
    value = float(_scalar(tensors, name, default))
    if not np.isfinite(value) or not least <= value <= most:
        raise InvalidRequest(name, f"{value:g} is not between {least:g} and {most:g}")
    return value
