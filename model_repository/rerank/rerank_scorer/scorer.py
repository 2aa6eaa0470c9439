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

# Texts of one pass, between which the deadline is looked at. Four of 900 characters take a small model 0.4 s of a slow core.
_TEXTS_A_PASS = 4
# Characters of a text that are tokenized. The models read 512 tokens of question and text together.
_MAX_CHARS = 16_384


class Late(Exception):
    """The deadline passed before any text had a score."""


@dataclass(frozen=True)
class ScorerSettings:
    """`max_tokens`, of question and text together: None for the model's own."""

    model_dir: Path
    threads: int = 1
    device: str = "cpu"
    max_tokens: int | None = None
    deadline_s: float = 2.0

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> ScorerSettings | None:
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

    def __init__(self, settings: ScorerSettings, clock: Callable[[], float] = time.monotonic) -> None:
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
        """FP32 [m], 0…1, higher is better: the logistic function of what the model says of the first m texts, which are all of
        them where the time is enough. Comparable within one question only. Raises Late where m would be 0.
        """
        import numpy as np

        begun = now = self._clock()
        longest = 0.0
        passes: list[NDArray[np.float32]] = []
        for first in range(0, len(texts), _TEXTS_A_PASS):
            # A pass that cannot be done in time is not begun.
            if now + longest - begun >= deadline_s:
                break
            pairs = [(query, text[:_MAX_CHARS]) for text in texts[first : first + _TEXTS_A_PASS]]
            scores = self._model.predict(
                pairs, batch_size=_TEXTS_A_PASS, activation_fn=self._activation, show_progress_bar=False
            )
            passes.append(np.asarray(scores, np.float32))
            before, now = now, self._clock()
            longest = max(longest, now - before)
        if texts and not passes:
            raise Late(f"no time for any of {len(texts)} texts within {deadline_s:g} s")
        return np.concatenate(passes) if passes else np.zeros(0, np.float32)
