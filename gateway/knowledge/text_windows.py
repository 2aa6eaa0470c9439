"""Texts that are longer than the embedding model's window: embedded in pieces, so that nothing of them is lost.

A sentence-transformers model reads so many tokens (`max_seq_length`) and drops the rest without a word. A longer text is
cut into windows at white space; its vector is the mean of the windows' vectors, weighted by their length, and of length 1 again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.knowledge.embedder import Vectors

_SPECIAL_TOKENS = 2
"""What each input gets in addition: its begin and its end."""


def window_of(folder: Path) -> int:
    """Tokens of text that the model in a sentence-transformers folder reads at once; 254 where it does not say. What the folder
    puts before each text counts with a token for each character: there cannot be more."""
    try:
        config = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        return int(config["max_seq_length"]) - _SPECIAL_TOKENS - len(_default_prompt(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return 256 - _SPECIAL_TOKENS


def _default_prompt(folder: Path) -> str:
    try:
        config = json.loads((folder / "config_sentence_transformers.json").read_text(encoding="utf-8"))
        return str(config["prompts"][config["default_prompt_name"]])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@dataclass(frozen=True, slots=True)
class Windows:
    """Texts cut for the model. `pieces` are to be embedded; `join` makes the texts' vectors of theirs."""

    pieces: list[str]
    counts: list[int]
    """How many of the pieces each text has."""

    @classmethod
    def of(cls, texts: Sequence[str], count: Callable[[str], int], limit: int) -> "Windows":
        """Texts of at most `limit` tokens, as `count` counts them, stay whole."""
        cut = [_cut(text, count, limit) for text in texts]
        return cls([piece for pieces in cut for piece in pieces], [len(pieces) for pieces in cut])

    def join(self, vectors: Vectors) -> Vectors:
        """float32 (texts, dimension) from float32 (pieces, dimension), rows of length 1."""
        if len(self.pieces) == len(self.counts):
            return vectors
        weights = np.array([len(piece) or 1 for piece in self.pieces], np.float32)[:, None]
        starts = np.cumsum([0, *self.counts[:-1]])
        sums = np.add.reduceat(vectors * weights, starts, axis=0)
        joined: Vectors = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return joined.astype(np.float32)


def _cut(text: str, count: Callable[[str], int], limit: int) -> list[str]:
    # A token has at least one character, so short texts need not be counted.
    if len(text) <= limit or count(text) <= limit:
        return [text]
    middle = len(text) // 2
    space = text.rfind(" ", 1, middle)
    cut = space if space > middle // 2 else middle
    return [*_cut(text[:cut], count, limit), *_cut(text[cut:].lstrip() or text[cut:], count, limit)]
