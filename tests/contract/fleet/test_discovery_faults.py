"""ConsulDiscovery against a Consul that says odd things: a script of answers over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from gateway.fleet.discovery import ConsulDiscovery
from gateway.fleet.fleet_state import FleetState
from tests.support.fleet_views import view_where


def entry(name: str, output: str = "") -> dict[str, object]:
    ids = (f"service:{name}:ready", f"service:{name}:worker")
    return {
        "Node": {"Node": "n", "Address": "127.0.0.1"},
        "Service": {"ID": name, "Address": "", "Port": 1, "Meta": {"grpc_port": "2", "metrics_port": "3"}},
        "Checks": [{"CheckID": i, "Name": i, "Status": "passing", "Output": output} for i in ids],
    }


def answer(index: object, *names: str, status: int = 200, body: bytes | None = None, output: str = "") -> bytes:
    body = orjson.dumps([entry(n, output) for n in names]) if body is None else body
    return (
        b"HTTP/1.1 %d X\r\nX-Consul-Index: %s\r\nContent-Length: %d\r\n\r\n" % (status, str(index).encode(), len(body))
        + body
    )


class Script:
    """Answers one request after another, then hangs; `asked` are the queries' parameters."""

    def __init__(self, answers: list[bytes]) -> None:
        self._answers = answers
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.asked.append(head.split()[1].decode().partition("?")[2])
                if not self._answers:
                    self.over.set()
                    await reader.read()
                    return
                writer.write(self._answers.pop(0))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def playing(*answers: bytes, **overrides: float) -> AsyncIterator[tuple[Script, FleetState]]:
    """A discovery that has read the whole script."""
    script, store = Script(list(answers)), FleetState()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tuned = {"wait_s": 60.0, "backoff_s": (0.001, 0.002), "quiet_s": 0.001, **overrides}
    task = asyncio.create_task(ConsulDiscovery(url, store=store, **tuned).run())  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(60):
            await script.over.wait()
        yield script, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()


async def test_the_first_query_does_not_block_and_the_next_one_waits_for_news() -> None:
    async with playing(answer(7, "a")) as (script, store):
        assert script.asked == ["", "index=7&wait=60000ms"]
        assert list(store.view.members) == ["a"]


async def test_an_index_of_zero_counts_as_one() -> None:
    async with playing(answer(0, "a")) as (script, _):
        assert script.asked[1] == "index=1&wait=60000ms"


async def test_an_index_that_goes_back_starts_again_and_takes_nobody_out() -> None:
    async with playing(answer(100, "a", "b"), answer(5, "a"), answer(5, "a")) as (script, store):
        assert script.asked[1:3] == ["index=100&wait=60000ms", ""]
        assert script.asked[3].startswith("index=5&wait=")
        assert set(store.view.members) == {"a", "b"}
        assert store.view.members["b"].reason.endswith("not registered")


@pytest.mark.parametrize(
    "odd",
    [
        answer(9, status=500, body=b"No cluster leader"),
        answer(9, status=403, body=b"Permission denied"),
        answer(9, body=b"<html>a proxy's page</html>"),
        answer(9, body=b'{"not": "a list of entries"}'),
        answer(9, body=b'[{"Service": {}}]'),
        answer(9, body=b"null"),
        answer("later", "a"),
        b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[]",
        b"not HTTP at all\r\n\r\n",
    ],
    ids=["no leader", "refused", "html", "an object", "holes", "null", "odd index", "no index", "no HTTP"],
)
async def test_an_unusable_answer_changes_nothing_and_the_next_query_does_not_block(odd: bytes) -> None:
    async with playing(answer(8, "a"), odd, answer(9, "a"), hold_s=0.0) as (script, store):
        assert script.asked[2] == ""
        assert store.view.source_alive
        assert list(store.view.members) == ["a"]
        assert store.view.version == 1


async def test_a_query_that_is_never_answered_has_a_deadline() -> None:
    async with playing(answer(8, "a"), wait_s=0.05, margin_s=0.05) as (script, store):
        view = await view_where(store, lambda v: not v.source_alive, 5)
        assert list(view.members) == ["a"]
        await asyncio.sleep(0)
        assert script.asked[1] == "index=8&wait=50ms"


async def test_noise_is_slowed_down() -> None:
    noise = [answer(n, "a", output=f"queue {n}") for n in range(2, 12)]
    started = asyncio.get_running_loop().time()
    async with playing(answer(1, "a"), *noise, quiet_s=0.05) as (_, store):
        assert asyncio.get_running_loop().time() - started > 10 * 0.025
        assert store.view.version == 1
