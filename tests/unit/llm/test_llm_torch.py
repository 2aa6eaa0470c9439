"""The torch flavour on a tiny model of random weights: what no other engine promises, and what it must refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_engine.engine import TokenLogProbs
from llm_engine.parameters import BadParameter
from llm_engine.request import Request, Sampling
from tests.support.tiny_llama import END, make_llama

if TYPE_CHECKING:  # each process that collects tests would take seconds for it
    import torch

    from llm_engine.torch_engine import TorchEngine
    from llm_engine.torch_sampling import Drawn

PROMPT = [1, 40, 41, 42, 43, 44, 45, 46]
WAIT_S = 30.0


class Answer:
    """A Sink."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.error = ""
        self._over = threading.Event()

    def began(self, reused_blocks: int) -> None:
        self.reused_blocks = reused_blocks

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        self.tokens.append(token)
        if last:
            self.end()

    def end(self) -> None:
        self._over.set()

    def fail(self, message: str) -> None:
        self.error = message
        self.end()

    def ids(self) -> list[int]:
        assert self._over.wait(WAIT_S), f"no end after {self.tokens}"
        return self.tokens


def opened(folder: Path, *, watched: dict[str, Any] | None = None, **options: Any) -> TorchEngine:
    """watched: what the engine calls where it dies or has something to say."""
    from llm_engine.torch_engine import TorchEngine, TorchOptions

    return TorchEngine(TorchOptions(model_dir=str(folder), **options), **watched or {})


def tensor(values: Any) -> torch.Tensor:
    import torch

    return torch.tensor(values)


def draw(logits: torch.Tensor, sampling: Sampling, **fields: Any) -> Drawn:
    """The first token of an answer."""
    from llm_engine import torch_sampling

    return torch_sampling.draw(logits, sampling, **{"tokens": [0], "produced": 0, "banned": (), **fields})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("torch") / "model", prompt=PROMPT)


@pytest.fixture
def engine(folder: Path) -> Iterator[TorchEngine]:
    engine = opened(folder, slots=3, max_context=128, max_num_tokens=5, n_threads=1)
    yield engine
    engine.close()


@pytest.fixture
def ask(engine: TorchEngine) -> Callable[..., Answer]:
    keys = iter(range(1000))

    def submit(prompt: list[int] = PROMPT, *, length: int = 24, **fields: Any) -> Answer:
        answer = Answer()
        request = Request(input_ids=prompt, max_tokens=length, streaming=True, **{"end_id": -1, **fields})
        engine.submit(next(keys), request, answer)
        return answer

    return submit


def test_greedy_is_what_transformers_generates(folder: Path, ask: Callable[..., Answer]) -> None:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder)
    whole = model.generate(tensor([PROMPT]), max_new_tokens=24, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert ask().ids() == whole[0, len(PROMPT) :].tolist()


def test_others_beside_it_change_nothing(ask: Callable[..., Answer]) -> None:
    alone = ask().ids()
    answers = [ask(), ask([7, 8, 9], length=9), ask(), ask([5] * 30), ask()]
    assert [answers[n].ids() for n in (0, 2, 4)] == [alone] * 3


@pytest.mark.parametrize("seam", [1, 7, 23])
def test_a_sampled_answer_that_moves_goes_on_as_it_would_have(ask: Callable[..., Answer], seam: int) -> None:
    """The gateway sends the journal as prompt and the seed raised by its length."""
    drawn = Sampling(temperature=0.9, top_p=0.95, repetition_penalty=1.2, seed=2**64 - 5)
    whole = ask(sampling=drawn).ids()
    moved = Sampling(temperature=0.9, top_p=0.95, repetition_penalty=1.2, seed=(2**64 - 5 + seam) % 2**64)
    assert ask([*PROMPT, *whole[:seam]], length=24 - seam, sampling=moved).ids() == whole[seam:]


def test_the_models_own_end_ends_an_answer(ask: Callable[..., Answer]) -> None:
    assert len(ask(length=50, end_id=None).ids()) == 30
    assert ask(length=31).ids()[-1] == END


def test_a_prompt_goes_to_the_slot_that_has_most_of_it(engine: TorchEngine, ask: Callable[..., Answer]) -> None:
    first = ask().ids()
    ask([7, 8, 9]).ids()
    before = engine.stats().kv_reused
    assert ask([*PROMPT, *first[:10]], length=14).ids() == first[10:]
    assert engine.stats().kv_reused - before == len(PROMPT) + 9


def test_a_step_that_breaks_fails_its_streams_and_no_later_one(
    engine: TorchEngine, ask: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ask().ids()

    def broken(*_: object) -> None:
        raise ValueError("a kernel was not in the mood")

    with monkeypatch.context() as patch:
        patch.setattr(engine.model, "next", broken)
        failed = ask()
        failed.ids()
    assert failed.error == "llm: engine failed: ValueError: a kernel was not in the mood"
    assert engine.stats().active == 0
    assert ask().ids() == whole


def test_a_gpu_that_is_lost_ends_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = threading.Event()
    engine = opened(folder, slots=1, max_context=64, n_threads=1, watched={"die": died.set, "log": lambda _: None})

    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(engine.model, "next", lost)
    monkeypatch.setattr(engine.model, "synchronize", lost)
    answer = Answer()
    engine.submit(1, Request(input_ids=PROMPT, max_tokens=9), answer)
    assert died.wait(WAIT_S)
    assert "illegal memory access" in answer.error
    engine.close()


def test_a_model_that_does_not_see_its_whole_context_is_refused(tmp_path: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, sliding_window=32, eos_token_id=2,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(BadParameter, match=r"Lower max_context to the window \(32\)"):
        opened(tmp_path, max_context=64)
    opened(tmp_path, slots=1, max_context=32, n_threads=1).close()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_context": 4096}, "more than the model's 1024 positions"), ({"dtype": "int3"}, "there are auto, float32")],
)
def test_options_that_cannot_be_are_refused(folder: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadParameter, match=words):
        opened(folder, **{"max_context": 64, **options})


LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=40).map(tensor)


@given(logits=LOGITS, seed=st.integers(0, 2**64 - 1), top_k=st.integers(1, 6), temperature=st.floats(0.1, 10))
def test_only_the_top_k_are_drawn(logits: torch.Tensor, seed: int, top_k: int, temperature: float) -> None:
    sampling = Sampling(temperature=temperature, top_k=top_k, seed=seed)
    token = draw(logits, sampling).token
    assert int((logits > logits[token]).sum()) < top_k


@given(logits=LOGITS, seed=st.integers(0, 2**64 - 1), top_p=st.floats(0.01, 1))
def test_only_the_nucleus_is_drawn(logits: torch.Tensor, seed: int, top_p: float) -> None:
    token = draw(logits, Sampling(top_p=top_p, seed=seed)).token
    probs = logits.double().softmax(0)
    assert float(probs[logits > logits[token]].sum()) < top_p + 1e-9


@given(logits=LOGITS, banned=st.sets(st.integers(0, 2)), greedy=st.booleans())
def test_what_is_forbidden_is_not_drawn(logits: torch.Tensor, banned: set[int], greedy: bool) -> None:
    sampling = Sampling(temperature=0.0 if greedy else 1.0, top_p=1.0)
    assert draw(logits, sampling, banned=banned).token not in banned


def test_draws_follow_the_probabilities() -> None:
    logits = tensor([0.5, 0.3, 0.2]).log()
    counts = [0, 0, 0]
    for seed in range(3000):
        counts[draw(logits, Sampling(top_p=1.0, seed=seed)).token] += 1
    assert [round(count / 3000, 1) for count in counts] == [0.5, 0.3, 0.2]


@given(logits=LOGITS, top=st.integers(0, 4))
def test_the_likeliest_are_told_as_the_model_sees_them(logits: torch.Tensor, top: int) -> None:
    """Bias and penalties decide what is drawn, not what is told."""
    sampling = Sampling(top_k=1, bias={1: 100.0}, repetition_penalty=1.5)
    drawn = draw(logits, sampling, top=top)
    assert drawn.token == 1
    probs = logits.log_softmax(0)
    assert drawn.log_probs.chosen == float(probs[1])
    assert [value for _, value in drawn.log_probs.top] == sorted(probs.tolist(), reverse=True)[:top]
    assert all(float(probs[token]) == value for token, value in drawn.log_probs.top)
