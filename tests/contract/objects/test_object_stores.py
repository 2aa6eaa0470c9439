"""One suite for the stores of objects, and what only S3 has."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Settings
from gateway.environment import ConfigError
from gateway.errors import NotFound, ObjectsUnavailable
from gateway.knowledge.objects import MemoryStore, ObjectStore, object_store
from gateway.knowledge.objects.s3 import S3Store
from tests.support.tls import Authority, terminated

MIB = 1 << 20


@pytest.fixture(params=["memory", "folder", pytest.param("s3", marks=pytest.mark.fleet)])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return object_store(Settings(objects_url=f"file://{tmp_path}/objects"))
    return object_store(request.getfixturevalue("s3").settings(secrets.token_hex(8)))


async def pieces(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def keys(objects: ObjectStore, prefix: str = "") -> list[str]:
    return [each.key async for each in objects.listed(prefix)]


async def test_what_is_put_can_be_read_until_it_is_deleted(objects: ObjectStore) -> None:
    large = bytes(range(256)) * 50_000
    assert await objects.put("files/a/content", pieces(b"one", large)) == 12_800_003
    await objects.put("files/ab/content", b"two")
    blocks = [block async for block in objects.get("files/a/content")]
    assert b"".join(blocks) == b"one" + large
    assert max(map(len, blocks)) <= MIB, "the whole was held at once"
    assert await objects.read("files/a/content") == b"one" + large
    assert await objects.read("files/ab/content") == b"two"
    assert await objects.size("files/a/content") == 12_800_003
    assert await keys(objects) == ["files/a/content", "files/ab/content"]
    await objects.delete_prefix("files/a/")
    await objects.delete_prefix("files/a/")
    assert await keys(objects, "files/") == ["files/ab/content"]
    for call in (
        objects.read("files/a/content"),
        objects.size("files/a/content"),
        anext(objects.get("files/a/content")),
    ):
        with pytest.raises(NotFound):
            await call


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB])
async def test_every_size_comes_back(objects: ObjectStore, size: int) -> None:
    content = secrets.token_bytes(size)
    assert await objects.put("files/a/content", pieces(content)) == size
    assert await objects.size("files/a/content") == size
    assert b"".join([block async for block in objects.get("files/a/content")]) == content
    assert await objects.put("files/a/content", b"other") == 5
    assert await objects.read("files/a/content") == b"other"


async def test_an_upload_that_breaks_off_changes_nothing(objects: ObjectStore) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(MIB)
        raise FileNotFoundError("the client's own trouble")

    await objects.put("files/a/content", b"old")
    with pytest.raises(FileNotFoundError, match="own trouble"):
        await objects.put("files/a/content", broken())
    assert await objects.read("files/a/content") == b"old"
    assert await keys(objects) == ["files/a/content"]


@pytest.mark.parametrize("key", ["../x", "/x", "a/../../x", "a//b", ".partial/x", "", "a\0"])
async def test_no_key_leaves_the_store(objects: ObjectStore, key: str) -> None:
    for call in (objects.read, objects.size):
        with pytest.raises(ValueError):
            await call(key)
    with pytest.raises(ValueError):
        await objects.put(key, b"")
    with pytest.raises(ValueError):
        await objects.delete_prefix(f"{key}/")


async def test_a_listing_tells_sizes_and_times(objects: ObjectStore) -> None:
    before = time.time()
    await objects.put("files/b/content", b"four")
    await objects.put("files/a/content", b"")
    found = [each async for each in objects.listed("files/")]
    assert [(each.key, each.size) for each in found] == [("files/a/content", 0), ("files/b/content", 4)]
    if not isinstance(objects, MemoryStore):
        assert all(before - 2 < each.modified < time.time() + 2 for each in found)


async def test_a_prefix_ends_with_a_slash(objects: ObjectStore) -> None:
    with pytest.raises(ValueError):
        await objects.delete_prefix("files/a")
    with pytest.raises(ValueError):
        await keys(objects, "files/a")


async def test_a_put_beside_deletes_of_its_prefix_ends_whole_or_gone(objects: ObjectStore) -> None:
    for _ in range(20):
        await asyncio.gather(objects.put("files/a/content", b"whole"), objects.delete_prefix("files/a/"))
        assert [await objects.read(key) for key in await keys(objects)] in ([], [b"whole"])
    await objects.put("files/a/content", b"whole")
    assert await objects.read("files/a/content") == b"whole"


# What only S3 has. `Any`: the class comes with the test extra, which the fast tests do without.


@pytest.mark.fleet
async def test_keys_are_listed_past_one_page_and_in_order(s3: Any) -> None:
    objects = object_store(s3.settings("pages"))
    for at in range(0, 1100, 50):
        await asyncio.gather(*(objects.put(f"files/f{n:04}/content", b"x") for n in range(at, at + 50)))
    assert await keys(objects) == [f"files/f{n:04}/content" for n in range(1100)]
    await objects.delete_prefix("files/")
    assert await keys(objects) == []


@pytest.mark.fleet
async def test_two_prefixes_of_a_bucket_do_not_see_each_other(s3: Any) -> None:
    one, two = object_store(s3.settings("own/a")), object_store(s3.settings("own/ab"))
    await one.put("files/x/content", b"1")
    await two.put("files/x/content", b"2")
    await one.delete_prefix("files/")
    assert await keys(two) == ["files/x/content"]
    assert [key for key in s3.objects() if key.startswith("own/")] == ["own/ab/files/x/content"]


@pytest.mark.fleet
@pytest.mark.parametrize("cancelled", [False, True])
async def test_parts_of_an_upload_that_breaks_off_are_taken_back(s3: Any, cancelled: bool) -> None:
    objects = object_store(s3.settings("broken"))
    sent = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield bytes(MIB)
        while not s3.begun_uploads():
            await asyncio.sleep(0.01)
        sent.set()
        if cancelled:
            await asyncio.Event().wait()
        raise ConnectionResetError

    upload = asyncio.create_task(objects.put("files/a/content", broken()))
    await sent.wait()
    if cancelled:
        upload.cancel()
    with pytest.raises((ConnectionResetError, asyncio.CancelledError)):
        await upload
    assert s3.begun_uploads() == []
    assert await keys(objects) == []


@pytest.mark.fleet
async def test_refusals_say_what_to_mend(s3: Any) -> None:
    async def trouble(objects: ObjectStore, said: str) -> None:
        for call in (
            objects.put("files/a/content", b"x"),
            objects.put("files/a/content", pieces(bytes(6 * MIB))),
            objects.read("files/a/content"),
            objects.delete_prefix("files/a/"),
            keys(objects),
        ):
            with pytest.raises(ObjectsUnavailable, match=said) as caught:
                await call
            assert caught.value.retry_after_s

    await trouble(object_store(s3.settings(objects_url="s3://no-such-bucket")), "no such bucket. Create it")
    await trouble(object_store(s3.settings(s3_secret_key="wrong")), r"refuses these keys.*AWS_SECRET_ACCESS_KEY")
    await trouble(object_store(s3.settings(s3_access_key="unknown")), "refuses these keys")


async def test_a_server_that_is_away_or_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")  # as Compose sets what is not set
    opened: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    keys_ = {"access_key": "k", "secret_key": "s", "request_s": 0.3, "retry_s": 0.5}
    hanging = S3Store("bucket", endpoint=f"http://127.0.0.1:{port}", **keys_)  # type: ignore[arg-type]
    try:
        for call in (hanging.put("a/b", b"x"), hanging.read("a/b"), hanging.delete_prefix("a/"), keys(hanging)):
            with pytest.raises(ObjectsUnavailable, match=rf"s3://bucket at http://127.0.0.1:{port} did not answer"):
                await call
    finally:
        for writer in opened:
            writer.close()
        server.close()
        await server.wait_closed()
    with pytest.raises(ObjectsUnavailable, match="did not answer"):  # nobody listens there any more
        await hanging.size("a/b")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objects_url": "s3://"}, "names no bucket"),
        ({"objects_url": "s3://user:word@bucket/x"}, "names no bucket"),
        ({"objects_url": "s3://bucket/a/../b"}, "prefix"),
        ({"objects_url": "s3://bucket", "s3_access_key": "k"}, "go together"),
        ({"objects_url": "s3://bucket", "s3_endpoint": "minio:9000"}, "AWS_ENDPOINT_URL"),
        ({"objects_url": "s3://bucket", "s3_endpoint": "http:///x"}, "AWS_ENDPOINT_URL"),
        ({"objects_url": "s3://bucket", "s3_ca_file": Path("/nowhere.pem")}, "AWS_CA_BUNDLE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        object_store(Settings(**settings))


@pytest.mark.fleet
async def test_a_server_with_a_private_authoritys_certificate_is_known_by_it(s3: Any, tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    async with terminated(int(s3.url.rsplit(":", 1)[1]), authority.server()) as port:
        url = f"https://localhost:{port}"
        objects = object_store(s3.settings("tls", s3_endpoint=url, s3_ca_file=authority.ca_file))
        await objects.put("a/b", b"x")
        assert await objects.size("a/b") == 1
        keys_ = {"access_key": s3.access_key, "secret_key": s3.secret_key, "request_s": 0.3, "retry_s": 0.5}
        with pytest.raises(ObjectsUnavailable):
            await S3Store(s3.bucket, endpoint=url, certificates=stranger.ca_file.read_bytes(), **keys_).size("a/b")
