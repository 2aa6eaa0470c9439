"""The index: collections of chunks with their vectors.

`chunks.py` says what one is; `milvus.py` and `memory.py` (for tests) are two; `schema.py` is a collection's schema in Milvus.
"""

from gateway.knowledge.index.chunks import ChunkIndex, Owner, Row, RowsRefused, Vectors
from gateway.knowledge.index.memory import MemoryIndex
from gateway.knowledge.index.milvus import MilvusIndex
from gateway.knowledge.index.schema import ALIAS, collection_name

__all__ = [
    "ALIAS",
    "ChunkIndex",
    "MemoryIndex",
    "MilvusIndex",
    "Owner",
    "Row",
    "RowsRefused",
    "Vectors",
    "collection_name",
]
