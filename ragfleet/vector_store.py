"""A vector store of the gateway, found or made by its name, through OpenAI's own client."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import openai

from ragfleet.client import PAGE, GatewayError, connect, forget, store_named, told
from ragfleet.folder_sync import FileRefused, StoredDocument
from ragfleet.local_files import LocalDocument, folder_label


class GatewayStore:
    """See ragfleet.folder_sync.VectorStore. Its methods raise GatewayError."""

    def __init__(self, gateway_url: str, key: str, name: str) -> None:
        self._client = connect(gateway_url, key)
        self.id = told(store_named, self._client, name)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def held(self) -> Sequence[StoredDocument]:
        """Members that a run of `ragfleet ingest` brought in."""
        return told(self._held)

    def upload(self, document: LocalDocument, allow: Sequence[str] | None) -> str:
        """Send a file, for these groups, or as the gateway has it; its id."""
        said = None if allow is None else {"allow": ",".join(allow)}
        with document.file.open("rb") as content:
            file = (PurePosixPath(document.path).name, content)
            try:
                return told(self._client.files.create, file=file, purpose="assistants", extra_body=said).id
            except GatewayError as error:
                if isinstance(error.__cause__, openai.APIStatusError) and error.__cause__.status_code in (400, 413):
                    raise FileRefused(str(error)) from error
                raise

    def allow(self, file_id: str, groups: Sequence[str]) -> None:
        """Let these groups see a member, and no others."""
        path = f"/vector_stores/{self.id}/files/{file_id}"
        told(self._client.post, path, body={"allow": list(groups)}, cast_to=object)

    def attach(self, files: Mapping[str, Mapping[str, str]]) -> str:
        """Let files (id → attributes) join; the batch's id."""
        wanted = [{"file_id": file_id, "attributes": dict(attributes)} for file_id, attributes in files.items()]
        made = told(self._client.vector_stores.file_batches.create, self.id, files=wanted)  # type: ignore[arg-type]
        return made.id

    def pending(self, batch_id: str) -> int:
        """Files of the batch that are neither in nor refused."""
        batches = self._client.vector_stores.file_batches
        return told(batches.retrieve, batch_id, vector_store_id=self.id).file_counts.in_progress

    def failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        """File id → code and message."""
        return told(self._failures, batch_id)

    def receipts(self, batch_id: str) -> Mapping[str, Mapping[str, Any]]:
        """File id → what was read of it."""
        return told(self._receipts, batch_id)

    def delete(self, file_id: str) -> None:
        """Forget a file, wherever it is."""
        forget(self._client, file_id)

    def _held(self) -> Sequence[StoredDocument]:
        found = []
        for member in self._client.vector_stores.files.list(self.id, limit=PAGE):
            has = member.attributes or {}
            if "path" in has and "sha256" in has:
                folder, path, digest = (str(has.get(key, "")) for key in ("folder", "path", "sha256"))
                if folder.startswith("/"):  # as it was kept once
                    folder = folder_label(Path(folder))
                allow = (member.model_extra or {}).get("allow")
                groups = None if allow is None else tuple(allow)
                found.append(StoredDocument(member.id, folder, path, digest, member.status, groups))
        return found

    def _failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        batches = self._client.vector_stores.file_batches
        failed = batches.list_files(batch_id, vector_store_id=self.id, filter="failed", limit=PAGE)
        reasons = ((member.id, member.last_error) for member in failed)
        return {key: (error.code, error.message) if error else ("server_error", "") for key, error in reasons}

    def _receipts(self, batch_id: str) -> Mapping[str, Mapping[str, Any]]:
        batches = self._client.vector_stores.file_batches
        done = batches.list_files(batch_id, vector_store_id=self.id, filter="completed", limit=PAGE)
        return {member.id: (member.model_extra or {}).get("receipt") or {} for member in done}
