"""A chat completion from request to usage: plan, context, generation, text.

`ChatService.open` takes a `Permit`: nothing reaches an engine that admission has not let in.
"""

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from gateway.admission import Admission, Permit
from gateway.config import Settings
from gateway.errors import DeadlineExceeded, Overloaded
from gateway.metrics import Metrics
from gateway.routing.types import Job
from gateway.serving.answer import Answer, FinishReason
from gateway.serving.context import Context, ContextBuilder
from gateway.serving.engines import Engines
from gateway.serving.generation import Generation
from gateway.serving.knowledge import Knowledge
from gateway.serving.plan import RAG, ChatAsk, Plan, Planner, is_rag
from gateway.tenants.tenant import Tenant
from gateway.triton.llm import Streams
from tokens.table import TokenTable


class ChatService:
    """Opens chats. One for the life of the application."""

    def __init__(
        self,
        *,
        settings: Settings,
        admission: Admission,
        engines: Engines,
        context: ContextBuilder,
        streams: Streams,
        table: TokenTable,
        knowledge: Knowledge,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._engines = engines
        self._context = context
        self._streams = streams
        self._table = table
        self._knowledge = knowledge
        self.planner = Planner(settings, engines)
        self._metrics = metrics

    @asynccontextmanager
    async def open(self, ask: ChatAsk, tenant: Tenant, request_id: str, permit: Permit) -> AsyncIterator["Chat"]:
        """A chat that is ready to give its first piece. Raises RagfleetError; frees everything when left.

        From here to there it may take `request_deadline_s`, whatever it waits for: an engine, or a client that does not read.
        """
        assert not permit.released, "a request needs a permit that is still held"
        deadline_s = self._settings.request_deadline_s
        try:
            async with asyncio.timeout(deadline_s), self._opened(ask, tenant, request_id) as chat:
                yield chat
        except TimeoutError as error:
            raise DeadlineExceeded(f"The request took longer than {deadline_s:g} s.") from error

    @asynccontextmanager
    async def _opened(self, ask: ChatAsk, tenant: Tenant, request_id: str) -> AsyncIterator["Chat"]:
        started = time.monotonic()
        plan = self.planner.plan(ask, await self._knowledge.retrieval(ask, tenant))
        context = await self._context.build(
            request_id=request_id,
            messages=orjson.dumps(ask.conversation),
            question=ask.question,
            retrieval=plan.retrieval,
            max_prompt_tokens=plan.max_prompt,
        )
        limit = min(
            ask.answer_limit or self._settings.default_max_tokens,
            plan.max_context - len(context.input_ids),
        )
        chat = Chat(
            ask=ask,
            plan=plan,
            context=context,
            answer=Answer(self._table, stops=ask.stops, max_tokens=limit),
            generation=self._generation(ask, plan, context, tenant=tenant, request_id=request_id, limit=limit),
            not_found=self._settings.rag_not_found,
            started=started,
            metrics=self._metrics,
        )
        try:
            yield chat
        finally:
            chat.close()
            usage = chat.usage()
            self._metrics.tokens.labels(tenant.name, "prompt").inc(usage["prompt_tokens"])
            self._metrics.tokens.labels(tenant.name, "completion").inc(usage["completion_tokens"])

    def check(self, ask: ChatAsk) -> None:
        """Refuse what no instance could serve. While there is no instance nothing is known, and the request may wait."""
        if self._engines.models():
            self.planner.check(ask)

    async def admit(self, tenant: Tenant) -> Permit:
        """A place for one request, after a fair wait. Raises Overloaded; the permit is to be released on every path."""
        started = time.monotonic()
        try:
            permit = await self._admission.acquire(
                tenant.name,
                weight=tenant.weight,
                priority=tenant.priority,
                deadline_s=self._settings.admission_deadline_s,
            )
        except Overloaded:
            self._metrics.refused.labels(tenant.name).inc()
            raise
        self._metrics.admission_wait.observe(time.monotonic() - started)
        return permit

    def observe(self, ask: ChatAsk, tenant: Tenant, *, status: int, seconds: float) -> None:
        """Count a request that has ended, whichever way."""
        rag = ask.knowledge is not None or is_rag(ask.model)
        # The client's word for the model is unbounded; only known ones become labels.
        model = ask.model if ask.model in self._engines.models() else RAG if rag else "unknown"
        self._metrics.requests.labels("chat", model, tenant.name, str(status)).inc()
        self._metrics.duration.labels("1" if rag else "0").observe(seconds)

    def _generation(
        self, ask: ChatAsk, plan: Plan, context: Context, *, tenant: Tenant, request_id: str, limit: int
    ) -> Generation | None:
        if plan.retrieval is not None and not context.sources and not context.without_knowledge:
            return None  # nothing relevant: we say so ourselves, no engine can invent
        job = Job(
            request_id=request_id,
            model=plan.model,
            prompt_ids=context.input_ids,
            max_tokens=limit,
            tenant_class=tenant.tenant_class,
            priority=tenant.priority,
        )
        return Generation(
            job,
            input_ids=context.input_ids,
            max_tokens=limit,
            sampling=self.planner.sampling(ask, rag=plan.retrieval is not None, end_id=self._table.end_id),
            engines=self._engines,
            streams=self._streams,
            settings=self._settings,
            metrics=self._metrics,
        )


class Chat:
    """One answer in the making."""

    def __init__(
        self,
        *,
        ask: ChatAsk,
        plan: Plan,
        context: Context,
        answer: Answer,
        generation: Generation | None,
        not_found: str,
        started: float,
        metrics: Metrics,
    ) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self._plan = plan
        self._context = context
        self._answer = answer
        self._generation = generation
        self._not_found: str | None = not_found if generation is None else None
        self._started = started
        self._first_token = False
        self._metrics = metrics
        self._text: list[str] = []
        self.rag: dict[str, Any] | None = None
        if plan.retrieval is not None:
            self.rag = {
                "grounded": bool(context.sources),
                "store": plan.retrieval.store,
                "sources": list(context.sources),
                **({"unavailable": True} if context.without_knowledge else {}),
            }

    async def next(self) -> str | None:
        """The next piece of text (may be ''), or None when the answer is complete."""
        if self._answer.ended():
            return None
        if self._generation is None:
            self._answer.say_nothing()
            piece = self._not_found or ""
        else:
            ids = await self._generation.next()
            if not self._first_token:
                self._first_token = True
                self._metrics.ttft.labels("1" if self.rag else "0").observe(time.monotonic() - self._started)
            if ids:
                piece = self._answer.push(ids)
                if self._answer.ended():
                    self._generation.close()  # a stop string: the engine need not go on
            else:
                piece = self._answer.finish()
        if self.rag is not None:
            self._text.append(piece)
        return piece

    def relay(self, ready: Callable[[], bool], write: Callable[[str], None]) -> None:
        """From the next piece on, call `write` with the pieces as they arrive, while `ready()`; the others come by `next()`.

        No task wakes up for a piece that is written so (docs/transport.md). `next()` must be waited for all the while.
        """
        if self._generation is None:
            return
        answer, rag = self._answer, self.rag is not None

        def take(ids: list[int]) -> bool:
            if not answer.plain(ids) or not ready():
                return False
            piece = answer.push(ids)
            if rag:
                self._text.append(piece)
            if piece:
                write(piece)
            return True

        self._generation.relay(take)

    def close(self) -> None:
        """Free the engine. Idempotent."""
        if self._generation is not None:
            self._generation.close()

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it has not."""
        return self._answer.finish_reason

    def usage(self) -> dict[str, Any]:
        """Real tokens: what the engine read and wrote, once, whatever instances it took."""
        prompt = len(self._context.input_ids) if self._generation is not None else 0
        done = self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}

    def annotations(self) -> list[dict[str, Any]]:
        """One url_citation for each source: the place of its mark `[n]` in the answer, else the whole answer."""
        if self.rag is None or not self.rag["grounded"]:
            return []
        text = "".join(self._text)
        marked = {int(m[1]): m.span() for m in re.finditer(r"\[(\d{1,3})\]", text)}
        return [_citation(source, marked.get(source["n"], (0, len(text)))) for source in self.rag["sources"]]

    def extra(self) -> dict[str, Any]:
        """The extension field `ragfleet`: which instances worked on the answer, and why each part ended."""
        trail = self._generation.trail if self._generation is not None else []
        return {
            "ragfleet": {"attempts": [{"instance": a.instance, "tokens": a.tokens, "cause": a.cause} for a in trail]}
        }


def _citation(source: Mapping[str, Any], span: tuple[int, int]) -> dict[str, Any]:
    page = f"#page={source['page']}" if source.get("page") else ""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": span[0],
            "end_index": span[1],
            "title": source["filename"],
            "url": f"ragfleet:{source['file_id']}/{source['filename']}{page}",
        },
    }
