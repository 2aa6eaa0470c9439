"""What every engine behind `llm` must do, on the LLM API. `either` also runs where TensorRT-LLM and a GPU are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_engine.errors import EngineQueueFull, InvalidRequest
from llm_engine.llmapi import LlmApiEngine
from llm_engine.llmapi_model import LlmApiOptions
from llm_engine.parameters import BadParameter
from llm_engine.request import GuidedDecoding, Sampling
from tests.contract.llmapi.conftest import GREEDY, Bench
from tests.contract.llmapi.standin_model import write_model


def test_an_answer_has_the_length_that_was_asked_for(either: Bench) -> None:
    answer = either.answer([11, 12, 13], max_tokens=6, end_id=-1)
    assert (len(answer.tokens), answer.how) == (6, "last")


def test_the_same_prompt_has_the_same_greedy_answer(either: Bench) -> None:
    one, two = (either.answer([21, 22, 23], max_tokens=5, end_id=-1, sampling=GREEDY).tokens for _ in range(2))
    assert one == two


def test_an_end_token_ends_the_answer_and_is_not_in_it(either: Bench) -> None:
    tokens = either.answer([31, 32], max_tokens=8, end_id=-1).tokens
    third = tokens[2]
    answer = either.answer([31, 32], max_tokens=8, end_id=third)
    assert answer.tokens == tokens[: tokens.index(third)]
    assert answer.how == "end"


def test_a_stop_word_of_several_tokens_ends_the_answer_and_is_in_it(either: Bench) -> None:
    tokens = either.answer([41, 42], max_tokens=8, end_id=-1).tokens
    answer = either.answer([41, 42], max_tokens=8, end_id=-1, stop_words=(tuple(tokens[1:3]),))
    assert (answer.tokens, answer.how) == (tokens[:3], "last")


def test_a_cancelled_request_ends_and_makes_room(either: Bench) -> None:
    key, answer = either.ask([51, 52], max_tokens=1900, end_id=-1)
    answer.wait(lambda: len(answer.tokens) >= 3)
    either.engine.cancel(key)
    answer.wait()
    assert answer.how == "end"
    assert len(answer.tokens) < 1900
    either.engine.cancel(key)  # it may just have ended: no error
    assert either.answer([51, 52], max_tokens=2, end_id=-1).how == "last"


def test_many_at_once_all_end(either: Bench) -> None:
    asked = [either.ask([60 + i, 61 + i], max_tokens=5, end_id=-1)[1] for i in range(8)]
    assert [len(answer.wait().tokens) for answer in asked] == [5] * 8
    assert either.engine.stats().waiting == 0


def test_a_queue_that_is_full_refuses_at_once(either: Bench) -> None:
    asked = [either.ask([70 + i], max_tokens=1900, end_id=-1) for i in range(8)]
    with pytest.raises(EngineQueueFull, match="llm: queue full: 4 requests wait already"):
        either.ask([80])
    for key, answer in asked:
        either.engine.cancel(key)
        answer.wait()


@pytest.mark.parametrize(
    ("prompt", "fields", "message"),
    [
        ([10_000_000], {}, "is not a token"),
        ([1] * 2047, {"max_tokens": 2}, "exceed the context of 2048"),
        ([1], {"log_probs": True}, "this engine knows no probabilities"),
    ],
)
def test_what_cannot_be_served_is_refused(
    either: Bench, prompt: list[int], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        either.ask(prompt, **fields)


def test_the_load_is_told_while_answers_run_and_is_nothing_after(either: Bench) -> None:
    asked = [either.ask([90 + i], max_tokens=1900, end_id=-1) for i in range(6)]
    for _, answer in asked[:4]:
        answer.wait(lambda answer=answer: bool(answer.tokens))  # type: ignore[misc]
    seen = either.engine.stats()
    assert seen.max == 4
    assert seen.waiting + seen.active == 6
    assert seen.kv_max > 0
    assert seen.kv_tokens_per in {32, 64, 128}
    for key, answer in asked:
        either.engine.cancel(key)
        answer.wait()
    idle = either.engine.stats()
    assert (idle.waiting, idle.active, idle.scheduled, idle.context, idle.kv_used) == (0, 0, 0, 0, 0)
    assert idle.kv_free == idle.kv_max == seen.kv_max


# From here on the stand-in alone: it lets us see what TensorRT-LLM is asked for, and break.


def test_the_models_own_end_tokens_end_an_answer(bench: Bench) -> None:
    # The model names 2 and 7; TensorRT-LLM is told 2. The stand-in counts: 5, 6, then 7.
    answer = bench.answer([4], max_tokens=8)
    assert (answer.tokens, answer.how) == ([5, 6], "end")


def test_an_end_token_that_is_not_in_the_output_is_no_different(
    stand_in: Any, options: LlmApiOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in.LLM, "end_in_output", False)
    engine = LlmApiEngine(options)
    try:
        answer = Bench(engine).answer([4], end_id=7)
        assert (answer.tokens, answer.how) == ([5, 6], "end")
    finally:
        engine.close()


def test_no_end_before_min_tokens(bench: Bench) -> None:
    # TensorRT-LLM takes another token in its place.
    assert bench.answer([4], max_tokens=6, end_id=7, min_tokens=4).tokens == [5, 6, 8, 9, 10, 11]
    # Nor a stop word: the first one that counts comes with the fourth token.
    assert bench.answer([4], max_tokens=6, end_id=-1, min_tokens=4, stop_words=((5,), (8,))).tokens == [5, 6, 7, 8]


def test_what_tensorrt_llm_is_asked_for(bench: Bench, llm: Any) -> None:
    drawn = Sampling(
        temperature=0.5,
        top_k=40,
        top_p=0.9,
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
        seed=2**40,
    )
    bench.answer([4], max_tokens=3, end_id=900, min_tokens=2, bad_tokens=frozenset({6, 5}), sampling=drawn)
    asked = llm.sampling[-1]
    assert (asked.end_id, asked.max_tokens, asked.min_tokens, asked.bad_token_ids) == (900, 3, 2, [5, 6])
    assert (asked.temperature, asked.top_k, asked.top_p, asked.seed) == (0.5, 40, 0.9, 2**40)
    assert (asked.repetition_penalty, asked.presence_penalty, asked.frequency_penalty) == (1.1, 0.2, 0.3)
    assert asked.detokenize is False

    bench.answer([4], end_id=-1, sampling=GREEDY)
    greedy = llm.sampling[-1]
    assert (greedy.top_k, greedy.top_p, greedy.temperature, greedy.ignore_eos) == (1, None, None, True)
    assert greedy.repetition_penalty is None

    bench.answer([4], end_id=-1, sampling=Sampling(top_p=0.8))
    nucleus = llm.sampling[-1]
    assert (nucleus.top_k, nucleus.top_p, nucleus.temperature) == (None, 0.8, 1.0)


def test_guides_are_tensorrt_llms_to_follow_where_it_has_a_backend(stand_in: Any, options: LlmApiOptions) -> None:
    engine = LlmApiEngine(replace(options, guided_decoding_backend="xgrammar"))
    try:
        bench, llm = Bench(engine), stand_in.LLM.made[-1]
        assert llm.arguments["guided_decoding_backend"] == "xgrammar"
        asked = {
            "json_object": GuidedDecoding(kind="json"),
            "json": GuidedDecoding(kind="json_schema", guide='{"type": "object"}'),
            "regex": GuidedDecoding(kind="regex", guide="[a-z]+"),
            "grammar": GuidedDecoding(kind="ebnf_grammar", guide='root ::= "a"'),
        }
        for field, guided in asked.items():
            bench.answer([4], max_tokens=2, end_id=-1, guided=guided)
            params = llm.sampling[-1]
            assert getattr(params.guided_decoding, field) == (guided.guide or True)
            assert params.guided_decoding.given == 1
            assert (params.end_id, params.ignore_eos) == (2, False), "a guide ends with the model's own end token"
        with pytest.raises(InvalidRequest, match="guided_decoding_prefix_length: TensorRT-LLM"):
            bench.ask([4, 5], guided=GuidedDecoding(kind="regex", guide="[a-z]+", prefix_length=1))
    finally:
        engine.close()


def test_a_guide_that_nobody_would_follow_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest, match=r"guided_decoding_guide: .*set guided_decoding_backend"):
        bench.ask([4], guided=GuidedDecoding(kind="regex", guide="[a-z]+"))


def test_a_backend_that_there_is_not_is_refused_at_start(options: LlmApiOptions) -> None:
    with pytest.raises(BadParameter, match="'outlines'; there are xgrammar and llguidance"):
        LlmApiEngine(replace(options, guided_decoding_backend="outlines"))


def test_without_a_seed_each_draw_is_another(bench: Bench, llm: Any) -> None:
    for _ in range(2):
        bench.answer([4], max_tokens=1, sampling=Sampling(top_p=0.8))
    assert llm.sampling[-1].seed != llm.sampling[-2].seed


def test_how_the_model_is_loaded(llm: Any, options: LlmApiOptions) -> None:
    assert llm.model == options.model_dir
    asked = llm.arguments
    assert (asked["max_batch_size"], asked["max_seq_len"], asked["enable_chunked_prefill"]) == (4, 2048, True)
    assert asked["enable_iter_perf_stats"] is True
    assert asked["kv_cache_config"].free_gpu_memory_fraction == 0.85
    assert asked["kv_cache_config"].enable_block_reuse is True
    assert asked["kv_cache_config"].host_cache_size is None


def test_a_cancelled_request_leaves_tensorrt_llms_batch(bench: Bench, llm: Any) -> None:
    key, answer = bench.ask([4], max_tokens=1900, end_id=-1)
    answer.wait(lambda: bool(answer.tokens))
    bench.engine.cancel(key)
    answer.wait()
    with llm._executor.changed:
        assert llm._executor.changed.wait_for(lambda: not llm._executor.active, 60)


def test_a_waiting_request_can_be_cancelled_too(bench: Bench) -> None:
    running = [bench.ask([4], max_tokens=1900, end_id=-1) for _ in range(4)]
    for _, answer in running:
        answer.wait(lambda answer=answer: bool(answer.tokens))  # type: ignore[misc]
    key, waiting = bench.ask([4], max_tokens=5)
    bench.engine.cancel(key)
    assert (waiting.wait().tokens, waiting.how) == ([], "end")


def test_a_request_that_is_cancelled_as_it_comes_ends(bench: Bench) -> None:
    for _ in range(50):
        key, answer = bench.ask([4], max_tokens=1900, end_id=-1)
        bench.engine.cancel(key)
        assert answer.wait().how == "end"
    assert bench.engine.stats().active == 0


def test_an_engine_that_breaks_tells_each_client(bench: Bench, llm: Any) -> None:
    _, answer = bench.ask([4], max_tokens=1900, end_id=-1)
    answer.wait(lambda: bool(answer.tokens))
    llm.break_down("CUDA error: an illegal memory access was encountered")
    failed = "llm: engine failed: RuntimeError: CUDA error: an illegal memory access was encountered"
    assert (answer.wait().how, answer.error) == ("fail", failed)
    assert bench.answer([4]).error == failed
    assert bench.engine.stats().active == 0


def test_closing_ends_what_runs_and_takes_nothing_more(bench: Bench) -> None:
    _, answer = bench.ask([4], max_tokens=1900, end_id=-1)
    answer.wait(lambda: bool(answer.tokens))
    bench.engine.close()
    assert answer.wait().how == "end"
    with pytest.raises(EngineQueueFull, match="shutting down"):
        bench.ask([4])
    bench.engine.close()


def test_an_engine_that_does_not_answer_is_not_served(
    stand_in: Any, options: LlmApiOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand_in._Executor, "_advance", lambda self, running: stand_in._Response([], error="no kernel"))
    with pytest.raises(RuntimeError, match="no kernel"):
        LlmApiEngine(options)
    assert stand_in.LLM.made[-1]._executor.closed


@pytest.mark.parametrize(
    ("eos", "change", "message"),
    [
        (None, {}, "names no eos_token_id"),
        (2, {"max_context": 8192}, "max_context 8192 is more than the model's 4096 positions"),
        (2, {"model_dir": ""}, "is no Hugging Face folder that can be served"),
    ],
)
@pytest.mark.usefixtures("stand_in")
def test_a_model_that_cannot_be_served(tmp_path: Path, eos: object, change: dict[str, Any], message: str) -> None:
    folder = write_model(tmp_path / "model", eos)
    settings = {"model_dir": str(folder), "max_context": 2048, **change}
    with pytest.raises(BadParameter, match=message):
        LlmApiEngine(LlmApiOptions(**settings))


def test_without_the_package_it_says_where_to_run(options: LlmApiOptions) -> None:
    with pytest.raises(BadParameter, match="needs the package tensorrt-llm"):
        LlmApiEngine(options)
