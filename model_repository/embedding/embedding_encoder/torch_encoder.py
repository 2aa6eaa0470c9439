"""Texts to vectors by sentence-transformers itself: on a GPU, in half precision, and where a model has no graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A pass of 8 chunks stays within a core's caches: on two cores of an EPYC with one thread, 52 ms of CPU a chunk of 160 tokens
# against 54 in passes of 4, 56 of 16 and 59 of 32. It also pads less: a pass's texts are as long as the longest of them, and
# sentence-transformers sorts by length first.
_TEXTS_A_PASS = 8
_TEXTS_A_PASS_ON_A_GPU = 64  # all that Triton hands over at once


class TorchEncoder:
    def __init__(self, model_dir: Path, *, threads: int, device: str, precision: str) -> None:
        """Loads the model. device, precision: as in EncoderSettings."""
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._texts_a_pass = _TEXTS_A_PASS if device == "cpu" else _TEXTS_A_PASS_ON_A_GPU
        self._model = SentenceTransformer(str(model_dir), device=device, local_files_only=True)
        if precision == "auto":  # a GPU multiplies twice as fast and more in half precision; few CPUs do
            precision = "float32" if device == "cpu" else "float16"
        self._model.to(getattr(torch, precision))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """FP32 [len(texts), dimensions], each row of length 1. An empty text has a vector, too."""
        import torch

        vectors = self._model.encode(
            list(texts), batch_size=self._texts_a_pass, convert_to_tensor=True, show_progress_bar=False
        )
        # Divided by its length in full precision: in half precision that is off by some thousandths.
        unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
        return unit
