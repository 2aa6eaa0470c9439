"""A guided answer that goes on elsewhere, behind the ids that came: the same answer, and still what the guide says."""

import json
import random
from functools import cache

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from llm_engine.guided_decoding import Constraint, GuideCompiler
from llm_engine.request import GuidedDecoding
from llm_engine.scheduler import BatchedRequest, BatchScheduler, Emission, Finish, Spec
from tests.support.json_schemas import schema

END = 2
PROMPT = [5, 6, 7]
LIMIT = 2000
PIECES = [
    '{"',
    '": ',
    '", "',
    '":',
    '"}',
    "], ",
    " [",
    "true",
    "false",
    "null",
    "name",
    "id",
    "er",
    "the",
    "2026",
    "-0",
    "日",
    "ü",
]
VOCABULARY = [b"", b"", b"", *(bytes([byte]) for byte in range(256)), *map(str.encode, PIECES)]
CLOSING = np.array([token == END or (bool(text) and not text.strip(b'"}], ')) for token, text in enumerate(VOCABULARY)])
SPEC = Spec(slots=1, max_context=4096, vocab_size=len(VOCABULARY), first_token_id=3, kv_blocks=256)


@cache
def compiler() -> GuideCompiler:
    return GuideCompiler(lambda: VOCABULARY, vocab_size=len(VOCABULARY))


def constraint(guided: GuidedDecoding, done: list[int]) -> Constraint:
    behind = GuidedDecoding(kind=guided.kind, guide=guided.guide, prefix_length=len(done))
    return compiler().compile(behind, [*PROMPT, *done])


def answer(guided: GuidedDecoding, done: list[int]) -> tuple[list[int], Emission | None]:
    """What an engine gives behind the tokens that have come, and its last word; None where the guide had ended before."""
    made = constraint(guided, done)
    if made.ended:
        return [], None
    scheduler = BatchScheduler(SPEC)
    work = BatchedRequest(
        prompt=[*PROMPT, *done],
        max_tokens=LIMIT - len(done),
        end_ids=frozenset({END}),
        constraint=made,
        closing=CLOSING,
    )
    scheduler.submit(0, work)
    tokens: list[int] = []
    while True:
        scheduler.begin(0.0)
        (emission,) = scheduler.complete()
        if emission.token is not None:
            tokens.append(emission.token)
        if emission.finish:
            return tokens, emission


def text(tokens: list[int]) -> str:
    return b"".join(VOCABULARY[token] for token in tokens).decode()


def check(guided: GuidedDecoding, draw: random.Random) -> str:
    """The whole answer's text, once it has been cut at three places and gone on with the same."""
    whole, last = answer(guided, [])
    assert last is not None
    assert last.finish in (Finish.END, Finish.GUIDE), text(whole)
    assert not last.failure
    for seam in sorted(draw.sample(range(1, len(whole) + 1), k=min(3, len(whole)))):
        rest, _ = answer(guided, whole[:seam])
        assert whole[:seam] + rest == whole
    return text(whole)


@pytest.mark.parametrize("hundred", [0, *(pytest.param(more, marks=pytest.mark.slow) for more in range(1, 5))])
def test_schemas_are_followed_over_every_seam(hundred: int) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        wanted = schema(seed)
        said = check(GuidedDecoding(kind="json_schema", guide=json.dumps(wanted)), random.Random(seed))
        Draft202012Validator(wanted).validate(json.loads(said))


@pytest.mark.parametrize(
    ("kind", "guide"),
    [
        ("json", ""),
        ("regex", r"\d{3}-[a-z]{1,9}(ü|日本)?"),
        ("regex", r"(yes|no|maybe/not)"),
        ("ebnf_grammar", 'root ::= "[" item? "]"\nitem ::= [a-z]+ | "é" | root'),
        ("ebnf_grammar", 'root ::= ("ja" | "nein" | "😀")'),
    ],
)
def test_other_guides_are_followed_over_every_seam(kind: str, guide: str) -> None:
    said = check(GuidedDecoding(kind=kind, guide=guide), random.Random(1))
    if kind == "json":
        assert isinstance(json.loads(said), dict)


def test_a_seam_within_a_character_is_one_like_others() -> None:
    guided = GuidedDecoding(kind="regex", guide="日本語")
    whole, _ = answer(guided, [])
    assert text(whole) == "日本語"
    for seam in range(1, len(whole) + 1):
        assert whole[:seam] + answer(guided, whole[:seam])[0] == whole
