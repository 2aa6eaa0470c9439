"""Passages as a search gives them."""

from typing import Any

from gateway.retrieval.passage import Passage


def a_passage(body: str, *, headings: str = "", start: int = 0, end: int | None = None, **fields: Any) -> Passage:
    """One of a file "a.md" whose converted text has `body` from `start` on, unless the arguments say something else."""
    given: dict[str, Any] = {"store_id": "s", "file_id": "a", "filename": "a.md", "index": 0, "score": 0.5} | fields
    text = f"{headings}\n{body}" if headings else body
    return Passage(text=text, start=start, end=start + len(body) if end is None else end, **given)
