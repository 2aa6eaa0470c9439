"""What retrieval found, written into a prompt so that it can only be read, never obeyed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prompt_builder.errors import BadPassages


@dataclass(frozen=True, slots=True)
class PromptPassage:
    """`fields` is the object as retrieval gave it, handed back with its number. `alone` is the hit without the neighbours that
    are joined to it, where there are any.
    """

    text: str
    fields: dict[str, Any]
    alone: PromptPassage | None = None


def parse_passages(document: str | bytes) -> list[PromptPassage]:
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
        hit = item.get("hit")
        if hit is not None and not (isinstance(hit, dict) and isinstance(hit.get("text"), str)):
            raise BadPassages(f"passages[{i}].hit must be an object with a string 'text'")
    return [_passage(item) for item in raw]


def narrowings(passages: Sequence[PromptPassage]) -> list[Sequence[PromptPassage]]:
    """What to try where not all fits, from the most to nothing: first the weakest lose their neighbours, then they leave."""
    alone = [passage.alone or passage for passage in passages]
    without = [i for i in reversed(range(len(passages))) if passages[i].alone is not None]
    return [
        passages,
        *([*passages[:i], *alone[i:]] for i in without),
        *(alone[:count] for count in reversed(range(len(passages)))),
    ]


def _passage(item: dict[str, Any]) -> PromptPassage:
    fields = {name: value for name, value in item.items() if name != "hit"}
    hit = item.get("hit")
    alone = None if hit is None else PromptPassage(hit["text"], {**fields, **hit})
    return PromptPassage(item["text"], fields, alone)


def numbered(passages: Sequence[PromptPassage]) -> list[dict[str, Any]]:
    """What a caller needs to cite them: each passage with its number in the prompt, `n`, from 1."""
    return [{**passage.fields, "n": n} for n, passage in enumerate(passages, 1)]
