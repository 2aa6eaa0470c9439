"""A Triton that is only a socket: what the gateway uses of one, with a deterministic engine and scripted faults. For tests.

It speaks HTTP/1.1 on loopback and writes events as Triton 2.51 does. The next id of an answer is a function of all ids
before it, so that a continuation on another fake gives what the first one would have given.
"""

import asyncio
import hashlib
import socket
import struct
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson

from gateway.triton.fake_http import EVENTS, EventWriter, event, read_request, reply

_INFER = tuple(f"/v2/models/{model}/infer" for model in ("prompt", "context", "embedding", "search"))

NextId = Callable[[Sequence[int]], int | None]
"""All ids so far → the next one; None where the answer ends."""


DIMENSION = 8


def vector_of(text: str) -> list[float]:
    """What the fakes' `embedding` makes of a text: DIMENSION numbers of its hash, as a vector of length 1."""
    raw = [byte - 127.5 for byte in hashlib.blake2b(text.encode(), digest_size=DIMENSION).digest()]
    length = sum(value * value for value in raw) ** 0.5
    return [value / length for value in raw]


def hashed(choices: Sequence[int]) -> NextId:
    """An answer without an end, each id drawn from `choices` by a hash of all ids before it."""

    def next_id(ids: Sequence[int]) -> int:
        digest = hashlib.blake2b(array("i", ids).tobytes(), digest_size=8).digest()
        return choices[int.from_bytes(digest) % len(choices)]

    return next_id


def saying(words: Sequence[int], *, after: int) -> NextId:
    """The ids of `words` and then the end; `after` is the id that ends every prompt and is not one of them."""

    def next_id(ids: Sequence[int]) -> int | None:
        said = list(reversed(ids)).index(after)
        return words[said] if said < len(words) else None

    return next_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How one call goes. `*_after` counts the ids sent before it happens; a call of another model than `llm` sends none."""

    status: int = 200
    """Another status answers with `error` and nothing else."""
    error: str = ""
    error_after: int | None = None
    """An event `{"error": …}` in a stream that began well."""
    reset_after: int | None = None
    """The connection breaks."""
    kill_after: int | None = None
    """The whole instance dies."""
    stall_after: int | None = None
    """Nothing more comes until `resume()`."""
    per_segment: int = 1
    """Ids that leave in one piece, each in an event of its own."""
    split: bool = False
    """Every event leaves in two pieces."""
    raw: bytes | None = None
    """The body to answer with instead; in a stream, the bytes sent before the first event."""


@dataclass(slots=True, eq=False)
class Call:
    """One request that came."""

    model: str
    body: Mapping[str, Any]
    script: Script
    sent: int = 0
    """Ids sent so far."""
    end: str = ""
    """"": it runs; `finished`, `refused`, `broken` (by us), `gone` (the client left)."""


@dataclass(slots=True, kw_only=True)
class Answers:
    """What the fake's models do, the same on every fake of a fleet."""

    next_id: NextId
    encode: Callable[[str], Sequence[int]] = lambda text: list(text.encode())
    """Text of a message → ids."""
    prompt_end: Sequence[int] = ()
    """Ids that end every prompt."""
    passages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """What the retrieval finds, best first."""
    scripts: dict[str, deque[Script]] = field(default_factory=dict)
    """Scripts by model, for whichever fake is asked next."""

    calls: list[Call] = field(default_factory=list)
    """Every call that came to any of the fakes."""

    def script(self, model: str, *scripts: Script) -> None:
        """The next calls of a model, on whatever fake, go like this, one after the other."""
        self.scripts.setdefault(model, deque()).extend(scripts)


class FakeTriton:
    """`async with FakeTriton(answers) as triton: …`

    A call goes by the next of its fleet's scripts (`Answers.script`), without one as `always` says. Everything that came is
    in `calls`; `until` waits for something to be true.
    """

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.calls: list[Call] = []
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

    def made(self, model: str = "llm") -> list[Call]:
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
                method, path, body = await read_request(reader)
                await self._answer(method, path, body, reader, writer)
        del self._connections[writer]
        writer.close()

    async def _answer(
        self, method: str, path: str, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if path == "/metrics":
            await reply(writer, 200, self._metrics().encode(), "text/plain")
        elif path == "/v2/health/ready":
            await reply(writer, 200 if self.ready else 400, b"")
        elif method == "POST" and path == "/v2/models/llm/generate_stream":
            await self._call("llm", body, reader, writer, self._generate)
        elif method == "POST" and path in _INFER:
            await self._call(path.split("/")[3], body, reader, writer, self._infer)
        else:
            await reply(writer, 404, b'{"error":"no such path"}')

    async def _call(
        self,
        model: str,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        serve: "Callable[[Call, asyncio.StreamWriter], Any]",
    ) -> None:
        scripts = self.answers.scripts.get(model)
        script = scripts.popleft() if scripts else self.always.get(model, Script())
        call = Call(model, orjson.loads(body), script)
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

    async def _generate(self, call: Call, writer: asyncio.StreamWriter) -> None:
        script, request = call.script, call.body
        if script.status != 200:
            await self._refuse(call, writer)
            return
        ids: list[int] = list(request["input_ids"])
        out = EventWriter(writer, before=script.raw, split=script.split)

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
            out.put({**who, "output_ids": following, "sequence_length": 1})
            if (count + 1) % script.per_segment == 0:
                await flush(count + 1)
        call.end = "finished"
        await flush(len(ids) - len(request["input_ids"]), end=True)

    async def _infer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        script = call.script
        if script.reset_after is not None:
            self._reset(call, writer)
        if script.stall_after is not None:
            await self._resumed.wait()
        if script.status != 200:
            await self._refuse(call, writer)
            return
        if script.raw is not None:
            body, status = script.raw, 200
        else:
            status, answer = {"embedding": self._embedding, "search": self._search}.get(call.model, self._prompt)(call)
            body = orjson.dumps(answer)
        call.end = "finished"
        await reply(writer, status, body)

    def _prompt(self, call: Call) -> tuple[int, dict[str, Any]]:
        inputs = {}
        for tensor in call.body["inputs"]:
            if tensor["shape"] != [1, 1]:
                return 400, {"error": f"unexpected shape for input '{tensor['name']}' for model '{call.model}'"}
            inputs[tensor["name"]] = tensor["data"][0]
        used: list[Mapping[str, Any]] = []
        if call.model == "context":
            found = [p for p in self.answers.passages if p["score"] >= inputs["min_score"]][: inputs["top_k"]]
            used = [{**passage, "n": n} for n, passage in enumerate(found, 1)]
        texts = [passage["text"] for passage in used] + [m["content"] for m in orjson.loads(inputs["messages"])]
        ids = [i for text in texts for i in self.answers.encode(text)] + list(self.answers.prompt_end)
        if len(ids) > inputs["max_prompt_tokens"]:
            words = f"{len(ids)} tokens, there is room for {inputs['max_prompt_tokens']}"
            return 400, {"error": f"prompt: too long: {words}"}
        outputs = [
            {"name": "input_ids", "datatype": "INT32", "shape": [1, len(ids)], "data": ids},
            {"name": "used", "datatype": "BYTES", "shape": [1, 1], "data": [orjson.dumps(used).decode()]},
        ]
        return 200, {"id": call.body["id"], "model_name": call.model, "model_version": "1", "outputs": outputs}

    def _search(self, call: Call) -> tuple[int, dict[str, Any]]:
        inputs = {tensor["name"]: tensor["data"][0] for tensor in call.body["inputs"]}
        found = [p for p in self.answers.passages if p["score"] >= inputs["min_score"]][: inputs["top_k"]]
        output = {"name": "passages", "datatype": "BYTES", "shape": [1, 1], "data": [orjson.dumps(found).decode()]}
        return 200, {"id": call.body["id"], "model_name": "search", "model_version": "1", "outputs": [output]}

    def _embedding(self, call: Call) -> tuple[int, dict[str, Any]]:
        (tensor,) = call.body["inputs"]
        count, width = tensor["shape"]
        if (tensor["name"], width) != ("text", 1) or not 1 <= count <= 64:
            return 400, {"error": f"unexpected shape for input '{tensor['name']}' for model 'embedding'"}
        data = [value for text in tensor["data"] for value in vector_of(text)]
        output = {"name": "embedding", "datatype": "FP32", "shape": [count, DIMENSION], "data": data}
        return 200, {"id": call.body["id"], "model_name": "embedding", "model_version": "1", "outputs": [output]}

    async def _refuse(self, call: Call, writer: asyncio.StreamWriter) -> None:
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

    def _reset(self, call: Call, writer: asyncio.StreamWriter) -> None:
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
