"""All paths that stream write their tokens in the callback that read them, while the client keeps up."""

from typing import Any

import pytest

from gateway.api.uvicorn_writer import UvicornWriter
from tests.support.running import Fleet

MESSAGES = [{"role": "user", "content": "How long?"}]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": MESSAGES, "max_tokens": 20}),
        ("/v1/completions", {"prompt": "How long?", "max_tokens": 20}),
        ("/v1/responses", {"input": "How long?", "max_output_tokens": 20}),
    ],
)
async def test_tokens_take_the_quick_way(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    written: list[bytes] = []
    write = UvicornWriter.write

    def counted(self: UvicornWriter, data: bytes) -> None:
        written.append(data)
        write(self, data)

    monkeypatch.setattr(UvicornWriter, "write", counted)
    reply = await fleet.post({"model": "tiny", "stream": True, **body}, path=path)
    assert reply.status == 200
    assert len(written) > 3
    assert all(chunk in reply.raw for chunk in written)
