"""A question that leans on earlier ones, made into words that can be searched. No I/O."""

import re
from collections.abc import Sequence

from tokens.keywords import content_words, is_acronym

# Words that stand for something said before ("Ihre" is the polite "your"). "there" and "that" are also said without it: they
# count at the beginning alone.
_POINTERS = re.compile(
    r"\b(it|its|they|them|their|theirs|this|these|those|he|him|his|she|her|ones?|dies|diese[rs]?|(?-i:ihn|ihm|ihre?))\b",
    re.IGNORECASE,
)
_OPENINGS = re.compile(
    r"(and|or|but|so|then|also|that|there|what about|how about|what else|why|und|oder|aber|was ist mit|warum)\b",
    re.IGNORECASE,
)


LONGEST = 8192
"""Characters of a question that are searched for, as many as `/v1/vector_stores/{id}/search` takes."""
BEGINNING = 2048
"""Of these, from its beginning, if it is longer; the rest are from its end, where questions stand."""
LEAST_WORDS = 3
"""Content words from which a question is taken to stand alone. Higher: more questions drag an old topic along."""
WEIGHT = 3
"""How often the question itself stands in what is searched, behind the one that it leans on. Higher: a question that was
wrongly taken to lean on another is hurt less."""


def searchable(question: str) -> str:
    """A question, or of a very long one its beginning and its end: what is done with its words grows with them."""
    if len(question) <= LONGEST:
        return question
    return f"{question[:BEGINNING]}\n{question[BEGINNING + 1 - LONGEST :]}"


def follows_up(question: str) -> bool:
    """Whether a question looks as if it could not be understood alone: a word that points back, or hardly any content.
    "IT" is a name, unless all of the question is in capitals."""
    capitals = question.isupper()
    pointers = (match[0] for match in _POINTERS.finditer(question))
    return (
        any(capitals or not is_acronym(word) for word in pointers)
        or len(content_words(question)) < LEAST_WORDS
        or _OPENINGS.match(question.strip()) is not None
    )


def with_history(questions: Sequence[str]) -> str:
    """What to search for: the last question, behind the latest one that it can lean on where it needs one.

    questions: what the user said, oldest first; not empty.
    """
    current, earlier = questions[-1], questions[:-1]
    if not earlier or not follows_up(current):
        return current
    topic = next((question for question in reversed(earlier) if not follows_up(question)), earlier[0])
    return "\n".join([topic, *[current] * WEIGHT])


def standalone(said: str, conversation: str, question: str) -> str | None:
    """A model's wording of `question`, or None where it is none.

    That is: it leans on something itself, is long, has words that nobody used, or has lost the question's own.
    """
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    line = re.sub(r"^(the user asked|(\w+ )?question)\s*:\s*", "", line, flags=re.IGNORECASE).strip(" \"'*`")
    used = content_words(line)
    if not 0 < len(line) <= 300 or follows_up(line):
        return None
    known = set(content_words(conversation))
    own = set(content_words(question))
    foreign = sum(word not in known for word in used)
    if foreign > len(used) / 4 or len(own.difference(used)) > len(own) / 2:
        return None
    return line
