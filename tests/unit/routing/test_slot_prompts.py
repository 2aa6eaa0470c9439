"""An engine with one prompt a slot forgets a conversation that was pushed out of its slot, long before its KV cache is full."""

import pytest

from gateway.routing.prefix_index import PrefixIndex

BLOCK = 32


def talk(number: int, blocks: int) -> list[int]:
    """The tokens of a conversation; longer ones begin as the shorter ones do."""
    return [1000 * number + position for position in range(blocks * BLOCK)]


@pytest.fixture
def index() -> PrefixIndex:
    index = PrefixIndex(block_tokens=BLOCK)
    index.resize("slots", 1_000_000, prompts=2)
    index.resize("pool", 1_000_000)
    return index


def depth(index: PrefixIndex, name: str, tokens: list[int]) -> int:
    return index.depth(name, index.keys(tokens))


def test_a_third_conversation_takes_the_slot_unused_for_longest(index: PrefixIndex) -> None:
    for name in ("slots", "pool"):
        for number in (1, 2, 3):
            index.record(name, index.keys(talk(number, 4)))
    assert [depth(index, "slots", talk(number, 4)) for number in (1, 2, 3)] == [0, 4, 4]
    assert [depth(index, "pool", talk(number, 4)) for number in (1, 2, 3)] == [4, 4, 4]
    keys = index.keys(talk(1, 4))
    assert index.holders(keys, 8, index.deepest(keys)) == ["pool"]


def test_a_conversation_that_goes_on_keeps_its_slot(index: PrefixIndex) -> None:
    index.record("slots", index.keys(talk(1, 4)))
    index.record("slots", index.keys(talk(2, 4)))
    index.record("slots", index.keys(talk(1, 6)))
    assert depth(index, "slots", talk(1, 6)) == 6
    assert depth(index, "slots", talk(2, 4)) == 4
    index.record("slots", index.keys(talk(3, 4)))
    assert depth(index, "slots", talk(1, 6)) == 6
    assert depth(index, "slots", talk(2, 4)) == 0


def test_a_prompt_that_shares_its_beginning_overwrites_the_end_of_the_other(index: PrefixIndex) -> None:
    system = talk(9, 3)
    index.record("slots", index.keys(system + talk(1, 2)))
    index.record("slots", index.keys(system + talk(2, 2)))
    assert depth(index, "slots", system + talk(2, 2)) == 5
    assert depth(index, "slots", system + talk(1, 2)) == 3


def test_a_restarted_instance_has_empty_slots(index: PrefixIndex) -> None:
    index.record("slots", index.keys(talk(1, 4)))
    index.forget("slots")
    assert depth(index, "slots", talk(1, 4)) == 0
    index.resize("slots", 1_000_000, prompts=1)
    index.record("slots", index.keys(talk(1, 4)))
    index.record("slots", index.keys(talk(2, 4)))
    assert [depth(index, "slots", talk(number, 4)) for number in (1, 2)] == [0, 4]
    assert len(index) == 4
