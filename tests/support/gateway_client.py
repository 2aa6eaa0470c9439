"""A client of one gateway that a test runs."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.replies import Reply
from tests.support.running import Fleet


@dataclass(frozen=True)
class Client:
    """One client of one gateway."""

    fleet: Fleet
    bearer: str = ""
    """Its API key, where the gateway wants one."""

    async def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, form: aiohttp.FormData | None = None
    ) -> Reply:
        """Whatever comes back."""
        headers = {} if key is None else {"idempotency-key": key}
        if self.bearer:
            headers["authorization"] = f"Bearer {self.bearer}"
        given: dict[str, Any] = {"json": body} if form is None else {"data": form}
        async with self.fleet.http.request(method, path, headers=headers, **given) as response:
            return Reply(response.status, response.headers, await response.read())

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of a good answer."""
        reply = await self.call(method, path, body, **more)
        assert reply.status == 200, reply.raw
        return reply.json

    async def upload(self, content: bytes = b"Thirty days.", *, key: str | None = None) -> Any:
        """A new file."""
        form = aiohttp.FormData()
        form.add_field("purpose", "assistants")
        form.add_field("file", content, filename="returns.md")
        return await self.ask("POST", "/v1/files", form=form, key=key)

    async def ids(self, path: str) -> list[str]:
        """Of a list."""
        return [each["id"] for each in (await self.ask("GET", path))["data"]]
