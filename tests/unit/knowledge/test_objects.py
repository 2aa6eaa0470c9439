"""What only the store in a folder has; what all stores have is in tests/contract/objects."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects import FolderStore, object_store


async def test_halves_that_a_killed_process_left_are_deleted_after_a_day(tmp_path: Path) -> None:
    begun = tmp_path / ".partial"
    begun.mkdir()
    (begun / "dead").write_bytes(b"half")
    (begun / "alive").write_bytes(b"half")
    os.utime(begun / "dead", (1_000, 1_000))
    os.utime(begun / "alive", (50_000, 50_000))
    await FolderStore(tmp_path, clock=lambda: 100_000.0).put("files/a/content", b"x")
    assert [path.name for path in begun.iterdir()] == ["alive"]


async def test_an_upload_that_breaks_off_leaves_no_half(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"new"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await FolderStore(tmp_path).put("files/a/content", broken())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_the_setting_names_the_folder(tmp_path: Path) -> None:
    for url, folder in (
        ("", tmp_path / "objects"),
        (f"file://{tmp_path}/two%20words", tmp_path / "two words"),
        (f"file://localhost{tmp_path}/x/", tmp_path / "x"),
    ):
        await object_store(Settings(objects_url=url, home=tmp_path)).put("files/a/content", b"x")
        assert (folder / "files/a/content").read_bytes() == b"x"


@pytest.mark.parametrize("url", ["file://elsewhere/folder", "file:///", "/folder", "gs://bucket"])
def test_a_setting_that_names_nothing_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RAGFLEET_OBJECTS_URL"):
        object_store(Settings(objects_url=url, home=tmp_path))


async def test_a_volume_that_is_not_mounted_is_away_and_has_lost_nothing(tmp_path: Path) -> None:
    mount = tmp_path / "objects"
    objects = FolderStore(mount)
    await objects.put("files/a/content", b"words")
    mount.rename(tmp_path / "unmounted")
    for empty_place in (False, True):
        if empty_place:
            mount.mkdir()
        for call in (objects.size("files/a/content"), objects.read("files/a/content")):
            with pytest.raises(ObjectsUnavailable, match=f"{mount} mounted") as away:
                await call
            assert str(mount) not in away.value.message, "which is what clients see"
    mount.rmdir()
    (tmp_path / "unmounted").rename(mount)
    assert await objects.read("files/a/content") == b"words"
    with pytest.raises(NotFound):
        await objects.read("files/b/content")


async def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        await FolderStore(tmp_path / "objects").put("files/a/content", b"x")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert (modes["objects"], modes["content"]) == (0o700, 0o600)


async def test_nothing_is_written_to_where_the_volume_was(tmp_path: Path) -> None:
    store, place, aside = FolderStore(tmp_path / "objects"), tmp_path / "objects", tmp_path / "aside"
    await store.put("files/a/content", b"x")
    place.rename(aside)
    place.mkdir()

    async def goes_away() -> AsyncIterator[bytes]:
        yield b"new"
        place.rename(tmp_path / "third")
        place.mkdir()

    with pytest.raises(ObjectsUnavailable):
        await store.put("files/b/content", b"x")
    place.rmdir()
    aside.rename(place)
    with pytest.raises(ObjectsUnavailable):
        await store.put("files/b/content", goes_away())
    assert list(place.iterdir()) == []
