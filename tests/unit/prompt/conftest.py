"""A tokenizer small enough to be written down, and SmolLM2's chat template."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Protocol

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from prompt_builder import ChatTemplate
from tokens import TokenTable

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class MakeTemplate(Protocol):
    def __call__(self, source: str = ..., *, tokenizer: Tokenizer | None = ...) -> ChatTemplate: ...


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """Each byte is a token; three control tokens, one of them not marked special, as Qwen has some."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False)])
    return tokenizer


@pytest.fixture(scope="session")
def table(tokenizer: Tokenizer) -> TokenTable:
    return TokenTable(json.loads(tokenizer.to_str()))


@pytest.fixture(scope="session")
def make_template(table: TokenTable) -> MakeTemplate:
    def make(source: str = SMOLLM2, *, tokenizer: Tokenizer | None = None) -> ChatTemplate:
        own = TokenTable(json.loads(tokenizer.to_str())) if tokenizer else table
        now = datetime(2026, 7, 1, 12, tzinfo=UTC)
        return ChatTemplate(source, own, specials={"bos_token": "<|im_start|>"}, now=lambda: now)

    return make
