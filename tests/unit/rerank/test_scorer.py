"""A question and texts to scores: by a real cross-encoder of one layer (tests/support/cross_encoder.py)."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from rerank_scorer import Late, Scorer, ScorerSettings
from tests.support.cross_encoder import make_cross_encoder

QUESTION = "How deep is the well?"
TEXTS = [f"{'The well behind the library. ' * (at % 5)}It is {at} metres deep." for at in range(20)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross-encoder"))


def test_scores_are_the_models_from_0_to_1_in_the_order_of_the_texts(folder: Path) -> None:
    import torch  # not above: each process that collects tests would take seconds for it
    from sentence_transformers import CrossEncoder

    scores = Scorer(ScorerSettings(folder)).scores(QUESTION, TEXTS, deadline_s=60)
    logits = CrossEncoder(str(folder), local_files_only=True).predict(
        [(QUESTION, text) for text in TEXTS], activation_fn=torch.nn.Identity()
    )
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert scores.dtype == np.float32
    assert scores.max() - scores.min() > 0.01  # far more than the tolerance: a mixed-up order shows


def test_nothing_to_score_is_no_score(folder: Path) -> None:
    assert Scorer(ScorerSettings(folder)).scores(QUESTION, [], deadline_s=1).shape == (0,)


def test_who_has_little_time_gets_the_scores_of_the_first(folder: Path) -> None:
    """Each look at this clock takes a second; so does a pass, and three of them fit into 3.5 s."""
    whole = Scorer(ScorerSettings(folder)).scores(QUESTION, TEXTS, deadline_s=60)
    ticks = count()
    scores = Scorer(ScorerSettings(folder), clock=lambda: float(next(ticks))).scores(QUESTION, TEXTS, deadline_s=3.5)
    np.testing.assert_allclose(scores, whole[:12], atol=1e-6)


def test_no_time_at_all_is_an_error(folder: Path) -> None:
    with pytest.raises(Late, match="any of 20 texts within 0 s"):
        Scorer(ScorerSettings(folder)).scores(QUESTION, TEXTS, deadline_s=0)


def test_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gives 3 values"):
        Scorer(ScorerSettings(make_cross_encoder(tmp_path, labels=3)))


def test_without_a_folder_it_is_off_and_a_wrong_one_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    assert ScorerSettings.read({"model_dir": ""}, {}) is None
    with pytest.raises(FileNotFoundError, match="unset it to go without"):
        ScorerSettings.read({}, {"RAGFLEET_RERANK_DIR": str(tmp_path)})
    read = ScorerSettings.read({"max_tokens": "128", "deadline_ms": "500"}, {"RAGFLEET_RERANK_DIR": str(folder)})
    assert read == ScorerSettings(folder, max_tokens=128, deadline_s=0.5)
