"""What a question about source code names, and what an answer says of places in it. Rules over words; no I/O."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokens.function_words import FUNCTION_WORDS

MAX_NAMES = 8
"""Of one question."""
MAX_PLACES = 5
"""Of one name, that are told."""
_TICKED = re.compile(r"`([^`\n]{1,200})`")
_WORD = re.compile(r"[^\W\d]\w*(?:(?:\.|::|#|->)[^\W\d]\w*)*(?:\(\))?")
_CAMEL = re.compile(r"[a-z0-9][A-Z]|[A-Z]{2,}[a-z]")
_NOUNS = "function|method|class|type|struct|interface|constant|field|variable|coroutine|dataclass|enum|exception"
_BESIDE_NOUN = (re.compile(rf"\b(?:{_NOUNS})\s+([^\W\d]\w+)"), re.compile(rf"\b([^\W\d]\w+)\s+(?:{_NOUNS})\b"))
_USES = re.compile(
    r"\b(?:call(?:s|ed|ers?)?|use[sd]?|using|invoke[sd]?|import(?:s|ed)?|instantiates?)\b", re.IGNORECASE
)
_ENDING = re.compile(r"\.(?:\w{1,5})$")
_PLACE = re.compile(r"(?<![\w/.])((?:[\w.-]+/)*[\w-][\w.-]*\.[A-Za-z]\w{0,9}):(\d{1,7})(?:\s?[-–]\s?(\d{1,7}))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Lines of a file, from 1."""

    path: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.path}:{self.first}" + (f"-{self.last}" if self.last > self.first else "")


def names_in(question: str) -> list[str]:
    """Names of source code, the surest first: between backticks, then those that are spelled as no word of a language is, then
    words beside "class", "function" and the like, and words in capitals within a sentence."""
    found: dict[str, None] = {}
    for ticked in _TICKED.findall(question):
        if match := _WORD.search(ticked):
            found.setdefault(match[0])
    bare = _TICKED.sub(" ", question)
    words = [(match.start(), match[0]) for match in _WORD.finditer(bare)]
    for _, word in words:
        if _is_spelled_as_name(word):
            found.setdefault(word)
    for pattern in _BESIDE_NOUN:
        for word in pattern.findall(bare):
            if word.casefold() not in FUNCTION_WORDS:
                found.setdefault(word)
    for at, word in words:
        begins = not bare[:at].strip() or bare[:at].rstrip()[-1] in ".?!:"
        if word[0].isupper() and not begins and word.casefold() not in FUNCTION_WORDS:
            found.setdefault(word)
    return list(found)[:MAX_NAMES]


def asks_for_uses(question: str) -> bool:
    """Whether it is asked who calls or uses something."""
    return _USES.search(question) is not None


def asks_for_tests(question: str) -> bool:
    """Whether it is about tests."""
    return re.search(r"\btest(?:s|ed|ing)?\b", question, re.IGNORECASE) is not None


def is_prose(path: str) -> bool:
    """Whether a file is documentation, by its name."""
    return path.lower().endswith((".md", ".mdx", ".markdown", ".rst", ".txt", ".adoc", ".org", ".html"))


def places_in(text: str) -> Iterator[Place]:
    """What a text says to be lines of files: `gateway/app.py:12`, `app.py:12-20`."""
    for path, first, last in _PLACE.findall(text):
        yield Place(path, int(first), int(last or first))


def is_among(place: Place, known: Sequence[Place]) -> bool:
    """Whether all of its lines are in one of these. A path may be told by its end."""
    return any(
        (each.path == place.path or each.path.endswith(f"/{place.path}"))
        and each.first <= place.first <= place.last <= each.last
        for each in known
    )


def fact(name: str, defined: Sequence[Place], used: Sequence[Place]) -> str:
    """What the index knows of a name, in words; "" for nothing."""
    said = [f"{what} at {_listed(places)}" for what, places in (("defined", defined), ("used", used)) if places]
    return f"`{name}` is {'; '.join(said)}." if said else ""


def appendix(
    cited: Sequence[Place],
    seen: Sequence[Place],
    wrong: Sequence[Place],
    commits: Mapping[str, str],
    facts: Sequence[str] = (),
) -> str:
    """What stands behind an answer: what is known of names for certain; the places that it cites, or where it cites none those
    that were looked at; and those that it names, and are in no passage. commits: by path."""
    lines = [*facts, *(["Sources:" if cited else "Looked at:"] if cited or seen else [])]
    for place in dict.fromkeys(cited or seen):
        commit = commits.get(place.path, "")
        short = commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
        lines.append(f"- `{place}`" + (f" (commit {short})" if commit else ""))
    if wrong:
        named = ", ".join(f"`{place}`" for place in dict.fromkeys(wrong))
        lines.append(f"Not in the passages, so do not rely on it: {named}")
    return "\n\n" + "\n".join(lines) if lines else ""


def _listed(places: Sequence[Place]) -> str:
    named = list(dict.fromkeys(f"`{place}`" for place in places))
    more = f" and {len(named) - MAX_PLACES} more" if len(named) > MAX_PLACES else ""
    return ", ".join(named[:MAX_PLACES]) + more


def _is_spelled_as_name(word: str) -> bool:
    """Whether no word of a language is spelled so: `open_choices`, `GenerationService`, `Door.open`, `open()`; no `file.py`."""
    bare = word.removesuffix("()")
    if bare != word or "_" in bare.strip("_") or "::" in bare or _CAMEL.search(bare):
        return not _ENDING.search(bare) or "_" not in bare or "()" in word
    return "." in bare and not _ENDING.search(bare) and bare.casefold() not in ("e.g", "i.e")
