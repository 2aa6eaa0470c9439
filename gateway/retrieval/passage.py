"""A passage: what Milvus found, from the retrieval model's answer to the wire."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from gateway.knowledge.catalog.types import Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a file, and how well it fits a question. Its `body` is the span `start`…`end` (characters) of the file's
    converted text, but for white space between chunks that were joined."""

    store_id: str
    file_id: str
    filename: str
    index: int
    """Of its best chunk in the file, from 0."""
    text: str
    """Its headings, or a table's head, and then its body."""
    score: float
    """Cosine of question and passage."""
    attributes: Attributes = field(default_factory=dict)
    """Of its file."""
    page: int = 0
    """From 1; 0: none."""
    start: int = 0
    end: int = 0
    last_page: int | None = None
    """Where it ends, if chunks were joined to it."""
    rerank_score: float | None = None
    """Of the cross-encoder that has ordered the passages, 0…1; None: none has."""
    n: int = 0
    """Its number in a prompt, from 1; 0: it is in none."""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> Self:
        """As the models `retrieval` and `prompt` give it (docs/contracts.md). Raises KeyError, TypeError, ValueError."""
        rerank_score = fields.get("rerank_score")
        last_page = fields.get("last_page")
        return cls(
            store_id=str(fields["store"]),
            file_id=str(fields["file_id"]),
            filename=str(fields["filename"]),
            index=int(fields["index"]),
            text=str(fields["text"]),
            score=float(fields["score"]),
            attributes=fields["attributes"],
            page=int(fields["page"]),
            start=int(fields["start"]),
            end=int(fields["end"]),
            last_page=None if last_page is None else int(last_page),
            rerank_score=None if rerank_score is None else float(rerank_score),
            n=int(fields.get("n", 0)),
        )

    def wire(self) -> dict[str, Any]:
        """As the model `prompt` reads it; `read` is the way back."""
        made = asdict(self)
        made["store"] = made.pop("store_id")
        return {name: value for name, value in made.items() if value is not None and name != "n"}

    @property
    def id(self) -> str:
        """The primary key of its best chunk in the index."""
        return f"{self.store_id}/{self.file_id}/{self.index}"

    @property
    def headings(self) -> str:
        """What stands above the body and was searched with it. May be empty."""
        return self.text[: self._body_at].strip()

    @property
    def body(self) -> str:
        """The words of the file."""
        return self.text[self._body_at :]

    @property
    def _body_at(self) -> int:
        return max(0, len(self.text) - (self.end - self.start))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPassages:
    """What a conversation is to be answered from where that was found before."""

    store: str
    """What the client called the stores."""
    query: str
    """What was looked for."""
    passages: Sequence[Passage]
    """Best first."""

    def without(self, file_ids: Set[str]) -> "KnownPassages":
        """The same, less these files."""
        return replace(self, passages=[each for each in self.passages if each.file_id not in file_ids])
