"""A vector store of the gateway, found or made by its name, through OpenAI's own client."""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import openai

from ragfleet.folder_sync import Document, Held, SyncError

P = ParamSpec("P")
T = TypeVar("T")

DEADLINE_SECONDS = 120.0
PAGE = 100


class GatewayStore:
    """See ragfleet.folder_sync.VectorStore. Its methods raise SyncError with the gateway's own words."""

    def __init__(self, gateway_url: str, key: str, name: str) -> None:
        self._client = openai.OpenAI(base_url=f"{gateway_url}/v1", api_key=key, timeout=DEADLINE_SECONDS, max_retries=4)
        self.id = _told(self._find, name)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def held(self) -> Sequence[Held]:
        """Members that a run of `ragfleet ingest` brought in."""
        return _told(self._held)

    def upload(self, document: Document) -> str:
        """Send a file; its id."""
        with document.file.open("rb") as content:
            made = _told(self._client.files.create, file=(document.file.name, content), purpose="assistants")
        return made.id

    def attach(self, files: Mapping[str, Mapping[str, str]]) -> str:
        """Let files (id → attributes) join; the batch's id."""
        wanted = [{"file_id": file_id, "attributes": dict(attributes)} for file_id, attributes in files.items()]
        made = _told(self._client.vector_stores.file_batches.create, self.id, files=wanted)  # type: ignore[arg-type]
        return made.id

    def pending(self, batch_id: str) -> int:
        """Files of the batch that are neither in nor refused."""
        batches = self._client.vector_stores.file_batches
        return _told(batches.retrieve, batch_id, vector_store_id=self.id).file_counts.in_progress

    def failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        """File id → code and message."""
        return _told(self._failures, batch_id)

    def delete(self, file_id: str) -> None:
        """Forget a file, wherever it is."""
        try:
            _told(self._client.files.delete, file_id)
        except SyncError as error:
            if not isinstance(error.__cause__, openai.NotFoundError):
                raise

    def _find(self, name: str) -> str:
        same = [store for store in self._client.vector_stores.list(limit=PAGE, order="asc") if store.name == name]
        living = [store.id for store in same if store.status != "expired"]
        return living[0] if living else self._client.vector_stores.create(name=name).id

    def _held(self) -> Sequence[Held]:
        found = []
        for member in self._client.vector_stores.files.list(self.id, limit=PAGE):
            has = member.attributes or {}
            if "path" in has and "sha256" in has:
                folder, path, digest = (str(has.get(key, "")) for key in ("folder", "path", "sha256"))
                found.append(Held(member.id, folder, path, digest, member.status))
        return found

    def _failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        batches = self._client.vector_stores.file_batches
        failed = batches.list_files(batch_id, vector_store_id=self.id, filter="failed", limit=PAGE)
        reasons = ((member.id, member.last_error) for member in failed)
        return {key: (error.code, error.message) if error else ("server_error", "") for key, error in reasons}


def _told(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return call(*args, **kwargs)
    except openai.APIStatusError as error:
        body = error.body
        text = body.get("message") if isinstance(body, dict) else None
        raise SyncError(str(text or error.message)) from error
    except openai.APIError as error:
        raise SyncError(f"the gateway does not answer: {error.message}") from error
    except OSError as error:
        raise SyncError(f"{error.filename or 'a file'} cannot be read: {error.strerror}") from error
