"""Tools that a response could use, and which it had to, for the document of the API."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from gateway.api.filter_schema import FILTER

Json = dict[str, Any]


class WeightsShown(TypedDict):
    """What meaning and words count."""

    embedding_weight: float
    text_weight: float


class RankingShown(TypedDict):
    """How passages are ordered."""

    ranker: NotRequired[Literal["none", "auto", "default-2024-11-15"]]
    score_threshold: NotRequired[float]
    hybrid_search: NotRequired[WeightsShown]


class FunctionShown(TypedDict):
    """A function that could be called."""

    type: Literal["function"]
    name: str
    description: str | None
    parameters: Json | None
    strict: bool | None
    output_schema: NotRequired[Json]
    defer_loading: NotRequired[Literal[False]]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class PlainText(TypedDict):
    """Any text."""

    type: Literal["text"]


class RegexText(TypedDict):
    """A text that matches."""

    type: Literal["grammar"]
    syntax: Literal["regex"]
    definition: str


class CustomShown(TypedDict):
    """A custom tool that could be called."""

    type: Literal["custom"]
    name: str
    description: NotRequired[str]
    format: NotRequired[PlainText | RegexText]
    defer_loading: NotRequired[Literal[False]]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class PatchShown(TypedDict):
    """Files could be patched."""

    type: Literal["apply_patch"]
    allowed_callers: NotRequired[list[Literal["direct"]]]


class ShellShown(TypedDict):
    """Commands could be run."""

    type: Literal["local_shell"]


class SearchShown(TypedDict):
    """A search of knowledge stores."""

    type: Literal["file_search"]
    vector_store_ids: list[str]
    max_num_results: NotRequired[int]
    filters: NotRequired[Annotated[Json, WithJsonSchema(FILTER)]]
    ranking_options: NotRequired[RankingShown]


class FunctionChoice(TypedDict):
    """The function that had to be called."""

    type: Literal["function"]
    name: str


class CustomChoice(TypedDict):
    """The custom tool that had to be called."""

    type: Literal["custom"]
    name: str


class SearchChoice(TypedDict):
    """The search was to be used."""

    type: Literal["file_search"]


class PatchChoice(TypedDict):
    """A file was to be patched."""

    type: Literal["apply_patch"]


class ShellChoice(TypedDict):
    """A command was to be run."""

    type: Literal["local_shell"]


class AllowedChoice(TypedDict):
    """Those of the tools that could be used."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[Json]


Choice = FunctionChoice | CustomChoice | PatchChoice | ShellChoice | SearchChoice | AllowedChoice
