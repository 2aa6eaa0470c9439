"""What llama.cpp is asked, and what its events (as captured from xllamacpp 2026.10) say."""

import json
from typing import Any

import pytest

from llm_engine.completions import RANDOM_SEED, CallPhase, CompletionChunk, body, parse
from llm_engine.engine import TokenLogProbs
from llm_engine.request import Request, Sampling

HEAD = b'{"choices":[{"text":"216;","index":0,"logprobs":'
TAIL = b',"finish_reason":null}],"created":1,"model":"llm","object":"text_completion","id":"x"}'


def asked(sampling: Sampling, *, drawn: int = 0, banned: tuple[int, ...] = (), **fields: Any) -> dict[str, Any]:
    phase = CallPhase(tokens=[1, 2], max_tokens=5, banned=banned)
    request = Request(input_ids=[1, 2], max_tokens=5, sampling=sampling, **fields)
    wanted: dict[str, Any] = json.loads(body(phase, request, drawn=drawn, max_context=64))
    return wanted


def test_greedy_draws_nothing() -> None:
    wanted = asked(Sampling(temperature=0.9))
    assert wanted["samplers"] == ["penalties", "top_k"]
    assert (wanted["top_k"], wanted["temperature"]) == (1, 0.0)
    assert (wanted["prompt"], wanted["max_tokens"], wanted["stream"]) == ([1, 2], 5, True)
    assert not {"logit_bias", "repeat_penalty", "n_probs"} & set(wanted)


def test_sampling_is_in_tensorrt_llms_order() -> None:
    wanted = asked(
        Sampling(temperature=0.5, top_p=0.9, presence_penalty=0.5, seed=7), drawn=3, banned=(9, 2), log_probs=True
    )
    assert wanted["samplers"] == ["penalties", "temperature", "top_k", "top_p"]
    assert (wanted["temperature"], wanted["top_p"], wanted["top_k"], wanted["seed"]) == (0.5, 0.9, 0, 10)
    assert wanted["logit_bias"] == [[2, False], [9, False]]
    assert (wanted["presence_penalty"], wanted["repeat_last_n"], wanted["n_probs"]) == (0.5, 64, 1)


def test_bias_and_what_is_forbidden_go_together() -> None:
    assert asked(Sampling(bias={7: -1.5}), banned=(9,))["logit_bias"] == [[7, -1.5], [9, False]]


def test_alternatives_are_asked_for() -> None:
    assert asked(Sampling(), log_probs=True, top_log_probs=5)["n_probs"] == 5


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**63 + 5, 2**64 - 1])
def test_no_seed_is_taken_for_a_random_one(seed: int) -> None:
    assert 0 <= asked(Sampling(top_p=1.0, seed=seed))["seed"] < RANDOM_SEED


def test_without_a_seed_it_is_random() -> None:
    assert asked(Sampling(top_p=1.0))["seed"] == RANDOM_SEED


def test_events() -> None:
    assert parse(HEAD + b"null" + TAIL) == CompletionChunk(token=216)
    probs = b'{"content":[{"id":216,"token":"216;","logprob":-0.5,"top_logprobs":[{"id":9,"logprob":-0.25}]}]}'
    assert parse(HEAD + probs + TAIL) == CompletionChunk(token=216, log_probs=TokenLogProbs(-0.5, [(9, -0.25)]))
    assert (
        parse(b'{"choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{}}')
        == CompletionChunk()
    )
    progress = (
        b'{"choices":[{"text":"","logprobs":null,"finish_reason":null}],"prompt_progress":{"total":600,"cache":12}}'
    )
    assert parse(progress) == CompletionChunk(cached=12)
    assert parse(b'{"error":{"code":400,"message":"no","type":"x"}}') == CompletionChunk(error="no")
