"""The wire schemas of vector stores and of the files in them, as OpenAI's clients send them."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from gateway.api.filter_schema import FILTER
from gateway.api.ranking_schema import RankingOptions, StoreRetrieval
from gateway.api.validation import MANY, ONE, ONE_OR_MANY, WHOLE, Metadata, Words, complaint, items
from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import Attributes, AttributeValue, Chunking, NewMember
from gateway.tenants.key import GROUP_PATTERN, MAX_ALLOWED_GROUPS

FileId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{1,128}$")]


Groups = Annotated[
    list[Annotated[str, Field(pattern=GROUP_PATTERN)]],
    Field(max_length=MAX_ALLOWED_GROUPS),
    AfterValidator(lambda names: sorted(set(names))),
]
"""Extension `allow`: the groups whose keys may see a file; [] for none of them. A name is 1 to 64 letters, digits and _.:@/+=-"""

_NULL: dict[str, Any] = {"type": "null"}
_GIVEN: dict[str, Any] = {"not": _NULL}


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ExpiresUnused(_Wire):
    """Days without use after which a store expires."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365), WHOLE]


class StaticChunking(_Wire):
    """Limits in tokens of the embedding model."""

    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096), WHOLE]
    chunk_overlap_tokens: Annotated[int, Field(ge=0, lt=2**63), WHOLE]

    @model_validator(mode="after")
    def _half(self) -> "StaticChunking":
        if self.chunk_overlap_tokens > self.max_chunk_size_tokens // 2:
            raise ValueError("chunk_overlap_tokens: at most half of max_chunk_size_tokens")
        return self


class ChunkingStrategy(_Wire):
    """How a file is cut."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"type": {"const": "auto"}, "static": _NULL}},
                {"properties": {"type": {"const": "static"}, "static": _GIVEN}, "required": ["static"]},
            ]
        }
    )

    type: Literal["auto", "static"]
    static: StaticChunking | None = None

    @model_validator(mode="after")
    def _limits(self) -> "ChunkingStrategy":
        if (self.type == "static") != (self.static is not None):
            raise ValueError("static: it goes with type=static, and only with it")
        return self

    @property
    def chunking(self) -> Chunking:
        """As the catalog keeps it."""
        if self.static is None:
            return Chunking()
        return Chunking(max_tokens=self.static.max_chunk_size_tokens, overlap_tokens=self.static.chunk_overlap_tokens)


def _attributes(value: dict[str, Any]) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {}
    for key, item in value.items():
        if not 1 <= len(key) <= 64 or "\0" in key:
            raise ValueError("a key has 1 to 64 characters, none of them NUL")
        if isinstance(item, str):
            if len(item) > 512 or "\0" in item:
                raise ValueError(f"{key}: a string has at most 512 characters, none of them NUL")
            found[key] = item
        elif isinstance(item, int | float) and abs(item) <= 2**53:  # true and false are numbers to Python
            found[key] = item
        else:
            raise ValueError(f"{key}: a value is a string, a number up to 2^53, or true or false")
    return found


_TEXT = r"^[^\x00]{%d,%d}$"
AnyAttributes = Annotated[
    dict[str, Any],
    Field(
        max_length=16,
        json_schema_extra={
            "propertyNames": {"pattern": _TEXT % (1, 64)},
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "pattern": _TEXT % (0, 512)},
                    {"type": "number", "minimum": -(2**53), "maximum": 2**53},
                    {"type": "boolean"},
                ]
            },
        },
    ),
]


class WithAttributes(_Wire):
    """Attributes: what a search can be filtered by."""

    attributes: AnyAttributes | None = None

    @field_validator("attributes")
    @classmethod
    def _attributes(cls, value: dict[str, Any] | None) -> dict[str, AttributeValue] | None:
        return None if value is None else _attributes(value)


class NewFile(WithAttributes):
    """`POST /v1/vector_stores/{id}/files`, and one of `files` of a batch."""

    file_id: FileId
    chunking_strategy: ChunkingStrategy | None = None
    allow: Groups | None = None

    @property
    def member(self) -> NewMember:
        """As the catalog wants it."""
        return _member(self.file_id, self.attributes, self.chunking_strategy, self.allow)


class ChangedFile(WithAttributes):
    """`POST /v1/vector_stores/{id}/files/{id}`: what is named changes; a null clears the attributes, or lets all of the tenant
    see the file."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["attributes"]}, {"required": ["allow"]}]})

    allow: Groups | None = None

    @model_validator(mode="after")
    def _something(self) -> "ChangedFile":
        if not self.model_fields_set:
            raise complaint("missing", "attributes", "")
        return self


class NewFileBatch(WithAttributes):
    """`POST /v1/vector_stores/{id}/file_batches`: `file_ids` with settings for all, or `files` with settings for each."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["file_ids"],
                    "properties": {"file_ids": _GIVEN, "files": _NULL},
                },
                {
                    "required": ["files"],
                    "properties": {
                        "files": _GIVEN,
                        "file_ids": _NULL,
                        "attributes": _NULL,
                        "allow": _NULL,
                        "chunking_strategy": _NULL,
                    },
                },
            ]
        }
    )

    file_ids: Annotated[list[FileId], items(1, 2000)] | None = None
    files: Annotated[list[NewFile], items(1, 2000)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    allow: Groups | None = None

    def members(self) -> list[NewMember]:
        """As the catalog wants them, each file once. Raises BadRequest."""
        if (self.file_ids is None) == (self.files is None):
            raise BadRequest("Send either file_ids or files.", param="file_ids", code="invalid_value")
        if self.file_ids is not None:
            said = self.attributes, self.chunking_strategy, self.allow
            return [_member(each, *said) for each in dict.fromkeys(self.file_ids)]
        assert self.files is not None
        for_all = ("attributes", "chunking_strategy", "allow")
        if name := next((name for name in for_all if getattr(self, name) is not None), ""):
            raise BadRequest(f"With files, {name} belongs to each file.", param=name, code="invalid_value")
        if len({each.file_id for each in self.files}) < len(self.files):
            raise BadRequest("A file is given more than once.", param="files", code="invalid_value")
        return [each.member for each in self.files]


class NewStore(_Wire):
    """`POST /v1/vector_stores`."""

    name: Annotated[Words, Field(max_length=256)] = ""
    description: Annotated[Words, Field(max_length=512)] | None = None
    file_ids: Annotated[list[FileId], items(0, 500)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    expires_after: ExpiresUnused | None = None
    metadata: Metadata | None = None
    retrieval: StoreRetrieval | None = None
    """Extension: how it is searched where a request says nothing else."""

    def members(self) -> list[NewMember]:
        """The files that are to be in it from the start."""
        return [_member(each, None, self.chunking_strategy) for each in dict.fromkeys(self.file_ids or ())]


class ChangedStore(_Wire):
    """`POST /v1/vector_stores/{id}`: what is named changes; a null clears it."""

    name: Annotated[Words, Field(max_length=256)] | None = None
    description: Annotated[Words, Field(max_length=512)] | None = None
    expires_after: ExpiresUnused | None = None
    metadata: Metadata | None = None
    retrieval: StoreRetrieval | None = None


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("a query needs more than white space")
    return value


Query = Annotated[
    str, Field(max_length=8192, json_schema_extra={"pattern": r"[^\s\x1c-\x1f\x85]"}), AfterValidator(_not_blank)
]


class SearchRequest(_Wire):
    """`POST /v1/vector_stores/{id}/search`."""

    query: Annotated[Annotated[Query, ONE] | Annotated[list[Query], items(1, 16), MANY], ONE_OR_MANY]
    filters: Annotated[dict[str, Any], Field(max_length=16), WithJsonSchema(FILTER)] | None = None
    max_num_results: Annotated[int, Field(ge=1, le=50), WHOLE] | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: bool = False

    @property
    def queries(self) -> list[str]:
        """The query, or all of them."""
        return [self.query] if isinstance(self.query, str) else self.query


def _member(
    file_id: str,
    attributes: Attributes | None,
    strategy: ChunkingStrategy | None,
    allow: Sequence[str] | None = None,
) -> NewMember:
    chunking = None if strategy is None else strategy.chunking
    return NewMember(file_id=file_id, attributes=attributes, chunking=chunking, allow=allow)
