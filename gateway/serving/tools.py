"""Functions that an answer may call, and calls as they come."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function of the client's."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of its arguments, an object."""
    followed: Mapping[str, Any] = field(default_factory=dict)
    """What of it a guided call is held to."""

    def wire(self) -> dict[str, Any]:
        """As chat templates know it."""
        about = {"description": self.description} if self.description else {}
        return {"type": "function", "function": {"name": self.name, **about, "parameters": dict(self.parameters)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What an answer may call. The model is told of nothing else."""

    functions: tuple[FunctionTool, ...]
    """Not empty; each name once."""
    required: bool = False
    """Whether the answer must be a call."""
    parallel: bool | None = None
    """Whether it may be several calls; None: the client has not said."""

    @property
    def names(self) -> frozenset[str]:
        """Of the functions."""
        return frozenset(each.name for each in self.functions)

    def wire(self) -> str:
        """For the model `prompt`: OpenAI's list of tools, as JSON."""
        return json.dumps([each.wire() for each in self.functions], ensure_ascii=False)


@dataclass(slots=True)
class ToolCall:
    """A call, as far as it is there."""

    id: str
    name: str
    arguments: str = ""
    """JSON, as the model wrote it."""

    @property
    def is_whole(self) -> bool:
        """Whether its arguments go to their end: a stop string, or the model, may have ended the answer among them."""
        try:
            json.loads(self.arguments)
        except ValueError:
            return False
        return True


# What a parser makes of the text of an answer, in its order.


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text that is no call."""

    text: str


@dataclass(frozen=True, slots=True)
class ThoughtPiece:
    """A thought, which is no part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A call of a function begins. What follows are pieces of its arguments, until the next one begins."""

    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsPiece:
    """A piece of the arguments of the call that has begun last."""

    text: str


ParsedPiece = TextPiece | CallBegun | ArgumentsPiece
