"""One suite on two gateways: over fake Tritons, and a whole running fleet where the environment names one.

RAGFLEET_TEST_FLEET_URL (`http://127.0.0.1:8000`) and RAGFLEET_TEST_FLEET_KEY: `ragfleet status --json` prints both.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.openai_service import KEY, Service, client_of
from tests.support.running import MODEL, Fleet, make_tokenizer, settings_for

FLEET_URL = os.environ.get("RAGFLEET_TEST_FLEET_URL", "")
FLEET_KEY = os.environ.get("RAGFLEET_TEST_FLEET_KEY", "")


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tokenizer that all tests share."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def fleet(tokenizer_dir: Path, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A gateway over two fake Tritons, with a key and a knowledge store."""
    async with Fleet(settings_for(tmp_path, tokenizer_dir, api_key=KEY)) as fleet:
        await fleet.learn("handbook")
        yield fleet


@pytest.fixture(params=["fake", *([pytest.param("fleet", marks=pytest.mark.fleet)] if FLEET_URL else [])])
async def service(request: pytest.FixtureRequest, fleet: Fleet) -> AsyncIterator[Service]:
    """The gateway that a test is for."""
    if request.param == "fake":
        async with client_of(fleet.url) as client:
            yield Service(client, fleet.url, KEY, MODEL, "rag")
        return
    async with client_of(FLEET_URL, FLEET_KEY) as client:
        names = [model.id async for model in client.models.list()]
        yield Service(client, FLEET_URL, FLEET_KEY, names[0], "rag" if "rag" in names else "")
