"""A small repository in the store `code`, as the ingestion leaves one: chunks, names, documents."""

from typing import Any

from gateway.ingestion.converter_process import names_of
from gateway.knowledge.catalog.code_types import NameRecord, NameRole
from gateway.knowledge.catalog.types import ChunkRecord, NewMember
from gateway.knowledge.chunking import Chunker
from gateway.knowledge.code.outline import outline
from gateway.knowledge.conversion import convert_bytes
from gateway.knowledge.objects import document_key
from gateway.tenants.tenant import Tenant
from tests.support.running import COLLECTION, EMBEDDING, TENANT, Fleet

FILES = {
    "house/door.py": (
        '"""Doors."""\n\nfrom house.lock import turn_key\n\n\nclass Door:\n    """A way in."""\n\n'
        '    def open_slowly(self):\n        """With a creak."""\n        turn_key(self)\n'
    ),
    "house/lock.py": 'def turn_key(door):\n    """Clockwise."""\n    return door\n',
    "house/garden.py": "def water():\n    return 1\n",
    "tests/test_door.py": "def turn_key():\n    pass\n\n\ndef test_it():\n    Door().open_slowly()\n",
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


async def learn_code(fleet: Fleet) -> dict[str, list[dict[str, Any]]]:
    """Path → its chunks as a search gives them; `fleet.answers.passages` stays as it is."""
    catalog, own = fleet.gateway.catalog, fleet.gateway.catalog.of(Tenant(TENANT))
    await catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
    store = await own.stores.create(name="code")
    found: dict[str, list[dict[str, Any]]] = {}
    chunker = Chunker(count=lambda text: len(text.split()), max_tokens=8, overlap_tokens=0)
    for path, text in FILES.items():
        file_id, name = f"file-{path.replace('/', '-')}", path.rpartition("/")[2]
        await own.files.add(file_id=file_id, filename=name, purpose="assistants", size=len(text), sha256="0")
        attributes = {"path": path, "commit": COMMIT}
        await own.members.attach(store.id, [NewMember(file_id=file_id, attributes=attributes)])
        (job,) = await catalog.queue.claim("a test", limit=1, lease_s=60)
        document = convert_bytes(path, text.encode())
        read = outline(document.text, path)
        chunks = chunker.chunks(document, read)
        await fleet.gateway.objects.put(document_key(file_id), document.to_json())
        await catalog.queue.put_chunks(
            job,
            [
                ChunkRecord(index=each.index, text=each.indexed, page=0, start=each.start, end=each.end)
                for each in chunks
            ],
            usage_bytes=1,
            names=[
                NameRecord(role=NameRole(role), name=word, scope=scope, kind=kind, line=line, last_line=last, chunk=at)
                for role, word, scope, kind, line, last, at in names_of(read, document.text, chunks)
            ],
        )
        await catalog.queue.complete(job, COLLECTION)
        found[path] = [
            {
                "id": f"{store.id}/{file_id}/{each.index}",
                "store": store.id,
                "file_id": file_id,
                "filename": name,
                "index": each.index,
                "text": each.indexed,
                "page": 0,
                "start": each.start,
                "end": each.end,
                "attributes": attributes,
                "score": 0.5,
            }
            for each in chunks
        ]
    fleet.stores["code"] = store.id
    return found
