"""Passages and citations as the clients see them: OpenAI's search results and annotations, and the extension field `rag`."""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from gateway.retrieval.context import Grounding
from gateway.retrieval.passage import Passage
from gateway.serving.citations import AnswerCitations, Citation, CitedBy, MadeFile

Json = dict[str, Any]


class PassageText(TypedDict):
    """A passage."""

    type: Literal["text"]
    text: str


class PassagePlace(TypedDict):
    """Where it stands: the number of its chunk, its pages (none where the format has none), characters in the file's text."""

    index: int
    page: int | None
    start: int
    end: int
    last_page: NotRequired[int]


class SearchResult(TypedDict):
    """A passage that was found; `place` and `rerank_score` (a cross-encoder's) are extensions."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, str | float | bool]
    content: list[PassageText]
    place: PassagePlace
    rerank_score: NotRequired[float]


def search_result(passage: Passage) -> SearchResult:
    """Of a vector store's search."""
    place: PassagePlace = {
        "index": passage.index,
        "page": passage.page or None,
        "start": passage.start,
        "end": passage.end,
    }
    if passage.last_page:
        place["last_page"] = passage.last_page
    headings, body = passage.headings, passage.body
    result: SearchResult = {
        "file_id": passage.file_id,
        "filename": passage.filename,
        "score": max(0.0, passage.score),
        "attributes": dict(passage.attributes),
        "content": [{"type": "text", "text": f"{headings}\n{body}" if headings else body}],
        "place": place,
    }
    if passage.rerank_score is not None:
        result["rerank_score"] = passage.rerank_score
    return result


def file_search_result(passage: Passage) -> Json:
    """Of a response's `file_search_call`."""
    return {
        "file_id": passage.file_id,
        "filename": passage.filename,
        "score": passage.score,
        "text": passage.text,
        "attributes": dict(passage.attributes),
    }


def rag_head(grounding: Grounding) -> Json:
    """The field `rag` as far as it is known before an answer begins, without the passages."""
    return {
        "grounded": bool(grounding.passages),
        "store": grounding.store,
        "query": grounding.query,
        **({"unavailable": True} if grounding.unavailable else {}),
    }


def rag_sources(grounding: Grounding) -> Json:
    """The passages in the prompt, as a part of the field `rag`."""
    return {"sources": [_source(passage) for passage in grounding.passages]}


def rag_citations(found: AnswerCitations) -> Json:
    """What is known at an answer's end, as a part of the field `rag`."""
    return {
        "citations": [_citation(citation) for citation in found.citations],
        "invalid_citations": [
            {"n": mark.n, "start_index": mark.start, "end_index": mark.end, "reason": str(mark.reason)}
            for mark in found.invalid
        ],
    }


def url_citation(citation: Citation) -> Json:
    """Of a chat completion: the place of the mark, or of the sentence."""
    passage = citation.passage
    page = f"#page={passage.page}" if passage.page else ""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": citation.start,
            "end_index": citation.end,
            "title": passage.filename,
            "url": f"ragfleet:{passage.file_id}/{passage.filename}{page}",
        },
    }


def url_of_file(made: MadeFile) -> Json:
    """Of a chat completion: where a file is named that was made with it."""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": made.start,
            "end_index": made.end,
            "title": made.filename,
            "url": f"/v1/files/{made.file_id}/content",
        },
    }


def file_path(made: MadeFile) -> Json:
    """The same of a response."""
    return {"type": "file_path", "file_id": made.file_id, "index": made.start}


def file_citation(citation: Citation) -> Json:
    """Of a response: the place of the mark, or the end of the sentence."""
    return {
        "type": "file_citation",
        "file_id": citation.passage.file_id,
        "filename": citation.passage.filename,
        "index": citation.start if citation.by is CitedBy.MARK else citation.end,
    }


def _source(passage: Passage) -> Json:
    return {
        "n": passage.n,
        "id": passage.id,
        "store": passage.store_id,
        "file_id": passage.file_id,
        "filename": passage.filename,
        "index": passage.index,
        "text": passage.text,
        "page": passage.page,
        "start": passage.start,
        "end": passage.end,
        "attributes": dict(passage.attributes),
        "score": passage.score,
        **({} if passage.last_page is None else {"last_page": passage.last_page}),
        **({} if passage.rerank_score is None else {"rerank_score": passage.rerank_score}),
    }


def _citation(citation: Citation) -> Json:
    passage = citation.passage
    return {
        "n": passage.n,
        "file_id": passage.file_id,
        "filename": passage.filename,
        "by": str(citation.by),
        "start_index": citation.start,
        "end_index": citation.end,
        "support": citation.support,
        "verified": citation.verified,
        "place": {"page": passage.page or None, "start": passage.start, "end": passage.end},
    }
