"""Cursor lists as OpenAI's clients page through them: `after`, `before`, `limit`, `order`."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import Order, Page, PageQuery

T = TypeVar("T")

CURSOR = re.compile(r"[A-Za-z0-9_\-]{1,128}")
PAGING = ("after", "before", "limit", "order")


def page_query(
    params: Mapping[str, str], *, also: Sequence[str] = (), default_limit: int = 20, max_limit: int = 100
) -> PageQuery:
    """The page that a query string asks for. `also`: further parameters the caller reads. Raises BadRequest."""
    for name in params:
        if name not in PAGING and name not in also:
            raise BadRequest(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    order: Order = "asc" if choice(params, "order", ("asc", "desc")) == "asc" else "desc"
    limit = default_limit
    if given := params.get("limit"):
        # Not int(): it takes "१", "1_0" and " 1 ", too, and refuses numbers of thousands of digits with an error of its own.
        if not re.fullmatch(r"[0-9]{1,6}", given) or not 1 <= int(given) <= max_limit:
            raise _invalid("limit", f"it is a whole number from 1 to {max_limit}")
        limit = int(given)
    return PageQuery(limit=limit, order=order, after=_cursor(params, "after"), before=_cursor(params, "before"))


def choice(params: Mapping[str, str], name: str, known: Sequence[str]) -> str | None:
    """A parameter that is one of some words, or None where it is not given. Raises BadRequest."""
    value = params.get(name) or None
    if value is not None and value not in known:
        raise _invalid(name, f"it is one of {', '.join(known)}")
    return value


def page_body(page: Page[T], shape: Callable[[T], Mapping[str, Any]]) -> dict[str, Any]:
    """One page on the wire; each item's shape has an `id`."""
    data = [shape(item) for item in page.items]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
    }


def _cursor(params: Mapping[str, str], name: str) -> str | None:
    value = params.get(name) or None
    if value is not None and not CURSOR.fullmatch(value):
        raise _invalid(name, "it is the id of an item of this list")
    return value


def _invalid(name: str, why: str) -> BadRequest:
    return BadRequest(f"Invalid value for '{name}': {why}.", param=name, code="invalid_value")
