"""Test collections: documents, questions, and which documents are relevant. Readers for BEIR's folders and SQuAD's JSON."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


class DatasetError(Exception):
    """It cannot be read; the text says where and why."""


@dataclass(frozen=True, slots=True)
class DatasetQuestion:
    """A text, the relevant documents with their grades (all over 0), and the accepted answers (BEIR has none)."""

    id: str
    text: str
    relevant: Mapping[str, int]
    answers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """`documents`: id → text."""

    name: str
    documents: Mapping[str, str]
    questions: Sequence[DatasetQuestion] = field(default_factory=tuple)

    def limited(self, count: int | None) -> "Dataset":
        """With `count` of the questions, spread evenly over all; every document stays."""
        return replace(self, questions=spread(self.questions, count))


def spread(questions: Sequence[DatasetQuestion], count: int | None) -> Sequence[DatasetQuestion]:
    """`count` of them, evenly spread and always the same ones; all for None."""
    if count is None or count >= len(questions):
        return questions
    return [questions[number * len(questions) // count] for number in range(count)]


def read_dataset(path: Path, split: str = "test") -> Dataset:
    """A folder as BEIR's, or a JSON file as SQuAD's. Raises DatasetError."""
    try:
        dataset = _beir(path, split) if path.is_dir() else _squad(path)
    except OSError as error:
        raise DatasetError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text") from error
    if not dataset.questions:
        raise DatasetError(f"{path} has no question with a relevant document")
    return dataset


def _beir(folder: Path, split: str) -> Dataset:
    for name in ("corpus.jsonl", "queries.jsonl", "qrels"):
        if not (folder / name).exists():
            raise DatasetError(
                f"{folder} has no {name}; BEIR's folders have corpus.jsonl, queries.jsonl and qrels/*.tsv"
            )
    documents = {}
    for where, row in _json_lines(folder / "corpus.jsonl"):
        parts = (str(row.get("title") or "").strip(), _field(row, "text", where).strip())
        text = "\n\n".join(part for part in parts if part)
        if text:  # some collections have empty documents; nothing could find them
            documents[_field(row, "_id", where)] = text
    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade in _judgements(_judgement_file(folder / "qrels", split)):
        if grade > 0:
            relevant.setdefault(query, {})[document] = grade
    texts = {
        _field(row, "_id", where): _field(row, "text", where) for where, row in _json_lines(folder / "queries.jsonl")
    }
    questions = [DatasetQuestion(key, text, relevant[key]) for key, text in texts.items() if key in relevant]
    return Dataset(folder.resolve().name, documents, questions)


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}, line {number}", _object(line, f"{path}, line {number}")


def _object(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{where}: no JSON ({error})") from None
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: no JSON object")
    return value


def _field(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str | int):
        raise DatasetError(f"{where}: no text '{name}'")
    return str(value)


def _judgement_file(folder: Path, split: str) -> Path:
    files = sorted(folder.glob("*.tsv"))
    named = [file for file in files if file.stem == split]
    if named or len(files) == 1:
        return (named or files)[0]
    there = ", ".join(file.stem for file in files) or "none"
    raise DatasetError(f"{folder} has no {split}.tsv; choose with --split among: {there}")


def _judgements(path: Path) -> Iterator[tuple[str, str, int]]:
    """BEIR's three columns, with or without their header."""
    with path.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not row or (number == 1 and row[-1] == "score"):
                continue
            try:
                query, document, grade = row
                yield query, document, int(grade)
            except ValueError:
                raise DatasetError(f"{path}, line {number}: not 'query-id, corpus-id, whole number'") from None


def _squad(path: Path) -> Dataset:
    """Each paragraph is a document; a question's own paragraph is the relevant one. Equal paragraphs are one document."""
    articles = _object(path.read_text(encoding="utf-8"), str(path)).get("data")
    if not isinstance(articles, list):
        raise DatasetError(f"{path} has no list 'data'; SQuAD's JSON has data, paragraphs and qas")
    ids: dict[str, str] = {}
    questions = []
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                text = paragraph["context"].strip()
                document = ids.setdefault(text, f"paragraph-{len(ids) + 1:05}")
                for asked in paragraph["qas"]:
                    answers = tuple(dict.fromkeys(answer["text"] for answer in asked["answers"]))
                    questions.append(DatasetQuestion(str(asked["id"]), asked["question"], {document: 1}, answers))
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is not as SQuAD's JSON: {error!r}") from None
    return Dataset(path.stem, {document: text for text, document in ids.items()}, questions)
