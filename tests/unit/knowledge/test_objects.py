"""One suite for the stores of objects."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.errors import NotFound
from gateway.knowledge.objects import FolderStore, MemoryStore, ObjectStore, object_store


@pytest.fixture(params=["folder", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return FolderStore(tmp_path / "objects") if request.param == "folder" else MemoryStore()


async def pieces(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def test_what_is_put_can_be_read_until_it_is_deleted(objects: ObjectStore) -> None:
    large = b"x" * 3_000_000
    assert await objects.put("files/a/content", pieces(b"one", large)) == 3_000_003
    await objects.put("files/ab/content", b"two")
    assert b"".join([block async for block in objects.get("files/a/content")]) == b"one" + large
    assert await objects.read("files/ab/content") == b"two"
    assert await objects.size("files/a/content") == 3_000_003
    assert [key async for key in objects.keys("")] == ["files/a/content", "files/ab/content"]
    await objects.delete_prefix("files/a/")
    await objects.delete_prefix("files/a/")
    assert [key async for key in objects.keys("files/")] == ["files/ab/content"]
    for call in (
        objects.read("files/a/content"),
        objects.size("files/a/content"),
        anext(objects.get("files/a/content")),
    ):
        with pytest.raises(NotFound):
            await call


async def test_an_upload_that_breaks_off_changes_nothing(objects: ObjectStore, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"new"
        raise ConnectionResetError

    await objects.put("files/a/content", b"old")
    with pytest.raises(ConnectionResetError):
        await objects.put("files/a/content", broken())
    assert await objects.read("files/a/content") == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in ([], ["content"])


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", "a//b", ".partial/x", "", "a\0"])
async def test_no_key_leaves_the_folder(objects: ObjectStore, key: str) -> None:
    with pytest.raises(ValueError):
        await objects.put(key, b"")


async def test_halves_that_a_killed_process_left_are_deleted_after_a_day(tmp_path: Path) -> None:
    begun = tmp_path / ".partial"
    begun.mkdir()
    (begun / "dead").write_bytes(b"half")
    (begun / "alive").write_bytes(b"half")
    os.utime(begun / "dead", (1_000, 1_000))
    os.utime(begun / "alive", (50_000, 50_000))
    await FolderStore(tmp_path, clock=lambda: 100_000.0).put("files/a/content", b"x")
    assert [path.name for path in begun.iterdir()] == ["alive"]


async def test_a_put_beside_deletes_of_its_prefix_ends_whole_or_gone(tmp_path: Path) -> None:
    objects = FolderStore(tmp_path)
    for _ in range(50):
        await asyncio.gather(objects.put("files/a/content", b"whole"), objects.delete_prefix("files/a/"))
        assert [await objects.read(key) async for key in objects.keys("")] in ([], [b"whole"])
    await objects.put("files/a/content", b"whole")
    assert await objects.read("files/a/content") == b"whole"


async def test_the_setting_names_the_folder(tmp_path: Path) -> None:
    for url, folder in (
        ("", tmp_path / "objects"),
        (f"file://{tmp_path}/two%20words", tmp_path / "two words"),
        (f"file://localhost{tmp_path}/x/", tmp_path / "x"),
    ):
        await object_store(url, tmp_path).put("files/a/content", b"x")
        assert (folder / "files/a/content").read_bytes() == b"x"


@pytest.mark.parametrize("url", ["file://elsewhere/folder", "file:///", "/folder", "s3://bucket/prefix"])
def test_a_setting_that_names_nothing_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="RAGFLEET_OBJECTS_URL"):
        object_store(url, tmp_path)
