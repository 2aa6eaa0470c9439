"""Chunks of a document that are found are joined to their neighbours: nothing twice, nothing lost, and each place exact."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.knowledge.chunking import Chunker
from gateway.knowledge.documents import Document
from retrieval_search.joining import Joining, joined, missing

CHUNKER = Chunker(count=lambda text: len(text.split()), max_tokens=12, overlap_tokens=4, context_tokens=8)
LONG = 10**6


def rows(text: str, *, document: str = "vs/f", generation: int = 1) -> dict[str, dict[str, Any]]:
    """The chunks of a text as Milvus has them."""
    made = CHUNKER.chunks(Document(text=text, title="", markup="markdown"))
    return {
        f"{document}/{chunk.index}": {
            "id": f"{document}/{chunk.index}", "index": chunk.index, "text": chunk.indexed, "page": chunk.page + 1,
            "start": chunk.start, "end": chunk.end, "generation": generation,
        }
        for chunk in made
    }  # fmt: skip


def hits(known: dict[str, dict[str, Any]], *indices: int, document: str = "vs/f") -> list[dict[str, Any]]:
    """Passages of these chunks, best first."""
    found = [known[f"{document}/{index}"] for index in indices]
    return [
        {**{name: value for name, value in row.items() if name != "generation"}, "score": 0.9 - rank / 10}
        for rank, row in enumerate(found)
    ]


def body(passage: dict[str, Any]) -> str:
    text: str = passage["text"]
    return text[len(text) - (passage["end"] - passage["start"]) :]


# Ten sentences of six words: each chunk has two of them and overlaps by none, for one is longer than the overlap.
STORY = " ".join(f"Sentence number {n} of the story." for n in range(10))
# Shorter ones, of which the next chunk repeats the last.
LISTED = "# Parts\n\n" + "\n".join(f"- part {n}" for n in range(20))


def test_a_hit_has_its_neighbours_around_it() -> None:
    known = rows(STORY)
    (passage,) = joined(hits(known, 2), known, Joining(1, LONG))
    assert body(passage).split() == STORY[passage["start"] : passage["end"]].split()
    assert passage["start"] == known["vs/f/1"]["start"]
    assert passage["end"] == known["vs/f/3"]["end"]
    assert (passage["id"], passage["index"], passage["score"]) == ("vs/f/2", 2, 0.9)
    assert passage["hit"]["text"] == known["vs/f/2"]["text"]
    assert (passage["hit"]["start"], passage["hit"]["end"]) == (known["vs/f/2"]["start"], known["vs/f/2"]["end"])


def test_what_chunks_share_is_there_once() -> None:
    known = rows(LISTED)
    assert known["vs/f/1"]["start"] < known["vs/f/0"]["end"], "the chunks of this text overlap"
    (passage,) = joined(hits(known, 1), known, Joining(1, LONG))
    assert body(passage) == LISTED[passage["start"] : passage["end"]]
    (later,) = joined(hits(known, 2), known, Joining(1, LONG))
    assert later["text"].startswith("Parts\n- part")  # the headings above the first chunk, and only once
    assert later["text"].count("Parts") == 1


def test_hits_that_are_neighbours_are_one_passage_also_without_more() -> None:
    known = rows(STORY)
    first, second = joined(hits(known, 3, 0, 2), known, Joining(0, LONG))
    assert (first["id"], first["start"], first["end"]) == ("vs/f/3", known["vs/f/2"]["start"], known["vs/f/3"]["end"])
    assert "hit" not in first
    assert second == hits(known, 3, 0, 2)[1]


def test_hits_whose_neighbours_meet_are_one_passage() -> None:
    known = rows(STORY)
    (passage,) = joined(hits(known, 3, 1), known, Joining(1, LONG))
    assert (passage["start"], passage["end"]) == (known["vs/f/0"]["start"], known["vs/f/4"]["end"])
    assert (passage["hit"]["start"], passage["hit"]["end"]) == (known["vs/f/1"]["start"], known["vs/f/3"]["end"])


def test_the_pages_of_a_passage_are_its_first_and_its_last() -> None:
    known = rows(STORY)
    for index in range(5):
        known[f"vs/f/{index}"]["page"] = 7 + index
    (passage,) = joined(hits(known, 2), known, Joining(1, LONG))
    assert (passage["page"], passage["last_page"]) == (8, 10)
    assert (passage["hit"]["page"], passage["hit"]["last_page"]) == (9, 9)


def test_another_version_of_the_file_is_no_neighbour() -> None:
    known = rows(STORY)
    known["vs/f/3"]["generation"] = 2
    (passage,) = joined(hits(known, 2), known, Joining(1, LONG))
    assert (passage["start"], passage["end"]) == (known["vs/f/1"]["start"], known["vs/f/2"]["end"])


def test_neighbours_that_did_not_come_are_left_out_and_nothing_beyond_them() -> None:
    known = rows(STORY)
    del known["vs/f/3"]
    (passage,) = joined(hits(known, 2), known, Joining(2, LONG))
    assert (passage["start"], passage["end"]) == (known["vs/f/0"]["start"], known["vs/f/2"]["end"])
    alone = {"vs/f/2": known["vs/f/2"]}
    assert joined(hits(known, 2), alone, Joining(2, LONG)) == hits(known, 2)


def test_a_passage_is_not_longer_than_allowed() -> None:
    known = rows(STORY)
    length = known["vs/f/3"]["end"] - known["vs/f/2"]["start"]
    passages = joined(hits(known, 2, 4), known, Joining(2, length))
    assert all(passage["end"] - passage["start"] <= length for passage in passages)
    assert [passage["id"] for passage in passages] == ["vs/f/2", "vs/f/4"]
    assert passages[0]["end"] <= passages[1]["start"]


def test_files_are_kept_apart() -> None:
    known = rows(STORY) | rows(STORY, document="vs/g")
    found = [*hits(known, 1), *hits(known, 2, document="vs/g")]
    assert [passage["id"] for passage in joined(found, known, Joining(1, LONG))] == ["vs/f/1", "vs/g/2"]


def test_only_what_is_not_known_is_asked_for() -> None:
    known = rows(STORY)
    here = {key: known[key] for key in ("vs/f/0", "vs/f/1", "vs/f/4")}
    assert missing(hits(known, 0, 4), here, 0) == []
    assert missing(hits(known, 0, 4), here, 1) == ["vs/f/3", "vs/f/5"]


PARAGRAPH = st.lists(st.sampled_from(["well", "is 31 m deep.", "Roofs are red!", "a\nb", "- item", "# Head", "| x |"]))
TEXTS = st.lists(PARAGRAPH.map(" ".join), min_size=1, max_size=12).map("\n\n".join)


@given(text=TEXTS, data=st.data(), neighbours=st.integers(0, 3))
def test_every_hit_is_told_once_and_every_place_is_true(text: str, data: st.DataObject, neighbours: int) -> None:
    known = rows(text)
    if not known:
        return
    order = data.draw(st.permutations(range(len(known))))
    chosen = order[: data.draw(st.integers(1, len(known)))]
    found = hits(known, *chosen)
    passages = joined(found, known, Joining(neighbours, LONG))

    for passage in passages:
        told, place = body(passage), text[passage["start"] : passage["end"]]
        assert len(told) == len(place)
        assert told.split() == place.split()
        assert re.sub(r"\s", "", body(passage.get("hit", passage))) in re.sub(r"\s", "", told)
    for hit in found:
        assert sum(p["start"] <= hit["start"] and hit["end"] <= p["end"] for p in passages) == 1
    assert [p["id"] for p in passages] == sorted((p["id"] for p in passages), key=[h["id"] for h in found].index)
    # Between two passages there is at least one chunk that is in neither.
    spans = sorted((p["start"], p["end"]) for p in passages)
    ends = {row["end"]: row["index"] for row in known.values()}
    starts = {row["start"]: row["index"] for row in known.values()}
    assert all(starts[b[0]] > ends[a[1]] + 1 for a, b in pairwise(spans))


@pytest.mark.parametrize(("gap", "white"), [(1, "\n"), (2, "\n\n"), (5, "\n    ")])
def test_white_space_between_chunks_keeps_its_length(gap: int, white: str) -> None:
    known = {
        "d/0": {"id": "d/0", "index": 0, "text": "H\none", "page": 0, "start": 0, "end": 3, "generation": 1},
        "d/1": {"id": "d/1", "index": 1, "text": "two", "page": 0, "start": 3 + gap, "end": 6 + gap, "generation": 1},
    }
    (passage,) = joined(hits(known, 0, document="d"), known, Joining(1, LONG))
    assert passage["text"] == f"H\none{white}two"
