"""The models that served last, in SQL."""

from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.known_models import CatalogModels


async def test_the_last_that_were_written_are_read(catalog: Catalog) -> None:
    known = CatalogModels(catalog.database)
    assert await known.read() is None
    for models in ({"generating": {"a": 2048}}, {"generating": {"b": 4096}, "slots": 1.5}):
        await known.write(models)
        assert await known.read() == models
