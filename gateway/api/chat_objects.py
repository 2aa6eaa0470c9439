"""What chats and completions are answered with, for the document of the API."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class ChosenFunction(TypedDict):
    """A function and its arguments, as JSON in a string."""

    name: str
    arguments: str


class FunctionCall(TypedDict):
    """A call."""

    id: str
    type: Literal["function"]
    function: ChosenFunction


class CustomText(TypedDict):
    """A custom tool and its text."""

    name: str
    input: str


class CustomCall(TypedDict):
    """A call of a custom tool."""

    id: str
    type: Literal["custom"]
    custom: CustomText


class UrlCitation(TypedDict):
    """Where a source is cited: characters of the content."""

    start_index: int
    end_index: int
    url: str
    title: str


class ChatAnnotation(TypedDict):
    """A citation."""

    type: Literal["url_citation"]
    url_citation: UrlCitation


class AnswerMessage(TypedDict):
    """What the model says. `reasoning_content` is an extension: what it thought before."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: NotRequired[list[FunctionCall | CustomCall]]
    function_call: NotRequired[ChosenFunction]
    annotations: NotRequired[list[ChatAnnotation]]
    reasoning_content: NotRequired[str]


class ChatTokenBase(TypedDict):
    """A token, and the logarithm of its probability."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChatToken(ChatTokenBase):
    """A token of the answer, with those that could have stood in its place."""

    top_logprobs: list[ChatTokenBase]


class ChatLogProbs(TypedDict):
    """Of an answer's tokens."""

    content: list[ChatToken] | None
    refusal: list[ChatToken] | None


class ChatChoice(TypedDict):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogProbs | None
    finish_reason: Literal["stop", "length", "tool_calls", "function_call"]


class CompletionDetails(TypedDict):
    """Of the tokens that were written."""

    reasoning_tokens: NotRequired[int]
    accepted_prediction_tokens: NotRequired[int]
    rejected_prediction_tokens: NotRequired[int]


class PromptDetails(TypedDict):
    """Of the tokens that were read."""

    cached_tokens: int


class TokenCounts(TypedDict):
    """Tokens. The details of the prompt are there where an engine had some of it cached."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[PromptDetails]
    completion_tokens_details: NotRequired[CompletionDetails]


class ChatCompletion(TypedDict):
    """An answer. Extensions: `rag`, what it was made from, and `ragfleet`, who made it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenCounts
    service_tier: NotRequired[Literal["default"]]
    metadata: NotRequired[dict[str, str]]
    rag: NotRequired[dict[str, Any]]
    ragfleet: NotRequired[dict[str, Any]]


class CacheBreakpoint(TypedDict):
    """Where a client wanted a prompt cached."""

    mode: Literal["explicit"]


class StoredText(TypedDict):
    """A part of a message."""

    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: NotRequired[CacheBreakpoint | None]


class StoredRefusal(TypedDict):
    """What another model said in place of an answer."""

    type: Literal["refusal"]
    refusal: str


class StoredMessage(TypedDict):
    """A message that a stored chat was asked with. `content_parts`: where the client sent parts; `content` has their text."""

    id: str
    role: str
    content: str | None
    refusal: str | None
    content_parts: list[StoredText | StoredRefusal] | None
    name: NotRequired[str]
    tool_calls: NotRequired[list[FunctionCall | CustomCall]]
    tool_call_id: NotRequired[str]
    function_call: NotRequired[ChosenFunction]
    annotations: NotRequired[list[ChatAnnotation]]


class CompletionLogProbs(TypedDict):
    """Of a completion's tokens."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """One continuation."""

    index: int
    text: str
    logprobs: CompletionLogProbs | None
    finish_reason: Literal["stop", "length"]


class Completion(TypedDict):
    """Continuations of all prompts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: Annotated[list[CompletionChoice], Field(min_length=1)]
    usage: TokenCounts
    ragfleet: NotRequired[dict[str, Any]]
