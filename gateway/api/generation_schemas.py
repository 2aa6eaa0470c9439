"""What requests that ask for an answer have in common, whatever path they take: sampling, tools, the question."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, model_validator

from gateway.api.bookkeeping import Bookkeeping
from gateway.api.client_tools import OfferedTool
from gateway.api.file_search_schema import FileSearch
from gateway.api.format_schemas import AnyFormat, GuideParameters
from gateway.api.message_schemas import BaseMessage
from gateway.api.tool_choice import ToolChoice, tool_use, wants_search
from gateway.api.tool_schemas import FunctionDefinition, check_functions, kind_of
from gateway.api.validation import MANY, ONE, ONE_OR_MANY, WHOLE, Harmless, items
from gateway.assistants.directory import PREFIX
from gateway.errors import BadRequest
from gateway.serving.decoding_guide import Guide
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.tools import ToolUse


def tools_by_type(**arms: str) -> Discriminator:
    """Of a union of tools, whose arms FileSearch and Function are. arms: of all other types."""
    return Discriminator(lambda value: {"file_search": "FileSearch", **arms}.get(kind_of(value), "Function"))


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


Verbosity = Literal["low", "medium", "high"]
_MANNERS = {"low": "Answer briefly.", "high": "Answer in detail."}

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

MAX_CHOICES = 8
"""Of one request; OpenAI's bound is 128."""

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


class SamplingRequest(GuideParameters):
    """How tokens are chosen and when they end, the same for every path that generates."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """0: the likeliest token alone."""
    top_k: Annotated[int, Field(ge=-1, lt=2**31), WHOLE] | None = None
    """Extension: sample from the k likeliest tokens; 0 for all, and vLLM's -1, too."""
    min_tokens: Annotated[int, Field(ge=0, lt=2**63), WHOLE] | None = None
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

    @model_validator(mode="after")
    def _guides(self) -> Self:
        guide, param = self.guided
        if guide is not None and self.ignore_eos:
            raise ValueError(f"ignore_eos: cannot be combined with '{param}', which ends an answer")
        return self

    @property
    @abstractmethod
    def format(self) -> tuple[AnyFormat | None, str]:
        """What the answer must be by OpenAI's parameter, and its name."""

    @cached_property
    def guided(self) -> tuple[Guide | None, str]:
        """What the answer must be, and the name of the parameter that says so. Raises ValueError where two do, and BadRequest."""
        form, param = self.format
        given = self.guiding
        guide = None if form is None else form.guide(param)
        if guide is not None:
            given = [param, *given]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: cannot be combined with '{given[0]}'")
        return (guide, param) if guide is not None or not given else (self.extension_guide(given[0]), given[0])

    def sampling_parameters(self, max_tokens: int | None) -> SamplingParameters:
        """The same without its wire form. Raises BadRequest for an answer that would never end."""
        if self.ignore_eos and max_tokens is None:
            raise BadRequest(
                "Invalid value for 'ignore_eos': it needs max_tokens.", param="ignore_eos", code="invalid_value"
            )
        return SamplingParameters(
            temperature=self.temperature,
            top_p=self.top_p or None,
            top_k=1 if self.top_p == 0 else None if self.top_k is None else max(0, self.top_k),
            min_tokens=max_tokens if self.ignore_eos else self.min_tokens,
            repetition_penalty=self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            seed=self.seed,
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            bias={int(token): value for token, value in self.bias.items()},
            log_probs=self.log_probs,
            guide=self.guided[0],
        )


class Streaming(BaseModel):
    """Options of a streamed answer."""

    model_config = ConfigDict(extra="forbid", strict=True)
    include_obfuscation: Literal[False] | None = None


class ConversationRequest(Bookkeeping, SamplingRequest):
    """A conversation that wants an answer, perhaps from knowledge."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    stream: bool = False
    stream_options: Streaming | None = None
    text_param: ClassVar[str]
    """The name of what holds the messages."""
    own_names: ClassVar[Mapping[str, str]] = {}
    """See GenerationRequest."""
    parallel_tool_calls: bool | None = None
    """Whether an answer may call several functions."""
    tool_choice: ToolChoice = "auto"

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options: only with stream=true")
        return self

    @model_validator(mode="after")
    def _tools(self) -> Self:
        if not self.has_tools and self.tool_choice in ("auto", "none"):
            return self
        if sum(isinstance(each, FileSearch) for each in self.offered) > 1:
            raise ValueError("tools: there can be one file_search")
        check_functions(self.functions_offered, self.functions_param)
        if self.tool_use is None:
            return self
        if self.guiding:
            raise ValueError(f"{self.guiding[0]}: cannot be combined with functions; tool_choice 'none' turns them off")
        if self.ignore_eos:
            raise ValueError("ignore_eos: cannot be combined with functions")
        return self

    @model_validator(mode="after")
    def _files(self) -> Self:
        if not self.model.startswith(PREFIX) and any(each.files for each in self.given_messages):
            raise ValueError(f"{self.text_param}: the models here read text alone, no file; assistants for texts do")
        return self

    @property
    @abstractmethod
    def given_messages(self) -> Sequence[BaseMessage]:
        """The messages as they came."""

    @property
    @abstractmethod
    def conversation(self) -> Sequence[dict[str, Any]]:
        """The messages as the model `prompt` reads them, oldest first; not empty."""

    @property
    @abstractmethod
    def offered(self) -> Sequence[FileSearch | OfferedTool]:
        """The tools."""

    @property
    def has_tools(self) -> bool:
        """Whether there are any, of whatever kind."""
        return bool(self.offered)

    @property
    def functions_offered(self) -> Mapping[str, FunctionDefinition]:
        """Among the tools, by the place that they stand at."""
        return {
            f"tools.{index}{each.INSIDE}": each.definition
            for index, each in enumerate(self.offered)
            if not isinstance(each, FileSearch)
        }

    @property
    def functions_param(self) -> str:
        """The name of what holds the functions."""
        return "tools"

    @property
    def chosen(self) -> tuple[ToolChoice, str]:
        """Which tools the answer may or must use, and the parameter's name."""
        return self.tool_choice, "tool_choice"

    @cached_property
    def tool_kinds(self) -> Mapping[str, str]:
        """The types of the tools that answers may call, by their names."""
        return {each.name: each.kind for each in self.functions_offered.values()}

    @cached_property
    def tool_use(self) -> ToolUse | None:
        """What the answer may call. Raises ValueError for a choice of what is not there."""
        choice, param = self.chosen
        searches = self._file_search is not None
        return tool_use(list(self.functions_offered.values()), choice, self.parallel, searches=searches, param=param)

    @property
    def parallel(self) -> bool | None:
        """Whether the answer may call several functions; None: the client has not said."""
        return self.parallel_tool_calls

    @property
    def _file_search(self) -> FileSearch | None:
        return next((each for each in self.offered if isinstance(each, FileSearch)), None)

    @property
    def truncates(self) -> bool:
        """Whether the oldest turns may be left out."""
        return False

    @property
    @abstractmethod
    def answer_limit(self) -> tuple[int | None, str]:
        """Answer tokens that the client asked for at the most, and the parameter's name."""

    @property
    def choices(self) -> int:
        """Answers that are wanted."""
        return 1

    @property
    @abstractmethod
    def manner(self) -> Verbosity | None:
        """How long the answer is to be; None: as the model likes."""

    @property
    @abstractmethod
    def effort(self) -> ReasoningEffort | None:
        """How much the model is to think; None: as it likes."""

    def generation_request(self, request_id: str, *, route: str) -> GenerationRequest:
        """What is asked for, without its wire form. route: as metrics name the path."""
        max_tokens, param = self.answer_limit
        file_search, tools = (self._file_search, self.tool_use) if self.has_tools else (None, None)
        return GenerationRequest(
            id=request_id,
            route=route,
            model=self.model,
            messages=_in_a_manner(self.conversation, self.manner),
            sampling=self.sampling_parameters(max_tokens),
            max_tokens=max_tokens,
            max_tokens_param=param,
            text_param=self.text_param,
            truncates=self.truncates,
            own_names=self.own_names,
            choices=self.choices,
            reasoning_effort=self.effort or "",
            files=next((each.files for each in reversed(self.given_messages) if each.role == "user"), ()),
            file_search=file_search.parameters if file_search and wants_search(self.tool_choice) else None,
            tools=tools,
            guide_param=self.functions_param if tools is not None else self.guided[1],
        )


def _in_a_manner(messages: Sequence[dict[str, Any]], manner: Verbosity | None) -> Sequence[dict[str, Any]]:
    """Models that know of no verbosity are told of it in words."""
    if (words := _MANNERS.get(manner or "")) is None:
        return messages
    first = messages[0]
    if first["role"] not in ("system", "developer"):
        return [{"role": "system", "content": words}, *messages]
    return [{**first, "content": f"{first['content']}\n\n{words}"}, *messages[1:]]
