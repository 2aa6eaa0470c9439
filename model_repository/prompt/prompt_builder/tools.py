"""Functions that an answer may call, and the turns in which some were called, for templates that know of no such thing.

They are told of in a few words, for the models without a way of their own to call functions are small.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prompt_builder.errors import BadTools
from prompt_builder.messages import PromptMessage


def parse_tools(document: str | bytes) -> list[dict[str, Any]]:
    """Read OpenAI's list of functions. Raises BadTools naming the place, e.g. `tools[2].function.name`."""
    try:
        raw = json.loads(document)
    except ValueError as error:
        raise BadTools(f"tools is not JSON: {error}") from error
    if not isinstance(raw, list):
        raise BadTools("tools must be a list")
    for i, tool in enumerate(raw):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadTools(f"tools[{i}].function must be an object with a name")
        if not isinstance(function.get("parameters", {}), dict):
            raise BadTools(f"tools[{i}].function.parameters must be an object")
        if not isinstance(function.get("description", ""), str):
            raise BadTools(f"tools[{i}].function.description must be a string")
    return raw


def in_words(messages: Sequence[PromptMessage], tools: Sequence[Mapping[str, Any]], task: str) -> list[PromptMessage]:
    """The conversation with the functions in the system's message, and what they gave below the question that asked for it.

    A small model that sees a call in the place of an answer writes the same call again and again.
    """
    said: list[PromptMessage] = []
    calls: dict[str, str] = {}
    for message in messages:
        if message.calls:
            calls |= {call["id"]: "{name}({arguments})".format(**call["function"]) for call in message.calls}
            if message.content:
                said.append(PromptMessage("assistant", message.content))
        elif message.role != "tool":
            said.append(message)
        else:
            result = f"Result of {calls.get(message.call_id, 'the function')}: {message.content}"
            if said and said[-1].role == "user":
                said[-1] = replace(said[-1], content=f"{said[-1].content}\n\n{result}")
            else:
                said.append(PromptMessage("user", result))
    if not tools:
        return said
    told = "\n".join([task, *(f"- {_signature(tool['function'])}" for tool in tools)])
    if said and said[0].role == "system":
        return [replace(said[0], content=f"{said[0].content}\n\n{told}"), *said[1:]]
    return [PromptMessage("system", told), *said]


def _signature(function: Mapping[str, Any]) -> str:
    parameters = function.get("parameters", {})
    properties, required = parameters.get("properties"), parameters.get("required")
    arguments = []
    if isinstance(properties, dict):
        for name, schema in properties.items():
            optional = "" if isinstance(required, list) and name in required else "?"
            arguments.append(f"{name}{optional}: {_type(schema)}")
    about = " ".join(function.get("description", "").split())
    return f"{function['name']}({', '.join(arguments)})" + (f": {about}" if about else "")


def _type(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "any"
    values, kind, about = schema.get("enum"), schema.get("type"), schema.get("description")
    if isinstance(values, list):
        named = "|".join(json.dumps(each, ensure_ascii=False) for each in values)
    elif isinstance(kind, str) and kind not in ("object", "array"):
        named = kind
    else:
        named = json.dumps({name: value for name, value in schema.items() if name not in ("title", "description")})
    return f"{named} ({' '.join(about.split())})" if isinstance(about, str) and about else named
