"""A PostgreSQL that speaks TLS: the catalog's URL says whom it trusts, in libpq's own words."""

from pathlib import Path

import pytest

from gateway.errors import CatalogUnavailable
from gateway.knowledge.catalog.catalog import Catalog
from tests.support.postgres import postgres_server
from tests.support.tls import Authority


async def test_the_url_names_the_authority(tmp_path: Path) -> None:
    authority, stranger = (Authority(tmp_path / name) for name in ("ours", "other"))
    with postgres_server(authority.issue("postgres")) as url:
        catalog = Catalog(f"{url}?sslmode=verify-full&sslrootcert={authority.ca_file}")
        await catalog.database.prepare()
        await catalog.close()
        catalog = Catalog(f"{url}?sslmode=verify-full&sslrootcert={stranger.ca_file}")
        with pytest.raises(CatalogUnavailable):
            await catalog.database.prepare()
        await catalog.close()
