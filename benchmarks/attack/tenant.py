"""A tenant of the gateway under attack: its files, stores and searches."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.attacks import Target

REFUSED_S = 1.0
"""Until what was refused is sent again."""
RESULTS = 50
AT_ONCE = 16
"""Deletions: of a flood of uploads there are thousands."""
READY_S = 120.0
"""For a file to be searchable."""


class Tenant:
    """One tenant's requests."""

    def __init__(self, target: Target, http: aiohttp.ClientSession) -> None:
        self.target = target
        self._http = http
        self._files: list[str] = []

    async def call(self, method: str, path: str, **request: Any) -> dict[str, Any] | None:
        """The answer's JSON, {} of a stream that has ended; None where it was refused, a while after that."""
        async with self._http.request(method, path, **request) as answer:
            if answer.status < 300:
                if answer.content_type == "application/json":
                    found: dict[str, Any] = await answer.json()
                    return found
                async for _ in answer.content.iter_any():
                    pass
                return {}
        await asyncio.sleep(REFUSED_S)
        return None

    async def takes(self, path: str, body: object) -> bool:
        """Whether a request is served; what is served is not read."""
        async with self._http.post(path, json=body) as answer:
            return answer.status < 300

    async def upload(self, file: Path) -> str:
        """The file's id. Raises RuntimeError where it was refused."""
        form = aiohttp.FormData()
        form.add_field("purpose", "assistants")
        form.add_field("file", file.open("rb"), filename=file.name)
        found = await self.call("POST", "/v1/files", data=form)
        if found is None:
            raise RuntimeError(f"the upload of {file.name} was refused")
        self._files.append(str(found["id"]))
        return self._files[-1]

    @asynccontextmanager
    async def store(self) -> AsyncIterator[str]:
        """The path of a vector store of its own; at the end it is deleted, with its files."""
        made = await self.call("POST", "/v1/vector_stores", json={"name": "attack"})
        if made is None:
            raise RuntimeError("no vector store could be made")
        path = f"/v1/vector_stores/{made['id']}"
        try:
            yield path
        finally:
            await self.call("DELETE", path)  # first of all, or the files would go on being read meanwhile
            await asyncio.gather(*(self._delete_files() for _ in range(AT_ONCE)))

    async def _delete_files(self) -> None:
        while self._files:
            await self.call("DELETE", f"/v1/files/{self._files.pop()}")

    async def add(self, store: str, file: Path) -> None:
        """Upload a file into a store."""
        await self.call("POST", f"{store}/files", json={"file_id": await self.upload(file)})

    async def search(self, store: str, query: str) -> Sequence[Any]:
        """What is found."""
        found = await self.call("POST", f"{store}/search", json={"query": query, "max_num_results": RESULTS})
        return [] if found is None else found["data"]

    async def searchable(self, store: str, query: str) -> None:
        """Wait until something is found. Raises TimeoutError."""
        async with asyncio.timeout(READY_S):
            while not await self.search(store, query):  # noqa: ASYNC110 - a client can only ask
                await asyncio.sleep(0.1)


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Tenant]:
    """A tenant with as many connections as it likes."""
    async with aiohttp.ClientSession(
        f"http://{target.host}:{target.port}",
        headers={"Authorization": f"Bearer {target.key}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=600),
    ) as http:
        yield Tenant(target, http)
