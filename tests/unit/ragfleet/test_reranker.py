"""A cross-encoder is trained from free texts, and `rerank` can serve it."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedding_encoder import EncoderSettings
from ragfleet.reranker.negatives import candidates
from ragfleet.reranker.passages import TrainingPassage, read_passages, write_passages
from ragfleet.reranker.questions import make_questions
from ragfleet.reranker.sources import countries, handbook, make_passages
from ragfleet.reranker.training import Plan, train
from rerank_scorer import Scorer, ScorerSettings
from tokens.keywords import content_words

pytestmark = pytest.mark.timeout(600)  # PyTorch's import alone takes a minute on a busy machine

PASSAGES = [
    TrainingPassage(
        f"Well {number}",
        f"The well behind library {number} was dug in {1800 + number}.\nOld masons of Harrow gave it {number} stones.",
    )
    for number in range(40)
]


def test_a_question_is_made_of_its_passages_words_and_lacks_the_answer() -> None:
    made = make_questions(PASSAGES, lambda _: (), a_passage=2, seed=1)
    assert {each.passage for each in made} == set(range(40))
    for question in made:
        of = PASSAGES[question.passage]
        asked = content_words(question.text)
        assert len(asked) > 2
        assert set(asked) <= {
            *content_words(f"{of.title} {of.text}"),
            "number",
            "year",
            "country",
            "kind",
            "long",
            "much",
            "many",
        }


def test_the_same_seed_makes_the_same_and_what_is_held_out_is_never_made() -> None:
    made = make_questions(PASSAGES, lambda _: (), a_passage=2, seed=1)
    assert make_questions(PASSAGES, lambda _: (), a_passage=2, seed=1) == made
    without = make_questions(PASSAGES, lambda _: (), a_passage=2, seed=1, without=[each.text for each in made[::2]])
    assert not {each.text for each in made[::2]} & {each.text for each in without}


def test_candidates_are_the_best_of_both_searches() -> None:
    import torch  # not above: each process that collects tests would take seconds for it

    texts = ["alpha beta", "gamma delta", "part VK-4417-B", "nothing at all"]
    found = candidates(["Where is VK-4417-B?"], texts, torch.eye(4)[:1], torch.eye(4), 1)
    assert found.tolist() == [[0, 2]]  # by its vector the first, by its words the third


def test_passages_are_the_texts_that_say_something(tmp_path: Path) -> None:
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook" / "leave.md").write_text("# Leave\nEverybody has thirty days of leave in a whole year.\n")
    (tmp_path / "factbook").mkdir()
    (tmp_path / "factbook" / "xx.json").write_text(
        '{"Introduction": {"Background": {"text": "<p>A small country that lies between two large rivers &amp; a sea.</p>"}},'
        ' "Geography": {"Area": {"total ": {"text": "12 sq km"}}}}'
    )
    passages = make_passages(
        [*handbook(tmp_path / "handbook"), *countries(tmp_path / "factbook")], EncoderSettings.read({}, {}).model_dir
    )
    by_title = {each.title: each.text for each in passages}
    assert "thirty days" in by_title["Leave"]
    assert "lies between two large rivers & a sea" in by_title["xx"]
    assert "12 sq km" not in " ".join(each.text for each in passages if each.title == "xx")
    write_passages(passages, tmp_path / "passages.jsonl")
    assert read_passages(tmp_path / "passages.jsonl") == passages


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """MiniLM's tokenizer and first layer: a sentence-transformers folder that learns quickly."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoConfig, AutoTokenizer, BertModel

    whole = EncoderSettings.read({}, {}).model_dir
    model = SentenceTransformer(str(whole), device="cpu", local_files_only=True)
    config = AutoConfig.from_pretrained(whole, num_hidden_layers=1, local_files_only=True)
    model[0].auto_model = BertModel.from_pretrained(whole, config=config, local_files_only=True)
    model.save(str(tmp_path / "encoder"))
    AutoTokenizer.from_pretrained(whole, local_files_only=True).save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


@pytest.mark.slow  # two models are written and loaded
def test_what_is_written_is_a_folder_that_rerank_serves(encoder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    plan = Plan(seconds=0.5, negatives=3, questions_a_step=4, max_tokens=48)
    train(encoder, PASSAGES, tmp_path / "reranker", plan, held_out=[], say=said.append)
    assert "questions whose passage a search finds" in said[1]
    scores = Scorer(ScorerSettings(tmp_path / "reranker")).scores(
        "Who dug it?", [each.text for each in PASSAGES[:3]], deadline_s=60
    )
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores)
