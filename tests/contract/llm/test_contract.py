"""The contract of `llm` (docs/contracts.md), the same for every flavour and transport, on the real Triton."""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from tests.contract.llm.llm_client import CONTEXT, HELLO, QUEUE, SLOTS, Call, GrpcCall, Llm, Refused, tokens

WAIT_S = 15.0
TRIES = 3


def soon(what: Callable[[], Any]) -> bool:
    """Whether it becomes true within the deadline; metrics follow the truth within 100 ms or so."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return False


def settled(read: Callable[[], float]) -> float:
    """What it reads once that has not changed for a second."""
    value, since, deadline = read(), time.monotonic(), time.monotonic() + WAIT_S
    while time.monotonic() - since < 1.0 and time.monotonic() < deadline:
        time.sleep(0.05)
        if (now := read()) != value:
            value, since = now, time.monotonic()
    return value


def at_rest(llm: Llm) -> bool:
    return not any(map(llm.load, ("active", "waiting", "scheduled"))) and not llm.blocks("used")


def fill(llm: Llm, *, waiting: int) -> list[Call]:
    """All slots taken and `waiting` requests behind them. A first token says that a slot is taken; metrics may be old. On a
    busy machine so old that the first ones have ended: then once more."""
    for _ in range(TRIES):
        assert soon(lambda: at_rest(llm))
        active = [llm.open(length=400) for _ in range(SLOTS)]
        for call in active:
            next(iter(call))
        calls = [*active, *(llm.open(length=400) for _ in range(waiting))]
        if soon(lambda: llm.load("active") == SLOTS and llm.load("waiting") == waiting):
            return calls
        for call in calls:
            call.close()
    pytest.fail(f"{SLOTS} active and {waiting} waiting requests were never seen together in {TRIES} tries")


def first(sequence: list[int]) -> int:
    """The first token that comes for the first time at or after position 4."""
    return next(token for index, token in enumerate(sequence) if index >= 4 and token not in sequence[:index])


def test_tokens_come_one_by_one_and_as_many_as_asked(llm: Llm) -> None:
    call = llm.open(length=12)
    responses = list(call)
    assert [len(response.ids) for response in responses] == [1] * 12
    assert [response.length for response in responses] == [1] * 12
    if isinstance(call, GrpcCall):
        assert call.empty_finals == 0, "the final flag comes with the last token"


def test_not_streaming_is_the_same_answer_at_once(llm: Llm) -> None:
    (response,) = llm.open(length=12, streaming=False)
    assert response.ids == llm.tokens(length=12)
    assert response.length == 12


def test_greedy_is_repeatable_whatever_the_seed_and_the_temperature_alone(llm: Llm) -> None:
    whole = llm.tokens()
    assert whole == llm.tokens(seed=5, runtime_top_k=1) == llm.tokens(temperature=0.7)


def test_the_end_token_ends_and_is_not_given(llm: Llm) -> None:
    whole = llm.tokens()
    end = first(whole)
    call = llm.open(end_id=end)
    assert tokens(call) == whole[: whole.index(end)]
    if isinstance(call, GrpcCall):
        assert call.empty_finals == 1
    (response,) = llm.open(end_id=end, streaming=False)
    assert response.ids == whole[: whole.index(end)]


def test_an_end_token_at_once_is_an_empty_answer(llm: Llm) -> None:
    end = llm.tokens(length=1)[0]
    assert llm.tokens(end_id=end) == []
    (response,) = llm.open(end_id=end, streaming=False)
    assert (response.ids, response.length) == ([], 0)


def test_min_tokens_holds_the_end_token_back(llm: Llm) -> None:
    whole = llm.tokens()
    end = first(whole)
    least = whole.index(end) + 4
    longer = llm.tokens(end_id=end, min_tokens=least)
    assert len(longer) >= least
    assert end not in longer
    assert longer[: whole.index(end)] == whole[: whole.index(end)]


def test_stop_words_end_and_are_given(llm: Llm) -> None:
    whole = llm.tokens()
    assert llm.tokens(stop_words_list=[[whole[3], whole[4], 7], [2, 3, -1]]) == whole[:5]
    unmatched = [[whole[4], whole[3]], [2, -1]]
    if (whole[4], whole[3]) not in pairwise(whole):
        assert llm.tokens(stop_words_list=unmatched) == whole


def test_forbidden_tokens_do_not_come(llm: Llm) -> None:
    whole = llm.tokens()
    other = llm.tokens(bad_words_list=[[whole[2]], [1]])
    assert whole[2] not in other
    assert other[:2] == whole[:2]


def test_a_continuation_from_prompt_and_journal_goes_on_alike(llm: Llm) -> None:
    whole = llm.tokens(length=20)
    assert llm.tokens(prompt=[*HELLO, *whole[:8]], length=12) == whole[8:]


@pytest.mark.parametrize(
    "penalties",
    [{"repetition_penalty": 1.3}, {"presence_penalty": 1.5, "frequency_penalty": 0.7}],
    ids=["repetition", "presence and frequency"],
)
def test_penalties_count_the_journal_that_has_become_prompt(llm: Llm, penalties: dict[str, float]) -> None:
    whole = llm.tokens(length=20, **penalties)
    assert llm.tokens(prompt=[*HELLO, *whole[:8]], length=12, **penalties) == whole[8:]


def test_seeds(llm: Llm) -> None:
    drawn = {"temperature": 1.0, "runtime_top_p": 1.0, "length": 20}
    if llm.flavour == "simulated":
        assert llm.tokens(**drawn, seed=1) == llm.tokens(length=20)
        return
    once, again, other = (llm.tokens(**drawn, seed=seed) for seed in (11, 11, 2**40 + 12))
    assert once == again
    assert once != other


def test_streams_side_by_side(llm: Llm) -> None:
    alone = llm.tokens(length=24)
    beside = SLOTS + QUEUE // 2  # an earlier test's request may still be on its way out
    with ThreadPoolExecutor(beside) as pool:
        answers = list(pool.map(lambda _: llm.tokens(length=24), range(beside)))
    assert [len(answer) for answer in answers] == [24] * len(answers)
    if llm.flavour == "simulated":
        assert all(answer == alone for answer in answers)


def test_metrics_tell_the_truth_while_it_runs_and_after(llm: Llm) -> None:
    calls = fill(llm, waiting=2)
    assert llm.load("max") == SLOTS
    used = llm.blocks("used") * llm.blocks("tokens_per")
    assert 4 * 31 <= used <= llm.blocks("max") * llm.blocks("tokens_per")
    assert llm.blocks("free") == pytest.approx(llm.blocks("max") - llm.blocks("used"), abs=64)
    assert soon(lambda: llm.blocks("fraction") > 0)
    for call in calls:
        call.close()
    assert soon(lambda: at_rest(llm))
    assert llm.blocks("free") == llm.blocks("max")


def test_steps_are_counted(llm: Llm) -> None:
    before = llm.steps()
    assert len(llm.tokens()) == 16
    assert soon(lambda: llm.steps() > before)


def test_a_client_that_hangs_up_frees_its_slot(llm: Llm) -> None:
    assert soon(lambda: at_rest(llm))
    call = llm.open(length=450)
    next(iter(call))
    assert soon(lambda: llm.load("active") == 1)
    call.close()
    assert soon(lambda: at_rest(llm))


def test_stop_ends_the_request_of_that_id_and_no_other(llm: Llm) -> None:
    calls = {name: llm.open(f"request-{name}", length=400) for name in "ab"}
    streams = {name: iter(call) for name, call in calls.items()}
    for stream in streams.values():
        next(stream)
    assert llm.tokens(request_id="request-a", stop=True) == []
    rest = list(streams["a"])
    assert len(rest) < 398
    next(streams["b"])
    calls["b"].close()


def test_a_full_queue_refuses_at_once(llm: Llm) -> None:
    calls = fill(llm, waiting=QUEUE)
    with pytest.raises(Refused, match="llm: queue full: 4 requests wait"):
        llm.tokens()
    for call in calls:
        call.close()
    assert soon(lambda: at_rest(llm))
    assert len(llm.tokens()) == 16


def test_prefixes_are_reused(llm: Llm) -> None:
    prompt = [1, *range(2000, 2127)]
    llm.tokens(prompt=prompt, length=2)
    assert soon(lambda: at_rest(llm))
    before = llm.blocks("reused")
    told = [each.reused_blocks for each in llm.open(prompt=[*prompt, 99], length=2)]
    assert soon(lambda: (llm.blocks("reused") - before) * llm.blocks("tokens_per") >= 96)
    if llm.flavour in ("simulated", "llamacpp", "torch"):  # TensorRT-LLM tells it elsewhere, or not at all
        assert told[0] is not None
        assert 96 <= told[0] * llm.blocks("tokens_per") <= 128
        assert not any(told[1:])


def test_requests_of_different_salts_share_no_prefix(llm: Llm) -> None:
    prompt, one, other = [1, *range(3000, 3127)], secrets.randbits(63), secrets.randbits(63)
    assert soon(lambda: at_rest(llm))
    running = llm.open(prompt=[1, *range(4000, 4040)], length=400)
    next(iter(running))
    before = settled(
        lambda: llm.blocks("reused")
    )  # while it runs, the metrics go on: they come to tell of all before it
    running.close()

    def reused() -> float:
        """Tokens."""
        return (llm.blocks("reused") - before) * llm.blocks("tokens_per")

    answers = []
    for ids, salt in ((prompt, one), (prompt, other), ([*prompt[:64], 99], one)):
        answers.append(llm.tokens(prompt=ids, length=2, cache_salt_id=salt))
        assert soon(lambda: at_rest(llm))
    assert answers[0] == answers[1], "a salt changes no answer"
    # The metric may be old, but never tells of the last one without the others: all of the prompt would be 96 and more.
    assert soon(lambda: reused() >= 64), "one's own is shared"
    assert reused() < 96, "what another has asked is not"


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"length": 0}, "request_output_len"),
        ({"length": CONTEXT}, "request_output_len"),
        ({"prompt": list(range(100, 100 + CONTEXT + 1))}, "request_output_len"),
        ({"prompt": [49152]}, "input_ids"),
        ({"prompt": [-1, 5]}, "input_ids"),
        ({"input_lengths": 99}, "input_lengths"),
        ({"temperature": -1.0}, "temperature"),
        ({"runtime_top_p": 1.5}, "runtime_top_p"),
        ({"min_tokens": 17}, "min_tokens"),
        ({"beam_width": 2}, "beam_width"),
        ({"lora_task_id": 1}, "lora_task_id"),
        ({"exclude_input_in_output": False}, "exclude_input_in_output"),
        ({"stop_words_list": [[1, 2], [2, 1]]}, "stop_words_list"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(llm: Llm, inputs: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"llm: bad request: {field}: "):
        llm.tokens(**inputs)


def test_log_probs_where_the_engine_knows_them(llm: Llm) -> None:
    if llm.flavour in ("simulated", "llmapi"):
        with pytest.raises(Refused, match="llm: bad request: return_log_probs"):
            llm.tokens(return_log_probs=True)
        return
    responses = list(llm.open(length=4, return_log_probs=True, num_top_log_probs=3))
    assert [len(response.log_probs) for response in responses] == [1] * 4
    assert all(response.log_probs[0] <= 0 for response in responses)
    assert [response.ids[0] for response in responses] == llm.tokens(length=4)
    for response in responses:  # greedy: the token is the likeliest one
        assert response.top[0] == (response.ids[0], response.log_probs[0])
        assert [value for _, value in response.top] == sorted((value for _, value in response.top), reverse=True)
        assert len(response.top) == 3


@pytest.mark.parametrize("cut", [1, 3])
def test_log_probs_go_on_behind_a_journal(llm: Llm, cut: int) -> None:
    """Up to numerical noise: the journal is read as a prompt, in other pieces than it was written in."""
    if llm.flavour in ("simulated", "llmapi"):
        return  # it tells none
    told = {"return_log_probs": True, "num_top_log_probs": 2}
    whole = list(llm.open(length=5, **told))
    journal = [token for response in whole[:cut] for token in response.ids]
    rest = list(llm.open(prompt=[*HELLO, *journal], length=5 - cut, **told))
    assert [response.ids for response in rest] == [response.ids for response in whole[cut:]]
    for after, before in zip(rest, whole[cut:], strict=True):
        assert after.log_probs[0] == pytest.approx(before.log_probs[0], abs=0.1)
        assert after.top[0][0] == before.top[0][0]


def test_a_journal_is_read_in_the_sums_it_was_written_in(llm: Llm) -> None:
    """Or a near tie behind a seam turns, and a greedy answer that was moved ends otherwise than one that was not."""
    if llm.flavour != "llamacpp":
        return  # of the others two tell no probabilities, and one promises this up to noise
    prompt, told = HELLO * 3, {"return_log_probs": True, "num_top_log_probs": 2}
    whole = list(llm.open(prompt=prompt, length=16, cache_salt_id=1, **told))
    journal = [token for response in whole[:10] for token in response.ids]
    rest = list(llm.open(prompt=[*prompt, *journal], length=6, cache_salt_id=2, **told))
    assert [response.ids for response in rest] == [response.ids for response in whole[10:]]
    for after, before in zip(rest, whole[10:], strict=True):
        assert after.log_probs[0] == pytest.approx(before.log_probs[0], abs=1e-3)


def test_a_bias_forbids_and_decides(llm: Llm) -> None:
    if llm.flavour == "llmapi":
        with pytest.raises(Refused, match="llm: bad request: embedding_bias"):
            llm.tokens(embedding_bias=[0.0, -100.0])
        return
    usual = llm.tokens(length=2)
    forbidden = [0.0] * usual[0] + [-100.0]
    assert llm.tokens(length=1, embedding_bias=forbidden) != usual[:1]
    assert llm.tokens(length=3, embedding_bias=[0.0] * 500 + [100.0]) == [500] * 3


def test_no_id_is_lost_where_characters_span_tokens(llm: Llm) -> None:
    """llama.cpp's server reports no token that ends inside a UTF-8 character."""
    fox, panda = [15107, 116, 228], [10813, 234, 137]
    prompt = ([*fox, *panda] * 8)[:-1]
    answer = llm.tokens(prompt=prompt, length=10)
    assert len(answer) == 10
    if llm.flavour == "llamacpp":
        assert answer == [137, *fox, *panda, *fox]


def test_the_models_own_end_ends_an_answer(llm: Llm) -> None:
    inputs = {"input_ids": HELLO, "input_lengths": len(HELLO), "request_output_len": 100, "streaming": True}
    answer = tokens(llm.client.open(inputs))
    if llm.flavour == "simulated":
        assert len(answer) == 100, "it has no end of its own"
        return
    assert 0 < len(answer) < 100
    assert not {0, 2} & set(answer)
    past_it = llm.tokens(length=len(answer) + 5)
    assert past_it[: len(answer)] == answer
    assert past_it[len(answer)] == 2, "without an end it is a token like others"
