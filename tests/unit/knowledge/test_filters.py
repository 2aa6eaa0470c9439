"""Values from outside stay values: no store name can change what a filter means."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.knowledge.filters import (
    MAX_DEPTH,
    MAX_VALUES,
    compile_filter,
    quote,
    search_filter,
)

# Everything but control characters and lone surrogates, with what could break out of a literal far more often than chance has it.
CHARS = st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\"'\\\n\r\t{}()")
VALUES = st.lists(
    CHARS | st.sampled_from(['" or 1==1 or "', "\\", '\\"', "' || '", "store", '" and ']), max_size=30
).map("".join)


@given(VALUES)
@settings(deadline=None)  # the machine may be busy
def test_milvus_reads_back_exactly_the_value(value: str) -> None:
    parser = pytest.importorskip("milvus_lite.search.filter.parser", reason="milvus-lite is not installed")
    comparison = parser.parse_expr(f"store == {quote(value)}")
    assert type(comparison).__name__ == "CmpOp"
    assert (comparison.op, comparison.left.name, comparison.right.value) == ("==", "store", value)


@given(VALUES)
@settings(deadline=None)  # the machine may be busy
def test_a_literal_has_no_bare_quote_and_no_raw_line_end(value: str) -> None:
    inside = quote(value)[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inside
    assert not set(inside) & set("\n\r\t")
    assert not inside.endswith("\\")


@pytest.mark.parametrize("value", ["a\0b", "bell\a", "escape\x1b", "\x85", "\ud800"])
def test_other_control_characters_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="control characters"):
        quote(value)


def compared(kind: str, value: Any, key: str = "year") -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


def nested(depth: int) -> dict[str, Any]:
    made = compared("eq", 1)
    for _ in range(depth):
        made = {"type": "and", "filters": [made]}
    return made


@pytest.mark.parametrize(
    ("filters", "expression"),
    [
        (compared("eq", "x"), 'attributes["year"] == "x"'),
        (compared("ne", True), 'not exists attributes["year"] or attributes["year"] != true'),
        (compared("gte", -3), 'attributes["year"] >= -3'),
        (compared("lt", 2.0), 'attributes["year"] < 2'),
        (compared("lt", 0.00001), 'attributes["year"] < 1e-05'),
        (compared("in", ["a", 2.5]), 'attributes["year"] == "a" or attributes["year"] == 2.5'),
        (
            compared("nin", [1, 2]),
            'not exists attributes["year"] or (attributes["year"] != 1 and attributes["year"] != 2)',
        ),
        (
            {"type": "or", "filters": [compared("eq", 1), {"type": "and", "filters": [compared("gt", 2)]}]},
            '(attributes["year"] == 1) or ((attributes["year"] > 2))',
        ),
    ],
)
def test_a_clients_filter_becomes_an_expression(filters: dict[str, Any], expression: str) -> None:
    assert compile_filter(filters) == expression


def test_a_search_stays_in_its_tenants_stores_whatever_the_client_filters() -> None:
    only = 'tenant == "acme" and store in ["vs_1", "vs_2"]'
    assert search_filter("acme", ["vs_1", "vs_2"]) == only
    either = {"type": "or", "filters": [compared("eq", 1), compared("eq", 2)]}
    assert search_filter("acme", ["vs_1", "vs_2"], either) == f"{only} and ({compile_filter(either)})"
    with pytest.raises(ValueError, match="a store"):
        search_filter("acme", [])


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ([], "filters"),
        ({}, "filters.type"),
        ({"type": "like", "key": "a", "value": "b"}, "filters.type"),
        ({"type": ["and"]}, "filters.type"),
        ({"type": "eq", "key": "a", "value": "b", "more": 1}, "filters"),
        ({"type": "and", "filters": []}, "filters.filters"),
        ({"type": "and", "filters": [compared("eq", 1), 7]}, "filters.filters.1"),
        ({"type": "and", "filters": [compared("eq", None)]}, "filters.filters.0.value"),
        (nested(MAX_DEPTH + 1), "filters" + ".filters.0" * MAX_DEPTH + ".filters"),
        (compared("eq", 1, ""), "filters.key"),
        (compared("eq", 1, "a" * 65), "filters.key"),
        (compared("eq", 1, 'a"]["b'), "filters.key"),
        (compared("eq", 1, "a\0"), "filters.key"),
        (compared("eq", {"$ne": 1}), "filters.value"),
        (compared("eq", [1]), "filters.value"),
        (compared("gt", True), "filters.value"),
        (compared("eq", float("nan")), "filters.value"),
        (compared("eq", 10**30), "filters.value"),
        (compared("eq", "x" * 513), "filters.value"),
        (compared("eq", "bell\a"), "filters.value"),
        (compared("in", "abc"), "filters.value"),
        (compared("in", []), "filters.value"),
        (compared("nin", [1, []]), "filters.value.1"),
        (compared("in", [1] * (MAX_VALUES + 1)), f"filters.value.{MAX_VALUES}"),
    ],
)
def test_a_filter_that_is_none_is_refused_by_its_field(filters: Any, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        compile_filter(filters)
    assert refused.value.param == field
    assert refused.value.message.startswith(f"Invalid '{field}': ")


def test_the_deepest_and_the_longest_filters_are_taken() -> None:
    assert compile_filter(nested(MAX_DEPTH)).count("(") == MAX_DEPTH
    assert compile_filter(compared("in", list(range(MAX_VALUES)))).count("==") == MAX_VALUES


@given(key=VALUES.filter(lambda key: 1 <= len(key) <= 64 and not set(key) & set("[]\"'\\")), value=VALUES)
@settings(deadline=None)  # the machine may be busy
def test_milvus_reads_back_exactly_the_key_and_the_value(key: str, value: str) -> None:
    parser = pytest.importorskip("milvus_lite.search.filter.parser", reason="milvus-lite is not installed")
    comparison = parser.parse_expr(compile_filter(compared("eq", value, key)))
    assert (comparison.op, comparison.left.path, comparison.right.value) == ("==", (key,), value)
