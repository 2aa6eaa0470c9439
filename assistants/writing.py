"""Long texts in pieces: what is to be done with a text, what of it is words and what is form, and where it can be cut. No I/O."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

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
    Task.SUMMARISE: re.compile(
        r"\b(?:summari[sz]e|summary|fasse? .*zusammen|zusammenfassung|résume[rz]?|résumé|resum(?:e|ir|en)|riassumi)\b"
        r"|总结|總結|概括|摘要",
        re.IGNORECASE,
    ),
    Task.TRANSLATE: re.compile(
        r"\b(?:translate|translation|übersetzen?|übersetzung|tradu(?:is|isez|ire|ction|ce|cir|cción|zca|ci|rre|zione))\b"
        r"|翻译|翻譯|译成|譯成",
        re.IGNORECASE,
    ),
}
_ORDER = re.compile(rf"([^\n:：]{{1,{MAX_TASK}}})[:：]?[ \t]*\n|([^\n:：]{{1,{MAX_TASK}}})[:：]")
# Of Markdown and HTML, line by line; words are what is left. What is never closed reaches to the end. Any text is read in
# a time that grows with its length alone: lengths are bounded, or a scan ends where the next one could begin.
_VERBATIM = re.compile(
    r"^[ \t>]{0,40}(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?P<marks>`{3,}|~{3,})[^\n]*"  # a block of code
    r"(?:\n.*?)??(?:\n[ \t>]*(?P=marks)[`~]*[ \t]*$|\Z)"
    r"|\A---\n.*?(?:\n---$|\Z)"  # front matter
    r"|<(?P<tag>script|style|pre|code)\b[^>]{0,500}>.*?(?:</(?P=tag)>|\Z)|<!--.*?(?:-->|\Z)"
    r"|(?:\A|^[ \t]*\n)(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+"  # indented code, behind an empty line
    r"|^(?=[^\n]{0,200}---)[ \t:|-]+$|^(?:[*_][ \t]?){3,}$"
    r"|^[ ]{0,3}\[\^[^\]\n]{1,100}\]:|^[ ]{0,3}\[[^\]\n]{1,500}\]:[^\n]*$"  # where notes and references are defined
    r"|^[ \t]{0,40}(?:>[ \t]*|(?:#{1,6}|[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?)+"
    r"|</?[A-Za-z!?](?:[^<>\"']|\"[^\"<]*\"|'[^'<]*')*+>"
    r"|`{2,}+[^\n]{1,500}?(?<!`)`{2,}|`[^`\n]{1,500}`|\\[^\w\s]|&\#?\w{1,30};|https?://[^\s)>\]]+"
    r"|\]\((?:[^()\n\"]|\"[^\"\]\n]{0,200}\"|\([^()\n]{0,200}\)){0,500}+\)|\]\[[^\]\n]{1,500}\]"  # links, their ends
    r"|!?\[(?=[^\[\]\n]*+\](?:\(|\[[^\]\n]))|!?\[[^\[\]\n]{0,500}\]"  # their begin; references by their text
    r"|\${2}[^$]{1,1000}\${2}|\$(?=[^\s$])[^$\n]{1,200}(?<=\S)\$(?!\d)"  # formulas
    r"|\*\*|__|~~|\*(?=\S)|(?<=\S)\*|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)|[|<>\[\]\n]"
    r"|(?P<plain>[^\W_]+|.)",  # words: something is found everywhere, for a search holds up every other thread
    re.MULTILINE | re.DOTALL,
)

_EDGES = re.compile(r"([\W_]*)([^\W_](?:.*[^\W_])?)([\W_]*)", re.DOTALL)
_NUMBERED = re.compile(r"^(?:[\W_]*\d{1,9}[.)]\s+)+")


def order(message: str) -> Order:
    """What a message asks for: its first line, or what stands before its first colon, says it; the text is behind that."""
    begin = _ORDER.match(message)
    if begin is None:
        return Order(Task.WRITE, message)
    said = begin[1] or begin[2]
    text = message[begin.end() :].strip("\n")
    text = text.lstrip() if begin[2] else text
    task = task_of(said)
    return Order(task, said.strip(), text) if text.strip() else Order(Task.WRITE, message)


def task_of(words: str) -> Task:
    """What these words ask for."""
    return next((task for task, pattern in _TASKS.items() if pattern.search(words)), Task.WRITE)


def spans(text: str, glossary: Mapping[str, str]) -> Iterator[Span]:
    """Words and form, in their order. A term of the glossary is form: it becomes what the glossary has for it."""
    pattern, glossary = _terms(glossary), _spaced(glossary)
    # A term goes on behind the end of a line, as words do; the newline is no form then.
    wrapped = set() if pattern is None else {at for match in pattern.finditer(text) for at in _newlines(match)}
    at = 0
    for match in _VERBATIM.finditer(text):
        if match.lastgroup == "plain" or (match[0] == "\n" and match.start() in wrapped):
            continue
        yield from _worded(text[at : match.start()], pattern, glossary)
        if match[0]:
            yield Span(match[0], words=False)
        at = match.end()
    yield from _worded(text[at:], pattern, glossary)


def worded(parts: Sequence[str], glossary: Mapping[str, str]) -> Iterator[list[Span]]:
    """Of each part of a line without markup its words and form. A term that reaches over several parts stands in its first."""
    terms, glossary, start = _terms(glossary), _spaced(glossary), 0
    found = deque(() if terms is None else terms.finditer("".join(parts)))
    for part in parts:
        at, end = start, start + len(part)
        made: list[Span] = []
        while found and found[0].end() <= start:
            found.popleft()
        for match in found:
            if match.start() >= end:
                break
            made += _trimmed(part[at - start : max(at, match.start()) - start])
            if match.start() >= start:
                made.append(Span(_term(match[0], glossary), words=False))
            at = min(match.end(), end)
        yield [*made, *_trimmed(part[at - start :])]
        start = end


def _terms(glossary: Mapping[str, str]) -> re.Pattern[str] | None:
    """The longest first. Between its words is any white space, one end of a line at the most."""
    terms = sorted(_spaced(glossary), key=len, reverse=True)
    written = (
        r"(?:[^\S\n]{1,100}+(?:\n[^\S\n]{0,100}+)?|\n[^\S\n]{0,100}+)".join(map(re.escape, term.split()))
        for term in terms
    )
    return re.compile("|".join(rf"(?<!\w){each}(?!\w)" for each in written)) if terms else None


def _spaced(glossary: Mapping[str, str]) -> dict[str, str]:
    """With one space between the words of its terms."""
    return {spaced: means for term, means in glossary.items() if (spaced := " ".join(term.split()))}


def _term(written: str, glossary: Mapping[str, str]) -> str:
    """What stands for a term, with the ends of the lines that the term went over."""
    means = glossary[" ".join(written.split())]
    ends = [gap for gap in re.findall(r"\s+", written) if "\n" in gap]
    words = means.split(" ", len(ends)) if ends else [means]
    return "".join(word + gap for word, gap in zip_longest(words, ends, fillvalue=""))


def _newlines(match: re.Match[str]) -> Iterator[int]:
    return (match.start() + at for at, character in enumerate(match[0]) if character == "\n")


def _worded(text: str, terms: re.Pattern[str] | None, glossary: Mapping[str, str]) -> Iterator[Span]:
    at = 0
    for match in terms.finditer(text) if terms is not None else ():
        yield from _lines(text[at : match.start()])
        yield Span(_term(match[0], glossary), words=False)
        at = match.end()
    yield from _lines(text[at:])


def _lines(text: str) -> Iterator[Span]:
    """The end of a line is no word, whatever is around it."""
    for part in text.splitlines(keepends=True) if "\n" in text else (text,):
        yield from _trimmed(part)


def _trimmed(text: str) -> Iterator[Span]:
    """What stands around words is form, white space and signs alike; so is what has no letters."""
    edges = _EDGES.fullmatch(text)
    if edges is None or not any(each.isalpha() for each in edges[2]):
        parts = [(text, False)]
    else:
        parts = [(edges[1], False), (edges[2], True), (edges[3], False)]
    yield from (Span(part, words) for part, words in parts if part)


def as_words(written: str) -> str:
    """What of a written text can stand where words stood: it begins no list, and no sign at its edges joins with marks."""
    edges = _EDGES.fullmatch(_NUMBERED.sub("", written.strip()))
    return "" if edges is None else edges[2]


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
