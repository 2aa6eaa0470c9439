"""Tensors to a request: what is read, what is refused and how."""

from typing import Any

import numpy as np
import pytest

from llm_engine.errors import InvalidRequest
from llm_engine.request import Request, Sampling, decode, wants_stop


def tensors(**extra: Any) -> dict[str, Any]:
    """A minimal request as Triton hands it over, with and without the batch dimension."""
    base = {
        "input_ids": np.array([[5, 6, 7]], np.int32),
        "input_lengths": np.array([3], np.int32),
        "request_output_len": np.array([8], np.int32),
    }
    return base | {name: value if isinstance(value, np.ndarray) else np.array([value]) for name, value in extra.items()}


def test_a_minimal_request_is_greedy_and_not_streamed() -> None:
    request = decode(tensors())
    assert request == Request(input_ids=[5, 6, 7], max_tokens=8)
    assert request.sampling.greedy
    assert not wants_stop(tensors())


def test_a_salt_is_read() -> None:
    assert decode(tensors(cache_salt_id=np.array([2**63 - 1], np.uint64))).cache_salt == 2**63 - 1


def test_everything_that_is_served_is_read() -> None:
    request = decode(
        tensors(
            streaming=True,
            end_id=2,
            min_tokens=3,
            stop_words_list=np.array([[[9, 8, 7], [1, 3, -1]]], np.int32),
            bad_words_list=np.array([[[4, 5], [1, 2]]], np.int32),
            temperature=0.5,
            runtime_top_k=40,
            runtime_top_p=0.25,
            repetition_penalty=1.5,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            seed=np.array([2**63], np.uint64),
            return_log_probs=True,
        )
    )
    assert request == Request(
        input_ids=[5, 6, 7],
        max_tokens=8,
        streaming=True,
        end_id=2,
        min_tokens=3,
        stop_words=((9,), (8, 7)),
        bad_tokens=frozenset({4, 5}),
        sampling=Sampling(
            temperature=0.5,
            top_k=40,
            top_p=0.25,
            repetition_penalty=1.5,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            seed=2**63,
        ),
        log_probs=True,
    )


def test_the_prompt_is_as_long_as_input_lengths_says() -> None:
    assert decode(tensors(input_lengths=2)).input_ids == [5, 6]


@pytest.mark.parametrize(
    ("sampling", "greedy"),
    [
        (Sampling(), True),
        (Sampling(temperature=0.8), True),
        (Sampling(temperature=0.8, top_p=1.0), False),
        (Sampling(temperature=0.8, top_k=40), False),
        (Sampling(temperature=0.0, top_p=0.9), True),
        (Sampling(top_k=1, top_p=0.9), True),
    ],
)
def test_greedy_is_what_tensorrt_llm_takes_for_greedy(sampling: Sampling, greedy: bool) -> None:
    assert sampling.greedy is greedy


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("request_output_len", 0, "0 is less than 1"),
        ("input_lengths", 4, "4, but input_ids has 3"),
        ("input_lengths", 0, "0 is less than 1"),
        ("input_ids", np.zeros((1, 0), np.int32), "at least one token"),
        ("input_ids", np.array([[1], [2]]), "one sequence a request, not 2"),
        ("input_ids", np.array([[1, -2, 3]]), "-2 is not a token"),
        ("min_tokens", 9, "9 is more than request_output_len, 8"),
        ("min_tokens", -1, "-1 is less than 0"),
        ("temperature", -0.5, "-0.5 is not between 0 and 100"),
        ("temperature", float("nan"), "nan is not between"),
        ("runtime_top_p", 1.5, "1.5 is not between 0 and 1"),
        ("runtime_top_k", -1, "-1 is less than 0"),
        ("repetition_penalty", 0.0, "0 is not between"),
        ("end_id", -2, "-2 is less than -1"),
        ("seed", np.array([1, 2]), "one value expected, not a tensor of shape [2]"),
        ("stop_words_list", np.array([[1, 2]]), "its shape must be [1, 2, n], not [1, 2]"),
        ("stop_words_list", np.array([[[1, 2], [3, -1]]]), "rising ends of words"),
        ("stop_words_list", np.array([[[1, 2], [2, 1]]]), "rising ends of words"),
        ("stop_words_list", np.array([[[-5, 2], [1, -1]]]), "must be token ids"),
        ("bad_words_list", np.array([[[1, 2], [2, -1]]]), "only words of one token"),
        ("beam_width", 4, "not supported by this engine; only 1 is. Leave it out"),
        ("num_return_sequences", 2, "not supported by this engine; only 1 is"),
        ("exclude_input_in_output", False, "not supported by this engine; only 1 is"),
        ("guided_decoding_guide", np.array([b"{}"], np.object_), "it needs guided_decoding_guide_type"),
        ("guided_decoding_prefix_length", 2, "it needs guided_decoding_guide_type"),
        ("guided_decoding_guide_type", np.array([b"xml"], np.object_), "'xml'; there are json, json_schema, regex"),
        ("guided_decoding_guide_type", np.array([b"\xff"], np.object_), "it is not UTF-8"),
        ("embedding_bias", np.array([[0.5, float("nan")]]), "its values must be finite"),
        ("num_top_log_probs", 3, "it needs return_log_probs"),
        ("num_top_log_probs", 21, "21 is more than 20"),
        ("num_top_log_probs", -1, "-1 is less than 0"),
        ("runtime_top_p_decay", 0.5, "not supported by this engine; only 1 is"),
    ],
)
def test_bad_inputs_are_refused_by_name(name: str, value: Any, why: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode(tensors(**{name: value}))
    assert str(caught.value).startswith(f"llm: bad request: {name}: ")
    assert why in str(caught.value)


@pytest.mark.parametrize("name", ["input_ids", "request_output_len"])
def test_what_is_required_is_asked_for(name: str) -> None:
    given = tensors()
    del given[name]
    with pytest.raises(InvalidRequest, match=name):
        decode(given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_width", 1),
        ("return_perf_metrics", False),
        ("exclude_input_in_output", True),
        ("pad_id", 2),
        ("len_penalty", 0.5),
        ("retention_decode_priority", 50),
    ],
)
def test_what_asks_for_nothing_is_accepted(name: str, value: Any) -> None:
    assert decode(tensors(**{name: value})) == decode(tensors())


def test_limits_of_the_engine() -> None:
    limits: dict[str, Any] = {"vocab_size": 100, "max_context": 11, "gives_log_probs": False}
    decode(tensors()).check(**limits)
    with pytest.raises(
        InvalidRequest, match="request_output_len: 3 prompt tokens and 9 to generate exceed the context of 11"
    ):
        decode(tensors(request_output_len=9)).check(**limits)
    with pytest.raises(InvalidRequest, match="input_ids: 100 is not a token"):
        decode(tensors(input_ids=np.array([[100]]), input_lengths=1)).check(**limits)
    with pytest.raises(InvalidRequest, match="return_log_probs"):
        decode(tensors(return_log_probs=True)).check(**limits)
    with pytest.raises(InvalidRequest, match="embedding_bias: the vocabulary has 100 tokens"):
        decode(tensors(embedding_bias=np.array([[0.0] * 100 + [1.0]]))).check(**limits)
    with pytest.raises(InvalidRequest, match="bad_words_list: the vocabulary has 100 tokens"):
        decode(tensors(bad_words_list=np.array([[[100], [1]]], np.int32))).check(**limits)


def test_what_ends_an_answer() -> None:
    assert decode(tensors()).ends((7, 8)) == {7, 8}
    assert decode(tensors(end_id=0)).ends((7, 8)) == {0}
    assert decode(tensors(end_id=-1)).ends((7, 8)) == frozenset()


def test_an_adapter_must_be_there() -> None:
    request = decode(tensors(lora_task_id=7))
    limits: dict[str, Any] = {"vocab_size": 100, "max_context": 11, "gives_log_probs": False}
    request.check(**limits, loras=[7])
    with pytest.raises(InvalidRequest, match="lora_task_id: this engine has no such adapter"):
        request.check(**limits, loras=[8])
    with pytest.raises(InvalidRequest, match="lora_task_id"):
        request.check(**limits)


def test_a_bias_is_what_is_not_zero() -> None:
    bias = np.array([[0.0, -100.0, 0.0, 2.5]], np.float32)
    assert decode(tensors(embedding_bias=bias)).sampling.bias == {1: -100.0, 3: 2.5}


def test_stop_is_seen_before_anything_is_required() -> None:
    assert wants_stop({"stop": np.array([[True]])})
