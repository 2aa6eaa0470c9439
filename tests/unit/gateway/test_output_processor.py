"""Ids in, text out: the end of an answer and its reason, wherever the pieces are cut."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.serving.output_processor import OutputProcessor
from tests.support.running import END
from tokens.vocabulary import TokenTable

quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(answer: OutputProcessor, batches: list[list[int]]) -> str:
    """Push batches as the chat does: until it has ended, then the rest."""
    out = ""
    for batch in batches:
        out += answer.push(batch)
        if answer.ended():
            return out
    return out + answer.finish()


def batches_of(ids: list[int], sizes: list[int]) -> list[list[int]]:
    """The ids in batches of these sizes, the last one with what is left."""
    out, at = [], 0
    for size in sizes:
        if ids[at : at + size]:
            out.append(ids[at : at + size])
        at += size
    return [*out, ids[at:]] if ids[at:] else out


@quiet
@given(st.lists(st.integers(2, 399), max_size=30), st.lists(st.integers(1, 5), max_size=10))
def test_text_does_not_depend_on_the_batches(table: TokenTable, ids: list[int], sizes: list[int]) -> None:
    ids = [i for i in ids if i < table.vocab_size and i not in table.end_ids]
    answer = OutputProcessor(table, stops=(), max_tokens=100)
    assert run(answer, batches_of(ids, sizes)) == table.decode(ids)
    assert answer.tokens == len(ids)
    assert answer.finish_reason == "stop"


@quiet
@given(
    st.text("ab ", max_size=30), st.lists(st.integers(1, 5), max_size=10), st.sampled_from(["a b", "bb", "aba", " "])
)
def test_usage_counts_up_to_the_token_that_completes_the_stop_string(
    table: TokenTable, text: str, sizes: list[int], stop: str
) -> None:
    ids = table.encode(text)
    answer = OutputProcessor(table, stops=(stop,), max_tokens=100)
    out = run(answer, batches_of(ids, sizes))
    if stop not in text:
        assert (out, answer.tokens) == (text, len(ids))
        return
    assert out == text[: text.index(stop)]
    assert answer.tokens == next(n for n in range(len(ids) + 1) if stop in table.decode(ids[:n]))
    assert answer.finish_reason == "stop"


def test_limit_reached(table: TokenTable) -> None:
    ids = table.encode("The kettle sings.")
    answer = OutputProcessor(table, stops=(), max_tokens=len(ids))
    assert run(answer, [ids]) == "The kettle sings."
    assert answer.finish_reason == "length"


def test_end_token_in_a_batch_ends_the_answer_there(table: TokenTable) -> None:
    end = table.controls[END].id
    for stops in ((), ("never",)):
        answer = OutputProcessor(table, stops=stops, max_tokens=100)
        assert run(answer, [[*table.encode("Yes"), end, *table.encode("No")]]) == "Yes"
        assert (answer.tokens, answer.finish_reason) == (len(table.encode("Yes")), "stop")


def test_what_was_held_back_for_a_stop_string_comes_at_the_end(table: TokenTable) -> None:
    answer = OutputProcessor(table, stops=("singsong",), max_tokens=100)
    assert run(answer, [[i] for i in table.encode("The kettle sings")]) == "The kettle sings"


def test_unfinished_character_at_the_end_can_complete_a_stop_string(table: TokenTable) -> None:
    half = table.bytes_of.index(b"\xe5")
    answer = OutputProcessor(table, stops=("�",), max_tokens=1)
    assert run(answer, [[half]]) == ""
    assert answer.finish_reason == "stop"


def test_finishing_twice_adds_nothing(table: TokenTable) -> None:
    answer = OutputProcessor(table, stops=(), max_tokens=100)
    run(answer, [table.encode("Yes")])
    assert answer.finish() == ""


def test_nothing_to_say(table: TokenTable) -> None:
    answer = OutputProcessor(table, stops=(), max_tokens=100)
    answer.say_nothing()
    assert (answer.ended(), answer.tokens, answer.finish_reason) == (True, 0, "stop")
