"""The object store: contents of files and what was converted out of them, by key.

`store.py` says what one is; `folder.py`, `s3.py` and `memory.py` (for tests) are three; `opening.py` makes the one wanted.
"""

from gateway.knowledge.objects.folder import FolderStore
from gateway.knowledge.objects.memory import MemoryStore
from gateway.knowledge.objects.opening import object_store
from gateway.knowledge.objects.store import ObjectStore, Stored, content_key, document_key, part_key

__all__ = [
    "FolderStore",
    "MemoryStore",
    "ObjectStore",
    "Stored",
    "content_key",
    "document_key",
    "object_store",
    "part_key",
]
