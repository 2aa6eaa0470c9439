"""A folder becomes a store: what is new, changed or gone is brought over, the rest is left alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ragfleet import folder_sync
from ragfleet.folder_sync import FileRefused, StoredDocument, SyncError, sync
from ragfleet.local_files import LocalDocument, folder_label, look


class MemoryStore:
    """A store that takes everything in at once, but what it is told to refuse."""

    id = "vs_1"

    def __init__(self) -> None:
        self.members: dict[str, StoredDocument] = {}
        self.contents: dict[str, bytes] = {}
        self.refused: dict[bytes, tuple[str, str]] = {}
        self.read: dict[bytes, dict[str, Any]] = {}
        self.groups: dict[str, tuple[str, ...] | None] = {}
        self.uploads = 0
        self.stuck = False

    def held(self) -> Sequence[StoredDocument]:
        return list(self.members.values())

    def upload(self, document: LocalDocument, allow: Sequence[str] | None) -> str:
        self.uploads += 1
        file_id = f"file-{self.uploads}"
        self.groups[file_id] = None if allow is None else tuple(allow)
        self.contents[file_id] = document.file.read_bytes()
        return file_id

    def allow(self, file_id: str, groups: Sequence[str]) -> None:
        self.members[file_id] = replace(self.members[file_id], allow=tuple(groups))

    def attach(self, files: Mapping[str, Mapping[str, str]]) -> str:
        for file_id, has in files.items():
            status = "failed" if self.contents[file_id] in self.refused else "completed"
            said = has["folder"], has["path"], has["sha256"]
            self.members[file_id] = StoredDocument(file_id, *said, status, self.groups[file_id])
        return ",".join(files)

    def pending(self, batch_id: str) -> int:
        return batch_id.count(",") + 1 if self.stuck else 0

    def failures(self, batch_id: str) -> Mapping[str, tuple[str, str]]:
        contents = {file_id: self.contents[file_id] for file_id in batch_id.split(",")}
        return {key: self.refused[content] for key, content in contents.items() if content in self.refused}

    def receipts(self, batch_id: str) -> Mapping[str, Mapping[str, Any]]:
        return {file_id: self.read.get(self.contents[file_id], {}) for file_id in batch_id.split(",")}

    def delete(self, file_id: str) -> None:
        del self.members[file_id], self.contents[file_id]

    @property
    def texts(self) -> list[bytes]:
        """What can be found in it."""
        return sorted(self.contents[key] for key, member in self.members.items() if member.status == "completed")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "docs"
    (root / "deep").mkdir(parents=True)
    (root / "a.md").write_text("a")
    (root / "deep" / "b.md").write_text("b")
    (root / ".hidden").write_text("no")
    return root


def test_everything_goes_in_once(store: MemoryStore, folder: Path) -> None:
    first = sync(store, "s", [folder])
    assert (first.added, first.files) == (["a.md", "deep/b.md"], 2)
    again = sync(store, "s", [folder])
    assert (again.added, again.unchanged) == ([], ["a.md", "deep/b.md"])
    assert store.uploads == 2, "what is unchanged is not sent"
    assert store.texts == [b"a", b"b"]


def test_what_changed_takes_the_place_of_the_old(store: MemoryStore, folder: Path) -> None:
    sync(store, "s", [folder])
    (folder / "a.md").write_text("a, but better")
    report = sync(store, "s", [folder])
    assert (report.changed, report.unchanged) == (["a.md"], ["deep/b.md"])
    assert store.texts == [b"a, but better", b"b"]


def test_what_is_gone_leaves(store: MemoryStore, folder: Path) -> None:
    sync(store, "s", [folder])
    (folder / "a.md").unlink()
    assert sync(store, "s", [folder]).removed == ["a.md"]
    assert store.texts == [b"b"]


def test_other_folders_and_single_files_stay(store: MemoryStore, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("another a")
    single = tmp_path / "single.md"
    single.write_text("single")
    sync(store, "s", [folder])
    report = sync(store, "s", [other, single])
    assert (report.added, report.removed) == (["a.md", "single.md"], [])
    assert sync(store, "s", [folder]).removed == []
    assert store.texts == [b"a", b"another a", b"b", b"single"]


def test_a_refused_change_leaves_the_last_good_one(store: MemoryStore, folder: Path) -> None:
    sync(store, "s", [folder])
    (folder / "a.md").write_text("broken")
    store.refused[b"broken"] = ("invalid_file", "it is broken")
    report = sync(store, "s", [folder])
    assert [(failure.name, failure.code, failure.message) for failure in report.failed] == [
        ("a.md", "invalid_file", "it is broken")
    ]
    assert store.texts == [b"a", b"b"]
    (folder / "a.md").write_text("mended")
    assert sync(store, "s", [folder]).changed == ["a.md"]
    assert store.texts == [b"b", b"mended"]
    assert len(store.members) == 2, "the broken one is gone, too"


def test_two_files_of_one_name_are_told(store: MemoryStore, tmp_path: Path) -> None:
    paths = [tmp_path / "x" / "a.md", tmp_path / "y" / "a.md"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(str(path))
    report = sync(store, "s", paths)
    assert (report.added, [failure.code for failure in report.failed]) == (["a.md"], ["invalid_file"])


def test_a_batch_that_does_not_go_on_ends_the_wait(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_sync, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(folder_sync, "POLL_SECONDS", 0.0)
    store.stuck = True
    with pytest.raises(SyncError, match="2 are still waiting"):
        sync(store, "s", [folder])


def test_a_look_sees_changes(folder: Path) -> None:
    before = look([folder])
    assert look([folder]) == before
    (folder / "a.md").write_text("longer")
    assert look([folder]) != before


def test_what_was_not_read_is_said(store: MemoryStore, folder: Path) -> None:
    store.read = {
        b"a": {"characters": 5, "pages": 2, "skipped": [{"part": "page 2", "reason": "it is a picture"}]},
        b"b": {"characters": 7, "encoding": "utf-8", "replaced": 3, "skipped": []},
    }
    report = sync(store, "s", [folder])
    assert (report.total("characters"), report.total("pages"), report.total("rows")) == (12, 2, 0)
    assert {receipt.name: receipt.lacks for receipt in report.receipts} == {
        "a.md": ["page 2: it is a picture"],
        "deep/b.md": ["bytes that are no utf-8 were replaced (3)"],
    }


def test_links_that_lead_out_of_the_folder_are_skipped_and_said(
    store: MemoryStore, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.txt").write_text("secret")
    (folder / "key.md").symlink_to(tmp_path / "secret" / "key.txt")
    (folder / "all").symlink_to(tmp_path / "secret")
    (folder / "relative.md").symlink_to("../secret/key.txt")
    (folder / "gone.md").symlink_to(tmp_path / "nothing")
    (folder / "same.md").symlink_to("deep/b.md")
    report = sync(store, "docs", [folder])
    assert sorted(report.skipped) == ["all", "gone.md", "key.md", "relative.md"]
    assert store.texts == [b"a", b"b", b"b"]
    assert {path for _, path in look([folder])} == {"a.md", "deep/b.md", "same.md"}


def test_a_folder_that_is_a_link_itself_is_read(store: MemoryStore, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert len(sync(store, "docs", [tmp_path / "link"]).added) == 2


def test_attributes_tell_no_place_on_this_machine(store: MemoryStore, folder: Path) -> None:
    sync(store, "s", [folder])
    folders = {member.folder for member in store.held()}
    assert folders == {folder_label(folder)}
    assert str(folder.parent) not in str(folders)
    assert folder_label(folder) != folder_label(folder.parent / "else" / folder.name)


def test_who_may_see_the_files_is_said_or_stays(store: MemoryStore, folder: Path) -> None:
    def groups() -> dict[str, Any]:
        return {each.path: each.allow for each in store.members.values()}

    sync(store, "s", [folder], allow=["hr"])
    assert groups() == {"a.md": ("hr",), "deep/b.md": ("hr",)}
    (folder / "a.md").write_text("another a")
    assert sync(store, "s", [folder]).changed == ["a.md"]
    assert groups() == {"a.md": ("hr",), "deep/b.md": ("hr",)}, "a new content is not for everybody"
    again = sync(store, "s", [folder], allow=[])
    assert (sorted(again.changed), again.unchanged, store.uploads) == (["a.md", "deep/b.md"], [], 3)
    assert groups() == {"a.md": (), "deep/b.md": ()}
    assert sync(store, "s", [folder], allow=[]).changed == []


def test_names_that_are_no_utf_8_are_read_as_windows_wrote_them(store: MemoryStore, folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/Gr\xf6\xdfe.md"))).write_text("g")
    (folder / "Größen.md").write_text("h")
    report = sync(store, "docs", [folder])
    assert {"Größe.md", "Größen.md"} <= set(report.added)
    assert not report.failed
    assert len(sync(store, "docs", [folder]).unchanged) == 4


def test_what_is_no_file_is_told_and_not_waited_for(store: MemoryStore, folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    assert len(sync(store, "docs", [folder]).added) == 2
    report = sync(store, "docs", [folder / "pipe.md"])
    assert "is no file" in report.failed[0].message


def test_what_a_folder_held_that_cannot_be_listed_stays(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "deep" / "deeper").mkdir()
    (folder / "deep" / "deeper" / "c.md").write_text("c")
    sync(store, "docs", [folder])
    scandir = os.scandir

    def refused(path: Any) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    (folder / "a.md").unlink()
    report = sync(store, "docs", [folder])
    assert (report.removed, [each.name for each in report.failed]) == (["a.md"], ["deep"])
    assert store.texts == [b"b", b"c"]


def test_a_file_that_is_refused_or_goes_away_while_it_is_sent_fails_alone(
    store: MemoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.upload

    def late(document: LocalDocument, allow: Sequence[str] | None) -> str:
        if document.path == "a.md":
            document.file.unlink()
        if document.path == "large.md":
            raise FileRefused("too large")
        return upload(document, allow)

    monkeypatch.setattr(store, "upload", late)
    (folder / "large.md").write_text("l")
    report = sync(store, "docs", [folder])
    assert ([each.name for each in report.failed], report.added) == (["a.md", "large.md"], ["deep/b.md"])
