"""The prefix index: what it says of many instances at once is what it says of each."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.prefix_index import PrefixIndex

BLOCK = 4
PROMPTS = st.lists(st.integers(0, 1), min_size=0, max_size=6).map(
    lambda blocks: [block for block in blocks for _ in range(BLOCK)]
)
"""Of few different blocks, so that many prompts begin alike."""
EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), PROMPTS, st.integers(0, 9)), max_size=40)


@given(EVENTS, PROMPTS, st.integers(1, 6))
def test_depths_are_those_of_each(events: list[tuple[str, list[int], int]], prompt: list[int], limit: int) -> None:
    index = PrefixIndex(block_tokens=BLOCK)
    for name, tokens, chance in events:
        if chance == 0:
            index.forget(name)
        elif chance < 3:
            index.resize(name, BLOCK * 4 * chance, prompts=chance if name == "d" else 0)
        index.record(name, index.keys(tokens))
    names = ["a", "b", "c", "d", "nobody"]
    keys = index.keys(prompt)
    each = [index.depth(name, keys) for name in names]
    deepest = index.deepest(keys)
    assert deepest == max(each)
    assert index.depths(names, keys, deepest) == each
    holders = index.holders(keys, limit, deepest)
    assert len(set(holders)) == len(holders) <= limit
    found = [index.depth(name, keys) for name in holders]
    assert found == sorted(found, reverse=True)
    assert all(found)
    assert (max(found) == deepest) if deepest else not found
