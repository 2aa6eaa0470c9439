"""Items of responses and conversations as clients send them, made as they are stored and shown: typed, and with ids."""

import re
import uuid
from collections.abc import Sequence
from typing import Any

from gateway.api.dependencies import ID_PATTERN

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


_WITH_STATUS = frozenset(PREFIXES) - {"file_search_call", "reasoning"}


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
    item = {"id": ident, "type": kind, **{name: value for name, value in given.items() if name not in ("id", "type")}}
    if kind in _WITH_STATUS:
        item["status"] = item.get("status") or "completed"
    if kind == "message" and isinstance(content := item["content"], str):
        part: Json = {"type": "input_text", "text": content}
        if item["role"] == "assistant":
            part = {"type": "output_text", "text": content, "annotations": [], "logprobs": []}
        item["content"] = [part]
    return item
