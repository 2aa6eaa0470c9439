"""What requests that ask for an answer have in common, whatever path they take: sampling, the file_search tool, the question."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from gateway.api.ranking_schema import RankingOptions
from gateway.api.validation import MANY, ONE, ONE_OR_MANY, WHOLE, Harmless, items
from gateway.errors import BadRequest
from gateway.knowledge.filters import compile_filter
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters
from gateway.serving.generation_request import GenerationRequest, SamplingParameters


class FileSearch(BaseModel):
    """The one tool: answer from knowledge stores."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["file_search"]
    vector_store_ids: Annotated[list[Annotated[str, Field(max_length=128)]], items(1, 8)]
    max_num_results: Annotated[int, Field(ge=1, le=50), WHOLE] | None = None
    filters: Annotated[dict[str, Any], Field(max_length=16)] | None = None
    ranking_options: RankingOptions | None = None

    @field_validator("filters")
    @classmethod
    def _readable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            if value is not None:
                compile_filter(value)
        except BadRequest as error:
            raise ValueError(error.message) from None
        return value

    @property
    def parameters(self) -> FileSearchParameters:
        """What it says of retrieval."""
        given = {} if self.ranking_options is None else self.ranking_options.given
        return FileSearchParameters(
            stores=self.vector_store_ids,
            filters=self.filters,
            options=RetrievalOptions.read({**given, "max_num_results": self.max_num_results}),
        )


SERVER_EXTRAS: Harmless = {
    "min_p": (0, 0.0),
    "typical_p": (1, 1.0),
    "length_penalty": (1, 1.0),
    "use_beam_search": (False,),
    "stop_token_ids": ([],),
    "bad_words": ([],),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,),
    "include_stop_str_in_output": (False,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template_kwargs": ({}, {"enable_thinking": False}, {"thinking": False}),
    "return_token_ids": (False,),
    "priority": (0,),
    "think": (False,),
}
"""Parameters of vLLM, SGLang and Ollama, with their values that mean "off", as HARMLESS of each path."""

StopString = Annotated[str, Field(min_length=1, max_length=256)]


MAX_BIASED = 300
"""OpenAI's."""


def _few(value: Any) -> Any:
    if isinstance(value, dict) and len(value) > MAX_BIASED:
        raise ValueError(f"it can have at most {MAX_BIASED} tokens")
    return value


LogitBias = Annotated[
    dict[Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")], Annotated[float, Field(ge=-100, le=100)]],
    Field(max_length=MAX_BIASED),
    BeforeValidator(_few),  # before each of them is read
]
"""Token ids as strings, and what is added to their logits."""

TopLogProbs = Annotated[int, Field(ge=0, le=20), WHOLE]
"""Alternatives to each token; OpenAI's bound."""


class Sampling(BaseModel):
    """How tokens are chosen and when they end, the same for every path that generates."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, lt=2**31), WHOLE] | None = None
    """Extension: sample from the k likeliest tokens; 0 for all, and vLLM's -1, too."""
    min_tokens: Annotated[int, Field(ge=0), WHOLE] | None = None
    """Extension: no end before this many tokens."""
    ignore_eos: bool = False
    """Extension: no end before `max_tokens`, which must be given; vLLM's."""
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    """Extension: over 1 makes what was said already less likely."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stop: Annotated[Annotated[StopString, ONE] | Annotated[list[StopString], items(0, 4), MANY], ONE_OR_MANY] | None = (
        None
    )

    @property
    def log_probs(self) -> int | None:
        """How many alternatives are to be told beside each token and its log probability; None: nothing of it."""
        return None

    @property
    def bias(self) -> Mapping[str, float]:
        """Token ids as strings, and what is to be added to their logits."""
        return {}

    def sampling_parameters(self, max_tokens: int | None) -> SamplingParameters:
        """The same without its wire form. Raises BadRequest for an answer that would never end."""
        if self.ignore_eos and max_tokens is None:
            raise BadRequest(
                "Invalid value for 'ignore_eos': it needs max_tokens.", param="ignore_eos", code="invalid_value"
            )
        return SamplingParameters(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else max(0, self.top_k),
            min_tokens=max_tokens if self.ignore_eos else self.min_tokens,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            bias={int(token): value for token, value in self.bias.items()},
            log_probs=self.log_probs,
        )


MAX_PARTS = 256
"""Of the content of one message."""


class ContentPart(BaseModel):
    """A piece of a message's content."""

    type: str
    text: str


class BaseMessage(BaseModel):
    """A message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Sequence[ContentPart]

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class Streaming(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_obfuscation: Literal[False] | None = None


class ConversationRequest(Sampling):
    """A conversation that wants an answer, perhaps from knowledge."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool = False
    stream_options: Streaming | None = None
    text_param: ClassVar[str]
    """The name of what holds the messages."""
    tools: Annotated[list[FileSearch], items(0, 1)] | None = None

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @property
    @abstractmethod
    def conversation(self) -> Sequence[BaseMessage]:
        """The messages, oldest first; not empty."""

    @property
    @abstractmethod
    def searches(self) -> bool:
        """Whether a file_search tool is to be used, where there is one."""

    @property
    def truncates(self) -> bool:
        """Whether the oldest turns may be left out."""
        return False

    @property
    @abstractmethod
    def answer_limit(self) -> tuple[int | None, str]:
        """Answer tokens that the client asked for at the most, and the parameter's name."""

    def generation_request(self, request_id: str, *, route: str) -> GenerationRequest:
        """What is asked for, without its wire form. route: as metrics name the path."""
        max_tokens, param = self.answer_limit
        return GenerationRequest(
            id=request_id,
            route=route,
            model=self.model,
            messages=[{"role": each.role, "content": each.text} for each in self.conversation],
            sampling=self.sampling_parameters(max_tokens),
            max_tokens=max_tokens,
            max_tokens_param=param,
            text_param=self.text_param,
            truncates=self.truncates,
            file_search=self.tools[0].parameters if self.tools and self.searches else None,
        )
