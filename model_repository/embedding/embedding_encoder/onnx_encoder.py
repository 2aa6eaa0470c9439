"""Texts to vectors by ONNX Runtime: the graph that build_scripts/onnx_embedding.py writes, without PyTorch in the process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT = 1
"""Of the folder (build_scripts/onnx_embedding.py)."""
_TEXTS_A_PASS = (
    4  # stays within a core's caches: 25.6 ms of CPU a chunk of 160 tokens, 25.9 in passes of 2, 28.6 of 8, 43.5 of 16
)


class NoGraphError(Exception):
    """The folder holds none of this model; the text says why."""


class OnnxEncoder:
    def __init__(self, folder: Path, model_dir: Path, *, threads: int) -> None:
        """Loads the graph. Raises NoGraphError where it is not that of `model_dir`."""
        told = _told(folder)
        try:
            with (model_dir / "model.safetensors").open("rb") as file:
                source = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise NoGraphError(f"{model_dir} has no model.safetensors to compare {folder} with") from error
        if told.get("format") != FORMAT or told.get("source") != source:
            raise NoGraphError(
                f"{folder} was not made from {model_dir} (python -m build_scripts.onnx_embedding --model {model_dir} OUT)"
            )
        import onnxruntime
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Memory for a pass is given back after it: an arena would keep that of the longest texts for good.
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(told["max_tokens"])
        self._pad = told["pad"]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """FP32 [len(texts), dimensions], each row of length 1. An empty text has a vector, too."""
        import numpy as np

        ids = [read.ids for read in self._tokenizer.encode_batch(list(texts))]
        # Texts of like length in one pass: each is as long as its longest.
        order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
        passes = [order[start : start + _TEXTS_A_PASS] for start in range(0, len(order), _TEXTS_A_PASS)]
        found = [self._pass([ids[index] for index in part]) for part in passes]
        vectors: NDArray[np.float32] = np.concatenate(found)
        vectors[order] = vectors.copy()
        return vectors

    def _pass(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import numpy as np

        width = max(map(len, ids))
        tokens = np.full((len(ids), width), self._pad, np.int64)
        mask = np.zeros((len(ids), width), np.int64)
        for row, each in enumerate(ids):
            tokens[row, : len(each)] = each
            mask[row, : len(each)] = 1
        vectors: NDArray[np.float32] = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})[0]
        return vectors


def _told(folder: Path) -> dict[str, Any]:
    try:
        told = json.loads((folder / "encoder.json").read_text())
    except (OSError, ValueError) as error:
        raise NoGraphError(f"{folder} holds no graph of an embedding model") from error
    return told if isinstance(told, dict) else {}
