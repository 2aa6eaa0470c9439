"""Ingestion over fakes: what is new goes in, what is there costs nothing, and one bad file harms no other."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.errors import KnowledgeUnavailable, Unavailable
from gateway.knowledge.chunking import Chunker
from gateway.knowledge.embedder import FakeEmbedder, Vectors
from gateway.knowledge.ingest import Ingestion, IngestReport, file_id, one_writer
from gateway.knowledge.legacy_index import MemoryIndex, Row
from gateway.knowledge.manifest import Manifest


class Setup:
    """A folder of files and everything to ingest it with."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.files = folder / "files"
        self.files.mkdir()
        self.index = MemoryIndex()
        self.embedder = FakeEmbedder()
        self.progress: list[tuple[int, int, str]] = []

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.files / f"{name}.md").write_text(text)

    def run(self, *paths: Path, store: str = "demo", recipe: str = "r1") -> IngestReport:
        chunker = Chunker(count=lambda text: len(text.split()), max_tokens=10, overlap_tokens=0)
        ingestion = Ingestion(self.index, self.embedder, chunker, Manifest(self.state / "k.db"), recipe=recipe)
        self.progress.clear()
        return ingestion.run(paths or [self.files], store, lambda *step: self.progress.append(step))


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_folder_goes_in(setup: Setup) -> None:
    setup.write(a="# A\n\nalpha", b="# B\n\nbeta " * 20)
    (setup.files / "sub").mkdir()
    (setup.files / "sub" / "c.txt").write_text("gamma")
    (setup.files / ".hidden").mkdir()
    (setup.files / ".hidden" / "d.md").write_text("secret")
    report = setup.run()
    assert report.added == ["a.md", "b.md", "sub/c.txt"]
    assert (report.files, report.chunks, report.failed) == (3, len(setup.index.rows), [])
    assert setup.progress == [(1, 3, "a.md"), (2, 3, "b.md"), (3, 3, "sub/c.txt")]
    row = setup.index.rows[f"{file_id('demo', 'a.md')}:0"]
    assert row == Row(row.id, "demo", row.id[:-2], "a.md", 0, "# A\n\nalpha", 0, 0, 10)


def test_a_second_run_costs_nothing_and_changes_nothing(setup: Setup) -> None:
    setup.write(a="alpha", b="beta")
    setup.run()
    rows, embedded = dict(setup.index.rows), setup.embedder.embedded
    report = setup.run()
    assert report.unchanged == ["a.md", "b.md"]
    assert (report.chunks, report.added, report.changed) == (0, [], [])
    assert setup.index.rows == rows
    assert setup.embedder.embedded == embedded


def test_a_changed_file_replaces_its_chunks(setup: Setup) -> None:
    setup.write(a="old words " * 30, b="beta")
    setup.run()
    setup.write(a="new")
    report = setup.run()
    assert (report.changed, report.unchanged) == (["a.md"], ["b.md"])
    assert sorted(row.text for row in setup.index.rows.values()) == ["a\nnew", "b\nbeta"]


def test_a_new_recipe_ingests_again(setup: Setup) -> None:
    setup.write(a="alpha")
    setup.run()
    assert setup.run(recipe="r2").changed == ["a.md"]


def test_stores_are_apart(setup: Setup) -> None:
    setup.write(a="alpha")
    setup.run(store="one")
    assert setup.run(store="two").added == ["a.md"]
    assert setup.index.count("one") == setup.index.count("two") == 1


def test_bad_files_are_reported_and_the_others_go_in(setup: Setup) -> None:
    setup.write(a="alpha", z="omega", empty="")
    (setup.files / "film.mp4").write_bytes(b"\0\1\2")
    (setup.files / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    report = setup.run(setup.files, setup.files / "missing.md")
    assert report.added == ["a.md", "z.md"]
    assert {(failure.name, failure.code) for failure in report.failed} == {
        ("empty.md", "invalid_file"),
        ("film.mp4", "unsupported_file"),
        ("broken.pdf", "invalid_file"),
        ("missing.md", "invalid_file"),
    }
    assert all(failure.message for failure in report.failed)
    assert setup.progress[-1] == (6, 6, "missing.md")


def test_a_file_that_became_bad_keeps_what_was_there(setup: Setup) -> None:
    setup.write(a="alpha")
    setup.run()
    setup.write(a="")
    assert [failure.name for failure in setup.run().failed] == ["a.md"]
    assert setup.index.count("demo") == 1


def test_two_files_of_one_name_are_not_mixed_up(setup: Setup, tmp_path: Path) -> None:
    setup.write(a="alpha")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.md").write_text("another")
    report = setup.run(setup.files, tmp_path / "other")
    assert report.added == ["a.md"]
    assert "twice" in report.failed[0].message


def test_a_lost_index_is_filled_again(setup: Setup) -> None:
    setup.write(a="alpha", b="beta")
    setup.run()
    setup.index.delete_file("demo", file_id("demo", "a.md"))
    report = setup.run()
    assert (report.added, report.unchanged) == (["a.md"], ["b.md"])
    assert setup.index.count("demo") == 2


def test_an_interrupted_run_is_finished_by_the_next(setup: Setup) -> None:
    class Tired(FakeEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            if self.embedded >= 1:
                raise KnowledgeUnavailable("tired")
            return super().embed(texts)

    setup.write(a="alpha", b="beta", c="gamma")
    setup.embedder = Tired()
    with pytest.raises(KnowledgeUnavailable):
        setup.run()
    setup.embedder = FakeEmbedder()
    report = setup.run()
    assert (report.unchanged, report.added) == (["a.md"], ["b.md", "c.md"])


def test_a_write_that_broke_off_is_done_again_even_if_the_file_is_as_before(setup: Setup) -> None:
    class Broken(MemoryIndex):
        def upsert(self, rows: Sequence[Row], vectors: Vectors) -> None:
            super().upsert(rows[:1], vectors[:1])
            raise KnowledgeUnavailable("cut off")

    setup.write(a="alpha")
    setup.run()
    setup.write(a="other words " * 20)
    whole, setup.index = setup.index, Broken()
    setup.index.rows = whole.rows
    with pytest.raises(KnowledgeUnavailable):
        setup.run()
    whole.rows = setup.index.rows
    setup.index = whole
    setup.write(a="alpha")  # one row is there, as before; but it is not this one
    assert setup.run().added == ["a.md"]
    assert [row.text for row in setup.index.rows.values()] == ["a\nalpha"]


@pytest.mark.parametrize("store", ["", "x" * 513, "nul\0"])
def test_names_that_no_store_can_have(setup: Setup, store: str) -> None:
    with pytest.raises(ValueError):
        setup.run(store=store)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with one_writer(lock), pytest.raises(Unavailable, match="another ingestion"), one_writer(lock, deadline_s=0):
        pass
    with one_writer(lock, deadline_s=0):
        pass
