"""A GGUF file whose vocabulary spells out token ids.

llama.cpp's server streams text, and a token that leaves a UTF-8 character unfinished is never reported: its id is
lost (seen with xllamacpp 2026.10: of 20 tokens of CJK and emoji only 10 came). This engine speaks ids. So llama.cpp is
given the same tensors under another vocabulary, in which the text of token 246 is `246 `: the text that it streams *is*
the ids, whole, and asking it for probabilities, which makes it sort the whole vocabulary for each token, is not needed.

The copy is an anonymous file in memory (memfd): nothing to store, to outdate or to clean up. Its pages take the place of
those that a mapped model file would have in the page cache.

The reader of the package gguf makes an object of each word: 2.6 s of CPU and 151 MiB for SmolLM2's, on two busy cores, where
all of this takes 0.2 s; and a Triton that is started again is waited for.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tokens.token_bytes import byte_level, sentence_piece

UINT32, INT32, STRING, ARRAY = 4, 5, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
END_TEXTS = frozenset({"</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>"})
"""How the tokens are written that end an answer, in the models' own vocabularies."""
NORMAL, USER_DEFINED, BYTE = 1, 4, 6
SPELLINGS = {b"gpt2": byte_level, b"llama": sentence_piece}
"""How a kind of tokenizer writes its tokens."""
COPY_BYTES = 8 << 20


class NotGguf(ValueError):
    """The file is not a GGUF that can be read here."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the engine needs to know about the model's own vocabulary."""

    size: int
    eos_id: int
    """The one id that llama.cpp itself ends an answer at."""
    end_ids: frozenset[int]
    """Every id that ends an answer when a request names none."""
    trained_context: int
    """Tokens that the model was trained to see at once."""
    kind: bytes = field(repr=False)
    raw_texts: bytes = field(repr=False)
    raw_types: bytes = field(repr=False)

    def token_bytes(self) -> list[bytes]:
        """What each id spells; b"" for control tokens. Raises NotGguf for a kind of tokenizer that is not known here."""
        spelling = SPELLINGS.get(self.kind)
        if spelling is None:
            raise NotGguf(f"its tokenizer is of the kind {self.kind.decode(errors='replace')!r}")
        texts = [text.decode(errors="replace") for text in _parse_strings(self.raw_texts)]
        types = struct.unpack_from(f"<{len(texts)}i", self.raw_types, 12) if self.raw_types else [NORMAL] * len(texts)
        spell: dict[int, Callable[[str], bytes]] = {NORMAL: spelling, BYTE: sentence_piece, USER_DEFINED: str.encode}
        return [spell[kind](text) if kind in spell else b"" for text, kind in zip(texts, types, strict=True)]


class _GgufReader:
    """Reads GGUF's header values from the start of a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def take(self, size: int) -> bytes:
        data = self.file.read(size)
        if len(data) != size:
            raise NotGguf("the file ends within its header")
        return data

    def number(self, form: str) -> int:
        return int(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def string(self) -> bytes:
        return self.take(self.number("<Q"))

    def value(self, kind: int) -> bytes:
        """One value as its raw bytes."""
        if kind == STRING:
            text = self.string()
            return struct.pack("<Q", len(text)) + text
        if kind == ARRAY:
            items, count = self.number("<I"), self.number("<Q")
            head = struct.pack("<IQ", items, count)
            if items in SIZES:
                return head + self.take(SIZES[items] * count)
            return head + b"".join(self.value(items) for _ in range(count))
        if kind not in SIZES:
            raise NotGguf(f"unknown value type {kind}")
        return self.take(SIZES[kind])


def _string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _strings(texts: Sequence[bytes]) -> bytes:
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(_string, texts))


def _parse_strings(raw: bytes) -> list[bytes]:
    count = struct.unpack_from("<Q", raw, 4)[0]
    texts, at = [], 12
    for _ in range(count):
        size = struct.unpack_from("<Q", raw, at)[0]
        texts.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    return texts


def _integer(raw: tuple[int, bytes]) -> int:
    return int.from_bytes(raw[1], "little")


def open_with_ids(path: Path) -> tuple[int, Vocabulary]:
    """The model in `path` under the vocabulary of ids: a file descriptor to open as /proc/self/fd/N, and what was replaced.

    Raises OSError, or NotGguf. The caller closes the descriptor; a mapping of it lives on.
    """
    with path.open("rb") as file:
        reader = _GgufReader(file)
        if reader.take(4) != b"GGUF" or (version := reader.number("<I")) not in (2, 3):
            raise NotGguf(f"{path} is not a GGUF file of version 2 or 3")
        tensors, pairs = reader.number("<Q"), reader.number("<Q")
        values: dict[bytes, tuple[int, bytes]] = {}
        for _ in range(pairs):
            key = reader.string()
            kind = reader.number("<I")
            values[key] = (kind, reader.value(kind))
        infos = b"".join(_tensor_info(reader) for _ in range(tensors))
        if b"split.count" in values and _integer(values[b"split.count"]) > 1:
            raise NotGguf(f"{path} is one part of several: join them with llama-gguf-split --merge")
        align = _integer(values[b"general.alignment"]) if b"general.alignment" in values else 32
        data_at = -file.tell() % align + file.tell()
        vocabulary = _vocabulary(values)
        head = _header(version, tensors, _with_ids(values, vocabulary), infos, align)
        copy = os.memfd_create("gguf-with-ids", os.MFD_CLOEXEC)
        try:
            with open(copy, "wb", closefd=False) as target:
                target.write(head)
                file.seek(data_at)
                while chunk := file.read(COPY_BYTES):
                    target.write(chunk)
        except OSError:
            os.close(copy)
            raise
    return copy, vocabulary


def _tensor_info(reader: _GgufReader) -> bytes:
    """Name, dimensions, type, offset: raw."""
    name = _string(reader.string())
    dims = reader.take(4)
    return name + dims + reader.take(8 * struct.unpack("<I", dims)[0] + 4 + 8)


def _header(version: int, tensors: int, values: dict[bytes, tuple[int, bytes]], infos: bytes, align: int) -> bytes:
    pairs = b"".join(_string(key) + struct.pack("<I", kind) + raw for key, (kind, raw) in values.items())
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, len(values)) + pairs + infos
    return head + b"\0" * (-len(head) % align)


def _vocabulary(values: dict[bytes, tuple[int, bytes]]) -> Vocabulary:
    try:
        texts = _parse_strings(values[b"tokenizer.ggml.tokens"][1])
        eos = _integer(values[b"tokenizer.ggml.eos_token_id"])
        architecture = values[b"general.architecture"][1][8:]
        context = _integer(values[architecture + b".context_length"])
    except KeyError as missing:
        raise NotGguf(f"the model's metadata lacks {missing}") from missing
    named = {
        _integer(values[key])
        for key in (b"tokenizer.ggml.eot_token_id", b"tokenizer.ggml.eom_token_id")
        if key in values
    }
    written = {index for index, text in enumerate(texts) if text.decode(errors="replace") in END_TEXTS}
    return Vocabulary(
        size=len(texts),
        eos_id=eos,
        end_ids=frozenset({eos} | named | written),
        trained_context=context,
        kind=values.get(b"tokenizer.ggml.model", (STRING, _string(b"")))[1][8:],
        raw_texts=values[b"tokenizer.ggml.tokens"][1],
        raw_types=values.get(b"tokenizer.ggml.token_type", (ARRAY, b""))[1],
    )


def _with_ids(values: dict[bytes, tuple[int, bytes]], vocabulary: Vocabulary) -> dict[bytes, tuple[int, bytes]]:
    """The metadata with a byte-level BPE vocabulary of ids, whatever kind of tokenizer the model has: text never comes in."""
    kept = {key: value for key, value in values.items() if not key.startswith(b"tokenizer.")}
    size = vocabulary.size
    return kept | {
        b"tokenizer.ggml.model": (STRING, _string(b"gpt2")),
        b"tokenizer.ggml.pre": (STRING, _string(b"gpt-2")),
        b"tokenizer.ggml.tokens": (ARRAY, _strings([b"%d;" % index for index in range(size)])),
        b"tokenizer.ggml.token_type": (ARRAY, struct.pack(f"<IQ{size}i", INT32, size, *[NORMAL] * size)),
        b"tokenizer.ggml.merges": (ARRAY, _strings([])),
        b"tokenizer.ggml.eos_token_id": (UINT32, struct.pack("<I", vocabulary.eos_id)),
        b"tokenizer.ggml.bos_token_id": (UINT32, struct.pack("<I", vocabulary.eos_id)),
    }
