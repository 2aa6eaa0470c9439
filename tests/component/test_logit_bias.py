"""`logit_bias` reaches the engine as a number for each token, on every instance that works on the answer."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.triton.fake_answers import Script
from gateway.triton.logit_bias import embedding_bias
from tests.support.running import MODEL, Fleet

VALUES = st.floats(-100, 100).filter(bool)


@given(st.dictionaries(st.integers(0, 40), VALUES), st.integers(41, 60))
def test_every_token_has_a_number(bias: dict[int, float], vocab_size: int) -> None:
    vector = orjson.loads(orjson.dumps(embedding_bias(bias, vocab_size)))
    assert vector == [bias.get(token, 0) for token in range(vocab_size)]


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
async def test_over_a_seam(fleet: Fleet, path: str) -> None:
    fleet.answers.script("llm", Script(reset_after=2))
    asked = {"messages": [{"role": "user", "content": "Hello?"}]} if path.startswith("chat") else {"prompt": "Hello"}
    body = {"model": MODEL, "max_tokens": 6, "logit_bias": {"7": -100, "12": 2.5}, **asked}
    assert (await fleet.post(body, path=f"/v1/{path}")).status == 200
    first, second = (call.body["embedding_bias"] for call in fleet.calls())
    assert first == second
    assert {token: value for token, value in enumerate(first) if value} == {7: -100, 12: 2.5}
    assert len(first) == fleet.table.vocab_size


async def test_without_one_nothing_is_sent(fleet: Fleet) -> None:
    await fleet.chat(logit_bias={})
    assert "embedding_bias" not in fleet.calls()[0].body
