"""Citations as the clients see them: OpenAI's annotations, and the extension field `rag`."""

from collections.abc import Mapping
from typing import Any

from gateway.serving.citations import By, Citation, Cited

Json = dict[str, Any]


def url_citation(citation: Citation) -> Json:
    """Of a chat completion: the place of the mark, or of the sentence."""
    source = citation.source
    page = f"#page={source['page']}" if source.get("page") else ""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": citation.start,
            "end_index": citation.end,
            "title": source["filename"],
            "url": f"ragfleet:{source['file_id']}/{source['filename']}{page}",
        },
    }


def file_citation(citation: Citation) -> Json:
    """Of a response: the place of the mark, or the end of the sentence."""
    return {
        "type": "file_citation",
        "file_id": citation.source["file_id"],
        "filename": citation.source["filename"],
        "index": citation.start if citation.by is By.MARK else citation.end,
    }


def findings(cited: Cited) -> Mapping[str, list[Json]]:
    """Both lists of `rag` that are known at an answer's end."""
    return {
        "citations": [_described(citation) for citation in cited.citations],
        "invalid_citations": [
            {"n": mark.n, "start_index": mark.start, "end_index": mark.end, "reason": str(mark.reason)}
            for mark in cited.invalid
        ],
    }


def _described(citation: Citation) -> Json:
    source = citation.source
    return {
        "n": source["n"],
        "file_id": source["file_id"],
        "filename": source["filename"],
        "by": str(citation.by),
        "start_index": citation.start,
        "end_index": citation.end,
        "support": citation.support,
        "verified": citation.verified,
        "place": {"page": source.get("page") or None, "start": source["start"], "end": source["end"]},
    }
