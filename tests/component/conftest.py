"""A gateway over fake Tritons for each test that asks for one."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Fleet, make_tokenizer, settings_for


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tokenizer that all tests share."""
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
async def start(tokenizer_dir: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """`fleet = await start(instances=3, token_deadline_s=0.1)`: a fleet with other settings; see Fleet and Settings."""
    async with AsyncExitStack() as stack:

        async def run(**wishes: Any) -> Fleet:
            shape = {name: wishes.pop(name) for name in ("instances", "slots", "max_context") if name in wishes}
            fleet = Fleet(settings_for(tmp_path, tokenizer_dir, **wishes), **shape)
            return await stack.enter_async_context(fleet)

        yield run


@pytest.fixture
async def fleet(start: Callable[..., Any]) -> Fleet:
    """Two instances and the usual settings."""
    running: Fleet = await start()
    return running
