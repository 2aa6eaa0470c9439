"""How results are told where cells are missing, tiny, huge, or no number that JSON has."""

import json
import sys
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from assistants.sql.presentation import chart, chart_block, markdown_table, sentence
from assistants.sql.results import Result, gathered

values = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.decimals(),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
)
tables = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[values] * width), max_size=6))


@given(tables)
def test_whatever_is_in_a_result_it_is_told_and_its_chart_is_json(rows: list[tuple[object, ...]]) -> None:
    names = [f"t.c{at}" for at in range(len(rows[0]) if rows else 1)]
    result = gathered(names, rows, 50)
    assert markdown_table(result)
    assert sentence(result).endswith(".")
    drawn = chart(result)
    if drawn is not None:

        def refuse(name: str) -> None:
            raise AssertionError(name)

        json.loads(chart_block(drawn).split("\n")[1], parse_constant=refuse)
        assert all(each["y"] is not None and each["x"] is not None for each in drawn["data"]["values"])


def _told(value: object) -> str:
    return sentence(gathered(["AVG(t.x)"], [(value,)], 1))


def test_a_single_value_is_told_as_it_is() -> None:
    assert _told(None) == "There is no value."
    assert _told(0.0004) == "The answer is 0.0004."
    assert _told(-0.0000123) == "The answer is -1.23e-05."
    assert _told(-0.0) == "The answer is 0."
    assert _told(1234567.5) == "The answer is 1,234,567.5."
    assert _told(2.5e300) == "The answer is 2.5e+300."
    assert _told(float("inf")) == "The answer is inf."
    assert _told(sys.float_info.max) == "The answer is 1.7976931348623157e+308."
    assert _told(Decimal("12345.10")) == "The answer is 12,345.1."
    assert _told("a|b") == r"The answer is a\|b."


def test_what_has_no_value_hides_no_other() -> None:
    result = Result(("c.region", "SUM(o.x)"), (("north", 3), (None, 9), ("south", None), ("west", -2)), cut=False)
    assert sentence(result) == "There are 4 rows. The highest sum of x is 9 (–), the lowest -2 (west)."
    drawn = chart(result)
    assert drawn is not None
    assert [(each["x"], each["y"]) for each in drawn["data"]["values"]] == [("north", 3), ("–", 9), ("west", -2)]
