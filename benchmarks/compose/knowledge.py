"""Files that go in, and the one question whose passage must be found: the knowledge as a user of the API sees it."""

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.compose.stack import Stack, multipart
from benchmarks.compose.steps import StepError
from ragfleet.paths import PROJECT

DOCUMENTS = PROJECT / "examples" / "handbook" / "documents"
QUESTION = "What is the factory reset code of the Fernwright 200?"
ANSWER = "4471"
SOURCE = "support-reset-fernwright-200.md"


@dataclass(slots=True)
class Knowledge:
    """One store of the handbook."""

    stack: Stack
    store: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """Id by name."""

    def fill(self, names: list[str]) -> None:
        """Make the store, upload these files of the handbook into it; returns when the store has taken them on."""
        self.store = self.store or self.stack.must("POST", "/v1/vector_stores", {"name": "handbook"})["id"]
        for name in names:
            self.files[name] = self.upload(DOCUMENTS / name)
            self.stack.must("POST", f"/v1/vector_stores/{self.store}/files", {"file_id": self.files[name]})

    def upload(self, path: Path) -> str:
        """The file's id."""
        return str(self.stack.must("POST", "/v1/files", multipart(path.name, path.read_bytes()))["id"])

    def unfinished(self) -> list[str]:
        """Files that are not completed, with what is said of them. Raises StepError where one failed."""
        found = []
        for name, file in self.files.items():
            status, said = self.stack.ask("GET", f"/v1/vector_stores/{self.store}/files/{file}")
            if status != 200:
                found.append(f"{name}: {status}")
            elif said["status"] == "failed":
                raise StepError(f"{name} failed: {said['last_error']}")
            elif said["status"] != "completed":
                found.append(f"{name}: {said['status']} {said.get('status_details') or ''}".strip())
        return found

    def not_found(self) -> list[str]:
        """What is wrong with a search for the question; nothing where its passage comes first."""
        status, said = self.stack.ask("POST", f"/v1/vector_stores/{self.store}/search", {"query": QUESTION})
        if status != 200:
            return [f"search: {status} {str(said)[:200]}"]
        first = said["data"][0] if said["data"] else None
        if first is None or first["filename"] != SOURCE:
            return [f"the first passage is of {first and first['filename']}"]
        return []

    def content_differs(self) -> list[str]:
        """Files whose content does not come back as it was uploaded."""
        found = []
        for name, file in self.files.items():
            status, said = self.stack.ask("GET", f"/v1/files/{file}/content")
            wanted = (DOCUMENTS / name).read_bytes().decode(errors="replace")
            if status != 200 or said != wanted:
                found.append(f"{name}: {status}, {len(str(said))} of {len(wanted)} characters")
        return found
