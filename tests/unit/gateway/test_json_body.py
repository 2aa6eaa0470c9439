"""A body is bounded before it is parsed, whatever stands in it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api import json_body
from gateway.api.json_body import MAX_CONTAINERS, MAX_DEPTH, MAX_KEYS, MAX_MEMBERS, MAX_VALUES, json_object
from gateway.errors import BadRequest


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def keys(count: int) -> bytes:
    return orjson.dumps({f"k{number}": number for number in range(count)})


def members(count: int) -> bytes:
    return b'{"a":[' + b",".join([b'{"b":1,"c":2,"d":3,"e":4,"f":5}'] * (count // 5)) + b"]}"


FULL = {
    "values": b'{"a":[' + b",".join([b"7"] * (MAX_VALUES - 2)) + b"]}",
    "objects": b'{"a":[' + b",".join([b"{}"] * (MAX_CONTAINERS - 2)) + b"]}",
    "depth": nested(MAX_DEPTH),
    "keys": keys(MAX_KEYS),
    "members": members(MAX_MEMBERS - 2000),
    "text with commas and brackets": orjson.dumps({"a": '[{"\\,' * 300_000}),
}
OVER = {
    "values": b'{"a":[' + b",".join([b"7"] * (MAX_VALUES + 1)) + b"]}",
    "objects": b'{"a":[' + b",".join([b"{}"] * (MAX_CONTAINERS + 1)) + b"]}",
    "lists": b'{"a":[' + b",".join([b"[]"] * 1_300_000) + b"]}",
    "depth": nested(MAX_DEPTH + 1),
    "depth without end": b"[" * 900_000,
    "members": members(MAX_MEMBERS + 5),
    "many keys": keys(MAX_MEMBERS + 1),
    "keys": keys(MAX_KEYS + 1),
    "keys further in": b'{"a":[' + keys(MAX_KEYS + 1) + b"]}",
    "behind a string that never ends": b'{"a":[' + b"[]," * 30_000 + b'"',
}


@pytest.mark.parametrize("name", FULL)
def test_a_body_that_fills_a_bound_is_read(name: str) -> None:
    assert json_object(FULL[name]) == orjson.loads(FULL[name])


@pytest.mark.parametrize("name", OVER)
def test_a_body_over_a_bound_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match="JSON") as refused:
        json_object(OVER[name])
    assert refused.value.code == "body_too_complex"


@pytest.mark.parametrize("name", sorted(OVER.keys() - {"keys", "keys further in"}))
def test_what_is_over_a_bound_is_never_parsed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Parser:
        JSONDecodeError = orjson.JSONDecodeError

        @staticmethod
        def loads(_: bytes) -> None:
            pytest.fail("it was parsed")

    monkeypatch.setattr(json_body, "orjson", Parser)
    with pytest.raises(BadRequest):
        json_object(OVER[name])


def count(value: object) -> tuple[int, int, int, int]:
    """(commas and containers, containers, depth, members), as the bounds count them."""
    if not isinstance(value, dict | list):
        return 0, 0, 0, 0
    inner = [count(each) for each in (value.values() if isinstance(value, dict) else value)]
    commas = max(0, len(inner) - 1)
    return (
        1 + commas + sum(each[0] for each in inner),
        1 + sum(each[1] for each in inner),
        1 + max((each[2] for each in inner), default=0),
        (len(value) if isinstance(value, dict) else 0) + sum(each[3] for each in inner),
    )


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.one_of(st.none(), st.integers(-9, 9), st.text(alphabet='a"\\[]{},:\n')),
            lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(alphabet='"\\[{,:'), inner)),
        ),
    ),
    st.integers(1, 12),
)
def test_only_what_stands_outside_of_strings_counts(value: dict[str, object], limit: int) -> None:
    counted = count(value)
    bounds = limit * 2, limit, max(1, limit // 2), limit
    with pytest.MonkeyPatch.context() as patch:
        for name, bound in zip(("VALUES", "CONTAINERS", "DEPTH", "MEMBERS"), bounds, strict=True):
            patch.setattr(json_body, f"MAX_{name}", bound)
        try:
            assert json_object(orjson.dumps(value)) == value
            read = True
        except BadRequest:
            read = False
    assert read == all(found <= bound for found, bound in zip(counted, bounds, strict=True))


def test_a_byte_order_mark_is_no_fault() -> None:
    assert json_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
