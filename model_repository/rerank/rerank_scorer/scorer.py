"""A sentence-transformers CrossEncoder's folder behind one function: a question and texts to their scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Texts of one pass, between which the deadline is looked at: about a tenth of a second on one core with a small model.
_TEXTS_A_PASS = 8
# Characters of a text that are tokenized. The models read 512 tokens of question and text together.
_MAX_CHARS = 16_384


class Late(Exception):
    """The deadline passed before all texts had a score."""


@dataclass(frozen=True)
class Settings:
    """`max_tokens`, of question and text together: None for the model's own."""

    model_dir: Path
    threads: int = 1
    device: str = "cpu"
    max_tokens: int | None = None
    deadline_s: float = 2.0

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> Settings | None:
        """From config.pbtxt's parameters, then the environment. None where no folder is named: the model is off.

        Raises FileNotFoundError, which says what to set, and ValueError for a number that is none.
        """
        named = parameters.get("model_dir") or environment.get("RAGFLEET_RERANK_DIR")
        if not named:
            return None
        folder = Path(named)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder} is no cross-encoder's folder (it has no config.json); set RAGFLEET_RERANK_DIR to one, "
                "or unset it to go without"
            )
        return cls(
            folder,
            threads=int(parameters.get("torch_threads") or cls.threads),
            device=parameters.get("device") or cls.device,
            max_tokens=int(parameters["max_tokens"]) if parameters.get("max_tokens") else None,
            deadline_s=int(parameters.get("deadline_ms") or 2000) / 1000,
        )


class Scorer:
    """Holds the model."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Loads it; nothing is fetched from anywhere. Raises ValueError for a model that gives no single score."""
        import torch
        from sentence_transformers import CrossEncoder

        torch.set_num_threads(settings.threads)
        self._clock = clock
        self._activation = torch.nn.Sigmoid()
        self._model = CrossEncoder(
            str(settings.model_dir), device=settings.device, max_length=settings.max_tokens, local_files_only=True
        )
        if self._model.num_labels != 1:
            raise ValueError(
                f"{settings.model_dir} gives {self._model.num_labels} values for a pair, as classifiers do: a cross-encoder "
                "that ranks gives one"
            )

    def scores(self, query: str, texts: Sequence[str], *, deadline_s: float) -> NDArray[np.float32]:
        """FP32 [len(texts)], 0…1, higher is better: the logistic function of what the model says. Comparable within one
        question only. Raises Late.
        """
        import numpy as np

        begun = self._clock()
        scores = np.zeros(len(texts), np.float32)
        # Like lengths together: a pass pads its texts to the longest of them.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        for first in range(0, len(order), _TEXTS_A_PASS):
            if self._clock() - begun >= deadline_s:
                raise Late(f"{first} of {len(texts)} texts were read within {deadline_s:g} s")
            batch = order[first : first + _TEXTS_A_PASS]
            scores[batch] = self._model.predict(
                [(query, texts[at][:_MAX_CHARS]) for at in batch],
                batch_size=_TEXTS_A_PASS,
                activation_fn=self._activation,
                show_progress_bar=False,
            )
        return scores
