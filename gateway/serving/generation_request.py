"""What any path asks for: a conversation or a prompt as it stands, and which model, sampling, limit and knowledge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any

from gateway.retrieval.passage import KnownPassages
from gateway.retrieval.request import FileSearchParameters
from gateway.retrieval.store_resolver import is_rag
from gateway.serving.decoding_guide import Guide
from gateway.serving.tools import ToolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParameters:
    """How tokens are chosen and when they end. None: as the settings have it, or the engine."""

    temperature: float | None = None
    """0: always the likeliest."""
    top_p: float | None = None
    top_k: int | None = None
    """0: all."""
    min_tokens: int | None = None
    """No end before so many."""
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    bias: Mapping[int, float] = field(default_factory=dict)
    """Token id → what is added to its logit."""
    stop: Sequence[str] = ()
    """Strings that end the answer, and are not in it."""
    log_probs: int | None = None
    """How many alternatives are told beside each token and its log probability; None: nothing of it is told."""
    guide: Guide | None = None
    """What the answer must be; None: anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One answer, wanted by a tenant of the gateway."""

    id: str
    """The request's, as the client sees it."""
    route: str
    """The path, as metrics name it."""
    model: str
    """As the client called it."""
    messages: Sequence[Mapping[str, Any]] = ()
    """A conversation, oldest first: role and content, a text; `tool_calls` and `tool_call_id` as OpenAI has them in chats."""
    prompt: str | Sequence[int] | None = None
    """A prompt as it stands, text or token ids, in place of messages."""
    suffix: str = ""
    """What stands behind the answer to such a prompt."""
    text_param: str
    """What the client calls the messages or the prompt, for messages of errors."""
    sampling: SamplingParameters = field(default_factory=SamplingParameters)
    max_tokens: int | None = None
    """Tokens of the answer at the most; None: the settings' default."""
    max_tokens_param: str = "max_tokens"
    """What the client calls that limit, for messages of errors."""
    truncates: bool = False
    """Whether the oldest turns are left out where all of them do not fit."""
    reasoning_effort: str = ""
    """How much the model is to think; OpenAI's words. "": as it likes."""
    choices: int = 1
    """Answers that are wanted, at least 1."""
    own_names: Mapping[str, str] = field(default_factory=dict)
    """What the client calls parameters that chats call otherwise, for messages of errors."""
    files: Sequence[str] = ()
    """Ids of the files beside the last message of the user. Assistants may read them; models of the fleet can't."""
    file_search: FileSearchParameters | None = None
    """The stores to answer from, where the client names some."""
    known: KnownPassages | None = None
    """What was found already, in place of stores to search."""
    tools: ToolUse | None = None
    """Functions that the answer may call."""
    guide_param: str = "response_format"
    """What the client calls the guide, for messages of errors."""

    @property
    def grounded(self) -> bool:
        """Whether it is to be answered from knowledge."""
        return self.file_search is not None or self.known is not None or is_rag(self.model)

    @property
    def held_bytes(self) -> int:
        """Memory of its texts and token ids, about."""
        prompt = 0 if self.prompt is None else getsizeof(self.prompt)
        return prompt + sum(getsizeof(value) for message in self.messages for value in message.values())

    @property
    def question(self) -> str:
        """The text to retrieve for: the last message of the user, or the last message."""
        asked = [str(message["content"]) for message in self.messages if message["role"] == "user"]
        return asked[-1] if asked else str(self.messages[-1]["content"])
