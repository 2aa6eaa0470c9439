"""Values from outside stay values: no store name can change what a filter means."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.knowledge.filters import file_filter, quote, store_filter

# Everything but control characters and lone surrogates, with what could break out of a literal far more often than chance has it.
CHARS = st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\"'\\\n\r\t{}()")
VALUES = st.lists(
    CHARS | st.sampled_from(['" or 1==1 or "', "\\", '\\"', "' || '", "store", '" and ']), max_size=30
).map("".join)


@given(VALUES)
@settings(deadline=None)  # the machine may be busy
def test_milvus_reads_back_exactly_the_value(value: str) -> None:
    parser = pytest.importorskip("milvus_lite.search.filter.parser", reason="milvus-lite is not installed")
    comparison = parser.parse_expr(store_filter(value))
    assert type(comparison).__name__ == "CmpOp"
    assert (comparison.op, comparison.left.name, comparison.right.value) == ("==", "store", value)


@given(VALUES, VALUES)
@settings(deadline=None)  # the machine may be busy
def test_a_file_filter_is_two_comparisons_and_nothing_else(store: str, file_id: str) -> None:
    parser = pytest.importorskip("milvus_lite.search.filter.parser", reason="milvus-lite is not installed")
    both = parser.parse_expr(file_filter(store, file_id))
    assert type(both).__name__ == "And"
    assert [(side.left.name, side.right.value) for side in both.operands] == [("store", store), ("file_id", file_id)]


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
