"""All paths that stream write their tokens in the callback that read them, while the client keeps up."""

from collections.abc import Callable
from typing import Any

import pytest

from gateway import telemetry
from gateway.api.uvicorn_writer import UvicornWriter
from tests.support.ports import NOBODY
from tests.support.running import Fleet

ORIGIN = {"origin": "https://page.example"}
MESSAGES = [{"role": "user", "content": "How long?"}]


SETTINGS: dict[str, dict[str, Any]] = {
    "as usual": {},
    "with traces": {"trace_endpoint": f"http://127.0.0.1:{NOBODY}", "trace_sample": 1.0},
    "for a page of another origin": {"cors_origins": "https://page.example"},
}
"""Each may put something around `send`."""


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
        ("/v1/completions", {"prompt": "How long?", "max_tokens": 20}),
        ("/v1/responses", {"input": "How long?", "max_output_tokens": 20}),
    ],
)
async def test_tokens_take_the_quick_way(
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, Any],
    settings: dict[str, Any],
) -> None:
    monkeypatch.setattr(telemetry, "EXPORT_S", 0.1)  # there is no receiver, and its end would be waited for
    fleet: Fleet = await start(**settings)
    written: list[bytes] = []
    write = UvicornWriter.write

    def counted(self: UvicornWriter, data: bytes) -> None:
        written.append(data)
        write(self, data)

    monkeypatch.setattr(UvicornWriter, "write", counted)
    reply = await fleet.post({"model": "tiny", "stream": True, **body}, path=path, headers=ORIGIN)
    assert reply.status == 200
    assert len(written) > 3
    assert all(chunk in reply.raw for chunk in written)
