"""What a fleet is asked while things break: plain and guided streams, calls of functions, several choices; what each must be.

Each question is asked again and again, and the engine is deterministic: an answer that went through a fault must be the one
that came before it, to the letter.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from tests.support.chat_client import Seen

QUESTIONS = 16
"""Different ones of each kind."""
TOKENS, MOST_TOKENS = 96, 320
CHOICES = 3
REPORT = {
    "type": "object",
    "properties": {
        "harbour": {"type": "string", "maxLength": 24},
        "depth_m": {"type": "integer", "minimum": 0, "maximum": 99},
        "open": {"type": "boolean"},
        "berths": {"type": "array", "items": {"enum": ["north", "south", "quay"]}, "minItems": 8, "maxItems": 16},
    },
    "required": ["harbour", "depth_m", "open", "berths"],
    "additionalProperties": False,
}
MOOR = {
    "type": "object",
    "properties": {
        "berth": {"enum": ["north", "south", "quay"]},
        "lines": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 99}, "minItems": 8, "maxItems": 16},
        "night": {"type": "boolean"},
    },
    "required": ["berth", "lines", "night"],
    "additionalProperties": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request. `fault`: what is wrong with an answer that came without an error; empty where nothing is."""

    parameters: Mapping[str, Any]
    fault: Callable[[Seen], str]


def _plain(seen: Seen) -> str:
    return "" if seen.finish == "length" and seen.completion_tokens == TOKENS else f"{seen.completion_tokens} tokens"


def _invalid(text: str, schema: Mapping[str, Any]) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return f"no JSON: {text[-60:]!r}"
    return next((error.message[:120] for error in Draft202012Validator(schema).iter_errors(value)), "")


def _guided(seen: Seen) -> str:
    return f"finish_reason {seen.finish}" if seen.finish != "stop" else _invalid(seen.text, REPORT)


def _call(seen: Seen) -> str:
    if seen.finish != "tool_calls" or len(seen.calls) != 1:
        return f"{len(seen.calls)} calls, finish_reason {seen.finish}"
    (call,) = seen.calls.values()
    if call.name != "moor" or len(call.ids) != 1:
        return f"a call of {call.name!r} with {len(call.ids)} ids"
    return _invalid(call.arguments, MOOR)


def _choices(seen: Seen) -> str:
    whole = set(seen.texts) == set(seen.finishes) == set(range(CHOICES))
    return "" if whole and seen.completion_tokens == CHOICES * TOKENS else f"choices {sorted(seen.finishes)}"


KINDS: Mapping[str, Kind] = {
    "plain": Kind({"max_tokens": TOKENS}, _plain),
    "guided": Kind(
        {
            "max_tokens": MOST_TOKENS,
            "response_format": {"type": "json_schema", "json_schema": {"name": "report", "schema": REPORT}},
        },
        _guided,
    ),
    "tool call": Kind(
        {
            "max_tokens": MOST_TOKENS,
            "tools": [{"type": "function", "function": {"name": "moor", "parameters": MOOR}}],
            "tool_choice": "required",
        },
        _call,
    ),
    "3 choices": Kind({"max_tokens": TOKENS, "n": CHOICES, "seed": 7}, _choices),
}


def messages(kind: str, number: int) -> Sequence[dict[str, str]]:
    """One of the QUESTIONS of a kind."""
    return [{"role": "user", "content": f"Question {number % QUESTIONS} ({kind}): which way to the harbour?"}]


class Answers:
    """All answers of a run, each held against its kind and against the first one to the same question."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], object] = {}
        self.whole: dict[str, int] = dict.fromkeys(KINDS, 0)
        self.identical = 0
        self.faults: list[str] = []

    def check(self, kind: str, number: int, seen: Seen) -> None:
        """One that came to its end without an error."""
        if fault := KINDS[kind].fault(seen):
            self.faults.append(f"{kind}: {fault}")
        calls = [(place, call.name, call.arguments) for place, call in sorted(seen.calls.items())]
        said = (sorted(seen.texts.items()), calls, seen.completion_tokens)
        self.whole[kind] += not fault
        self.identical += self._first.setdefault((kind, number % QUESTIONS), said) == said
