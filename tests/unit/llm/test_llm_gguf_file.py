"""The vocabulary of ids: everything else in the model's file stays as it is."""

import os
import struct
from pathlib import Path

import pytest

from llm_engine.gguf_file import NotGguf, open_with_ids

TEXTS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b"]
DATA = bytes(range(64)) * 3


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, raw: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + raw


def gguf(*, tokens: bool = True, version: int = 3, alignment: int = 64, parts: int = 0) -> bytes:
    """A tiny model file: one tensor, some metadata of every shape."""
    pairs = [
        pair("general.architecture", 8, text("llama")),
        pair("general.alignment", 4, struct.pack("<I", alignment)),
        pair("llama.context_length", 4, struct.pack("<I", 8192)),
        pair("general.tags", 9, struct.pack("<IQ", 8, 2) + text("x") + text("y")),
        pair("llama.rope", 6, struct.pack("<f", 1.5)),
        pair("tokenizer.ggml.model", 8, text("llama")),
        pair("tokenizer.ggml.scores", 9, struct.pack("<IQ2f", 6, 2, 0.5, 1.5)),
        pair("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 2)),
        pair("tokenizer.chat_template", 8, text("{{ messages }}")),
    ]
    if tokens:
        pairs.append(pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(TEXTS)) + b"".join(map(text, TEXTS))))
    if parts:
        pairs.append(pair("split.count", 2, struct.pack("<H", parts)))
    tensor = text("weights") + struct.pack("<IQQIQ", 2, 8, 6, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(pairs)) + b"".join(pairs) + tensor
    return head + b"\0" * (-len(head) % alignment) + DATA


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf())
    return path


def test_the_tensors_stay_and_the_texts_are_ids(model: Path) -> None:
    copy, vocabulary = open_with_ids(model)
    with os.fdopen(copy, "rb") as file:
        file.seek(0)
        content = file.read()
    assert content.endswith(DATA)
    assert len(content[: -len(DATA)]) % 64 == 0, "aligned as the file says"
    for index in range(len(TEXTS)):
        assert text(f"{index};") in content
    assert b"<|im_end|>" not in content
    assert b"chat_template" not in content
    assert text("weights") + struct.pack("<IQQIQ", 2, 8, 6, 0, 0) in content
    assert pair("llama.rope", 6, struct.pack("<f", 1.5)) in content
    assert (vocabulary.size, vocabulary.eos_id, vocabulary.trained_context) == (5, 2, 8192)
    assert vocabulary.end_ids == {0, 2}, "the named one, and what is written like an end"


def test_gguf_py_reads_the_copy(model: Path) -> None:
    gguf_package = pytest.importorskip("gguf")
    copy, _ = open_with_ids(model)
    try:
        reader = gguf_package.GGUFReader(f"/proc/self/fd/{copy}")
        assert reader.fields["tokenizer.ggml.tokens"].contents() == [f"{index};" for index in range(len(TEXTS))]
        assert reader.fields["tokenizer.ggml.token_type"].contents() == [1] * len(TEXTS)
        assert reader.fields["general.tags"].contents() == ["x", "y"]
        assert bytes(reader.tensors[0].data.tobytes()) == DATA
    finally:
        os.close(copy)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GGML" + bytes(40), "not a GGUF file"),
        (gguf(version=1), "version 2 or 3"),
        (gguf()[:100], "ends within its header"),
        (gguf(parts=2), "one part of several: join them with"),
        (gguf(tokens=False), "lacks b'tokenizer.ggml.tokens'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(NotGguf, match=why):
        open_with_ids(path)
