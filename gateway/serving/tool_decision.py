"""Whether an answer calls a function, for models that are too small to decide it: by the words of the question.

SmolLM2 135M, told of functions in five wordings, called none in six questions that asked for one (docs/answers.md).
"""

import re
from dataclasses import replace

from gateway.serving.generation_request import GenerationRequest
from gateway.serving.tools import FunctionTool
from tokens.keywords import content_words

_COMMON = frozenset(
    {
        "get",
        "set",
        "find",
        "search",
        "list",
        "create",
        "make",
        "add",
        "update",
        "delete",
        "run",
        "call",
        "use",
        "return",
    }
    | {"fetch", "send", "show", "tool", "function", "given", "number", "name", "value", "input", "output", "result"}
    | {"data", "text", "string", "information"}
)
"""Words of functions' names and descriptions that say nothing of their subject. They count where a function has no others."""


def decided(request: GenerationRequest) -> GenerationRequest:
    """The request with those functions, one of which is to be called, or without any.

    A function whose name or description shares a word with the last question is called, but not a second time: what functions
    have given is for an answer in words.
    """
    tools = request.tools
    if tools is None or tools.required:
        return request
    meant = () if request.messages[-1]["role"] == "tool" else _meant(tools.functions, request.question)
    return replace(request, tools=replace(tools, functions=meant, required=True) if meant else None)


def _meant(functions: tuple[FunctionTool, ...], question: str) -> tuple[FunctionTool, ...]:
    asked = frozenset(content_words(question))
    scores = [len(asked & _subject(each)) for each in functions]
    best = max(scores)
    return tuple(each for each, score in zip(functions, scores, strict=True) if score == best > 0)


def _subject(function: FunctionTool) -> frozenset[str]:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]", " ", function.name)
    own = frozenset(content_words(name))
    return ((own | frozenset(content_words(function.description))) - _COMMON) or own
