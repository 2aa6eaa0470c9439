"""The tables of the catalog, and the version of them that a database has."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import JSON

from gateway.errors import CatalogUnusable

VERSION = 12

MIGRATIONS: Mapping[int, Sequence[str]] = MappingProxyType(
    {
        2: (
            """CREATE TABLE shares (tenant TEXT NOT NULL PRIMARY KEY, weight DOUBLE PRECISION NOT NULL,
            started DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION NOT NULL, chunks DOUBLE PRECISION NOT NULL)""",
            "CREATE INDEX members_turns ON members (tenant, queued_at, store_id, file_id) WHERE pending",
            "DROP INDEX members_queued",
        ),
        3: ("ALTER TABLE members ADD COLUMN receipt JSONB",),
        4: (
            "ALTER TABLE members ADD COLUMN excused BIGINT NOT NULL DEFAULT 0",
            """CREATE TABLE pauses (cause TEXT NOT NULL PRIMARY KEY, message TEXT NOT NULL,
            since DOUBLE PRECISION NOT NULL)""",
        ),
        5: (
            """CREATE TABLE responses (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL, status TEXT NOT NULL, previous_id TEXT, conversation_id TEXT, body TEXT NOT NULL)""",
            "CREATE INDEX ix_responses_expires_at ON responses (expires_at)",
            """CREATE TABLE response_items (response_id TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
            position BIGINT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, is_output BOOLEAN NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (response_id, position))""",
            "CREATE INDEX response_items_found ON response_items (tenant, id)",
            """CREATE TABLE conversations (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL, metadata JSONB NOT NULL)""",
            "CREATE INDEX ix_conversations_expires_at ON conversations (expires_at)",
            """CREATE TABLE conversation_items (conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            position BIGINT NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (conversation_id, position))""",
            "CREATE UNIQUE INDEX conversation_items_found ON conversation_items (conversation_id, id)",
        ),
        6: (
            """CREATE TABLE tenants (name TEXT NOT NULL PRIMARY KEY, weight DOUBLE PRECISION NOT NULL, priority BIGINT NOT NULL,
            placement TEXT NOT NULL, limits JSONB NOT NULL, suspended BOOLEAN NOT NULL, created_at BIGINT NOT NULL,
            revision BIGINT NOT NULL)""",
            "CREATE INDEX ix_tenants_revision ON tenants (revision)",
            """CREATE TABLE api_keys (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenants (name),
            digest TEXT NOT NULL, previous_digest TEXT, previous_until BIGINT, scopes JSONB NOT NULL, groups JSONB,
            limits JSONB NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, last_used_at BIGINT,
            revision BIGINT NOT NULL)""",
            "CREATE INDEX ix_api_keys_tenant ON api_keys (tenant)",
            "CREATE INDEX ix_api_keys_revision ON api_keys (revision)",
            "CREATE TABLE revisions (name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL)",
            """CREATE TABLE audit (id TEXT NOT NULL PRIMARY KEY, at DOUBLE PRECISION NOT NULL, actor TEXT NOT NULL,
            act TEXT NOT NULL, subject TEXT NOT NULL, before JSONB, after JSONB)""",
            "CREATE INDEX audit_listed ON audit (at, id)",
        ),
        7: ("ALTER TABLE files ADD COLUMN allow JSONB", "ALTER TABLE tombstones ADD COLUMN allow JSONB"),
        8: (
            """CREATE TABLE quotas (subject TEXT NOT NULL, resource TEXT NOT NULL, begin BIGINT NOT NULL,
            used BIGINT NOT NULL, PRIMARY KEY (subject, resource))""",
            """CREATE TABLE seats (subject TEXT NOT NULL, resource TEXT NOT NULL, gateway TEXT NOT NULL,
            held BIGINT NOT NULL, PRIMARY KEY (subject, resource, gateway))""",
            "CREATE TABLE gateways (id TEXT NOT NULL PRIMARY KEY, seen_at DOUBLE PRECISION NOT NULL)",
        ),
        9: (
            """CREATE TABLE background_answers (response_id TEXT NOT NULL PRIMARY KEY REFERENCES responses (id) ON DELETE CASCADE,
            tenant TEXT NOT NULL, created_at DOUBLE PRECISION NOT NULL, caller TEXT NOT NULL, request_id TEXT NOT NULL,
            request TEXT NOT NULL, prompt TEXT, owner TEXT, lease_until DOUBLE PRECISION NOT NULL, attempts BIGINT NOT NULL,
            read_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION)""",
            "CREATE INDEX background_answers_free ON background_answers (lease_until) WHERE ended_at IS NULL",
            "CREATE INDEX ix_background_answers_ended_at ON background_answers (ended_at)",
            """CREATE TABLE answer_events (response_id TEXT NOT NULL
            REFERENCES background_answers (response_id) ON DELETE CASCADE, position BIGINT NOT NULL, last BIGINT NOT NULL,
            events TEXT NOT NULL, tokens TEXT NOT NULL, PRIMARY KEY (response_id, position))""",
        ),
        10: (
            """CREATE TABLE ledger (id TEXT NOT NULL PRIMARY KEY, request_id TEXT NOT NULL, tenant TEXT NOT NULL,
            key TEXT NOT NULL, gateway TEXT NOT NULL, route TEXT NOT NULL, model TEXT NOT NULL, state TEXT NOT NULL,
            outcome TEXT NOT NULL, reserved BIGINT NOT NULL, prompt BIGINT NOT NULL, cached BIGINT NOT NULL,
            completion BIGINT NOT NULL, stores TEXT NOT NULL, instances TEXT NOT NULL, created_at BIGINT NOT NULL,
            ms BIGINT NOT NULL)""",
            "CREATE INDEX ledger_told ON ledger (tenant, created_at)",
            "CREATE INDEX ledger_by_time ON ledger (created_at)",
            "CREATE INDEX ledger_open ON ledger (gateway) WHERE state = 'reserved'",
        ),
        11: (
            "ALTER TABLE response_items ADD COLUMN sources JSONB",
            "ALTER TABLE conversation_items ADD COLUMN sources JSONB",
        ),
        12: (
            """CREATE TABLE batch_jobs (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, created_at BIGINT NOT NULL,
            status TEXT NOT NULL, caller TEXT NOT NULL, body TEXT NOT NULL, owner TEXT, lease_until DOUBLE PRECISION NOT NULL,
            ended_at DOUBLE PRECISION)""",
            "CREATE INDEX batch_jobs_listed ON batch_jobs (tenant, created_at, id)",
            "CREATE INDEX ix_batch_jobs_ended_at ON batch_jobs (ended_at)",
            """CREATE TABLE batch_lines (batch_id TEXT NOT NULL REFERENCES batch_jobs (id) ON DELETE CASCADE,
            line BIGINT NOT NULL, ok BOOLEAN NOT NULL, body TEXT NOT NULL, PRIMARY KEY (batch_id, line))""",
        ),
    }
)
"""By version: the statements that bring the version before to it. A new table or column goes into both, here and below."""


_json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_serial = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

versions = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, index=True),
    Column("allow", _json),
    Index("files_listed", "tenant", "created_at", "id"),
)

stores = Table(
    "stores",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("metadata", _json, nullable=False),
    Column("settings", _json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_active_at", BigInteger, nullable=False),
    Column("expires_after_days", BigInteger),
    Index("stores_listed", "tenant", "created_at", "id"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("store_id", ForeignKey(stores.c.id, ondelete="CASCADE"), nullable=False, index=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("cancelled", Boolean, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("store_id", ForeignKey(stores.c.id, ondelete="CASCADE"), primary_key=True),
    Column("file_id", ForeignKey(files.c.id, ondelete="CASCADE"), primary_key=True, index=True),
    Column("tenant", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attributes", _json, nullable=False),
    Column("max_tokens", BigInteger),
    Column("overlap_tokens", BigInteger),
    Column("batch_id", Text, index=True),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("usage_bytes", BigInteger, nullable=False),
    Column("chunk_count", BigInteger, nullable=False),
    Column("receipt", _json),
    Column("generation", BigInteger, nullable=False),
    # The job, while `pending`: free from `free_at` on, which is the end of the lease while `owner` holds it.
    Column("pending", Boolean, nullable=False),
    Column("queued_at", Float(53), nullable=False),
    Column("free_at", Float(53), nullable=False),
    Column("owner", Text),
    Column("attempts", BigInteger, nullable=False),
    # Of these attempts, those that ended through no fault of the file.
    Column("excused", BigInteger, nullable=False, server_default=text("0")),
    Index("members_listed", "store_id", "created_at", "file_id"),
    Index("members_counted", "store_id", "state"),
    Index(
        "members_turns",
        *("tenant", "queued_at", "store_id", "file_id"),
        sqlite_where=text("pending"),
        postgresql_where=text("pending"),
    ),
)

shares = Table(
    "shares",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("weight", Float(53), nullable=False),
    Column("started", Float(53), nullable=False),
    Column("finished", Float(53), nullable=False),
    Column("chunks", Float(53), nullable=False),
)
"""How far the ingestion is with each tenant, in virtual time, and how many chunks its files usually have (fair_queueing.py)."""

pauses = Table(
    "pauses",
    metadata,
    Column("cause", Text, primary_key=True),
    Column("message", Text, nullable=False),
    Column("since", Float(53), nullable=False),
)
"""What the ingestion waits for now."""

chunks = Table(
    "chunks",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("file_id", Text, primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("text", Text, nullable=False),
    Column("page", BigInteger, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    ForeignKeyConstraint(["store_id", "file_id"], [members.c.store_id, members.c.file_id], ondelete="CASCADE"),
)

collections = Table(
    "collections",
    metadata,
    Column("name", Text, primary_key=True),
    Column("embedding_model", Text, nullable=False),
    Column("dimension", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

entries = Table(
    "entries",
    metadata,
    Column("collection", ForeignKey(collections.c.name, ondelete="CASCADE"), primary_key=True),
    Column("store_id", Text, primary_key=True),
    Column("file_id", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    ForeignKeyConstraint(["store_id", "file_id"], [members.c.store_id, members.c.file_id], ondelete="CASCADE"),
    Index("entries_of_member", "store_id", "file_id"),
)
"""Which generation of a member has its rows in a collection."""

removals = Table(
    "removals",
    metadata,
    Column("id", _serial, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("store_id", Text),
    Column("file_id", Text),
    Column("generation", BigInteger),
    Index("removals_of_member", "store_id", "file_id"),
    sqlite_autoincrement=True,  # an id is never given again, so one that was done twice hits nothing else
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger, nullable=False),
    Column("allow", _json),
)
"""Where deleted things stood in their lists, for a day: who pages through a list and deletes what it reads goes on."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("response", Text),
    Column("expires_at", Float(53), nullable=False, index=True),
)

tenants = Table(
    "tenants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("weight", Float(53), nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("placement", Text, nullable=False),
    Column("limits", _json, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", ForeignKey(tenants.c.name), nullable=False, index=True),
    Column("digest", Text, nullable=False),
    Column("previous_digest", Text),
    Column("previous_until", BigInteger),
    Column("scopes", _json, nullable=False),
    Column("groups", _json),
    Column("limits", _json, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
)
"""Of each key's secret a SHA-256, in hexadecimal."""

revisions = Table(
    "revisions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""How often something was changed, for those who hold a copy of it; the rows that a change touched carry its number."""

audit = Table(
    "audit",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", _json),
    Column("after", _json),
    Index("audit_listed", "at", "id"),
)
"""Acts of administrators; rows are added and never changed."""

quotas = Table(
    "quotas",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("begin", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
)
"""What tenants and keys have used of their budgets, in the period that begins then."""

seats = Table(
    "seats",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("gateway", Text, primary_key=True),
    Column("held", BigInteger, nullable=False),
)
"""What a gateway has of the budgets that are for the moment. It counts as long as the gateway lives."""

gateways = Table(
    "gateways",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seen_at", Float(53), nullable=False),
)
"""Processes that hold something, and their last sign of life."""

ledger = Table(
    "ledger",
    metadata,
    Column("id", Text, primary_key=True),
    *(Column(name, Text, nullable=False) for name in ("request_id", "tenant", "key", "gateway", "route", "model")),
    Column("state", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in ("reserved", "prompt", "cached", "completion")),
    Column("stores", Text, nullable=False),
    Column("instances", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("ms", BigInteger, nullable=False),
    Index("ledger_told", "tenant", "created_at"),
    Index("ledger_by_time", "created_at"),
    Index(
        "ledger_open",
        "gateway",
        sqlite_where=text("state = 'reserved'"),
        postgresql_where=text("state = 'reserved'"),
    ),
)
"""What each request came to: `reserved` while it runs, then `settled`."""


responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("previous_id", Text),
    Column("conversation_id", Text),
    Column("body", Text, nullable=False),
)
"""Answers of `/v1/responses`: the object as JSON, without the output, whose items lie beside it."""

response_items = Table(
    "response_items",
    metadata,
    Column("response_id", ForeignKey(responses.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("is_output", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Column("sources", _json),
    Index("response_items_found", "tenant", "id"),
)
"""What a response was asked and what it answered, in that order."""

background_answers = Table(
    "background_answers",
    metadata,
    Column("response_id", ForeignKey(responses.c.id, ondelete="CASCADE"), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("caller", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("prompt", Text),
    # A gateway's until `lease_until`; free from then on, while `ended_at` is not set.
    Column("owner", Text),
    Column("lease_until", Float(53), nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("read_at", Float(53), nullable=False),
    Column("ended_at", Float(53), index=True),
    Index(
        "background_answers_free",
        "lease_until",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
"""Responses that are made without a client: who asked for what, and who makes them. The rows outlive the end for a while,
so that events can be read again."""

answer_events = Table(
    "answer_events",
    metadata,
    Column("response_id", ForeignKey(background_answers.c.response_id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("events", Text, nullable=False),
    Column("tokens", Text, nullable=False),
)
"""Their journal, a row for each commit: events as they are sent (`last`: the number of the last one so far), and the token ids
that came, as a JSON list of lists, each as the engine gave it."""

batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("body", Text, nullable=False),
    # A gateway's until `lease_until`; free from then on, while `ended_at` is not set.
    Column("owner", Text),
    Column("lease_until", Float(53), nullable=False),
    Column("ended_at", Float(53), index=True),
    Index("batch_jobs_listed", "tenant", "created_at", "id"),
)
"""Batches of requests (`/v1/batches`): the object as clients read it, without the counts while it is worked on."""

batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", ForeignKey(batch_jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("line", BigInteger, primary_key=True),
    Column("ok", Boolean, nullable=False),
    Column("body", Text, nullable=False),
)
"""Lines that were answered, as the output or the error file will have them, until there are files."""

conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("metadata", _json, nullable=False),
)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation_id", ForeignKey(conversations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("sources", _json),
    Index("conversation_items_found", "conversation_id", "id", unique=True),
)


def prepare(connection: Connection) -> None:
    """Make the tables, or bring them to VERSION; the caller holds the database alone. Raises CatalogUnusable."""
    if not inspect(connection).has_table(versions.name):
        metadata.create_all(connection)
        connection.execute(versions.insert().values(version=VERSION))
        return
    found = connection.execute(versions.select()).scalar_one()
    if found > VERSION:
        raise CatalogUnusable(
            f"The catalog has schema version {found}, and this program knows {VERSION}: upgrade ragfleet, "
            "or set RAGFLEET_CATALOG_URL to another database."
        )
    for version in range(found + 1, VERSION + 1):
        for statement in MIGRATIONS[version]:
            connection.execute(text(statement))
        connection.execute(versions.update().values(version=version))
