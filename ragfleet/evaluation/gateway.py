"""What an evaluation needs of the gateway, through OpenAI's own client."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from ragfleet.client import PAGE, connect, forget, store_named, told


@dataclass(frozen=True, slots=True)
class IngestedDocument:
    """A file of the store. `document` and `digest` are empty for files that no evaluation brought in."""

    file_id: str
    document: str
    digest: str
    status: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class EvaluatedAnswer:
    """An answer, and the files of its sources by their numbers n; of these the model cites `marked`, with marks [n] that hold,
    and the gateway attributes sentences to `attributed`. `invalid` marks are no citations.
    """

    text: str
    sources: Mapping[int, str]
    marked: Set[int] = frozenset()
    attributed: Set[int] = frozenset()
    invalid: int = 0


class EvaluationGateway(Protocol):
    """Used from several threads at once. All raise GatewayError."""

    def store(self, name: str) -> str:
        """The id of the oldest store of this name; it is made where there is none."""
        ...

    def members(self, store_id: str) -> Sequence[IngestedDocument]: ...
    def upload(self, filename: str, content: bytes) -> str:
        """The file's id."""
        ...

    def attach(self, store_id: str, files: Mapping[str, Mapping[str, str]], chunk_tokens: int | None) -> None:
        """Let files (id → attributes) join, at most 2,000."""
        ...

    def pending(self, store_id: str) -> int:
        """Members that are neither in nor refused."""
        ...

    def delete(self, file_id: str) -> None: ...
    def search(self, store_id: str, query: str, *, ranker: str, limit: int) -> Sequence[str]:
        """The passages' file ids, best first."""
        ...

    def answer(self, store: str, question: str, *, max_tokens: int) -> EvaluatedAnswer: ...


class OpenAIGateway:
    """See EvaluationGateway."""

    def __init__(self, url: str, key: str) -> None:
        self._client = connect(url, key)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def store(self, name: str) -> str:
        """See EvaluationGateway."""
        return told(store_named, self._client, name)

    def members(self, store_id: str) -> Sequence[IngestedDocument]:
        """See EvaluationGateway."""
        return told(self._members, store_id)

    def upload(self, filename: str, content: bytes) -> str:
        """See EvaluationGateway."""
        return told(self._client.files.create, file=(filename, content), purpose="assistants").id

    def attach(self, store_id: str, files: Mapping[str, Mapping[str, str]], chunk_tokens: int | None) -> None:
        """See EvaluationGateway."""
        wanted: list[Any] = [{"file_id": file_id, "attributes": dict(has)} for file_id, has in files.items()]
        if chunk_tokens is not None:
            static = {"max_chunk_size_tokens": chunk_tokens, "chunk_overlap_tokens": 0}
            wanted = [{**file, "chunking_strategy": {"type": "static", "static": static}} for file in wanted]
        told(self._client.vector_stores.file_batches.create, store_id, files=wanted)

    def pending(self, store_id: str) -> int:
        """See EvaluationGateway."""
        return told(self._client.vector_stores.retrieve, store_id).file_counts.in_progress

    def delete(self, file_id: str) -> None:
        """See EvaluationGateway. A file that is gone already is fine."""
        forget(self._client, file_id)

    def search(self, store_id: str, query: str, *, ranker: str, limit: int) -> Sequence[str]:
        """See EvaluationGateway."""
        options: Any = {"ranker": ranker}  # the type names OpenAI's own rankers only
        search = self._client.vector_stores.search
        page = told(search, store_id, query=query, max_num_results=limit, ranking_options=options)
        return [hit.file_id for hit in page.data]

    def answer(self, store: str, question: str, *, max_tokens: int) -> EvaluatedAnswer:
        """See EvaluationGateway. Greedy."""
        return told(self._answer, store, question, max_tokens)

    def _answer(self, store: str, question: str, max_tokens: int) -> EvaluatedAnswer:
        made = self._client.chat.completions.create(
            model=f"rag:{store}",
            messages=[{"role": "user", "content": question}],
            max_tokens=max_tokens,
            temperature=0.0,
        )
        rag = (made.model_extra or {}).get("rag") or {}
        sources = {int(source["n"]): str(source["file_id"]) for source in rag.get("sources", ())}
        cited: dict[str, set[int]] = {"mark": set(), "support": set()}
        for citation in rag.get("citations", ()):
            cited[citation["by"]].add(int(citation["n"]))
        text = made.choices[0].message.content or ""
        return EvaluatedAnswer(text, sources, cited["mark"], cited["support"], len(rag.get("invalid_citations", ())))

    def _members(self, store_id: str) -> Sequence[IngestedDocument]:
        found = []
        for file in self._client.vector_stores.files.list(store_id, limit=PAGE):
            has = file.attributes or {}
            error = file.last_error.message if file.last_error else ""
            member = IngestedDocument(
                file.id, str(has.get("doc_id", "")), str(has.get("sha256", "")), file.status, error
            )
            found.append(member)
        return found
