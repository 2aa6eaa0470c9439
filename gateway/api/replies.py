"""JSON answers."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response


class JsonReply(Response):
    """A JSON body; `extra` are the headers that belong to what it says."""

    media_type = "application/json"

    def __init__(self, body: Any, status: int = 200, extra: Mapping[str, str] | None = None) -> None:
        self.extra = dict(extra or {})
        super().__init__(orjson.dumps(body), status, self.extra)
