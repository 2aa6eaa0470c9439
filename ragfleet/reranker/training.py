"""The training: of each question, its passage against others that a search mistakes for it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from ragfleet.reranker.negatives import candidates
from ragfleet.reranker.passages import TrainingPassage
from ragfleet.reranker.questions import Related, TrainingQuestion, make_questions
from tokens.keywords import words

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds`: how long it learns; the learning rate falls to 0 within them. Of each of `a_passage` questions of a passage it
    reads the passage and `negatives` others, up to `max_tokens` of question and passage together. `max_passages`: of more than
    these, some are left out.
    """

    seconds: float
    a_passage: int = 4
    negatives: int = 7
    questions_a_step: int = 32
    max_tokens: int = 256
    learning_rate: float = 4e-5
    max_passages: int = 50_000
    seed: int = 7


def plan(seconds: float, *, gpu: bool) -> Plan:
    """A GPU reads some 300 questions a second with their eight passages; a CPU two, and only with short and few ones."""
    if gpu:
        return Plan(seconds)
    return Plan(seconds, negatives=3, questions_a_step=8, max_tokens=128, learning_rate=8e-5, max_passages=4000)


def train(
    encoder: Path, passages: Sequence[TrainingPassage], output: Path, plan: Plan, *, held_out: Sequence[str], say: Say
) -> None:
    """Writes a cross-encoder's folder to `output`. `encoder`: the sentence-transformers folder whose weights it begins with."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(plan.seed)
    embedder = SentenceTransformer(str(encoder), device=device, local_files_only=True)
    if len(passages) > plan.max_passages:
        passages = random.Random(plan.seed).sample(passages, plan.max_passages)  # noqa: S311 - no secret
    questions = make_questions(
        passages, _related(embedder, passages), a_passage=plan.a_passage, seed=plan.seed, without=held_out
    )
    random.Random(plan.seed).shuffle(questions)  # noqa: S311 - no secret
    if device == "cpu":
        # To find what is mistaken for a passage takes time, too; nothing is learned from more than these.
        questions = questions[: 4 * ceil(plan.seconds)]
    say(
        f"{len(questions):,} questions of {len(passages):,} passages; looking for passages that are mistaken for theirs"
    )
    examples = _examples(embedder, questions, [each.text for each in passages], plan)
    del embedder
    say(f"{len(examples):,} questions whose passage a search finds; learning on {device}")
    tokenizer = AutoTokenizer.from_pretrained(encoder, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=1, dtype=torch.float32, local_files_only=True
    )
    _learn(model.to(device), tokenizer, examples, plan, say)
    model.cpu().save_pretrained(output)
    tokenizer.save_pretrained(output)
    (output / "training.json").write_text(
        json.dumps({"passages": len(passages), "questions": len(examples), "seconds": plan.seconds, "device": device}),
        encoding="utf-8",
    )


def _related(embedder: Any, passages: Sequence[TrainingPassage]) -> Related:
    """By the encoder's own input vectors: of the words of all passages those that lie nearest to a word."""
    import torch

    used = {word for passage in passages for word in words(passage.text)}

    vocabulary: dict[str, int] = embedder.tokenizer.get_vocab()
    rows = {word: row for word, row in vocabulary.items() if word in used and word.isalpha() and len(word) > 2}
    names = list(rows)
    vectors = embedder[0].auto_model.get_input_embeddings().weight.detach()[list(rows.values())].float()
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    nearest: list[list[str]] = []
    for part in vectors.split(2048):
        scores, places = (part @ vectors.T).topk(min(5, len(names)))
        nearest += [
            [names[place] for place, score in zip(row[1:], near[1:], strict=True) if score > 0.45]
            for row, near in zip(places.tolist(), scores.tolist(), strict=True)
        ]
    known = dict(zip(names, nearest, strict=True))
    return lambda word: known.get(word, ())


def _examples(
    embedder: Any, questions: Sequence[TrainingQuestion], texts: Sequence[str], plan: Plan
) -> list[tuple[str, list[str]]]:
    """A question with its own passage first. One whose passage is not among what a search finds asks for something else."""
    import torch

    def vectors(some: Sequence[str]) -> Any:
        return embedder.encode(
            list(some), batch_size=64, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
        )

    with torch.inference_mode():
        asked = [each.text for each in questions]
        found = candidates(asked, texts, vectors(asked), vectors(texts), 20)
    chance = random.Random(plan.seed + 1)  # noqa: S311 - no secret
    made = []
    for question, places in zip(questions, found.tolist(), strict=True):
        if question.passage not in places:
            continue
        others = [place for place in dict.fromkeys(places) if place != question.passage]
        chosen = chance.sample(others, plan.negatives - 1)
        chosen.append(chance.randrange(len(texts)))  # and one that nobody would take for it
        made.append((question.text, [texts[question.passage], *(texts[place] for place in chosen)]))
    return made


def _learn(model: Any, tokenizer: Any, examples: Sequence[tuple[str, list[str]]], plan: Plan, say: Say) -> None:
    """The softmax over a question's passages learns to choose its own."""
    import torch

    device = model.device
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.01)
    begun = said = time.monotonic()
    loss_sum, right, seen, step = 0.0, 0.0, 0, 0
    model.train()
    while (spent := time.monotonic() - begun) < plan.seconds:
        first = step * plan.questions_a_step % max(1, len(examples) - plan.questions_a_step + 1)
        batch = examples[first : first + plan.questions_a_step]
        part = spent / plan.seconds
        optimizer.param_groups[0]["lr"] = plan.learning_rate * min(part / 0.05, (1 - part) / 0.95)
        pairs = [(question, text) for question, texts in batch for text in texts]
        inputs = tokenizer(
            *map(list, zip(*pairs, strict=True)),
            truncation="longest_first",
            max_length=plan.max_tokens,
            padding=True,
            return_tensors="pt",
        ).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            scores = model(**inputs).logits.float().view(len(batch), -1)
        target = torch.zeros(len(batch), dtype=torch.long, device=device)
        loss = torch.nn.functional.cross_entropy(scores, target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss_sum += float(loss.detach()) * len(batch)
        right += float((scores.argmax(1) == 0).sum())
        seen += len(batch)
        step += 1
        if time.monotonic() - said > 20:
            say(
                f"{spent:.0f} s: {step * plan.questions_a_step:,} questions, loss {loss_sum / seen:.3f}, first {right / seen:.3f}"
            )
            said, loss_sum, right, seen = time.monotonic(), 0.0, 0.0, 0
    model.eval()
