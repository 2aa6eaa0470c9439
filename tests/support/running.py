"""The real gateway behind a real socket, over Tritons that are fake: what component and contract tests stand on.

Only discovery is replaced (membership is set by hand), and uvicorn's `Server`, whose waits would cost each test a tenth
of a second: its protocol serves directly.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import uvicorn
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from uvicorn.server import ServerState

from gateway.api.http_protocol import Connections, HttpLimits
from gateway.api.tls_handshake import connection_protocol
from gateway.app import create_app
from gateway.config import Settings
from gateway.container import Container
from gateway.fleet.view import FleetMember, Instance
from gateway.knowledge.catalog.types import ChunkRecord, NewMember
from gateway.knowledge.documents import Document
from gateway.knowledge.objects import document_key
from gateway.tenants.tenant import Tenant
from gateway.tls import server_context
from gateway.triton.fake import FakeTriton
from gateway.triton.fake_answers import Answers, NextId, hashed, saying
from tests.support.replies import Events, Reply, Stream
from tokens.vocabulary import TokenTable

MODEL = "tiny"
EMBEDDING = "tiny-embedding"
COLLECTION = "ragfleet_chunks_0a0b0c0d"
TENANT = "default"
"""Of a gateway without a tenants file."""
START, END = "<|im_start|>", "<|im_end|>"
CORPUS = (
    "The quick brown fox jumps over the lazy dog while the kettle sings in the kitchen.",
    "Naïve café owners serve crème brûlée; 東京の天気は晴れです。 Ночь, улица, фонарь, аптека.",
    "Stop here. Returns are accepted within thirty days of the purchase, with the receipt.",
)


def _passage(file_id: str, filename: str, index: int, text: str, score: float, page: int = 0) -> dict[str, Any]:
    """As `retrieval` gives it (docs/contracts.md)."""
    return {
        "id": f"{file_id}:{index}",
        "store": "handbook",
        "file_id": file_id,
        "filename": filename,
        "index": index,
        "text": text,
        "score": score,
        "page": page,
        "start": 0,
        "end": len(text),
        "attributes": {},
    }


PASSAGES = (
    _passage("a", "returns.md", 0, "Thirty days.", 0.9),
    _passage("b", "prices.pdf", 3, "Nine euros.", 0.6, page=7),
    _passage("c", "other.md", 1, "Nothing of it.", 0.1),
)


def make_tokenizer(folder: Path, *, more: Sequence[str] = ()) -> Path:
    """A byte-level BPE of some hundred tokens, as TokenTable reads it. more: tokens beside them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [AddedToken(name, special=True) for name in (START, END)]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_tokens([AddedToken(name, special=False) for name in more])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


class Nobody:
    """Discovery that finds nothing new."""

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.Event().wait()


class Fleet:
    """Some fake Tritons, and a gateway over them. `async with Fleet(...) as fleet`.

    On leaving it sees to it that nothing is held any more: no permit, no place, no stream, no call.
    """

    def __init__(self, settings: Settings, *, instances: int = 2, slots: int = 4, max_context: int = 512) -> None:
        self.settings = settings
        self.table = TokenTable.load(settings.tokenizer_dir)
        self.start = self.table.controls[START].id
        self.end = self.table.controls[END].id
        self.plain = [
            i
            for i, text in enumerate(self.table.text_of)
            if text and text.isprintable() and i not in self.table.special_names
        ]
        """Ids that are printable text by themselves."""
        self.answers = Answers(
            next_id=hashed(self.plain), encode=self.table.encode, prompt_end=(self.start,), passages=PASSAGES
        )
        self.tritons = [FakeTriton(self.answers) for _ in range(instances)]
        self.gateway = Container(settings)
        self.gateway.discovery = Nobody()
        self.stores: dict[str, str] = {}
        """Ids of what was learned, by name."""
        self._slots = slots
        self._max_context = max_context
        self._stack = AsyncExitStack()
        self._state = ServerState()
        self.connections = Connections(HttpLimits.of(settings, 1000))

    async def __aenter__(self) -> Self:
        try:
            for triton in self.tritons:
                await self._stack.enter_async_context(triton)
            self.members()
            app = create_app(self.gateway)
            await self._stack.enter_async_context(app.router.lifespan_context(app))
            tls = server_context(self.settings)
            self.url = await self._stack.enter_async_context(
                _serve(app, self._state, self.connections, self.settings.keep_alive_s, tls)
            )
            self.http = await self._stack.enter_async_context(aiohttp.ClientSession(self.url))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.settled()
        finally:
            await self._stack.aclose()

    # The fleet

    def says(self, reply: str | Sequence[int]) -> None:
        """From now on every answer is this one."""
        ids = self.table.encode(reply) if isinstance(reply, str) else reply
        self.follows(saying(ids, after=self.start))

    def follows(self, next_id: NextId) -> None:
        """From now on every answer goes like this."""
        self.answers.next_id = next_id

    def name(self, triton: FakeTriton) -> str:
        """The name of an instance."""
        return f"triton-{self.tritons.index(triton)}"

    def members(self, *, out: Sequence[FakeTriton] = (), **changes: Any) -> None:
        """Set the membership: all Tritons but those in `out`, with `changes` to each Member."""
        self.gateway.store.set_members([self.member(t, **changes) for t in self.tritons if t not in out])

    def member(self, triton: FakeTriton, *, metrics_port: int = 0, **changes: Any) -> FleetMember:
        """One Triton as Consul would tell of it; without a metrics port nobody scrapes it."""
        instance = Instance(
            self.name(triton),
            triton.host,
            triton.port,
            grpc_port=0,
            metrics_port=metrics_port,
            model=MODEL,
            slots=self._slots,
            max_context=self._max_context,
            embedding_model=EMBEDDING,
        )
        return replace(FleetMember(instance), **changes)

    def change(self, triton: FakeTriton, **changes: Any) -> None:
        """One member changes."""
        members = {t: self.member(t) for t in self.tritons} | {triton: self.member(triton, **changes)}
        self.gateway.store.set_members(members.values())

    async def learn(self, *stores: str) -> None:
        """Knowledge stores come into being, each with one file that was brought in."""
        catalog = self.gateway.catalog
        await catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
        for passage in PASSAGES:  # the files that the fake finds passages of
            document = Document(passage["text"], passage["filename"], "plain")
            await self.gateway.objects.put(document_key(passage["file_id"]), document.to_json())
        for name in stores:
            made = await catalog.of(Tenant(TENANT)).stores.create(name=name)
            file = await catalog.of(Tenant(TENANT)).files.add(
                file_id=f"file-{name}", filename="returns.md", purpose="assistants", size=1, sha256="0" * 64
            )
            await catalog.of(Tenant(TENANT)).members.attach(made.id, [NewMember(file_id=file.id)])
            (job,) = await catalog.queue.claim("a test", limit=1, lease_s=60)
            await catalog.queue.put_chunks(job, [ChunkRecord(index=0, text="x", page=0, start=0, end=1)], usage_bytes=1)
            await catalog.queue.complete(job, COLLECTION)
            self.stores[name] = made.id

    def calls(self, model: str = "llm") -> list[Any]:
        """The calls of one model on all Tritons."""
        return [call for call in self.answers.calls if call.model == model]

    def at_work(self) -> FakeTriton:
        """The Triton that has the last running stream."""
        return next(t for t in self.tritons if any(not call.end for call in t.made()))

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something is true that a call on any Triton can change."""
        waits = [asyncio.ensure_future(triton.until(holds)) for triton in self.tritons]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def settled(self) -> None:
        """Wait until every request is over, and see that nothing is held."""
        if self._state.tasks:
            _, running = await asyncio.wait(self._state.tasks, timeout=10)
            assert not running, "a request never ended"
        gateway = self.gateway
        async with asyncio.timeout(60):
            mirroring = gateway.generator.mirroring
            while gateway.background.running or gateway.batches.running or (mirroring and mirroring.running):
                await asyncio.sleep(0.01)
        await self.until(lambda: all(call.end for triton in self.tritons for call in triton.calls))
        for admission in (gateway.admission, gateway.retrieval_admission):
            assert (admission.held, admission.waiting) == (0, 0)
        for triton in self.tritons:
            name = self.name(triton)
            account = gateway.placer.account(name)
            assert account is None or (account.ours, account.context_calls) == (0, 0)
        assert gateway.registry.counts() == {}
        async with asyncio.timeout(60):
            while gateway.streams._live:  # the last bytes of a response whose tokens are all here
                await asyncio.sleep(0)

    # The client

    async def post(self, body: Any, *, path: str = "/v1/chat/completions", headers: Mapping[str, str] = {}) -> Reply:
        """POST JSON, or bytes (or pieces of them) as they are."""
        data = (
            body
            if hasattr(body, "__aiter__")
            else BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
        )
        async with self.http.post(path, data=data, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, *, headers: Mapping[str, str] = {}) -> Reply:
        """GET."""
        async with self.http.get(path, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def chat(self, content: str = "Hello?", *, headers: Mapping[str, str] = {}, **fields: Any) -> Reply:
        """A whole answer."""
        return await self.post(ask(content, **fields), headers=headers)

    @asynccontextmanager
    async def open(
        self, content: str = "Hello?", *, headers: Mapping[str, str] = {}, **fields: Any
    ) -> AsyncIterator[Stream]:
        """A streamed answer, to read piece by piece."""
        body = json.dumps(ask(content, **{"stream": True, **fields})).encode()
        async with self.http.post("/v1/chat/completions", data=body, headers=headers) as response:
            yield Stream(response)

    async def stream(self, content: str = "Hello?", *, headers: Mapping[str, str] = {}, **fields: Any) -> Events:
        """A streamed answer, read to its end."""
        async with self.open(content, headers=headers, **fields) as stream:
            return await stream.rest()


def ask(content: str = "Hello?", **fields: Any) -> dict[str, Any]:
    """A greedy request of 16 tokens, with `fields` on top."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": 16,
        **fields,
    }


def settings_for(home: Path, tokenizer_dir: Path, **changes: Any) -> Settings:
    """Settings with short deadlines; a test that waits for one shortens it further."""
    short: dict[str, Any] = {
        "home": home,
        "tokenizer_dir": tokenizer_dir,
        "gather_s": 0.0,
        "connect_deadline_s": 2.0,
        "context_deadline_s": 5.0,
        "first_token_deadline_s": 10.0,
        "token_deadline_s": 10.0,
        "admission_deadline_s": 0.2,
        "scrape_period_s": 0.05,
        "ingestion": False,
    }
    return Settings(**(short | changes))


@asynccontextmanager
async def _serve(
    app: Any, state: ServerState, connections: Connections, keep_alive_s: int, tls: ssl.SSLContext | None
) -> AsyncIterator[str]:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=keep_alive_s,
    )
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: connection_protocol(connections=connections, tls=tls, config=config, server_state=state, app_state={}),
        "127.0.0.1",
        0,
    )
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)
