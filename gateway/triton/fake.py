"""A Triton that is only a socket: what the gateway uses of one. For tests.

It speaks HTTP/1.1 on loopback and writes events as Triton 2.51 does. What it answers is in fake_answers.py.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import orjson

from gateway.triton.fake_answers import Answers, ModelCall, Script, told
from gateway.triton.fake_http import EVENTS, FakeEventWriter, HttpRequest, event, read_request, reply

_INFER = tuple(f"/v2/models/{model}/infer" for model in ("prompt", "context", "embedding", "search"))


class FakeTriton:
    """`async with FakeTriton(answers) as triton: …`

    A call goes by the next of its fleet's scripts (`Answers.script`), without one as `always` says. Everything that came is
    in `calls`; `until` waits for something to be true.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.calls: list[ModelCall] = []
        self.always: dict[str, Script] = {}
        self.ready = True
        self.slots = 4
        self.accepted = 0
        """Connections so far."""
        self.host, self.port = "127.0.0.1", 0
        self._resumed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[Any]] = {}
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def __aenter__(self) -> Self:
        await self.revive()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    # What a test does to it

    def resume(self) -> None:
        """What stalls goes on, and nothing stalls any more until `hold()`."""
        self._resumed.set()

    def hold(self) -> None:
        """Scripts stall again."""
        self._resumed.clear()

    async def kill(self) -> None:
        """As SIGKILL: every connection breaks, and nobody listens any more."""
        tasks = list(self._connections.values())
        self._die()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether anybody listens."""
        return self._server is not None

    async def revive(self) -> None:
        """Listen again, at the same port."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port, limit=2**24)
        self.port = self._server.sockets[0].getsockname()[1]

    def made(self, model: str = "llm") -> list[ModelCall]:
        """The calls of one model."""
        return [call for call in self.calls if call.model == model]

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until something is true that a call can change. Raises TimeoutError."""
        if holds():
            return
        watcher = (holds, asyncio.get_running_loop().create_future())
        self._watchers.append(watcher)
        try:
            async with asyncio.timeout(timeout):
                await watcher[1]
        finally:
            self._watchers.remove(watcher)

    # The server

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[writer] = task
        self.accepted += 1
        # asyncio's own callback complains of a cancelled handler, so it ends like any other.
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                await self._answer(await read_request(reader), reader, writer)
        del self._connections[writer]
        writer.close()

    async def _answer(self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = request.path
        if path == "/metrics":
            await reply(writer, 200, self._metrics().encode(), "text/plain")
        elif path == "/v2/health/ready":
            await reply(writer, 200 if self.ready else 400, b"")
        elif request.method == "POST" and path == "/v2/models/llm/generate_stream":
            await self._call("llm", request, reader, writer, self._generate)
        elif request.method == "POST" and path in _INFER:
            await self._call(path.split("/")[3], request, reader, writer, self._infer)
        else:
            await reply(writer, 404, b'{"error":"no such path"}')

    async def _call(
        self,
        model: str,
        request: HttpRequest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        serve: "Callable[[ModelCall, asyncio.StreamWriter], Any]",
    ) -> None:
        scripts = self.answers.scripts.get(model)
        script = scripts.popleft() if scripts else self.always.get(model, Script())
        call = ModelCall(model, orjson.loads(request.body), script, request.headers.get("traceparent", ""))
        self.calls.append(call)
        self.answers.calls.append(call)
        self._tell()
        work = asyncio.ensure_future(serve(call, writer))
        left = asyncio.ensure_future(reader.read(1))  # nothing comes while a call runs, except the end
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            call.end = call.end or ("gone" if self.alive else "broken")
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
            self._tell()
        if call.end in ("gone", "broken"):
            raise EOFError

    async def _generate(self, call: ModelCall, writer: asyncio.StreamWriter) -> None:
        script, request = call.script, call.body
        if script.status != 200:
            await self._refuse(call, writer)
            return
        ids: list[int] = list(request["input_ids"])
        out = FakeEventWriter(writer, before=script.raw, split=script.split)

        async def flush(count: int, *, end: bool = False) -> None:
            await out.flush(end=end)
            call.sent = count
            self._tell()

        for count in range(request["request_output_len"] + 1):
            if count in (script.reset_after, script.kill_after, script.stall_after):
                await flush(count)
            if count == script.kill_after:
                self._die()
            if count in (script.reset_after, script.kill_after):
                self._reset(call, writer)
            if count == script.stall_after:
                await self._resumed.wait()
            if count == script.error_after:
                out.put({"error": script.error})
                break
            following = self.answers.next_id(ids) if count < request["request_output_len"] else None
            if following is None:
                break
            ids.append(following)
            who = {"id": request["id"], "model_name": "llm", "model_version": "1"}
            beside = {}
            if request.get("return_log_probs"):
                beside = told(following, request.get("num_top_log_probs", 0), range(8))
            if script.reused_blocks is not None and count == script.reuse_told_after:
                beside = {**beside, "kv_cache_reused_blocks": script.reused_blocks}
            out.put({**who, "output_ids": following, "sequence_length": 1, **beside})
            if (count + 1) % script.per_segment == 0:
                await flush(count + 1)
        call.end = "finished"
        await flush(len(ids) - len(request["input_ids"]), end=True)

    async def _infer(self, call: ModelCall, writer: asyncio.StreamWriter) -> None:
        script = call.script
        if script.kill_after is not None:
            self._die()
        if script.reset_after is not None or script.kill_after is not None:
            self._reset(call, writer)
        if script.stall_after is not None:
            await self._resumed.wait()
        if script.status != 200:
            await self._refuse(call, writer)
            return
        if script.raw is not None:
            body, status = script.raw, 200
        else:
            status, answer = self.answers.infer(call)
            body = orjson.dumps(answer)
        call.end = "finished"
        await reply(writer, status, body)

    async def _refuse(self, call: ModelCall, writer: asyncio.StreamWriter) -> None:
        call.end = "refused"
        error = {"error": call.script.error}
        if call.model == "llm":  # an event, whatever the status
            await reply(writer, call.script.status, event(error), EVENTS)
        else:
            await reply(writer, call.script.status, orjson.dumps(error))

    def _metrics(self) -> str:
        running = sum(1 for call in self.calls if call.model == "llm" and not call.end)
        counts = {"waiting": 0, "active": running, "scheduled": running, "max": self.slots}
        name = "nv_trt_llm_request_metrics"
        lines = [f'{name}{{model="llm",request_type="{kind}",version="1"}} {n}' for kind, n in counts.items()]
        return "\n".join([f"# TYPE {name} gauge", *lines, ""])

    def _reset(self, call: ModelCall, writer: asyncio.StreamWriter) -> None:
        call.end = "broken"
        self._break(writer)
        raise ConnectionResetError

    def _die(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._connections):
            self._break(writer)

    def _break(self, writer: asyncio.StreamWriter) -> None:
        """Reset a connection."""
        raw: socket.socket | None = writer.get_extra_info("socket")
        if raw is not None:
            with suppress(OSError):  # it may be closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def _tell(self) -> None:
        for holds, future in self._watchers:
            if not future.done() and holds():
                future.set_result(None)
