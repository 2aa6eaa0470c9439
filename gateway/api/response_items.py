"""Items of responses and conversations as clients send them, made as they are stored and shown: typed, with ids, and as the
document of the API describes them."""

import re
import uuid
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from gateway.api.dependencies import ID_PATTERN
from gateway.api.response_item_objects import Annotation, FoundPassage, ReasoningText, Status, SummaryText, TextToken

Json = dict[str, Any]

PREFIXES = {
    "message": "msg",
    "file_search_call": "fs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "apply_patch_call": "apc",
    "apply_patch_call_output": "apco",
    "local_shell_call": "lsh",
    "local_shell_call_output": "lsho",
    "reasoning": "rs",
}


_OWN_STATUS = frozenset({"file_search_call", "apply_patch_call", "apply_patch_call_output"})
"""Kinds whose states are others than those of all the rest."""
_STATES = {**{each: each for each in get_args(Status)}, "searching": "in_progress", "failed": "incomplete"}


def new_item_id(kind: str) -> str:
    """For an item of this type."""
    return f"{PREFIXES.get(kind, 'item')}_{uuid.uuid4().hex}"


def as_items(given: str | Sequence[Json]) -> list[Json]:
    """The items of an input that its schema has accepted, each with a type and an id of its own."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    taken: set[str] = set()
    items = []
    for each in given:
        item = _whole(each)
        if item["id"] in taken and item["type"] != "item_reference":
            item["id"] = new_item_id(item["type"])
        taken.add(item["id"])
        items.append(item)
    return items


def _whole(given: Json) -> Json:
    kind = given.get("type") or ("message" if "role" in given else "item_reference")
    ident = given.get("id")
    if kind != "item_reference" and not (isinstance(ident, str) and re.fullmatch(ID_PATTERN, ident)):
        ident = new_item_id(kind)
    item = {**given, "id": ident, "type": kind}
    if kind != "item_reference":
        _describe(item, given)
    return item


def _describe(item: Json, given: Json) -> None:
    """What a schema of requests takes in more than one form, in the form in which it is shown."""
    kind = item["type"]
    if kind not in _OWN_STATUS:
        item["status"] = _STATES[item.get("status") or "completed"]
    if kind == "message":
        content = item["content"]
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        item["content"] = [_part(each, of_model=item["role"] == "assistant") for each in parts]
    elif kind in ("function_call_output", "custom_tool_call_output") and not isinstance(item["output"], str):
        item["output"] = [_part(each, of_model=False) for each in item["output"]]
    elif kind == "local_shell_call_output":
        item["call_id"] = item.get("call_id") or given["id"]
    elif kind == "file_search_call":
        item["status"] = item.get("status") or "completed"
        item["queries"] = item.get("queries") or []
        item["results"] = _those_of(FoundPassage, item.get("results")) or None
    elif kind == "reasoning":
        item["summary"] = _those_of(SummaryText, item.get("summary"))
        item["content"] = _those_of(ReasoningText, item.get("content"))


def _part(part: Json, *, of_model: bool) -> Json:
    """A part of a message's content, or of what a function gave."""
    if part["type"] == "input_file" or (part["type"] == "refusal" and of_model):
        return part
    text = part["refusal"] if part["type"] == "refusal" else part["text"]
    if not of_model:
        mark = {name: part[name] for name in ("prompt_cache_breakpoint",) if name in part}
        return {"type": "input_text", "text": text, **mark}
    annotations, log_probs = _those_of(Annotation, part.get("annotations")), _those_of(TextToken, part.get("logprobs"))
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": log_probs}


def _those_of(kind: Any, given: Sequence[Any] | None) -> list[Any]:
    """Of what comes back with an answer, and is only shown again, the entries that have this form."""
    adapter = _ADAPTERS[kind]
    found = []
    for each in given or ():
        try:
            found.append(adapter.validate_python(each))
        except ValidationError:
            continue
    return found


_FORMS: tuple[Any, ...] = (Annotation, TextToken, FoundPassage, SummaryText, ReasoningText)
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _FORMS}
