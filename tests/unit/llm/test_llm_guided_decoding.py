"""Which tokens a guide allows: its own, the end where it is whole, never a control token; and what becomes of too much."""

import json

import pytest
from jsonschema import Draft202012Validator

from gateway.serving.guide_bounds import bounded_schema
from llm_engine.guided_decoding import Constraint, GuideCompiler
from llm_engine.request import GuidedDecoding

CONTROL, END = 1, 2
VOCABULARY = [b"", b"", b"", *(bytes([byte]) for byte in range(256)), b"ab", b'{"']
PADDED = len(VOCABULARY) + 20
"""Models' vocabularies can be longer than their tokenizers'."""


@pytest.fixture(scope="module")
def guides() -> GuideCompiler:
    return GuideCompiler(lambda: VOCABULARY, vocab_size=PADDED)


def made(guides: GuideCompiler, kind: str, guide: str) -> Constraint:
    return guides.compile(GuidedDecoding(kind=kind, guide=guide), [5])


def spelled(constraint: Constraint, **how: object) -> set[bytes]:
    return {VOCABULARY[token] for token in constraint.allowed(**{"ends": (), **how})}  # type: ignore[arg-type]


def token(text: bytes) -> int:
    return VOCABULARY.index(text)


def test_every_spelling_of_what_may_come_is_allowed(guides: GuideCompiler) -> None:
    assert spelled(made(guides, "regex", "abc")) == {b"a", b"ab"}
    assert spelled(made(guides, "json", "")) == {b"{", b'{"'}


def test_an_end_is_allowed_where_the_answer_is_whole_and_only_there(guides: GuideCompiler) -> None:
    constraint = made(guides, "regex", "ab*")
    assert END not in constraint.allowed(ends=(END,))
    constraint.take(token(b"a"))
    assert set(constraint.allowed(ends=(END,))) == {END, token(b"b")}
    assert set(constraint.allowed(ends=(END,), banned=(END,))) == {token(b"b")}
    assert not constraint.ended, "it may go on"
    constraint = made(guides, "regex", "ab")
    constraint.take(token(b"ab"))
    assert constraint.ended


def test_no_guide_lets_a_control_token_through_nor_one_that_spells_nothing(guides: GuideCompiler) -> None:
    constraint = made(guides, "ebnf_grammar", f'start: <[{CONTROL}]> | "a" | <[{PADDED - 1}]>')
    assert spelled(constraint) == {b"a"}


def test_ids_beyond_the_vocabulary_disturb_nobody(guides: GuideCompiler) -> None:
    assert spelled(made(guides, "regex", "a"), ends=(PADDED + 7,), banned=(PADDED + 8,)) == {b"a"}


def test_where_nothing_may_come_it_is_told_why(guides: GuideCompiler) -> None:
    constraint = made(guides, "regex", "a")
    assert not constraint.allowed(ends=(), banned=(token(b"a"),)).size
    assert constraint.failure == (
        "llm: bad request: guided_decoding_guide: bad_words_list forbids every token that may come next"
    )


def test_a_grammar_that_is_too_much_for_one_token_is_given_up(guides: GuideCompiler) -> None:
    words = " | ".join(f'"x{number}"' for number in range(1500))
    constraint = made(guides, "ebnf_grammar", f"root ::= {words}")
    for text in (b"x", b"1"):
        if constraint.allowed(ends=()).size:
            constraint.take(token(text))
    assert not constraint.allowed(ends=()).size
    assert constraint.failure.startswith("llm: bad request: guided_decoding_guide: it is too complex to be followed: ")
    assert not constraint.ended


def test_json_has_no_white_space_to_get_lost_in(guides: GuideCompiler) -> None:
    """A model that wants nothing but blanks gets one behind each comma."""
    constraint = made(guides, "json_schema", json.dumps({"type": "array", "items": {"enum": [1]}, "minItems": 2}))
    said = ""
    while not constraint.ended:
        allowed = constraint.allowed(ends=())
        blanks = [each for each in allowed if VOCABULARY[each].isspace()]
        chosen = int(blanks[0] if blanks else allowed[-1])
        said += VOCABULARY[chosen].decode()
        constraint.take(chosen)
    assert said == "[1, 1]"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"type": "integer", "minimum": 7},
        {"type": "number"},
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "number", "exclusiveMinimum": -2.5, "exclusiveMaximum": 40},
        {"type": "number", "multipleOf": 0.25},
    ],
)
@pytest.mark.parametrize("favourite", [b"9", b"0", b"1"])
def test_a_model_that_goes_on_with_a_number_comes_to_its_end(
    guides: GuideCompiler, schema: dict[str, object], favourite: bytes
) -> None:
    """As small models do: one digit again and again, and the end only where there is nothing else."""
    constraint, written = made(guides, "json_schema", json.dumps(bounded_schema(schema, 9))), b""
    while not constraint.ended and len(written) < 60:
        may = spelled(constraint)
        written += next((each for each in (favourite, b"1", b".", b"0") if each in may), min(may))
        constraint.take(token(written[-1:]))
    assert constraint.ended
    Draft202012Validator(schema).validate(json.loads(written))
