"""Questions made of passages: a sentence loses a span that would be the answer, and some of its words."""

import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ragfleet.reranker.passages import TrainingPassage
from tokens.function_words import FUNCTION_WORDS
from tokens.keywords import content_words

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:['’.,:/-][^\W_]+)*")
_YEAR = re.compile(r"1[0-9]{3}|20[0-9]{2}")
_KEYWORDS = 0.25
"""The share of questions that are a few words, as people type them into a search box."""
_UNKNOWN_TITLE = 0.3
"""How often a question does not name what its document is about."""
_DROPPED, _DROPPED_FUNCTION_WORDS, _REPLACED = 0.15, 0.3, 0.12
"""The shares of words that are left out, and that become a related one: people do not ask in the text's own words."""

Related = Callable[[str], Sequence[str]]
"""A word in lower case → words of like meaning; none for a word that nobody knows."""


@dataclass(frozen=True, slots=True)
class TrainingQuestion:
    """`passage` is the place in the list of passages of the one that answers."""

    text: str
    passage: int


def make_questions(
    passages: Sequence[TrainingPassage], related: Related, *, a_passage: int, seed: int, without: Collection[str] = ()
) -> list[TrainingQuestion]:
    """Up to `a_passage` of each passage. `without`: questions that a test will ask, which are not to be made by chance."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    held_out = {tuple(content_words(each)) for each in without}
    made = []
    for number, passage in enumerate(passages):
        sentences = [words for part in _SENTENCE.split(passage.text) if 5 <= len(words := _WORD.findall(part)) <= 60]
        for words in chance.sample(sentences, min(a_passage, len(sentences))):
            text = _question(words, passage.title, related, chance)
            content = tuple(content_words(text))
            if len(content) > 2 and content not in held_out:
                made.append(TrainingQuestion(text, number))
    return made


def _question(words: list[str], title: str, related: Related, chance: random.Random) -> str:
    if chance.random() < _KEYWORDS:
        kept = [word for word in words if word.lower() not in FUNCTION_WORDS]
        chosen = sorted(chance.sample(range(len(kept)), min(len(kept), chance.randint(2, 6))))
        asked = [kept[at] for at in chosen]
        asked = _reworded(asked, related, chance, dropped=0.0)
        return " ".join([*_subject(title, asked, chance), *asked])
    answer = chance.choice(_answers(words))
    begin, end = max(0, answer.start - chance.randint(3, 9)), answer.stop + chance.randint(3, 9)
    before, behind = words[begin : answer.start], words[answer.stop : end]
    asked = _reworded([*behind, *before] if chance.random() < 0.3 else [*before, *behind], related, chance, _DROPPED)
    if subject := _subject(title, asked, chance):
        asked += [chance.choice(("in", "of", "for", "at")), *subject]
    return f"{chance.choice(_interrogatives(words[answer]))} {' '.join(asked)}?"


def _answers(words: list[str]) -> list[slice]:
    """Numbers and names within a sentence; where there is none, any word that says something."""
    found: list[slice] = []
    at = 0
    while at < len(words):
        end = at + 1
        if words[at][0].isdigit():
            found.append(slice(at, end))
        elif at and words[at][0].isupper():
            while end < len(words) and words[end][0].isupper():
                end += 1
            found.append(slice(at, end))
        at = end
    content = [at for at, word in enumerate(words) if word.lower() not in FUNCTION_WORDS]
    return found or [slice(at, at + 1) for at in content] or [slice(0, 1)]


def _interrogatives(answer: list[str]) -> Sequence[str]:
    if _YEAR.fullmatch(answer[0]):
        return ("When", "In what year", "What year", "When did", "When was")
    if answer[0][0].isdigit():
        return ("How many", "How much", "What number of", "What", "How long")
    if answer[0][0].isupper():
        return ("Who", "What", "Which", "Where", "Who was", "What is", "Where is", "Which country", "Whose")
    return ("What", "How", "Why", "What is", "How does", "What does", "Which", "How do I", "Why is", "What kind of")


def _subject(title: str, asked: Sequence[str], chance: random.Random) -> list[str]:
    named = title.split()
    known = {word.lower() for word in asked}
    if chance.random() < _UNKNOWN_TITLE or all(word.lower() in known for word in named):
        return []
    return named


def _reworded(words: Sequence[str], related: Related, chance: random.Random, dropped: float) -> list[str]:
    made = []
    for word in words:
        folded = word.lower()
        if chance.random() < (_DROPPED_FUNCTION_WORDS if folded in FUNCTION_WORDS and dropped else dropped):
            continue
        others = related(folded) if folded not in FUNCTION_WORDS and chance.random() < _REPLACED else ()
        made.append(chance.choice(others) if others else word)
    return made
