"""What customer service does with a conversation: answer, ask back, refuse, or hand over to a person. Rules over words and over
what a search has found, so that a small model decides nothing. No I/O."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from assistants.profile import SupportRules
from tokens.keywords import words

MAX_SUMMARY = 1500
"""Characters."""
_WORD = re.compile(r"[^\W_]+")
_COMMONEST = {
    "de": "der die das und ist nicht ich wie wo wann was mein meine ein eine für mit kann haben sie bitte",
    "en": "the and is not i how where when what my a an for with can have you please do does it",
}
"""Words of a language, by which it is told from the other."""


class Move(StrEnum):
    """What is done instead of an answer; also the name of its text in a profile."""

    WHICH = "which"
    UNKNOWN = "unknown"
    HANDOVER = "handover"


@dataclass(frozen=True, slots=True)
class Reply:
    """One move, in words. reason and summary are for the person who takes over."""

    move: Move
    text: str
    reason: str = ""
    summary: str = ""


def before_search(messages: Sequence[Mapping[str, Any]], rules: SupportRules) -> Reply | None:
    """What the conversation alone decides; None: it is searched for."""
    asked = _asked(messages)
    if messages[-1]["role"] == "tool":  # a person was called, and the client has said so
        return Reply(Move.HANDOVER, _text(rules, Move.HANDOVER, asked))
    if _has_one_of(asked[-1], rules.handover_words):
        return _handover(messages, rules, "request")
    if _has_one_of(asked[-1], rules.angry_words):
        return _handover(messages, rules, "anger")
    return None


def after_search(messages: Sequence[Mapping[str, Any]], rules: SupportRules, passages: Sequence[str]) -> Reply | None:
    """What the passages that were found decide, each with its file's name; None: they are answered from."""
    asked = _asked(messages)
    if not passages:
        if 1 + _unknown_before(messages, rules) >= rules.unsupported_before_handover:
            return _handover(messages, rules, "unsupported")
        return Reply(Move.UNKNOWN, _text(rules, Move.UNKNOWN, asked))
    for family, members in rules.products.items():
        if not _has_one_of(asked[-1], [family]) or any(_has_one_of(each, members) for each in asked):
            continue
        spoken_of = [
            member for member in members if any(_has_one_of(each, [f"{family} {member}"]) for each in passages)
        ]
        if len(spoken_of) > 1:  # what fits differs from one to the other
            options = ", ".join(f"{family} {member}" for member in spoken_of)
            return Reply(Move.WHICH, _text(rules, Move.WHICH, asked).replace("{options}", options))
    return None


def language(text: str) -> str:
    """`de` or `en`, by the commonest words."""
    said = set(words(text))
    german, english = (len(said.intersection(_COMMONEST[name].split())) for name in ("de", "en"))
    return "de" if german > english else "en"


def _handover(messages: Sequence[Mapping[str, Any]], rules: SupportRules, reason: str) -> Reply:
    lines = [f"{each['role']}: {' '.join(str(each['content']).split())}" for each in messages if _is_said(each)]
    summary = "\n".join(lines)
    if len(summary) > MAX_SUMMARY:  # how it began, and how it ended
        summary = f"{summary[: MAX_SUMMARY // 3]} … {summary[-2 * MAX_SUMMARY // 3 :]}"
    return Reply(Move.HANDOVER, _text(rules, Move.HANDOVER, _asked(messages)), reason, summary)


def _unknown_before(messages: Sequence[Mapping[str, Any]], rules: SupportRules) -> int:
    """Answers in a row, up to the last one, that nothing was found."""
    texts = {said[Move.UNKNOWN].strip() for said in rules.texts.values() if Move.UNKNOWN in said}
    count = 0
    for each in reversed([each for each in messages if each["role"] == "assistant"]):
        if str(each["content"]).strip() not in texts:
            break
        count += 1
    return count


def _text(rules: SupportRules, move: Move, asked: Sequence[str]) -> str:
    said = rules.texts.get(language(asked[-1])) or rules.texts.get("en") or {}
    return said.get(move, move.value)


def _asked(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(each["content"]) for each in messages if each["role"] == "user"] or [str(messages[-1]["content"])]


def _is_said(message: Mapping[str, Any]) -> bool:
    return message["role"] in ("user", "assistant") and bool(str(message["content"] or "").strip())


def _has_one_of(text: str, phrases: Sequence[str]) -> bool:
    """Whether one of them stands in it, as whole words; what joins words counts as a space."""
    said = _spaced(text)
    return any(_spaced(each) in said for each in phrases)


def _spaced(text: str) -> str:
    return f" {' '.join(_WORD.findall(text.casefold()))} "
