"""Names in source code, as the catalog has them."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.knowledge.catalog.types import Attributes, ChunkRecord

NAMED_BY_FOLDER = ("__init__", "index", "mod")
"""Source files without their ending that are meant by the name of their folder."""


class NameRole(StrEnum):
    """What source code does with a name."""

    DEFINITION = "definition"
    CALL = "call"
    IMPORT = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRecord:
    """A name in source code. Lines count from 1."""

    role: NameRole
    name: str
    scope: str = ""
    """Of a definition: the names of what it stands in, joined by dots."""
    kind: str = ""
    """Of a definition: class, function, constant or field."""
    line: int
    last_line: int
    chunk: int
    """The index of the chunk that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundName:
    """A name of a store, and the chunk that has it."""

    store_id: str
    file_id: str
    filename: str
    attributes: Attributes
    record: NameRecord
    chunk: ChunkRecord
