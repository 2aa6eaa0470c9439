"""Which slot a prompt takes, and what of it is there already."""

from llm_engine.kept_prompts import KeptPrompts, common

A, B = list(range(100)), list(range(500, 600))


def test_a_prompt_goes_to_the_slot_that_has_most_of_it() -> None:
    kept = KeptPrompts(3)
    kept.take(A, 0), kept.take(B, 0)
    kept.put(0, A, 0), kept.put(1, B, 0)
    assert kept.take([*B[:50], 7], 0) == (1, 50)
    assert kept.take(A, 0) == (0, 100)


def test_else_to_the_one_that_has_been_free_for_longest() -> None:
    kept = KeptPrompts(2, least_share=0.1)
    first, _ = kept.take(A, 0)
    second, _ = kept.take(B, 0)
    assert not kept
    kept.put(second, B, 0), kept.put(first, A, 0)
    assert kept.take([*A[:9], *range(800, 900)], 0) == (second, 0), "so little is no reason"


def test_nothing_is_shared_over_salts() -> None:
    kept = KeptPrompts(1)
    slot, _ = kept.take(A, 5)
    kept.put(slot, A, 5)
    assert kept.take(A, 6) == (slot, 0)
    kept.put(slot, A, 6)
    assert kept.take(A, 6) == (slot, 100)


def test_common_beginnings() -> None:
    assert common(A, A[:40]) == 40
    assert common(A[:40], A) == 40
    assert common([1, 2, 3], [1, 2, 4]) == 2
    assert common((), A) == 0
