"""Guided answers behind the contract of `llm`: what the guide says, for every flavour and transport, and over a seam."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.contract.llm.llm_client import HELLO, Llm, Refused

SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "grün", None]},
        "count": {"type": "integer", "minimum": 1, "maximum": 20},
        "code": {"type": "string", "pattern": "^[A-Z]{2}[0-9]{1,3}$"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1, "maxItems": 2},
    },
    "required": ["colour", "count", "code", "tags"],
    "additionalProperties": False,
}
SCHEMA_GUIDE = {"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": json.dumps(SCHEMA)}
LENGTH = 120


guiding = pytest.mark.parametrize("served", ["simulated", "llamacpp", "torch"], indirect=True)
"""The flavours that follow guides as this suite starts them; that of TensorRT-LLM does so in tests/contract/llmapi."""


def goes_on_alike(llm: Llm, whole: list[int], seams: list[int], guide: dict[str, Any]) -> None:
    for seam in seams:
        behind = {
            "prompt": [*HELLO, *whole[:seam]],
            "length": LENGTH - seam,
            "guided_decoding_prefix_length": seam,
        }
        assert whole[:seam] + llm.tokens(**guide, **behind) == whole


@guiding
def test_an_answer_is_an_instance_of_its_schema_over_every_seam(llm: Llm) -> None:
    whole = llm.tokens(length=LENGTH, **SCHEMA_GUIDE)
    assert len(whole) < LENGTH, "it ends where its grammar ends, although no token ends it"
    Draft202012Validator(SCHEMA).validate(json.loads(llm.text(whole)))
    goes_on_alike(llm, whole, [1, len(whole) // 2, len(whole)], SCHEMA_GUIDE)


@guiding
@pytest.mark.parametrize(
    ("kind", "guide", "answers"),
    [
        ("regex", "ja|nein", {"ja", "nein"}),
        ("regex", "日本語", {"日本語"}),
        ("ebnf_grammar", 'root ::= "(" ("a" | "ü") ")"', {"(a)", "(ü)"}),
    ],
)
def test_expressions_and_grammars_are_followed(llm: Llm, kind: str, guide: str, answers: set[str]) -> None:
    asked = {"guided_decoding_guide_type": kind, "guided_decoding_guide": guide}
    whole = llm.tokens(length=LENGTH, **asked)
    assert llm.text(whole) in answers
    goes_on_alike(llm, whole, [1], asked)


@guiding
def test_free_json_begins_as_an_object(llm: Llm) -> None:
    assert llm.text(llm.tokens(length=1, guided_decoding_guide_type="json")).startswith("{")


@guiding
def test_the_end_token_ends_an_answer_where_the_guide_lets_it(llm: Llm) -> None:
    asked = {"guided_decoding_guide_type": "regex", "guided_decoding_guide": "[a-z]{3,9}"}
    plain = llm.tokens(length=LENGTH, **asked)
    end = 2
    answer = llm.tokens(length=LENGTH, end_id=end, **asked)
    assert end not in answer
    assert answer == plain[: len(answer)]
    assert 3 <= len(llm.text(answer)) <= 9


@guiding
def test_a_sampled_answer_keeps_to_its_guide_and_its_seed(llm: Llm) -> None:
    drawn = {"temperature": 1.0, "runtime_top_p": 1.0, "seed": 5}
    asked = {"guided_decoding_guide_type": "regex", "guided_decoding_guide": "[0-9]{6}"}
    once, again = (llm.tokens(length=LENGTH, **asked, **drawn) for _ in range(2))
    assert once == again
    assert llm.text(once).isdigit()
    if llm.flavour != "simulated":
        rest = llm.tokens(
            prompt=[*HELLO, once[0]],
            length=LENGTH - 1,
            **asked,
            **drawn | {"seed": 6},
            guided_decoding_prefix_length=1,
        )
        assert [once[0], *rest] == once, "token n hangs on seed + n alone"


@guiding
@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"guided_decoding_guide_type": "xml", "guided_decoding_guide": ""}, "guided_decoding_guide_type"),
        ({"guided_decoding_guide": "{}"}, "guided_decoding_guide"),
        ({"guided_decoding_guide_type": "regex"}, "guided_decoding_guide"),
        ({"guided_decoding_guide_type": "regex", "guided_decoding_guide": "("}, "guided_decoding_guide"),
        ({"guided_decoding_guide_type": "json_schema", "guided_decoding_guide": "{"}, "guided_decoding_guide"),
        ({"guided_decoding_guide_type": "ebnf_grammar", "guided_decoding_guide": "((("}, "guided_decoding_guide"),
        (SCHEMA_GUIDE | {"guided_decoding_prefix_length": 500}, "guided_decoding_prefix_length"),
        (SCHEMA_GUIDE | {"guided_decoding_prefix_length": 3}, "guided_decoding_prefix_length"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(llm: Llm, inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"llm: bad request: {field}: "):
        llm.tokens(**inputs)


def test_a_guide_is_followed_or_refused_by_name(llm: Llm) -> None:
    if llm.flavour == "llmapi":
        with pytest.raises(Refused, match=r"llm: bad request: guided_decoding_guide: .*guided_decoding_backend"):
            llm.tokens(**SCHEMA_GUIDE)
    else:
        assert llm.tokens(**SCHEMA_GUIDE)
