"""From an older version of the tables to this one."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import Connection, inspect, text

from gateway.errors import CatalogUnusable
from gateway.knowledge.catalog.schema.base import metadata, versions

VERSION = 19

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
        13: (
            """CREATE TABLE chat_completions (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, created_at BIGINT NOT NULL,
            expires_at BIGINT NOT NULL, model TEXT NOT NULL, metadata JSONB NOT NULL, body TEXT NOT NULL, sources JSONB)""",
            "CREATE INDEX ix_chat_completions_expires_at ON chat_completions (expires_at)",
            "CREATE INDEX chat_completions_listed ON chat_completions (tenant, created_at, id)",
            """CREATE TABLE chat_messages (completion_id TEXT NOT NULL REFERENCES chat_completions (id) ON DELETE CASCADE,
            position BIGINT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (completion_id, position))""",
        ),
        14: (
            """CREATE TABLE leases (subject TEXT NOT NULL, resource TEXT NOT NULL, gateway TEXT NOT NULL, begin BIGINT NOT NULL,
            taken BIGINT NOT NULL, PRIMARY KEY (subject, resource, gateway))""",
        ),
        15: (
            """CREATE TABLE journaled_answers (id TEXT NOT NULL PRIMARY KEY,
            response_id TEXT REFERENCES responses (id) ON DELETE CASCADE, kind TEXT NOT NULL, tenant TEXT NOT NULL,
            created_at DOUBLE PRECISION NOT NULL, caller TEXT NOT NULL, request_id TEXT NOT NULL, request TEXT NOT NULL,
            prompt TEXT, owner TEXT, lease_until DOUBLE PRECISION NOT NULL, attempts BIGINT NOT NULL,
            read_at DOUBLE PRECISION NOT NULL, unread_s DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION)""",
            "CREATE INDEX journaled_answers_free ON journaled_answers (lease_until) WHERE ended_at IS NULL",
            "CREATE INDEX ix_journaled_answers_ended_at ON journaled_answers (ended_at)",
            "CREATE INDEX ix_journaled_answers_response_id ON journaled_answers (response_id)",
            """CREATE TABLE journal_entries (answer_id TEXT NOT NULL
            REFERENCES journaled_answers (id) ON DELETE CASCADE, position BIGINT NOT NULL, last BIGINT NOT NULL,
            events TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (answer_id, position))""",
            # What had not ended is made anew from its beginning.
            """INSERT INTO journaled_answers (id, response_id, kind, tenant, created_at, caller, request_id, request,
            lease_until, attempts, read_at, unread_s) SELECT response_id, response_id, 'background', tenant, created_at, caller,
            request_id, request, 0, 0, read_at, 0 FROM background_answers WHERE ended_at IS NULL""",
            "DROP TABLE answer_events",
            "DROP TABLE background_answers",
        ),
        16: (
            """CREATE TABLE code_names (store_id TEXT NOT NULL, file_id TEXT NOT NULL, position BIGINT NOT NULL,
            role TEXT NOT NULL, name TEXT NOT NULL, scope TEXT NOT NULL, kind TEXT NOT NULL, line BIGINT NOT NULL,
            last_line BIGINT NOT NULL, chunk BIGINT NOT NULL, PRIMARY KEY (store_id, file_id, position),
            FOREIGN KEY (store_id, file_id) REFERENCES members (store_id, file_id) ON DELETE CASCADE)""",
            "CREATE INDEX code_names_found ON code_names (store_id, name, role)",
        ),
        17: (
            """CREATE TABLE rollouts (id TEXT NOT NULL PRIMARY KEY, candidate TEXT NOT NULL, share DOUBLE PRECISION NOT NULL,
            tenants JSONB NOT NULL, options JSONB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,
            started_at DOUBLE PRECISION NOT NULL, ended_at DOUBLE PRECISION, evidence JSONB NOT NULL)""",
            "CREATE INDEX ix_rollouts_started_at ON rollouts (started_at)",
        ),
        18: ("CREATE TABLE known_models (name TEXT NOT NULL PRIMARY KEY, models JSONB NOT NULL)",),
        19: (
            """CREATE TABLE uploads (id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, filename TEXT NOT NULL,
            purpose TEXT NOT NULL, size BIGINT NOT NULL, created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,
            status TEXT NOT NULL, allow JSONB, file_id TEXT, file_expires_s BIGINT)""",
            "CREATE INDEX ix_uploads_expires_at ON uploads (expires_at)",
            "CREATE INDEX uploads_pending ON uploads (tenant) WHERE status = 'pending'",
            """CREATE TABLE upload_parts (upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE, id TEXT NOT NULL,
            size BIGINT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (upload_id, id))""",
        ),
    }
)
"""By version: the statements that bring the version before to it. A new table or column goes here, and into its module."""


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
