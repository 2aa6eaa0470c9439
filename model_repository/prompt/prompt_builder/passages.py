"""What retrieval found, written into a prompt so that it can only be read, never obeyed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompt_builder.errors import BadPassages


@dataclass(frozen=True, slots=True)
class Passage:
    """`fields` is the whole object as retrieval gave it, handed back untouched with its number."""

    text: str
    fields: dict[str, Any]


def parse_passages(document: str | bytes) -> list[Passage]:
    """Read retrieval's JSON list, best first. Raises BadPassages."""
    try:
        raw = json.loads(document)
    except ValueError as error:
        raise BadPassages(f"passages is not JSON: {error}") from error
    if not isinstance(raw, list):
        raise BadPassages("passages must be a list")
    for i, item in enumerate(raw):
        if not isinstance(item, dict) or not isinstance(item.get("text"), str):
            raise BadPassages(f"passages[{i}] must be an object with a string 'text'")
    return [Passage(item["text"], item) for item in raw]


def numbered(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    """What a caller needs to cite them: each passage with its number in the prompt, `n`, from 1."""
    return [{**passage.fields, "n": n} for n, passage in enumerate(passages, 1)]
