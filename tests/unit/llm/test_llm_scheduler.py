"""The batcher's rules: order, room, prefixes, endings, and that nothing is ever lost."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_engine.errors import EngineQueueFull, InvalidRequest
from llm_engine.scheduler import BatchedRequest, BatchScheduler, Finish, Spec

SPEC = Spec(
    slots=4,
    max_queue_size=8,
    kv_blocks=16,
    tokens_per_block=4,
    max_num_tokens=64,
    prefill_tokens_per_s=1000,
    decode_step_ms=10,
    decode_step_ms_per_sequence=1,
)


def run(scheduler: BatchScheduler, iterations: int = 10_000) -> dict[object, list[int]]:
    """Everything that the waiting requests are given, until nothing is left to do."""
    given_: dict[object, list[int]] = {}
    for _ in range(iterations):
        if scheduler.begin(0.0) is None:
            return given_
        for emission in scheduler.complete():
            tokens = given_.setdefault(emission.key, [])
            if emission.token is not None:
                tokens.append(emission.token)
    raise AssertionError("it does not end")


def answer(work: BatchedRequest, spec: Spec = SPEC) -> list[int]:
    scheduler = BatchScheduler(spec)
    scheduler.submit("only", work)
    return run(scheduler)["only"]


def test_answers_have_their_length_and_no_special_tokens() -> None:
    tokens = answer(BatchedRequest(prompt=[1, 2, 3], max_tokens=40))
    assert len(tokens) == 40
    assert all(SPEC.first_token_id <= token < SPEC.vocab_size for token in tokens)
    assert len(set(tokens)) > 35


def test_an_answer_depends_on_every_token_of_the_prompt() -> None:
    answers = {
        tuple(answer(BatchedRequest(prompt=prompt, max_tokens=5)))
        for prompt in ([1, 2, 3], [1, 2, 4], [2, 1, 3], [1, 2])
    }
    assert len(answers) == 4


@given(st.lists(st.integers(0, 49151), min_size=1, max_size=20), st.integers(1, 19), st.integers(1, 9))
def test_a_continuation_elsewhere_gives_the_same_tokens(prompt: list[int], cut: int, block: int) -> None:
    """Migration: prompt and journal on another instance, of another make."""
    whole = answer(BatchedRequest(prompt=prompt, max_tokens=20))
    other = Spec(tokens_per_block=block, slots=1, enable_kv_cache_reuse=False)
    assert whole[:cut] + answer(BatchedRequest(prompt=prompt + whole[:cut], max_tokens=20 - cut), other) == whole


def test_min_tokens_moves_with_a_continuation() -> None:
    whole = answer(BatchedRequest(prompt=[5], max_tokens=10))
    end = whole[3]
    longer = answer(BatchedRequest(prompt=[5], max_tokens=10, min_tokens=6, end_ids=frozenset({end})))
    assert longer[:3] == whole[:3]
    assert end not in longer[:6]
    rest = BatchedRequest(prompt=[5, *longer[:4]], max_tokens=6, min_tokens=2, end_ids=frozenset({end}))
    assert longer[:4] + answer(rest) == longer


def test_the_end_token_ends_and_is_not_given() -> None:
    whole = answer(BatchedRequest(prompt=[5], max_tokens=10))
    scheduler = BatchScheduler(SPEC)
    scheduler.submit("a", BatchedRequest(prompt=[5], max_tokens=10, end_ids=frozenset({whole[2]})))
    emissions = [emission for _ in range(3) if scheduler.begin(0) for emission in scheduler.complete()]
    assert [emission.token for emission in emissions] == [whole[0], whole[1], None]
    assert emissions[-1].finish is Finish.END
    assert scheduler.begin(0) is None


def test_a_stop_word_ends_and_is_given() -> None:
    whole = answer(BatchedRequest(prompt=[5], max_tokens=10))
    assert answer(BatchedRequest(prompt=[5], max_tokens=10, stop_words=((whole[4], whole[5]), (1, 2)))) == whole[:6]


def test_forbidden_tokens_do_not_come() -> None:
    whole = answer(BatchedRequest(prompt=[5], max_tokens=10))
    assert whole[4] not in answer(BatchedRequest(prompt=[5], max_tokens=10, bad_tokens=frozenset({whole[4]})))


def test_time_is_decoding_plus_what_the_cache_lacks() -> None:
    scheduler = BatchScheduler(SPEC)
    prompt = list(range(10))
    scheduler.submit("a", BatchedRequest(prompt=prompt, max_tokens=2))
    assert scheduler.begin(100.0) == pytest.approx(100.0 + 0.011 + 0.010)
    scheduler.complete()
    assert scheduler.begin(0.0) == pytest.approx(0.011)
    scheduler.complete()
    scheduler.submit("b", BatchedRequest(prompt=prompt, max_tokens=2))
    scheduler.submit("c", BatchedRequest(prompt=[7], max_tokens=2))
    # b: two of its blocks are cached, so 2 tokens are left; c: 1.
    assert scheduler.begin(0.0) == pytest.approx(0.012 + 0.003)
    assert scheduler.stats().kv_reused == 2


def test_blocks_are_shared_within_a_salt_alone() -> None:
    scheduler = BatchScheduler(SPEC)
    answers: list[list[int | None]] = []
    for key, salt in (("a", 5), ("b", 6), ("c", 5)):
        scheduler.submit(key, BatchedRequest(prompt=list(range(10)), max_tokens=1, cache_salt=salt))
        scheduler.begin(0.0)
        answers.append([emission.token for emission in scheduler.complete()])
        assert scheduler.stats().kv_reused == (2 if key == "c" else 0)
    assert answers[0] == answers[1] == answers[2]


def test_one_token_of_a_wholly_cached_prompt_is_computed() -> None:
    scheduler = BatchScheduler(SPEC)
    for key in "ab":
        scheduler.submit(key, BatchedRequest(prompt=list(range(8)), max_tokens=1))
        due = scheduler.begin(0.0)
        scheduler.complete()
    assert due == pytest.approx(0.011 + 0.004)


def test_admission_is_first_come_first_served_also_past_a_large_one() -> None:
    scheduler = BatchScheduler(SPEC)
    scheduler.submit("first", BatchedRequest(prompt=[1], max_tokens=39))  # 10 of 16 blocks
    scheduler.submit("large", BatchedRequest(prompt=[2], max_tokens=39))
    scheduler.submit("small", BatchedRequest(prompt=[3], max_tokens=1))
    scheduler.begin(0.0)
    assert [emission.key for emission in scheduler.complete()] == ["first"]
    assert scheduler.stats().waiting == 2
    assert scheduler.cancel("first")
    scheduler.begin(0.0)
    assert [emission.key for emission in scheduler.complete()] == ["large", "small"]


def test_slots_bound_what_runs_and_the_queue_what_waits() -> None:
    scheduler = BatchScheduler(SPEC)
    for number in range(SPEC.slots + SPEC.max_queue_size):
        scheduler.submit(number, BatchedRequest(prompt=[number], max_tokens=3))
    with pytest.raises(EngineQueueFull, match="llm: queue full: 12 requests wait"):
        scheduler.submit("late", BatchedRequest(prompt=[1], max_tokens=3))
    scheduler.begin(0.0)
    stats = scheduler.stats()
    assert (stats.active, stats.scheduled, stats.context, stats.waiting, stats.max) == (4, 4, 4, 8, 4)
    scheduler.complete()
    assert scheduler.stats().context == 0
    with pytest.raises(EngineQueueFull, match="llm: queue full: 8 requests wait"):
        scheduler.submit("late", BatchedRequest(prompt=[1], max_tokens=3))
    assert set(run(scheduler)) == set(range(12))


def test_prompts_beyond_the_token_budget_wait_for_the_next_iteration() -> None:
    spec = Spec(slots=4, max_num_tokens=10, tokens_per_block=4)
    scheduler = BatchScheduler(spec)
    for key, size in (("a", 20), ("b", 6), ("c", 4)):
        scheduler.submit(key, BatchedRequest(prompt=[size] * size, max_tokens=5))
    admitted = []
    for _ in range(3):
        scheduler.begin(0.0)
        admitted.append(scheduler.stats().active)
        scheduler.complete()
    assert admitted == [1, 3, 3]


def test_what_can_never_fit_is_refused() -> None:
    scheduler = BatchScheduler(SPEC)
    with pytest.raises(InvalidRequest, match="request_output_len: prompt and answer need more than all 16 blocks"):
        scheduler.submit("a", BatchedRequest(prompt=[1], max_tokens=64))


def test_a_request_cancelled_in_its_iteration_gets_nothing_and_holds_nothing() -> None:
    scheduler = BatchScheduler(SPEC)
    scheduler.submit("a", BatchedRequest(prompt=[1, 2, 3], max_tokens=5))
    scheduler.submit("b", BatchedRequest(prompt=[4], max_tokens=5))
    scheduler.begin(0.0)
    assert scheduler.cancel("a")
    assert not scheduler.cancel("a")
    assert [emission.key for emission in scheduler.complete()] == ["b"]
    assert scheduler.stats().kv_used == 2


Step = tuple[str, int, int]


def steps() -> Iterator[st.SearchStrategy[Step]]:
    yield st.tuples(st.just("submit"), st.integers(0, 3), st.integers(1, 24))
    yield st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0))
    yield st.tuples(st.just("begin"), st.just(0), st.just(0))
    yield st.tuples(st.just("complete"), st.just(0), st.just(0))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*steps()), max_size=80), st.booleans())
def test_no_block_and_no_request_is_ever_lost(plan: list[Step], reuse: bool) -> None:
    spec = Spec(slots=3, max_queue_size=6, kv_blocks=14, tokens_per_block=3, enable_kv_cache_reuse=reuse)
    scheduler, submitted, ended = BatchScheduler(spec), set[object](), set[object]()
    for number, (action, a, b) in enumerate(plan):
        if action == "submit":
            try:
                # Few distinct prompts: prefixes meet.
                scheduler.submit(number, BatchedRequest(prompt=[a] * b, max_tokens=1 + b // 2))
                submitted.add(number)
            except (EngineQueueFull, InvalidRequest):
                pass
        elif action == "cancel" and scheduler.cancel(a):
            ended.add(a)
        elif action == "begin":
            scheduler.begin(0.0)
        elif action == "complete":
            ended |= {emission.key for emission in scheduler.complete() if emission.finish}
        stats = scheduler.stats()
        assert 0 <= stats.kv_used <= spec.kv_blocks
        assert scheduler.pool.used + scheduler.pool.cached <= spec.kv_blocks
        assert stats.active <= spec.slots
        assert submitted - ended == set(scheduler.keys())
    ended |= set(run(scheduler))
    assert submitted == ended
    stats = scheduler.stats()
    assert (stats.kv_used, stats.active, stats.waiting) == (0, 0, 0)
    assert stats.kv_free == spec.kv_blocks
