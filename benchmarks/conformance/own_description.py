"""This API's own description: of a gateway that runs, or of one over fake Tritons that is started for it."""

import asyncio
import json
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.running import Fleet, make_tokenizer, settings_for


def own_document(url: str) -> Any:
    """The OpenAPI document. Raises OSError."""
    if not url:
        return asyncio.run(_started())
    with urllib.request.urlopen(f"{url.rstrip('/')}/openapi.json", timeout=30) as reply:
        return json.load(reply)


async def _started() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        async with Fleet(settings_for(Path(folder), make_tokenizer(Path(folder)))) as fleet:
            return (await fleet.get("/openapi.json")).json
