"""Files, stores, what is in them and in the index, and the ingestion's queue."""

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, ForeignKeyConstraint, Index, Table, Text, text

from gateway.knowledge.catalog.schema.base import json, metadata, serial

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
    Column("allow", json),
    Index("files_listed", "tenant", "created_at", "id"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("status", Text, nullable=False),
    Column("allow", json),
    Column("file_id", Text),
    Column("file_expires_s", BigInteger),
    Index(
        "uploads_pending",
        "tenant",
        sqlite_where=text("status = 'pending'"),
        postgresql_where=text("status = 'pending'"),
    ),
)
"""Files that come in parts. `size`: what they are to be together. `file_id`: what came of it."""

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("upload_id", ForeignKey(uploads.c.id, ondelete="CASCADE"), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
"""Their parts that are in the object store."""

stores = Table(
    "stores",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text),
    Column("metadata", json, nullable=False),
    Column("settings", json, nullable=False),
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
    Column("attributes", json, nullable=False),
    Column("max_tokens", BigInteger),
    Column("overlap_tokens", BigInteger),
    Column("batch_id", Text, index=True),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("usage_bytes", BigInteger, nullable=False),
    Column("chunk_count", BigInteger, nullable=False),
    Column("receipt", json),
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

code_names = Table(
    "code_names",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("file_id", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("role", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("last_line", BigInteger, nullable=False),
    Column("chunk", BigInteger, nullable=False),
    ForeignKeyConstraint(["store_id", "file_id"], [members.c.store_id, members.c.file_id], ondelete="CASCADE"),
    Index("code_names_found", "store_id", "name", "role"),
)
"""What members that are source code define, call and import."""

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
    Column("id", serial, primary_key=True, autoincrement=True),
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
    Column("allow", json),
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
