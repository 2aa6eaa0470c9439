"""Milvus filter expressions: the one place where a value from outside becomes part of one.

Milvus Lite does not take `filter_params` templates, so values are escaped by hand. What is written here is read back by
Milvus as a string literal with exactly the value that went in, whatever the value is.

A client's filter over a file's attributes (OpenAI's `comparison` and `compound`) is read into values and written anew. `ne` and
`nin` are the opposites of `eq` and `in`: files without the attribute match them. An order (`gt` …) holds between two numbers or
two strings (by code points), never across. Milvus Lite takes 1 for true and 0 for false.
"""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import FileScope

MAX_DEPTH = 8
"""Compound filters within each other."""
MAX_VALUES = 256
"""Values in one filter, those in lists included: Milvus compares each of them with each row."""
MAX_STRING = 512
"""Characters of a string; an attribute cannot be longer either."""
MAX_NUMBER = 2**53
"""An attribute cannot be larger either; up to it integers are exact."""

_COMPARISONS = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_LISTS = ("in", "nin")
_COMPOUNDS = ("and", "or")

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def quote(value: str) -> str:
    """`value` as a string literal of a Milvus expression, with its quotes.

    Raises ValueError for control characters other than tab and line ends: Milvus and Milvus Lite read their escapes differently.
    """
    if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\r\t" for char in value):
        raise ValueError(f"{value!r} has control characters, which cannot stand in a filter")
    return f'"{value.translate(_ESCAPES)}"'


def search_filter(
    tenant: str, stores: Sequence[str], filters: Mapping[str, Any] | None = None, files: FileScope | None = None
) -> str:
    """The rows of these stores of a tenant, and of these files alone, that also pass a client's filter. Raises BadRequest,
    ValueError without a store."""
    if not stores:
        raise ValueError("a search needs a store")
    only = f"tenant == {quote(tenant)} and store in [{', '.join(map(quote, stores))}]"
    if files is not None:
        listed = ", ".join(
            map(quote, files.ids or [""])
        )  # no file has that id, and an empty list is none to every parser
        only += f" and file_id {'not in' if files.inverted else 'in'} [{listed}]"
    return only if filters is None else f"{only} and ({compile_filter(filters)})"


def compile_filter(filters: Mapping[str, Any], param: str = "filters") -> str:
    """OpenAI's filter over `attributes` as a Milvus expression. Raises BadRequest that names the field, starting with `param`."""
    return _Compiler().compile(filters, param, 1)


class _Compiler:
    """For one filter: it counts the values."""

    def __init__(self) -> None:
        self._values = 0

    def compile(self, given: Any, at: str, depth: int) -> str:
        if not isinstance(given, Mapping):
            raise _wrong(at, "a filter is an object")
        kind = given.get("type")
        if isinstance(kind, str) and kind in _COMPOUNDS:
            _only(given, at, "type", "filters")
            return self._compound(kind, given.get("filters"), f"{at}.filters", depth)
        if isinstance(kind, str) and kind in (*_COMPARISONS, *_LISTS):
            _only(given, at, "type", "key", "value")
            field = f"attributes[{_key(given.get('key'), f'{at}.key')}]"
            if kind in _LISTS:
                return self._list(field, kind, given.get("value"), f"{at}.value")
            return self._comparison(field, kind, given.get("value"), f"{at}.value")
        known = ", ".join((*_COMPARISONS, *_LISTS, *_COMPOUNDS))
        raise _wrong(f"{at}.type", f"the type is one of {known}")

    def _compound(self, kind: str, parts: Any, at: str, depth: int) -> str:
        if not isinstance(parts, list) or not parts:
            raise _wrong(at, "a list with at least one filter is needed")
        if depth > MAX_DEPTH:
            raise _wrong(at, f"at most {MAX_DEPTH} compound filters can stand within each other")
        compiled = [self.compile(part, f"{at}.{number}", depth + 1) for number, part in enumerate(parts)]
        return f" {kind} ".join(f"({part})" for part in compiled)

    def _comparison(self, field: str, kind: str, value: Any, at: str) -> str:
        literal = self._literal(value, at)
        if kind not in ("eq", "ne") and isinstance(value, bool):
            raise _wrong(at, f"{kind} takes a number or a string")
        comparison = f"{field} {_COMPARISONS[kind]} {literal}"
        return f"not exists {field} or {comparison}" if kind == "ne" else comparison

    def _list(self, field: str, kind: str, values: Any, at: str) -> str:
        """Comparisons one by one: Milvus Lite has `in` for plain fields only, and Milvus lists of one type only."""
        if not isinstance(values, list) or not values:
            raise _wrong(at, f"{kind} takes a list with at least one value")
        literals = [self._literal(value, f"{at}.{number}") for number, value in enumerate(values)]
        if kind == "in":
            return " or ".join(f"{field} == {literal}" for literal in literals)
        return f"not exists {field} or ({' and '.join(f'{field} != {literal}' for literal in literals)})"

    def _literal(self, value: Any, at: str) -> str:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _wrong(at, f"a filter has at most {MAX_VALUES} values")
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            if not math.isfinite(value) or abs(value) > MAX_NUMBER:
                raise _wrong(at, "a number lies between -2^53 and 2^53")
            # Both lexers want a digit in front and behind the dot, which repr gives; a whole number is written as one.
            return str(int(value)) if value == int(value) else repr(value)
        if isinstance(value, str):
            if len(value) > MAX_STRING:
                raise _wrong(at, f"a string has at most {MAX_STRING} characters")
            return _quoted(value, at)
        raise _wrong(at, "a value is a string, a number, or true or false")


def _key(key: Any, at: str) -> str:
    if not isinstance(key, str) or not 1 <= len(key) <= 64:
        raise _wrong(at, "a key has 1 to 64 characters")
    if any(char in "[]\"'\\" for char in key):  # Milvus splits a JSON path at these before it reads its quotes
        raise _wrong(
            at, "brackets, quotes and backslashes in a key cannot be filtered by; give the attribute another name"
        )
    return _quoted(key, at)


def _quoted(value: str, at: str) -> str:
    try:
        return quote(value)
    except ValueError as error:
        raise _wrong(at, str(error)) from error


def _only(given: Mapping[str, Any], at: str, *known: str) -> None:
    for name in given:
        if name not in known:
            raise _wrong(at, f"unknown field {str(name)[:64]!r}; there are {', '.join(known)}")


def _wrong(at: str, why: str) -> BadRequest:
    return BadRequest(f"Invalid '{at}': {why}.", param=at, code="invalid_value")
