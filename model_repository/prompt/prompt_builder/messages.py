"""A conversation in OpenAI's wire form, read strictly: what would be ignored is refused by name instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from prompt_builder.errors import BadMessages

Role = Literal["system", "user", "assistant", "tool"]
# Newer OpenAI clients call the system's voice "developer"; open models were trained with "system".
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """`calls` are an assistant's, each with id, type and function (name, arguments as JSON); `call_id` is of the call whose
    result a tool's message is.
    """

    role: Role
    content: str
    calls: Sequence[dict[str, Any]] = ()
    call_id: str = ""


def parse_messages(document: str | bytes) -> list[PromptMessage]:
    """Read a JSON list of {role, content}. Raises BadMessages naming the place, e.g. `messages[2].content`."""
    try:
        raw = json.loads(document)
    except ValueError as error:
        raise BadMessages(f"messages is not JSON: {error}") from error
    if not isinstance(raw, list) or not raw:
        raise BadMessages("messages must be a list with at least one message")
    return [_message(f"messages[{i}]", item) for i, item in enumerate(raw)]


def last_question(messages: Sequence[PromptMessage]) -> int:
    """The index of the last user message. Raises BadMessages when nobody asks anything."""
    for i in reversed(range(len(messages))):
        if messages[i].role == "user":
            return i
    raise BadMessages("messages must have a message with role 'user' to answer from passages")


def replaced(messages: Sequence[PromptMessage], index: int, content: str) -> list[PromptMessage]:
    """The same conversation with another content at `index`."""
    return [*messages[:index], replace(messages[index], content=content), *messages[index + 1 :]]


def _message(where: str, item: Any) -> PromptMessage:
    if not isinstance(item, dict):
        raise BadMessages(f"{where} must be an object with role and content")
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise BadMessages(f"{where}.role {role!r} is not supported; use one of {', '.join(_ROLES)}")
    for field in ("function_call", "audio", "refusal"):
        if item.get(field):
            raise BadMessages(f"{where}.{field} is not supported")
    calls = _calls(f"{where}.tool_calls", item.get("tool_calls") or [])
    if calls and role != "assistant":
        raise BadMessages(f"{where}.tool_calls are an assistant's")
    call_id = item.get("tool_call_id") if role == "tool" else ""
    if not isinstance(call_id, str):
        raise BadMessages(f"{where}.tool_call_id must be a string")
    content = item.get("content")
    text = "" if content is None and calls else _text(f"{where}.content", content)
    return PromptMessage(_ROLES[role], text, tuple(calls), call_id)


def _calls(where: str, raw: Any) -> list[dict[str, Any]]:
    if not isinstance(raw, list):
        raise BadMessages(f"{where} must be a list")
    for i, call in enumerate(raw):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(call.get("id"), str):
            raise BadMessages(f"{where}[{i}] must be an object with id and function")
        if not isinstance(function.get("name"), str) or not isinstance(function.get("arguments"), str):
            raise BadMessages(f"{where}[{i}].function must have name and arguments, both strings")
    return [{"id": call["id"], "type": "function", "function": call["function"]} for call in raw]


def _text(where: str, content: Any) -> str:
    if isinstance(content, str):
        return _sound(content)
    if not isinstance(content, list) or not content:
        raise BadMessages(f"{where} must be a string or a list of text parts")
    texts = []
    for i, part in enumerate(content):
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise BadMessages(f"{where}[{i}] of type {kind!r} is not supported; only 'text' is")
        if not isinstance(part.get("text"), str):
            raise BadMessages(f"{where}[{i}].text must be a string")
        texts.append(part["text"])
    return _sound("".join(texts))


def _sound(text: str) -> str:
    """JSON can spell half a surrogate pair, which is no character: it reads as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
