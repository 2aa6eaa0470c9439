"""Test collections are read as their makers wrote them, and what is wrong with one is said with its place."""

import json
from pathlib import Path
from typing import Any

import pytest

from ragfleet.evaluation.datasets import DatasetError, DatasetQuestion, read_dataset

CORPUS = [
    {"_id": "d1", "title": "Pumps", "text": "They lift water."},
    {"_id": "d2", "title": "", "text": "No title.", "metadata": {}},
    {"_id": "d3", "title": "", "text": "  "},
]
QUERIES = [{"_id": "q1", "text": "What lifts water?"}, {"_id": "q2", "text": "Nobody judged this."}]
JUDGED = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "qrels" / "test.tsv").write_text(JUDGED)
    return folder


def squad(path: Path, data: Any) -> Path:
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    return path


def asked(key: str, *answers: str) -> dict[str, Any]:
    return {"id": key, "question": f"{key}?", "answers": [{"text": text, "answer_start": 0} for text in answers]}


def test_beir(beir: Path) -> None:
    dataset = read_dataset(beir)
    assert dataset.name == "small"
    assert dataset.documents == {"d1": "Pumps\n\nThey lift water.", "d2": "No title."}, "the empty one is left out"
    assert dataset.questions == [DatasetQuestion("q1", "What lifts water?", {"d1": 2})], "grade 0 is not relevant"


def test_judgements_without_a_header(beir: Path) -> None:
    (beir / "qrels" / "test.tsv").write_text("q1\td2\t1\n")
    assert read_dataset(beir).questions[0].relevant == {"d2": 1}


def test_the_split_is_chosen_by_name(beir: Path) -> None:
    (beir / "qrels" / "dev.tsv").write_text("q2\td2\t1\n")
    assert [question.id for question in read_dataset(beir, "dev").questions] == ["q2"]
    with pytest.raises(DatasetError, match=r"no train\.tsv; choose with --split among: dev, test"):
        read_dataset(beir, "train")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("corpus.jsonl", "{\n", r"corpus\.jsonl, line 1: no JSON"),
        ("corpus.jsonl", '\n["d1"]\n', r"corpus\.jsonl, line 2: no JSON object"),
        ("corpus.jsonl", '{"_id": "d1"}\n', r"line 1: no text 'text'"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", r"test\.tsv, line 2: not 'query-id"),
        ("qrels/test.tsv", "q9\td1\t1\n", "no question with a relevant document"),
    ],
)
def test_what_is_wrong_is_named(beir: Path, file: str, text: str, message: str) -> None:
    (beir / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_dataset(beir)


def test_a_folder_that_is_not_beirs(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no corpus\.jsonl"):
        read_dataset(tmp_path)


def test_squad(tmp_path: Path) -> None:
    first = {"context": "One. ", "qas": [asked("a", "1", "one", "1"), asked("b", "2")]}
    again, other = {"context": "One.", "qas": [asked("c", "3")]}, {"context": "Two.", "qas": []}
    path = squad(tmp_path / "x.en.json", [{"title": "T", "paragraphs": [first, other]}, {"paragraphs": [again]}])
    dataset = read_dataset(path)
    assert dataset.name == "x.en"
    assert list(dataset.documents.values()) == ["One.", "Two."], "the same paragraph twice is one document"
    one = next(key for key, text in dataset.documents.items() if text == "One.")
    assert [(question.id, question.relevant) for question in dataset.questions] == [
        ("a", {one: 1}), ("b", {one: 1}), ("c", {one: 1}),
    ]  # fmt: skip
    assert dataset.questions[0].answers == ("1", "one")


@pytest.mark.parametrize("data", [None, [{"paragraphs": [{"qas": []}]}], ["text"], [{"paragraphs": [{"context": 1}]}]])
def test_json_that_is_not_squads(tmp_path: Path, data: Any) -> None:
    with pytest.raises(DatasetError, match="SQuAD's JSON"):
        read_dataset(squad(tmp_path / "x.json", data))


def test_a_limit_is_spread_over_all_and_keeps_the_documents(tmp_path: Path) -> None:
    paragraphs = [{"context": f"Text {n}.", "qas": [asked(str(n), "x")]} for n in range(10)]
    dataset = read_dataset(squad(tmp_path / "x.json", [{"paragraphs": paragraphs}]))
    limited = dataset.limited(4)
    assert [question.id for question in limited.questions] == ["0", "2", "5", "7"]
    assert len(limited.documents) == 10
    assert dataset.limited(11).questions == dataset.limited(None).questions == dataset.questions
