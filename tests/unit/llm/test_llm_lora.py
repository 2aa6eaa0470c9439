"""Adapters of the llama.cpp flavour, with one made here for its real model."""

import threading
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from gateway.triton.lora import task_id as gateways_task_id
from llm_engine.engine import TokenLogProbs
from llm_engine.llama_model import LlamaOptions, find_gguf
from llm_engine.llamacpp import LlamaEngine
from llm_engine.lora import parse, task_id
from llm_engine.parameters import BadParameter
from llm_engine.request import Request

PROMPT = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 2, 198, 1, 520, 9531, 198]
WIDTH, RANK = 576, 4
"""Of SmolLM2-135M's attention, and of the adapter."""


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that changes what the model says."""
    path, random = tmp_path_factory.mktemp("lora") / "pirate.gguf", np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * RANK)
    for block in range(0, 30, 5):
        name = f"blk.{block}.attn_q.weight.lora"
        writer.add_tensor(f"{name}_a", random.normal(0, 0.3, (RANK, WIDTH)).astype(np.float32))
        writer.add_tensor(f"{name}_b", random.normal(0, 0.3, (WIDTH, RANK)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


class Answer:
    """Takes one answer's tokens."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.error = ""
        self.over = threading.Event()

    def began(self, reused_blocks: int) -> None:
        self.reused_blocks = reused_blocks

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        self.tokens.append(token)
        if last:
            self.over.set()

    def end(self) -> None:
        self.over.set()

    def fail(self, message: str) -> None:
        self.error = message
        self.over.set()


@pytest.fixture(scope="module")
def engine(adapter: Path) -> Iterator[LlamaEngine]:
    options = LlamaOptions(slots=2, max_context=128, n_threads=1, loras=f"pirate={adapter}")
    made = LlamaEngine(options, find_gguf("", {}))
    yield made
    made.close()


def ask(engine: LlamaEngine, prompt: list[int], length: int, *, lora: int | None) -> list[int]:
    answer = Answer()
    engine.submit(0, Request(input_ids=prompt, max_tokens=length, end_id=-1, lora=lora), answer)
    assert answer.over.wait(60)
    assert not answer.error
    return answer.tokens


def test_an_adapter_answers_otherwise_and_leaves_the_others_alone(engine: LlamaEngine) -> None:
    assert list(engine.loras) == [task_id("pirate")]
    plain = ask(engine, PROMPT, 6, lora=None)
    adapted = ask(engine, PROMPT, 6, lora=task_id("pirate"))
    assert adapted[:2] != plain[:2]
    assert ask(engine, PROMPT, 2, lora=None) == plain[:2]
    assert ask(engine, PROMPT, 6, lora=task_id("pirate"))[:2] == adapted[:2]


def test_it_goes_on_behind_a_journal(engine: LlamaEngine) -> None:
    """As after the loss of an instance, where another one has the adapter, too."""
    lora = task_id("pirate")
    whole = ask(engine, PROMPT, 8, lora=lora)
    assert ask(engine, [*PROMPT, *whole[:4]], 4, lora=lora) == whole[4:]


def test_both_sides_number_them_alike() -> None:
    assert task_id("pirate") == gateways_task_id("pirate") < 2**63


@pytest.mark.parametrize(
    "given", ["pirate", "pirate=", "=/etc/hosts", "pirate=/nowhere", "a:b=/etc/hosts", "a=/etc/hosts,a=/etc/hosts"]
)
def test_what_cannot_be_read(given: str) -> None:
    with pytest.raises(BadParameter, match="llm: loras"):
        parse(given)
