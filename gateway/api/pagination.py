"""Cursor lists as OpenAI's clients page through them: `after`, `before`, `limit`, `order`."""

from collections.abc import Callable, Mapping
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from gateway.knowledge.catalog.types import FileState, Page, PageQuery

T = TypeVar("T")
Shape = TypeVar("Shape", bound=Mapping[str, object])

Cursor = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{0,128}$")]
"""The id of an item of the list; some clients send an empty one for none."""


class PageParameters(BaseModel):
    """Which page of a list."""

    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: Cursor | None = None
    before: Cursor | None = None

    @property
    def page(self) -> PageQuery:
        """As the catalog wants it."""
        return PageQuery(limit=self.limit, order=self.order, after=self.after or None, before=self.before or None)


class FilePageParameters(PageParameters):
    """Which page of the files."""

    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    purpose: str | None = None


class MemberPageParameters(PageParameters):
    """Which page of the files in a store or a batch; `filter`: of one status."""

    filter: FileState | None = None


class ListBody(TypedDict, Generic[Shape]):
    """One page of a list."""

    object: Literal["list"]
    data: list[Shape]
    first_id: str | None
    last_id: str | None
    has_more: bool


def page_body(page: Page[T], shape: Callable[[T], Shape]) -> ListBody[Shape]:
    """One page on the wire; each item's shape has an `id`."""
    data = [shape(item) for item in page.items]
    return {
        "object": "list",
        "data": data,
        "first_id": str(data[0]["id"]) if data else None,
        "last_id": str(data[-1]["id"]) if data else None,
        "has_more": page.has_more,
    }
