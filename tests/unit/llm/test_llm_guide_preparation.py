"""Guides are compiled beside the running streams: in time, or the request hears why not."""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from llm_engine.guide_preparation import DEADLINE_S, GuidePreparation
from llm_engine.guided_decoding import Constraint, GuideCompiler
from llm_engine.request import GuidedDecoding, Request

WAIT_S = 20.0
KEYS = itertools.count()
VOCABULARY = [b"", *(bytes([byte]) for byte in range(256))]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Outcome:
    """What a request heard."""

    def __init__(self) -> None:
        self.ready: list[Request] = []
        self.failures: list[str] = []
        self.told = threading.Event()

    def take(self, request: Request) -> None:
        self.ready.append(request)
        self.told.set()

    def fail(self, why: str) -> None:
        self.failures.append(why)
        self.told.set()


class SlowCompiler(GuideCompiler):
    """Takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__(lambda: VOCABULARY, vocab_size=len(VOCABULARY))
        self.begun, self.go_on = threading.Event(), threading.Event()

    def compile(self, guided: GuidedDecoding, input_ids: Sequence[int]) -> Constraint:
        self.begun.set()
        assert self.go_on.wait(WAIT_S)
        return super().compile(guided, input_ids)


@contextmanager
def preparation(guides: GuideCompiler, clock: Clock) -> Iterator[GuidePreparation]:
    made = GuidePreparation(guides, print, clock=clock)
    try:
        yield made
    finally:
        made.close()


def ask(made: GuidePreparation, kind: str, guide: str, *, prompt: Sequence[int] = (1,), prefix: int = 0) -> Outcome:
    heard = Outcome()
    guided = GuidedDecoding(kind=kind, guide=guide, prefix_length=prefix)
    made.prepare(next(KEYS), Request(input_ids=list(prompt), max_tokens=8, guided=guided), heard.take, heard.fail)
    return heard


def compiled() -> GuideCompiler:
    return GuideCompiler(lambda: VOCABULARY, vocab_size=len(VOCABULARY))


def test_a_guided_request_comes_back_with_its_constraint() -> None:
    with preparation(compiled(), Clock()) as made:
        heard = ask(made, "regex", "[ab]c")
        assert heard.told.wait(WAIT_S)
    (request,) = heard.ready
    assert request.constraint is not None
    assert [VOCABULARY[token] for token in request.constraint.allowed(ends=())] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("kind", "guide", "why"),
    [
        ("regex", "(", "regex parse error"),
        ("regex", "a(?=b)", "look-around"),
        ("json_schema", "{", "it is no JSON schema"),
        ("json_schema", "[]", "a JSON schema is an object"),
        ("json_schema", '{"type": "strin"}', "strin"),
        ("json_schema", '{"not": {}}', "not"),
        ("json_schema", '{"$ref": "http://example.org/schema"}', "http://example.org/schema"),
        ("json_schema", '{"type": "integer", "minimum": 3, "maximum": 2}', "Unsatisfiable"),
        ("json_schema", '{"a":' * 2000 + "1" + "}" * 2000, ""),
        ("ebnf_grammar", 'root ::= "a" item', ""),
        ("ebnf_grammar", "root ::= (((", ""),
        ("ebnf_grammar", "x" * (300 << 10), "bytes"),
    ],
)
def test_a_guide_that_cannot_be_followed_is_refused_by_name(kind: str, guide: str, why: str) -> None:
    with preparation(compiled(), Clock()) as made:
        heard = ask(made, kind, guide)
        again = ask(made, kind, guide) if heard.told.wait(WAIT_S) else heard
        assert again.told.wait(WAIT_S)
    assert heard.failures == again.failures
    assert heard.failures[0].startswith("llm: bad request: guided_decoding_guide: ")
    assert why in heard.failures[0]


def test_a_prefix_that_does_not_follow_the_guide_is_refused() -> None:
    with preparation(compiled(), Clock()) as made:
        heard = ask(made, "regex", "abc", prompt=[1, 1 + ord("a"), 1 + ord("x")], prefix=2)
        assert heard.told.wait(WAIT_S)
    assert heard.failures[0].startswith("llm: bad request: guided_decoding_prefix_length: the last 2 tokens")


def test_what_takes_too_long_is_given_up_and_does_not_come_back() -> None:
    clock, slow = Clock(), SlowCompiler()
    with preparation(slow, clock) as made:
        heard = ask(made, "regex", "a")
        assert slow.begun.wait(WAIT_S)
        made.expire()
        assert not heard.told.is_set()
        clock.now += DEADLINE_S + 1
        made.expire()
        assert "not compiled within 5 s" in heard.failures[0]
        slow.go_on.set()
        other = ask(made, "regex", "a")
        assert other.told.wait(WAIT_S)
    assert len(heard.failures) == 1
    assert not heard.ready
    assert other.ready


def test_the_end_leaves_nobody_waiting() -> None:
    slow = SlowCompiler()
    with preparation(slow, Clock()) as made:
        heard = ask(made, "regex", "a")
        assert slow.begun.wait(WAIT_S)
    slow.go_on.set()
    assert heard.failures == ["llm: engine failed: it is shutting down"]


def test_reading_the_vocabulary_is_no_time_of_the_first_guide() -> None:
    reading, go_on, clock = threading.Event(), threading.Event(), Clock()

    def read() -> Sequence[bytes]:
        reading.set()
        assert go_on.wait(WAIT_S)
        return VOCABULARY

    with preparation(GuideCompiler(read, vocab_size=len(VOCABULARY)), clock) as made:
        heard = ask(made, "regex", "[ab]c")
        assert reading.wait(WAIT_S)
        clock.now += DEADLINE_S + 1
        made.expire()
        go_on.set()
        assert heard.told.wait(WAIT_S)
    assert (len(heard.ready), heard.failures) == (1, [])


def _schemas(part: Callable[[dict[str, Any]], dict[str, Any]], count: int) -> str:
    """Schemas that refer each to the next one, each in the place that `part` has for it."""
    parts = {str(n): part({"$ref": f"#/$defs/{n + 1}"}) for n in range(count)}
    return json.dumps({"$defs": parts | {str(count): {"type": "string"}}, "$ref": "#/$defs/0"})


def _rules(shape: str, count: int) -> str:
    """Rules that refer each to the next one."""
    name = "R{}" if shape == "terminals" else "r{}"
    gives, start = (" ::= ", "root ::= ") if shape == "gbnf" else (": ", "start: ")
    lines = [f"{name.format(n)}{gives}{name.format(n + 1)}" for n in range(count)]
    return "\n".join([start + name.format(0), *lines, f'{name.format(count)}{gives}"a"'])


IN_A_SCHEMA: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "itself": lambda inner: inner,
    "items": lambda inner: {"items": inner},
    "prefixItems": lambda inner: {"prefixItems": [inner]},
    "properties": lambda inner: {"type": "object", "properties": {"a": inner}, "required": ["a"]},
    "additionalProperties": lambda inner: {"additionalProperties": inner},
    **{name: (lambda inner, name=name: {name: [inner]}) for name in ("anyOf", "allOf", "oneOf")},
}


@pytest.mark.parametrize("count", [200, 3000])
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        *(("json_schema", partial(_schemas, part)) for part in IN_A_SCHEMA.values()),
        *(("ebnf_grammar", partial(_rules, shape)) for shape in ("gbnf", "lark", "terminals")),
        ("ebnf_grammar", lambda count: "start: %json " + _schemas(IN_A_SCHEMA["properties"], count // 15)),
    ],
    ids=[*IN_A_SCHEMA, "gbnf", "lark", "terminals", "a schema in a grammar"],
)
def test_a_chain_of_any_length_is_followed_or_refused_and_the_process_lives(
    kind: str, make: Callable[[int], str], count: int
) -> None:
    with preparation(compiled(), Clock()) as made:
        heard = ask(made, kind, make(count))
        assert heard.told.wait(WAIT_S)
    for request in heard.ready:
        assert request.constraint is not None
        assert request.constraint.allowed(ends=(0,)).size
    assert all(why.startswith("llm: bad request: ") for why in heard.failures)
    assert heard.ready or count > 200
