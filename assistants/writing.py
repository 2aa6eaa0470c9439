"""Long texts in pieces: what is to be done with a text, what of it is words and what is form, and where it can be cut. No I/O."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

MAX_TASK = 200
"""Characters of the line that says what is to be done."""


class Task(StrEnum):
    """What is asked for."""

    WRITE = "write"  # anything: the model is given the conversation as it stands
    SUMMARISE = "summarise"
    TRANSLATE = "translate"


@dataclass(frozen=True, slots=True)
class Order:
    """A task, its words, and the text that it is to be done with."""

    task: Task
    words: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text. Joined, the spans of a text are the text."""

    text: str
    words: bool
    """Whether it is translated; the form of a text (markup, code, addresses) is kept to the letter."""


_TASKS = {
    Task.SUMMARISE: re.compile(r"\b(summari[sz]e|summary|fasse? .*zusammen|zusammenfassung)\b", re.IGNORECASE),
    Task.TRANSLATE: re.compile(r"\b(translate|translation|übersetzen?)\b", re.IGNORECASE),
}
_ORDER = re.compile(rf"([^\n:]{{1,{MAX_TASK}}}):?[ \t]*\n|([^\n:]{{1,{MAX_TASK}}}):")
# Of Markdown and HTML, line by line; words are what is left. What is never closed reaches to the end, and lengths are bounded: so
# a text of any making is read in a time that grows with its length alone.
_VERBATIM = re.compile(
    r"^(?P<marks>`{3,}|~{3,})[^\n]*(?:\n.*?)??(?:\n(?P=marks)[ \t]*$|\Z)"
    r"|\A---\n.*?(?:\n---$|\Z)"
    r"|<(?P<tag>script|style|pre|code)\b[^>]{0,500}>.*?(?:</(?P=tag)>|\Z)|<!--.*?(?:-->|\Z)"
    r"|^(?: {4}|\t)[^\n]*$"
    r"|^(?=[^\n]{0,200}---)[ \t:|-]+$|^(?:[*_][ \t]?){3,}$"
    r"|^[ \t]{0,40}(?:#{1,6}|[-*+]|\d{1,9}[.)]|>)[ \t]+(?:\[[ xX]\][ \t]+)?"
    r"|<[^<>\n]{1,500}>|`[^`\n]{1,500}`|!?\[(?=[^\]\n]{0,500}\]\()|\]\([^)\n]{0,500}\)|&\w{1,30};|https?://[^\s)>\]]+"
    r"|\*\*|__|\*(?=\S)|(?<=\S)\*|\||\n",
    re.MULTILINE | re.DOTALL,
)


def order(message: str) -> Order:
    """What a message asks for: its first line, or what stands before its first colon, says it; the text is behind that."""
    begin = _ORDER.match(message)
    if begin is None:
        return Order(Task.WRITE, message)
    said = begin[1] or begin[2]
    text = message[begin.end() :].strip("\n")
    text = text.lstrip() if begin[2] else text
    task = next((task for task, pattern in _TASKS.items() if pattern.search(said)), Task.WRITE)
    return Order(task, said.strip(), text) if text.strip() else Order(Task.WRITE, message)


def spans(text: str, glossary: Mapping[str, str]) -> Iterator[Span]:
    """Words and form, in their order. A term of the glossary is form: it becomes what the glossary has for it."""
    terms = sorted((term for term in glossary if term.strip()), key=len, reverse=True)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(term)}(?!\w)" for term in terms)) if terms else None
    at = 0
    for match in _VERBATIM.finditer(text):
        yield from _worded(text[at : match.start()], pattern, glossary)
        if match[0]:
            yield Span(match[0], words=False)
        at = match.end()
    yield from _worded(text[at:], pattern, glossary)


def _worded(text: str, terms: re.Pattern[str] | None, glossary: Mapping[str, str]) -> Iterator[Span]:
    at = 0
    for match in terms.finditer(text) if terms is not None else ():
        yield from _trimmed(text[at : match.start()])
        yield Span(glossary[match[0]], words=False)
        at = match.end()
    yield from _trimmed(text[at:])


def _trimmed(text: str) -> Iterator[Span]:
    """White space around words is form, and so is what has no letters."""
    middle = text.strip()
    before = text[: len(text) - len(text.lstrip())]
    behind = text[len(before) + len(middle) :]
    for part, words in ((before, False), (middle, any(each.isalpha() for each in middle)), (behind, False)):
        if part:
            yield Span(part, words)


def pieces(text: str, size: int) -> list[tuple[int, int]]:
    """Where each piece of at most `size` characters begins and ends: between paragraphs, else sentences, else words."""
    found, at = [], 0
    while at < len(text):
        end = min(at + size, len(text))
        if end < len(text):
            for seam in ("\n\n", "\n", ". ", " "):
                if (cut := text.rfind(seam, at + size // 2, end)) > at:
                    end = cut + len(seam)
                    break
        if text[at:end].strip():
            found.append((at, end))
        at = end
    return found
