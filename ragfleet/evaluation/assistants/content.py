"""Translations of Markdown and HTML: their form, as parsers of their own read it, and the terms of the glossary stay."""

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

import assistants.eval
from assistants.profile import shipped
from ragfleet.evaluation.assistants.asking import (
    AssistantResult,
    Assistants,
    Progress,
    Score,
    ask_each,
    limited,
    one_question,
)

NAME = "content"
MAX_TOKENS = 400
Form = Sequence[object]


def texts() -> list[dict[str, str]]:
    """The set: `name`, `form` (markdown or html) and `text`."""
    found: list[dict[str, str]] = yaml.safe_load(
        Path(assistants.eval.__file__).with_name("content.yaml").read_text("utf-8")
    )
    return found


def evaluate_content(asked: Assistants, limit: int | None, progress: Progress) -> AssistantResult:
    """limit: texts."""
    chosen = limited(texts(), limit)
    conversations = [one_question(f"Translate to German:\n{each['text']}") for each in chosen]
    replies = ask_each(asked, NAME, conversations, max_tokens=MAX_TOKENS, progress=progress)
    glossary = shipped()[NAME].writing.glossary
    kept, terms, all_terms, misses = 0, 0, 0, []
    for text, reply in zip(chosen, replies, strict=True):
        same = not reply.error and form_of(text["form"], reply.text) == form_of(text["form"], text["text"])
        kept += same
        if not same:
            misses.append(f"{text['name']}: another form: {reply.error or reply.text[:200]!r}")
        for term, count in terms_of(text["text"], glossary).items():
            found = terms_of(reply.text, {glossary[term]: ""}).get(glossary[term], 0)
            all_terms += count
            terms += min(count, found)
            if found < count:
                misses.append(f"{text['name']}: '{glossary[term]}' is there {found} times instead of {count}")
    measures = [Score("form kept", kept, len(chosen)), Score("terms of the glossary kept", terms, all_terms)]
    return AssistantResult(assistant=NAME, measures=measures, misses=misses)


def terms_of(text: str, glossary: Mapping[str, str]) -> dict[str, int]:
    """How often each term that is there is there."""
    counts = {term: len(re.findall(rf"(?<!\w){re.escape(term)}(?!\w)", text)) for term in glossary}
    return {term: count for term, count in counts.items() if count}


def form_of(kind: str, text: str) -> Form:
    """Everything of a text but its words."""
    if kind == "html":
        reader = _HtmlForm()
        reader.feed(text)
        reader.close()
        return reader.form
    return [part for token in MarkdownIt().enable("table").parse(text.strip("\n")) for part in _parts(token)]


def _parts(token: Token) -> list[object]:
    """Of a token of Markdown: what it is, and the text of what is no words."""
    verbatim = token.content if token.type in ("fence", "code_block", "code_inline", "html_inline") else ""
    own = (token.type, token.tag, token.markup, token.info, tuple(sorted(token.attrs.items())), verbatim)
    below = [part for child in token.children or () if child.type != "text" for part in _parts(child)]
    if token.type == "html_block":
        return [own, *form_of("html", token.content)]
    return [own, *below]


class _HtmlForm(HTMLParser):
    """Tags with their attributes, comments, and what is in scripts, styles and code."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.form: list[object] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.form.append(("open", tag, tuple(attrs)))
        self._open = [*self._open, tag] if tag in ("script", "style", "pre", "code") else self._open

    def handle_endtag(self, tag: str) -> None:
        self.form.append(("close", tag))
        self._open = [each for each in self._open if each != tag]

    def handle_data(self, data: str) -> None:
        if self._open:
            self.form.append(data)

    def handle_comment(self, data: str) -> None:
        self.form.append(("comment", data))

    def handle_decl(self, decl: str) -> None:
        self.form.append(("declaration", decl))
