"""Files that come in parts: what becomes of those that nobody completes."""

import pytest

from gateway.errors import BadRequest, NotFound
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.types import UploadState
from gateway.knowledge.catalog.uploads import KEPT_S, UPLOAD_S
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import Clock


async def test_an_upload_expires_with_its_parts_and_is_forgotten(catalog: Catalog, clock: Clock) -> None:
    mine = catalog.of(Tenant("mine")).uploads
    for name in ("upload_1", "upload_2"):
        await mine.begin(upload_id=name, filename="a", purpose="assistants", size=2)
        await mine.add_part(name, "part_1", 2)
    assert await mine.parts("upload_1") == {"part_1": 2}
    assert (await mine.complete("upload_2", "file-2")).file_id == "file-2"
    assert [each.file_id for each in await catalog.removals.first(limit=9)] == ["upload_2"]
    clock.now += UPLOAD_S
    assert (await mine.get("upload_1")).status is UploadState.EXPIRED, (
        "from its moment on, not from the next clearing on"
    )
    with pytest.raises(BadRequest):
        await mine.add_part("upload_1", "part_2", 1)
    await catalog.removals.expire()
    await catalog.removals.expire()
    assert [each.file_id for each in await catalog.removals.first(limit=9)] == ["upload_2", "upload_1"]
    assert await mine.parts("upload_1") == {}
    assert (await mine.get("upload_1")).status is UploadState.EXPIRED
    clock.now += KEPT_S
    await catalog.removals.expire()
    with pytest.raises(NotFound):
        await mine.get("upload_1")
