"""Customer service over the example handbook: the right source, refusals, questions back, and a person where one is due."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

import assistants.eval
from assistants.dialogue import Move
from assistants.profile import SupportRules, shipped
from ragfleet.evaluation.assistants.asking import (
    AssistantReply,
    AssistantResult,
    Assistants,
    Messages,
    Progress,
    Score,
    ask_each,
    limited,
)

NAME = "support"
MAX_TOKENS = 64
"""Of an answer: what is measured are its sources."""
_WHAT = {
    "source": "the right source is among the passages",
    "refuse": "refused",
    "ask_back": "asked which product",
    "handover": "handed over, with the right reason",
}


def dialogues() -> list[dict[str, Any]]:
    """The set: `turns`, and what is to be expected."""
    path = Path(assistants.eval.__file__).with_name("support.yaml")
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))
    return found


def evaluate_support(asked: Assistants, limit: int | None, progress: Progress) -> AssistantResult:
    """limit: dialogues."""
    chosen = limited(dialogues(), limit)
    replies = ask_each(asked, NAME, [messages(each) for each in chosen], max_tokens=MAX_TOKENS, progress=progress)
    held: dict[str, list[bool]] = {what: [] for what in (*_WHAT.values(), "the right source is cited")}
    misses = []
    for dialogue, reply in zip(chosen, replies, strict=True):
        kind, wanted = _expected(dialogue)
        good = holds(kind, wanted, reply)
        held[_WHAT[kind]].append(good)
        if kind == "source":
            held["the right source is cited"].append(good and wanted in reply.cited)
        if not good:
            misses.append(f"{dialogue['turns'][-1]} → {kind} {wanted}, but {_did(reply)}".replace("  ", " "))
    measures = [Score(what, sum(each), len(each)) for what, each in held.items() if each]
    return AssistantResult(assistant=NAME, measures=measures, misses=misses)


def messages(dialogue: Mapping[str, Any]) -> Messages:
    """As the API has it."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": str(turn)} for n, turn in enumerate(dialogue["turns"])]


def holds(kind: str, wanted: str, reply: AssistantReply) -> bool:
    """Whether the reply is what was to be expected."""
    if kind == "handover":
        return reply.handover is not None and reply.handover.get("reason") == wanted
    if reply.handover is not None or reply.error:
        return False
    refused, asked_back = _is_text_of(Move.UNKNOWN, reply.text), _is_text_of(Move.WHICH, reply.text)
    if kind == "source":
        return wanted in reply.sources and not refused and not asked_back
    return refused if kind == "refuse" else asked_back


def _expected(dialogue: Mapping[str, Any]) -> tuple[str, str]:
    expect = dialogue["expect"]
    if isinstance(expect, str):
        return expect, ""
    ((kind, wanted),) = expect.items()
    return str(kind), str(wanted)


def _is_text_of(move: Move, text: str) -> bool:
    """Of the shipped profile, in any language; what stands for the products is left out."""
    texts: Sequence[str] = [said[move] for said in _rules().texts.values()]
    return any(text.strip().startswith(each.partition("{")[0].strip()) for each in texts)


@cache
def _rules() -> SupportRules:
    return shipped()[NAME].support


def _did(reply: AssistantReply) -> str:
    if reply.error:
        return f"the gateway said: {reply.error}"
    if reply.handover is not None:
        return f"it handed over ({reply.handover.get('reason')})"
    found = f" from {', '.join(dict.fromkeys(reply.sources))}" if reply.sources else ""
    return f"it said{found}: {' '.join(reply.text.split())[:100]}"
