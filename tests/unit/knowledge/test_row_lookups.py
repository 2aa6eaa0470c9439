"""Look-ups in a long sheet: the words of a question lead to the chunk that has its row, and that chunk tells the columns."""

import csv
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")

from milvus_lite.analyzer.factory import create_analyzer
from milvus_lite.analyzer.sparse import compute_tf, sparse_to_bytes

from gateway.knowledge.chunking import Chunker, embedding_folder, token_counter
from gateway.knowledge.conversion import convert
from gateway.knowledge.index.schema import ANALYZER, keywords
from ragfleet.milvus_lite.bm25 import BM25, Postings
from tokens.keywords import keyword_query

HEADER = ["Order", "Customer", "City", "Quarter", "Amount"]
NAMES = "Aldous Brimfield Corven Dantley Esker Fallow Garrick Hollis Imber Jessup".split()  # noqa: SIM905 - shorter so
CITIES = "Aarhus Bergen Cadiz Dijon Essen Faro Ghent Huelva".split()  # noqa: SIM905 - shorter so


def sheet(folder: Path, rows: Sequence[Sequence[object]], suffix: str, head: Sequence[object] = HEADER) -> Path:
    file = folder / f"orders.{suffix}"
    if suffix == "csv":
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([head, *rows])
    else:
        openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
        book = openpyxl.Workbook()
        for row in [head, *rows]:
            book.active.append(row)
        book.save(file)
    return file


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("above", [[["Orders of 2024"]], [["Orders"], [], ["as of", "2024-03-04"], []]])
def test_titles_above_a_sheet_do_not_hide_the_names_of_its_columns(
    tmp_path: Path, suffix: str, above: list[list[str]]
) -> None:
    rows: list[list[object]] = [*above, HEADER, *([f"SO-{n}", "Ann", "Ghent", "Q1", n] for n in range(300))]
    file = sheet(tmp_path, rows[1:], suffix, head=rows[0])
    chunks = [chunk.indexed for chunk in Chunker(count=token_counter(embedding_folder())).chunks(convert(file))]
    assert len(chunks) > 5
    assert all(name in chunk for chunk in chunks for name in HEADER)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_each_row_of_a_long_sheet_is_found_with_its_columns(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(1)
    rows = [
        [
            f"SO-{10_000 + 7 * n}",
            f"{rng.choice(NAMES)} {rng.choice(NAMES)}",
            rng.choice(CITIES),
            f"Q{1 + n % 4}",
            100 + n,
        ]
        for n in range(2000)
    ]
    document = convert(sheet(tmp_path, rows, suffix))
    chunks = [chunk.indexed for chunk in Chunker(count=token_counter(embedding_folder())).chunks(document)]
    assert all(name in chunk for chunk in chunks for name in HEADER)
    assert all(any(row[0] in chunk for chunk in chunks) for row in rows)

    analyzer = create_analyzer(ANALYZER)
    vectors = [sparse_to_bytes(compute_tf(analyzer.analyze(keywords(chunk)))) for chunk in chunks]
    postings = Postings(pa.chunked_array([pa.array(vectors, pa.binary())]))
    found = Counter[bool]()
    for order, customer, city, _quarter, amount in rng.sample(rows, 100):
        question = compute_tf(analyzer.analyze(keyword_query(f"What is the amount of order {order} in {city}?")))
        (scores,) = BM25().scores(question, [(postings, np.ones(len(chunks), np.bool_))])
        best = chunks[int(np.argmax(scores))]
        found[all(str(cell) in best for cell in (order, customer, amount))] += 1
    assert found == {True: 100}
