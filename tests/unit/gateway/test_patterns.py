"""Expressions of schemas, as engines read them."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.json_schema import InvalidSchema, checked
from gateway.serving.patterns import followed

SAME = [
    r"^[a-z]{2,5}$",
    r"^(\+49|0)\d{3,6}$",
    r"^[^@\s]{1,8}@[a-z]{1,6}\.(com|org)$",
    r"^\p{L}+$",
    r"^(?:a|b)*?c$",
    r"^(?<x>a)$",
]
MADE = [
    (r"^[[:alpha:]]$", r"^[\[:alpha:]\]$"),
    (r"^[a&&b~~c]$", r"^[a\&\&b\~\~c]$"),
    (r"^x{$", r"^x\{$"),
    (r"^\<a\>$", r"^<a>$"),
    (r"^[\b]$", r"^[\x08]$"),
    (r"\D\W", r"[^\p{Nd}][^\p{L}\p{N}_]"),
    ("^a]}$", r"^a\]\}$"),
]
REFUSED = [
    r"(?=a)b", r"(?<!a)b", r"(a)\1", r"(?<x>a)\k<x>", r"\bfoo\b", r"^a\Z", r"^\cA$", r"^(a", "^a)", "^[a", "^[]a]$", "^[^]$",
    "^a{,3}$", "^(?>a)$", "(?P=x)", "^[+--]$", "a\\",
]  # fmt: skip


def test_what_engines_read_alike_stays() -> None:
    for pattern in SAME:
        assert followed(pattern) == pattern


def test_what_is_an_operator_to_engines_alone_is_a_character() -> None:
    for pattern, made in MADE:
        assert followed(pattern) == made


@pytest.mark.parametrize("strict", [True, False])
def test_what_cannot_be_followed_is_refused_with_its_place(strict: bool) -> None:
    for pattern in REFUSED:
        named = {"a": {"type": "string", "pattern": pattern}}
        schema = {"type": "object", "properties": named, "required": ["a"], "additionalProperties": False}
        with pytest.raises(InvalidSchema, match="#/properties/a/pattern"):
            checked(schema, strict=strict)
    with pytest.raises(InvalidSchema, match="#/patternProperties"):
        checked({"type": "object", "patternProperties": {r"\bx": {}}}, strict=False)


@given(st.text(alphabet=r"ab019[]^-&~{}(),?:=!<>\dwWDbp.*+|$ é", max_size=12))
def test_any_text_is_read_or_refused(pattern: str) -> None:
    with contextlib.suppress(ValueError):
        followed(pattern)


@given(st.sets(st.sampled_from("ab[&~-{}.^$|"), min_size=1), st.sampled_from("ab[&~-{}.^$|"))
def test_a_class_has_its_characters_and_no_others(characters: set[str], other: str) -> None:
    """Python's reading of ECMAScript's escapes and of what is made is one."""
    own = "".join(f"\\{each}" if each in "^-]" else each for each in sorted(characters))
    made = followed(f"^[{own}]$")
    assert bool(re.search(made, other)) == (other in characters)
