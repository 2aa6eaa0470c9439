"""One suite for the stores of objects."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import NotFound
from gateway.knowledge.objects import FolderStore, MemoryStore, ObjectStore


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
