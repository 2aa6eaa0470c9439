"""Several gateways do everything that they do in the catalog to the same few things at once: nothing fails by another's doing,
and what is there at the end agrees with itself."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select, and_, exists, func, or_, select

from gateway.errors import BadRequest, CatalogUnavailable, Conflict, InsufficientQuota, NotFound, Overloaded
from gateway.knowledge.catalog import idempotency, removals, schema
from gateway.knowledge.catalog.administration import Administration, TenantSettings
from gateway.knowledge.catalog.answer_types import (
    AnswerKind,
    BackgroundJob,
    BatchLine,
    ChatRecord,
    JournalEntry,
    ResponseRecord,
)
from gateway.knowledge.catalog.catalog import Catalog
from gateway.knowledge.catalog.database import new_id
from gateway.knowledge.catalog.ingestion_types import Job, Pause
from gateway.knowledge.catalog.known_models import CatalogModels
from gateway.knowledge.catalog.queue import LeaseLost
from gateway.knowledge.catalog.rollouts import Rollouts
from gateway.knowledge.catalog.sql_ledger import SqlLedger
from gateway.knowledge.catalog.sql_quota_store import SqlQuotaStore
from gateway.knowledge.catalog.tenant_catalog import TenantCatalog
from gateway.knowledge.catalog.types import ChunkRecord, FileError, NewMember, StoredReply
from gateway.rollouts.evidence import Evidence
from gateway.rollouts.judge import JudgeOptions
from gateway.rollouts.rollout import RolloutState
from gateway.tenants.budgets import Resource
from gateway.tenants.key import Key
from gateway.tenants.ledger import LedgerEntry
from gateway.tenants.limits import TenantLimits
from gateway.tenants.quota_client import QuotaClient
from gateway.tenants.quotas import Quotas
from gateway.tenants.tenant import Tenant
from tests.contract.catalog.conftest import PATIENCE_S, Clock

REFUSED = (NotFound, Conflict, BadRequest, Overloaded, InsufficientQuota, LeaseLost)
"""What a client, or the ingestion, may be told; CatalogUnavailable is none of it."""
FILES = [f"file-{n}" for n in range(5)]
COLLECTIONS = ("c1", "c2", "c3")
KEEP_S, LEASE_S = 3, 2.0
LIMITS = TenantLimits(
    documents=7, pending_ingestions=9, requests_per_minute=500, tokens_per_month=10**6, concurrent_answers=50
)


@dataclass(eq=False)
class Things:
    """What there is, as far as anybody has heard; some of it is gone."""

    stores: list[str] = field(default_factory=list)
    batches: list[tuple[str, str]] = field(default_factory=lambda: [("vs_none", "vsfb_none")])
    responses: list[str] = field(default_factory=lambda: ["resp_none"])
    conversations: list[str] = field(default_factory=lambda: ["conv_none"])
    chats: list[str] = field(default_factory=lambda: ["chatcmpl-none"])
    uploads: list[str] = field(default_factory=lambda: ["upload_none"])
    batch_jobs: list[str] = field(default_factory=lambda: ["batch_none"])
    keys: list[str] = field(default_factory=lambda: ["none"])
    rollouts: list[str] = field(default_factory=lambda: ["none"])


class Gateway:
    """One of them: each of its methods that begins with `do_` is something that happens."""

    def __init__(self, number: int, url: str, clock: Clock, things: Things, rng: random.Random, folder: Path) -> None:
        self.name = f"g{number}"
        self.catalog = Catalog(url, clock=clock, timeout_s=PATIENCE_S)
        database = self.catalog.database
        self.quotas = Quotas(QuotaClient(SqlQuotaStore(database), clock=clock))
        self.ledger = SqlLedger(database)
        administration = Administration(database, folder / "audit.jsonl")
        self.admin = administration.by(self.name)
        self.rollouts = Rollouts(database, administration.trail)
        self.models = CatalogModels(database)
        self.jobs: list[Job] = []
        self.positions: Counter[str] = Counter()
        self._clock, self._things, self._rng = clock, things, rng

    @property
    def acts(self) -> list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        return [(name, getattr(self, name)) for name in dir(self) if name.startswith("do_")]

    async def close(self) -> None:
        await self.quotas.close()
        await self.catalog.close()

    @property
    def _tenant(self) -> Tenant:
        key = Key(self._rng.choice("xy"), groups=self._rng.choice([None, None, None, frozenset({"hr"})]))
        return Tenant(self._rng.choice("aaaaab"), limits=LIMITS, key=key)

    @property
    def _mine(self) -> TenantCatalog:
        return self.catalog.of(self._tenant)

    def _some(self, names: list[str], most: int = 4) -> list[str]:
        return self._rng.sample(names, min(len(names), self._rng.randint(1, most)))

    @property
    def _store(self) -> str:
        return self._rng.choice(self._things.stores[-3:])

    def _members(self) -> list[NewMember]:
        allow = self._rng.choice([None, None, ["hr"], []])
        attributes = self._rng.choice([None, {"n": self._rng.randint(0, 2)}])
        return [NewMember(file_id=each, attributes=attributes, allow=allow) for each in self._some(FILES)]

    # files, stores, members
    async def do_replace_file(self) -> None:
        file, mine = self._rng.choice(FILES), self._mine
        await mine.files.delete(file)
        await mine.files.add(file_id=file, filename="a.md", purpose="assistants", size=1, sha256="0")

    async def do_make_store(self) -> None:
        async with self._mine.transaction() as inner:
            store = await inner.stores.create(name="s")
            await inner.members.attach_batch(store.id, self._members())
        self._things.stores.append(store.id)

    async def do_store(self) -> None:
        self._things.stores.append((await self.catalog.of(Tenant("a")).stores.create(name="s")).id)

    async def do_change_store(self) -> None:
        await self._mine.stores.update(self._store, name="t")
        await self._mine.stores.touch(self._things.stores[-3:])

    async def do_delete_store(self) -> None:
        await self._mine.stores.delete(self._store)
        await self.do_store()

    async def do_attach(self) -> None:
        await self._mine.members.attach(self._store, self._members())

    async def do_attach_once(self) -> None:
        key = self._rng.choice("klm")
        async with self._mine.transaction() as inner:
            if await inner.keys.claim(key, "r") is None:
                await inner.members.attach(self._store, self._members())
                await inner.keys.keep(key, StoredReply(200, "{}", {}))

    async def do_attach_batch(self) -> None:
        store = self._store
        self._things.batches.append((store, (await self._mine.members.attach_batch(store, self._members())).id))

    async def do_cancel_batch(self) -> None:
        await self._mine.members.cancel_batch(*self._rng.choice(self._things.batches[-4:]))

    async def do_change_member(self) -> None:
        store, file = self._store, self._rng.choice(FILES)
        async with self._mine.transaction() as inner:
            await inner.members.set_attributes(store, file, {"n": self._rng.randint(0, 3)})
            await inner.members.set_allow(store, file, self._rng.choice([None, ["hr"]]))

    async def do_detach(self) -> None:
        await self._mine.members.detach(self._store, self._rng.choice(FILES))

    async def do_upload(self) -> None:
        ident = new_id("upload_")
        await self._mine.uploads.begin(upload_id=ident, filename="a", purpose="assistants", size=9)
        self._things.uploads.append(ident)

    async def do_send_part(self) -> None:
        await self._mine.uploads.add_part(self._rng.choice(self._things.uploads[-3:]), new_id("part_"), 1)

    async def do_end_upload(self) -> None:
        ident, file = self._rng.choice(self._things.uploads[-3:]), self._rng.choice(FILES)
        async with self._mine.transaction() as inner:
            if self._rng.random() < 0.5:
                await inner.uploads.cancel(ident)
            else:
                await inner.uploads.complete(ident, file)
                await inner.files.add(file_id=file, filename="a", purpose="assistants", size=9, sha256="0")

    # the ingestion
    async def do_claim(self) -> None:
        self.jobs += await self.catalog.queue.claim(self.name, limit=3, lease_s=LEASE_S)

    async def do_ingest(self) -> None:
        await self.do_claim()
        while self.jobs:
            job = self.jobs.pop()
            chunks = [ChunkRecord(index=n, text="t", page=1, start=0, end=1) for n in range(self._rng.randint(0, 3))]
            await self.catalog.queue.put_chunks(job, chunks, usage_bytes=1)
            await self.catalog.queue.complete(job, self._rng.choice(COLLECTIONS))

    do_ingest_more = do_ingest

    async def do_end_jobs(self) -> None:
        self.jobs = list(await self.catalog.queue.renew(self.jobs, lease_s=LEASE_S))
        for job in self.jobs:
            if self._rng.random() < 0.5:
                await self.catalog.queue.fail(job, FileError(code="invalid_file", message="no"))
            else:
                await self.catalog.queue.release(job, not_before=0.0)
        self.jobs.clear()

    async def do_remove(self) -> None:
        await self.catalog.removals.done(await self.catalog.removals.first(limit=20))

    async def do_expire(self) -> None:
        await self.catalog.removals.expire()

    async def do_collections(self) -> None:
        name = self._rng.choice(COLLECTIONS)
        await self.catalog.collections.add(name, embedding_model="m", dimension=3)
        for _ in range(3):
            await self.catalog.collections.indexed(name, await self.catalog.collections.behind(name, limit=9))
        await self.catalog.collections.switch(name)

    async def do_drop(self) -> None:
        await self.catalog.collections.drop(self._rng.choice(COLLECTIONS))

    async def do_reconcile(self) -> None:
        await self.catalog.inventory.rewrite(await self.catalog.inventory.members(limit=9))
        await self.catalog.inventory.remove("a", self._store, self._rng.choice(FILES), 1)

    async def do_pause(self) -> None:
        for cause in self._some(["index", "objects", "embedding"]):
            await self.catalog.pauses.add(Pause(cause=cause, message="away", since=self._clock.now))
        await self.catalog.pauses.clear()

    # answers
    async def do_respond(self) -> None:
        await self._respond(self._rng.choice([AnswerKind.BACKGROUND, AnswerKind.RESPONSE]))

    async def _respond(self, kind: AnswerKind) -> None:
        ident, conversation = new_id("resp_"), self._rng.choice([None, *self._things.conversations[-2:]])
        body = {"id": ident, "created_at": 1, "status": "queued", "background": True, "output": []}
        chain = self._some(self._things.responses[-8:], 6)
        record = ResponseRecord(body=body, input=[{"id": "in"}], chain=chain, conversation_id=conversation)
        job = BackgroundJob(
            answer_id=ident, kind=kind, caller="{}", request_id="r", request={}, response=body, created_at=1.0,
            unread_s=self._rng.choice([0.0, 0.5]),
        )  # fmt: skip
        responses = self._mine.responses
        await responses.begin(record, job, owner=self.name, lease_s=LEASE_S, keep_s=KEEP_S, limit=5)
        self._things.responses.append(ident)

    async def do_journal(self) -> None:
        entries = []
        for ident in self._some(self._things.responses[-6:]):
            self.positions[ident] += 1
            at = self.positions[ident]
            prompt = {"ids": [1]} if self._rng.random() < 0.7 else None
            ended = self._rng.random() < 0.2
            parts = {"0": ([[1]], 1, 0)}
            entries.append(JournalEntry(answer_id=ident, position=at, last_event=at, events=b"", parts=parts, prompt=prompt, ended=ended))  # fmt: skip  # noqa: E501
        await self.catalog.background.append(self.name, entries)

    do_journal_more = do_journal
    do_journal_still = do_journal

    async def do_finish(self) -> None:
        output = [{"id": new_id("msg_")}]
        body = {
            "id": self._rng.choice(self._things.responses[-6:]),
            "status": "completed",
            "background": True,
            "output": output,
        }
        await self._mine.responses.finish(body, keep_s=KEEP_S)

    async def do_cancel(self) -> None:
        await self._mine.responses.cancel(self._rng.choice(self._things.responses[-6:]))

    async def do_delete_response(self) -> None:
        await self._mine.responses.delete(self._rng.choice(self._things.responses[-6:]))

    async def do_keep_answers(self) -> None:
        await self.catalog.background.renew(self.name, lease_s=LEASE_S, read=set(self._things.responses[-4:]))

    async def do_take_answers_over(self) -> None:
        await self.catalog.background.release(self._rng.choice(["g0", "g1", "g2"]))
        await self.catalog.background.claim(self.name, lease_s=LEASE_S, limit=5)
        await self.catalog.background.discard(self.name, self._rng.choice(self._things.responses[-6:]))
        await self.catalog.background.forget(ended_s=1)

    async def do_converse(self) -> None:
        conversations, items = self._mine.conversations, [{"id": each} for each in self._some(["i", "j", "k", "l"])]
        self._things.conversations.append((await conversations.create({}, items, keep_s=KEEP_S)).id)
        chosen = self._rng.choice(self._things.conversations[-3:])
        await conversations.add(chosen, items, keep_s=KEEP_S)
        await conversations.update(chosen, {"a": "b"}, keep_s=KEEP_S)
        await conversations.delete_item(chosen, "i")

    async def do_delete_conversation(self) -> None:
        await self._mine.conversations.delete(self._rng.choice(self._things.conversations[-3:]))

    async def do_chat(self) -> None:
        body = {"id": new_id("chatcmpl-"), "created": 1, "model": "m"}
        record = ChatRecord(body=body, messages=[{"role": "user"}], metadata={}, sources=())
        await self._mine.chats.add(record, keep_s=KEEP_S)
        self._things.chats.append(body["id"])
        chosen = self._rng.choice(self._things.chats[-3:])
        await self._mine.chats.update(chosen, {"a": "b"})
        await self._mine.chats.delete(chosen)

    async def do_batch(self) -> None:
        batch = {"id": new_id("batch_"), "created_at": 1, "status": "validating", "request_counts": {}}
        await self._mine.batches.create(batch, "{}")
        self._things.batch_jobs.append(batch["id"])

    async def do_work_batch(self) -> None:
        queue, ident = self.catalog.batches, self._rng.choice(self._things.batch_jobs[-4:])
        await queue.claim(self.name, lease_s=LEASE_S, limit=3)
        await queue.renew(self.name, self._things.batch_jobs[-4:], lease_s=LEASE_S)
        await queue.record(self.name, ident, BatchLine(self._rng.randint(1, 3), True, "{}"))
        with suppress(LeaseLost):
            shown = {"id": ident, "status": "in_progress", "request_counts": {}, "cancelling_at": None}
            await queue.update(self.name, shown)
        await queue.release(self._rng.choice(["g0", "g1", "g2"]))
        await queue.forget(ended_s=1)

    async def do_end_batch(self) -> None:
        ident = self._rng.choice(self._things.batch_jobs[-4:])
        if self._rng.random() < 0.5:
            await self._mine.batches.cancel(ident)
        with suppress(LeaseLost):
            await self._end_batch(ident)

    async def _end_batch(self, ident: str) -> None:
        async with self._mine.transaction() as inner:
            file = {"filename": "o", "purpose": "batch_output", "size": 1, "sha256": "0", "expires_at": 1}
            await inner.files.add(file_id=new_id("file-"), **file)
            await inner.batches.finish(self.name, {"id": ident, "status": "completed", "request_counts": {}})

    # tenants, quotas, the fleet
    async def do_ask(self) -> None:
        tenant, tokens = self._tenant, self._rng.randint(1, 200)
        charge = {Resource.REQUESTS: 1, Resource.TOKENS: tokens, Resource.ANSWERS: 1}
        limited = replace(tenant, key=replace(tenant.key, limits=replace(LIMITS, tokens_per_month=500_000)))
        with await self.quotas.reserve(limited, charge) as reserved:
            entry = LedgerEntry.of(limited, request_id="r", route="chat", model="m", reserved=tokens)
            entry.created_at = self._clock.now
            await self.ledger.write(self.quotas.gateway, [entry], alive_at=self._clock.now)
            entry.completion, entry.outcome = self._rng.randint(0, tokens), "completed"
            reserved.settle({Resource.REQUESTS: 1, Resource.TOKENS: entry.completion, Resource.ANSWERS: 0})
            await self.ledger.write(self.quotas.gateway, [entry], alive_at=None)

    do_ask_more = do_ask

    async def do_write_rows(self) -> None:
        """Of a gateway that the others take for dead."""
        rows = [LedgerEntry("r", "c", "k", "chat", "m", 9, id=f"{self.name}-{n}", created_at=1.0) for n in range(8)]
        self._rng.shuffle(rows)
        await self.ledger.write(f"slow {self.name}", rows, alive_at=None)

    async def do_tend(self) -> None:
        await self.quotas.beat()
        await self.ledger.reap(self.name, dead_before=self._clock.now - 2)
        await self.ledger.forget(2.0)

    async def do_administer(self) -> None:
        name = self._rng.choice("ab")
        if self._rng.random() < 0.3:
            await self.admin.create_tenant(name, TenantSettings())
        made, _ = await self.admin.create_key(name)
        self._things.keys.append(made.id)
        await self.admin.change_tenant(name, TenantSettings(priority=self._rng.randint(0, 9)))
        await self.admin.rotate_key(self._rng.choice(self._things.keys[-4:]))
        await self.admin.revoke_key(self._rng.choice(self._things.keys[-4:]))

    async def do_use_keys(self) -> None:
        await self.catalog.tenants.record_use(dict.fromkeys(self._some(self._things.keys), self._clock.now))

    async def do_roll_out(self) -> None:
        made = await self.rollouts.start("v2", share=0.1, tenants=(), options=JudgeOptions(), actor=self.name)
        self._things.rollouts.append(made.id)

    async def do_report(self) -> None:
        evidence = Evidence(candidate_requests=9, candidate_errors=self._rng.choice([0, 9]), baseline_requests=99)
        await self.rollouts.report(self._things.rollouts[-1], self.name, evidence)
        await self.rollouts.end(self._rng.choice([RolloutState.PROMOTED, RolloutState.ABORTED]), actor=self.name)

    async def do_remember_models(self) -> None:
        await self.models.write({"by": self.name})


@pytest.fixture
async def gateways(url: str, clock: Clock, tmp_path: Path, seed: int) -> AsyncIterator[list[Gateway]]:
    """Three, with connections of their own."""
    rng, things = random.Random(seed), Things()
    async with AsyncExitStack() as stack:
        made = [Gateway(number, url, clock, things, rng, tmp_path) for number in range(3)]
        for each in made:
            stack.push_async_callback(each.close)
        yield made


@pytest.mark.parametrize(
    ("seed", "steps"),
    [(0, 150), pytest.param(1, 2_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
async def test_nothing_fails_by_what_another_does_and_all_agrees_at_the_end(
    gateways: list[Gateway],
    clock: Clock,
    seed: int,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(removals, "DAY_S", 3)
    monkeypatch.setattr(idempotency, "KEEP_S", 3)
    monkeypatch.setattr(idempotency, "PATIENCE_S", PATIENCE_S)
    rng = random.Random(seed)
    for name in COLLECTIONS:
        await gateways[0].catalog.collections.add(name, embedding_model="m", dimension=3)
    for file in FILES:
        named = {"filename": "a.md", "purpose": "assistants", "size": 1, "sha256": "0"}
        await gateways[0].catalog.of(Tenant("a")).files.add(file_id=file, **named)
    for _ in range(3):
        await gateways[0].do_store()
    came: Counter[str] = Counter()

    async def works(gateway: Gateway) -> None:
        for step in range(steps // 12):
            name, act = rng.choice(gateway.acts)
            try:
                await act()
            except REFUSED as error:
                came[f"{name} {type(error).__name__}"] += 1
            except CatalogUnavailable as error:
                pytest.fail(f"{gateway.name}, step {step}: {name}: {error} {error.__cause__}")
            else:
                came[name] += 1
            clock.now += 18 / steps

    async with asyncio.TaskGroup() as group:
        for each in gateways * 4:
            group.create_task(works(each))
    assert "deadlock" not in caplog.text
    for each in gateways:
        await each.quotas.close()
    print(sorted(came.items()))
    await agrees(gateways[0])


async def agrees(gateway: Gateway) -> None:
    """Each of these finds rows that contradict others."""
    members, chunks, entries = schema.members.c, schema.chunks.c, schema.entries.c
    jobs, responses = schema.journaled_answers.c, schema.responses.c
    counted = select(func.count()).where(chunks.store_id == members.store_id, chunks.file_id == members.file_id)
    here = exists().where(
        entries.store_id == members.store_id,
        entries.file_id == members.file_id,
        entries.generation == members.generation,
        entries.collection.in_(select(schema.collections.c.name).where(schema.collections.c.state == "active")),
    )
    wrong: dict[str, Select[Any]] = {
        "chunks that were not counted": select(members.file_id).where(members.chunk_count != counted.scalar_subquery()),
        "done, and not in the active collection": select(members.file_id).where(
            members.state == "completed", ~members.pending, ~here
        ),
        "ended, and still a job": select(members.file_id).where(
            members.state.in_(["failed", "cancelled"]), or_(members.pending, members.chunk_count > 0)
        ),
        "cancelled, and still made": select(responses.id)
        .join(schema.journaled_answers, jobs.response_id == responses.id)
        .where(responses.status == "cancelled", jobs.ended_at.is_(None)),
        "parts of no upload": select(schema.upload_parts.c.id)
        .join(schema.uploads, schema.uploads.c.id == schema.upload_parts.c.upload_id)
        .where(schema.uploads.c.status != "pending"),
        "keys without an answer": select(schema.idempotency.c.key).where(schema.idempotency.c.response.is_(None)),
        "lines of batches that ended": select(schema.batch_lines.c.line)
        .join(schema.batch_jobs, schema.batch_jobs.c.id == schema.batch_lines.c.batch_id)
        .where(schema.batch_jobs.c.ended_at.is_not(None)),
        "more files than may be": select(schema.files.c.tenant)
        .group_by(schema.files.c.tenant)
        .having(func.count() > (LIMITS.documents or 0)),
        "unsettled": select(schema.ledger.c.id).where(
            and_(schema.ledger.c.state == "reserved", schema.ledger.c.tenant != "c")
        ),
        "seats": select(schema.seats.c.gateway).where(schema.seats.c.held != 0),
    }
    async with gateway.catalog.database.read() as connection:
        found = {what: (await connection.execute(query)).all() for what, query in wrong.items()}
        ledger = schema.ledger.c
        spent = select(ledger.tenant, func.sum(ledger.completion)).where(ledger.tenant != "c").group_by(ledger.tenant)
        used = select(schema.quotas.c.subject, schema.quotas.c.used).where(schema.quotas.c.resource == "tokens/month")
        of_ledger = {f"tenant/{tenant}": int(n) for tenant, n in await connection.execute(spent)}
        counters = {row.subject: row.used for row in await connection.execute(used)}
        acts = await connection.scalar(select(func.count()).select_from(schema.audit))
        raised = await connection.scalar(select(func.sum(schema.revisions.c.value)))
    assert not any(found.values()), found
    assert {name: n for name, n in counters.items() if name.startswith("tenant/")} == of_ledger
    assert sum(counters.values()) == 2 * sum(of_ledger.values()), "what the tenants used, their keys used"
    assert (acts or 0) <= (raised or 0)
